"""From settings to an embedder, and from a set of vectors to the one that its questions need."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from codesearch_resources.embedders.base import Document, Embedder, EmbeddingError, Kind
from codesearch_resources.embedders.embedded import EmbeddedEmbedder
from codesearch_resources.sets import VectorSet, read_sets
from codesearch_resources.settings import EmbedderSettings, Settings

KINDS: dict[str, Callable[[EmbedderSettings], Embedder]] = {
    "embedded": lambda _settings: EmbeddedEmbedder(),
}


def make_embedder(settings: EmbedderSettings) -> Embedder:
    """The embedder that the settings describe."""
    return KINDS[settings.kind](settings)


def set_of(settings: EmbedderSettings) -> VectorSet:
    """The set of vectors that these settings fill."""
    embedder = make_embedder(settings)
    return VectorSet(embedder.id, embedder.dimensions, settings.model_dump(mode="json"))


def embedder_of(one: VectorSet) -> Embedder:
    """The embedder that made a set, by the settings that were kept with it.

    One that this version cannot make any more, or makes otherwise, embeds nothing: vectors of two
    spaces never meet.
    """
    try:
        settings: EmbedderSettings = TypeAdapter(EmbedderSettings).validate_python(one.settings)
        made = make_embedder(settings)
    except ValidationError:
        return Gone(one)
    return made if (made.id, made.dimensions) == (one.embedder, one.dimensions) else Gone(one)


def wanted_embedder(settings: Settings) -> Embedder:
    """The embedder whose set is to be filled: that of the settings, or one chosen by hand."""
    configured = set_of(settings.embedder)
    found = read_sets(settings.data_dir)
    wanted = found.wanted(configured.name)
    if wanted == configured.name:
        return make_embedder(settings.embedder)
    return embedder_of(found.sets[wanted])


class Gone:
    """Stands for an embedder that this version does not have."""

    def __init__(self, one: VectorSet) -> None:
        self.id, self.dimensions = one.embedder, one.dimensions

    def view(self, document: Document) -> str:
        return document.text

    def embed(self, texts: Sequence[str], kind: Kind) -> NDArray[np.float32]:
        raise EmbeddingError(
            f"this version of codesearch has no embedder {self.id} of {self.dimensions} dimensions"
        )
