"""The embedder as settings: a model for each `kind`, told apart by it."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field

from codesearch_resources.settings_base import Section, Slug, Text
from codesearch_resources.settings_summarizers import EnvName, Price, Url

# What models want in front of a text, by a part of their name; others want nothing.
QWEN_QUERY = (
    "Instruct: Given a question about a code base, retrieve the code that answers it\nQuery: "
)
PREFIXES: dict[str, tuple[str, str]] = {  # of a query, of a document
    "qwen3-embedding": (QWEN_QUERY, ""),
    "nomic-embed": ("search_query: ", "search_document: "),
    "mxbai-embed": ("Represent this sentence for searching relevant passages: ", ""),
    "snowflake-arctic-embed": ("Represent this sentence for searching relevant passages: ", ""),
}


class EmbeddedSettings(Section):
    """Inside this program: no server, no key, no download."""

    kind: Literal["embedded"]
    model: Literal["wordllama", "codewords"] = "wordllama"


class _ServerSettings(Section):
    model: Text
    # Numbers a vector has; what the server gives must be as wide.
    dimensions: Annotated[int, Field(ge=8, le=8192)]
    # Raised by hand when another model stands behind the same name: its vectors are a set apart.
    revision: Annotated[int, Field(ge=1)] = 1
    # Requests in flight at once, at most.
    workers: Annotated[int, Field(ge=1, le=64)] = 3
    # Tokens of one text that are given to the model; what is over is cut, and counted.
    context: Annotated[int, Field(ge=64, le=131072)] = 2048
    # From sending until the whole answer is there; Ollama may load a model first.
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 300
    # In front of each text; None: what models of that name want.
    query_prefix: str | None = None
    document_prefix: str | None = None
    # The environment variable that holds the key, never the key itself.
    api_key_env: EnvName | None = None
    # Texts stay on this machine and `trusted_hosts`, whatever else may leave it.
    local_only: bool = True
    meter: Slug | None = None
    price: Price | None = None
    # As for a link of the chain: may it draw on a subscription, and be asked without a price?
    allow_subscription: bool = False
    price_unknown_ok: bool = False

    @property
    def prefixes(self) -> tuple[str, str]:
        """What goes in front of a query and of a document."""
        usual = next((two for part, two in PREFIXES.items() if part in self.model), ("", ""))
        query, document = self.query_prefix, self.document_prefix
        return usual[0] if query is None else query, usual[1] if document is None else document

    @property
    def name(self) -> str:
        """What messages call it."""
        return PROVIDER

    @property
    def limit(self) -> str:
        """The name of the meter it draws on."""
        return self.meter or PROVIDER


PROVIDER = "embedder"  # what ledger and messages call it


class OllamaEmbedderSettings(_ServerSettings):
    """Ollama's `/api/embed`."""

    kind: Literal["ollama"]
    url: Url = "http://localhost:11434"
    # How long the model stays loaded after a call: a question within that time need not wait.
    keep_alive: Text = "30m"

    @property
    def base_url(self) -> str:
        return self.url.rstrip("/").removesuffix("/api")


class OpenAICompatibleSettings(_ServerSettings):
    """Any server with OpenAI's `/v1/embeddings`."""

    kind: Literal["openai_compatible"]
    url: Url

    @property
    def base_url(self) -> str:
        """The address that `/embeddings` is appended to; `/v1` where no path is given."""
        url = self.url.rstrip("/")
        return url if urlsplit(url).path else f"{url}/v1"


ServerSettings = OllamaEmbedderSettings | OpenAICompatibleSettings
EmbedderSettings = Annotated[
    EmbeddedSettings | OllamaEmbedderSettings | OpenAICompatibleSettings,
    Field(discriminator="kind"),
]
EMBEDDERS_BY_KIND: dict[str, type[Section]] = {
    "embedded": EmbeddedSettings,
    "ollama": OllamaEmbedderSettings,
    "openai_compatible": OpenAICompatibleSettings,
}
