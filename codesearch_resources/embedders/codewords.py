"""The embedder whose table was learnt here: a vector a word, from code and what its authors say.

`training/` makes the table, docs/model-card.md says of what. A text's vector is the mean of its
words' vectors, made unit length. Rows are bytes with one scale each, mapped into memory: a lone
query touches as many rows as it has words.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codesearch_resources.embedders.base import Document, Kind, check
from codesearch_resources.embedders.view import VIEW, view
from codesearch_resources.embedders.vocabulary import Vocabulary
from codesearch_resources.text import query_words, words

MODEL = "codewords"
VERSION = 1  # of the table; raised whenever other vectors come out
SHIPPED = Path(__file__).parent / MODEL
WORDS, ROWS, SCALES = "words.txt", "rows.npy", "scales.npy"


class CodewordsEmbedder:
    """Static word vectors out of the package itself."""

    id = f"{MODEL}{VERSION}_{VIEW}"
    dimensions = 256

    def __init__(self, folder: Path = SHIPPED) -> None:
        self._folder = folder
        self.dimensions = int(self._rows.shape[1])

    @cached_property
    def _rows(self) -> NDArray[np.int8]:
        mapped: NDArray[np.int8] = np.load(self._folder / ROWS, mmap_mode="r")
        return mapped

    @cached_property
    def _scales(self) -> NDArray[np.float32]:
        stored: NDArray[np.float16] = np.load(self._folder / SCALES)
        return stored.astype(np.float32)[:, None]

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        return Vocabulary((self._folder / WORDS).read_text(encoding="utf-8").split("\n"))

    @cached_property
    def _table(self) -> NDArray[np.float32]:
        return self._rows * self._scales

    def view(self, document: Document) -> str:
        """Words of names, then of the path, then each word of the text once."""
        return view(document)

    def embed(self, texts: Sequence[str], kind: Kind) -> NDArray[np.float32]:
        """Unit vectors [len(texts), dimensions], in order.

        Raises EmbeddingError for a text without any word.
        """
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        split = query_words if kind == "query" else words
        for row, text in zip(vectors, texts, strict=True):
            ids = self._vocabulary.ids(split(text))
            if ids:
                row[:] = self._known(ids, kind).mean(axis=0)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.divide(vectors, lengths, out=vectors, where=lengths > 0)
        check(vectors, texts, self.dimensions, self.id)
        return vectors

    def _known(self, ids: Sequence[int], kind: Kind) -> NDArray[np.float32]:
        # Widening all rows once pays for thousands of texts, not for a lone query.
        return self._rows[ids] * self._scales[ids] if kind == "query" else self._table[ids]


def save(folder: Path, known: Sequence[str], table: NDArray[np.float32]) -> None:
    """Write a table [rows of the vocabulary, dimensions] in the form that the embedder reads."""
    folder.mkdir(parents=True, exist_ok=True)
    scales = (np.abs(table).max(axis=1) / 127).astype(np.float16)
    steps = np.where(scales > 0, scales, 1).astype(np.float32)[:, None]
    rows = np.clip(np.rint(table / steps), -127, 127).astype(np.int8)
    (folder / WORDS).write_text("\n".join(known), encoding="utf-8")
    np.save(folder / ROWS, rows)
    np.save(folder / SCALES, scales)
