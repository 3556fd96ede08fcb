"""From settings to an embedder, and from a set of vectors to the one that its questions need."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from codesearch_resources.embedders.base import Document, Embedder, EmbeddingError, Kind
from codesearch_resources.embedders.identity import EMBEDDED, identity
from codesearch_resources.sets import VectorSet, read_sets
from codesearch_resources.settings import EmbedderSettings, Settings
from codesearch_resources.settings_embedders import EmbeddedSettings


def make_embedder(settings: EmbedderSettings, around: Settings) -> Embedder:
    """The embedder that the settings describe, in a configuration; nothing is asked of it yet."""
    if isinstance(settings, EmbeddedSettings):
        return EMBEDDED[settings.model]()
    from codesearch_resources.embedders.server import server_embedder  # HTTP and threads

    return server_embedder(settings, around)


def set_of(settings: EmbedderSettings) -> VectorSet:
    """The set of vectors that these settings fill."""
    return VectorSet(*identity(settings), settings.model_dump(mode="json"))


def embedder_of(one: VectorSet, around: Settings) -> Embedder:
    """The embedder that made a set, by the settings that were kept with it.

    One that this version cannot make any more, or makes otherwise, embeds nothing: vectors of two
    spaces never meet.
    """
    try:
        settings: EmbedderSettings = TypeAdapter(EmbedderSettings).validate_python(one.settings)
    except ValidationError:
        return Gone(one)
    if identity(settings) != (one.embedder, one.dimensions):
        return Gone(one)
    return make_embedder(settings, around)


def wanted_embedder(settings: Settings) -> Embedder:
    """The embedder whose set is to be filled: that of the settings, or one chosen by hand."""
    configured = set_of(settings.embedder)
    found = read_sets(settings.data_dir)
    wanted = found.wanted(configured.name)
    if wanted == configured.name:
        return make_embedder(settings.embedder, settings)
    return embedder_of(found.sets[wanted], settings)


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
