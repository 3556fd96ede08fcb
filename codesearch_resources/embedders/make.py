"""From settings to an embedder: one row a kind."""

from collections.abc import Callable

from codesearch_resources.embedders.base import Embedder
from codesearch_resources.embedders.codewords import CodewordsEmbedder
from codesearch_resources.embedders.embedded import EmbeddedEmbedder
from codesearch_resources.settings import EmbedderSettings

EMBEDDED: dict[str, Callable[[], Embedder]] = {
    "wordllama": EmbeddedEmbedder,
    "codewords": CodewordsEmbedder,
}
KINDS: dict[str, Callable[[EmbedderSettings], Embedder]] = {
    "embedded": lambda settings: EMBEDDED[settings.model](),
}


def make_embedder(settings: EmbedderSettings) -> Embedder:
    """The embedder that the settings describe."""
    return KINDS[settings.kind](settings)
