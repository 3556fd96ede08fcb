"""One link of the summarizer chain as settings: a model for each `kind`, told apart by it."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from codesearch_resources import settings_rules as rules
from codesearch_resources.settings_base import Section, Slug, Text

Url = Annotated[Text, AfterValidator(rules.server_url)]
EnvName = Annotated[str, AfterValidator(rules.environment_name)]
Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]

# Tokens the contexts of a server may have: few sizes, because Ollama loads a model again for each.
ContextSize = Literal[2048, 4096, 8192, 16384, 32768]


class Price(Section):
    """US dollars for a million tokens; cached input costs `input` where `cached` is not given."""

    input: Annotated[Dollars, Field(strict=False)]
    output: Annotated[Dollars, Field(strict=False)]
    cached: Annotated[Dollars, Field(strict=False)] | None = None


class ExtractiveSettings(Section):
    """Made from the code's own names and comments; sends nothing."""

    name: Slug
    kind: Literal["extractive"]


class _ModelSettings(Section):
    name: Slug
    model: Text
    # Calls in flight at once, at most.
    workers: Annotated[int, Field(ge=1, le=64)] = 3
    # Calls that the provider is known to work on at once; without it that is found out.
    slots: Annotated[int, Field(ge=1, le=64)] | None = None
    # From sending until the whole answer is there; Ollama may load a model first.
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = 300
    # The environment variable that holds the key, never the key itself.
    api_key_env: EnvName | None = None
    # The limit this provider draws on, when several share one.
    meter: Slug | None = None
    # Whether batch work may draw on a subscription that a person works with.
    allow_subscription: bool = False
    price: Price | None = None
    # Agreed: what it costs is unknown, and may be used under a budget all the same.
    price_unknown_ok: bool = False
    # What the model may think beside its answer, on top of the output cap.
    thinking_tokens: Annotated[int, Field(ge=0, le=32768)] = 0

    @property
    def limit(self) -> str:
        """The name of the meter it draws on: its own where none is configured."""
        return self.meter or self.name


class OllamaSettings(_ModelSettings):
    """Ollama's own API: local and cloud models through the same address."""

    kind: Literal["ollama"]
    url: Url = "http://localhost:11434"
    num_ctx: ContextSize = 8192
    # How long the model stays loaded after a call, such as 10m; None: the server's own default.
    keep_alive: Text | None = None

    @property
    def context_tokens(self) -> int:
        return self.num_ctx

    @property
    def base_url(self) -> str:
        return self.url.rstrip("/").removesuffix("/api")


class _OpenAISettings(_ModelSettings):
    url: Url
    # Tokens of prompt and answer that the server takes.
    context: Annotated[int, Field(ge=1024, le=1_048_576)] = 8192
    # Further keys of each request, as the server names them; null takes one of ours away.
    extra: dict[str, Any] = {}

    @property
    def context_tokens(self) -> int:
        return self.context

    @property
    def base_url(self) -> str:
        """The address that `/chat/completions` is appended to; `/v1` where no path is given."""
        url = self.url.rstrip("/")
        return url if urlsplit(url).path else f"{url}/v1"


class OpenAIChatSettings(_OpenAISettings):
    """Any server that speaks OpenAI's chat completions."""

    kind: Literal["openai_chat"]


class OpenAIResponsesSettings(_OpenAISettings):
    """OpenAI's responses API."""

    kind: Literal["openai_responses"]
    url: Url = "https://api.openai.com/v1"


ModelSettings = OllamaSettings | OpenAIChatSettings | OpenAIResponsesSettings
SummarizerSettings = Annotated[
    ExtractiveSettings | OllamaSettings | OpenAIChatSettings | OpenAIResponsesSettings,
    Field(discriminator="kind"),
]
MODELS_BY_KIND: dict[str, type[Section]] = {
    "extractive": ExtractiveSettings,
    "ollama": OllamaSettings,
    "openai_chat": OpenAIChatSettings,
    "openai_responses": OpenAIResponsesSettings,
}
