"""What every embedder is: text in, unit vectors out, with a view of the code of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Kind = Literal["document", "query"]
UNIT_TOLERANCE = 1e-2


class EmbeddingError(Exception):
    """A text could not be embedded; the message names the embedder and the text."""


class TextsRefused(EmbeddingError):
    """Some texts have no vector, by no fault of the others.

    `vectors` [texts, dimensions] holds those of the others; the rows named in `refused`, each with
    its reason, mean nothing.
    """

    def __init__(self, vectors: NDArray[np.float32], refused: Mapping[int, str]) -> None:
        self.vectors, self.refused = vectors, refused
        first = next(iter(refused.values()), "")
        super().__init__(f"{len(refused)} of {len(vectors)} texts have no vector: {first}")


@dataclass(frozen=True, slots=True)
class Document:
    """What an embedder may look at of a chunk or of its summary."""

    path: str
    language: str
    names: tuple[str, ...]  # the symbols it defines
    header: str
    text: str


class Embedder(Protocol):
    """Identified by kind, model, dimensions and view: `id` holds all but the dimensions."""

    id: str
    dimensions: int

    def view(self, document: Document) -> str:
        """The text of a document that is embedded; equal views share one vector."""
        ...

    def embed(self, texts: Sequence[str], kind: Kind) -> NDArray[np.float32]:
        """Unit vectors [len(texts), dimensions], in order.

        Raises TextsRefused when single texts have no finite vector, EmbeddingError when none can
        be had now.
        """
        ...


def check(vectors: NDArray[np.float32], texts: Sequence[str], dimensions: int, who: str) -> None:
    """Raise EmbeddingError unless there is one vector of the width for each text, TextsRefused for
    those that are not finite and of unit length."""
    if vectors.shape != (len(texts), dimensions):
        raise EmbeddingError(
            f"{who} gave {vectors.shape} for {len(texts)} texts of {dimensions} dimensions"
        )
    lengths = np.linalg.norm(vectors, axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) < UNIT_TOLERANCE))
    if wrong.size:
        refused = {at: f"{who} has no unit vector for {texts[at][:80]!r}" for at in wrong.tolist()}
        raise TextsRefused(vectors, refused)
