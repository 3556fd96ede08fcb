"""From settings to an embedder: one row a kind."""

from collections.abc import Callable

from codesearch_resources.embedders.base import Embedder
from codesearch_resources.embedders.embedded import EmbeddedEmbedder
from codesearch_resources.settings import EmbedderSettings

KINDS: dict[str, Callable[[EmbedderSettings], Embedder]] = {
    "embedded": lambda _settings: EmbeddedEmbedder(),
}


def make_embedder(settings: EmbedderSettings) -> Embedder:
    """The embedder that the settings describe."""
    return KINDS[settings.kind](settings)
