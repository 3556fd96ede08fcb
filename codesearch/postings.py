"""Which rows hold a word, and BM25 over them: a full-text index in memory.

It scores as LanceDB's index of the same column does, to the last digits, where that index has every
row and no row was taken from it: so it does not matter which of the two answers. After Robertson
and Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond (2009), with an inverse
document frequency that is never below 0.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

# As LanceDB has them.
K1, B = 1.2, 0.75
TOO_LONG = 40  # bytes of a word that is left out

Integers = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Inverted:
    """Values in the order of their hashes, and for each the rows that hold it:
    rows[starts[n]:starts[n + 1]]."""

    values: pa.StringArray
    hashes: NDArray[np.int64]  # of this process
    starts: NDArray[np.int64]
    rows: Integers

    def slices(self, values: Collection[str]) -> list[slice]:
        """For each value that is held, where in `rows` those of it are."""
        hashes = np.fromiter(map(hash, values), np.int64, len(values))
        found = []
        for at, value in zip(np.searchsorted(self.hashes, hashes).tolist(), values, strict=True):
            while at < len(self.values) and self.hashes[at] == hash(value):
                if self.values[at].as_py() == value:
                    found.append(slice(int(self.starts[at]), int(self.starts[at + 1])))
                at += 1
        return found

    def holding(self, values: Collection[str]) -> NDArray[np.intp]:
        """The rows that hold any of these values, in their order."""
        found = [self.rows[where] for where in self.slices(values)]
        return np.unique(np.concatenate([*found, np.empty(0, np.intp)]))


@dataclass(frozen=True, slots=True)
class Postings:
    """The words of `size` rows; `weights` [postings]: what a word is worth in a row, but for its
    rarity; `filled`: rows with any word."""

    inverted: Inverted
    weights: NDArray[np.float32]
    size: int
    filled: int

    def best(
        self, words: Collection[str], depth: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """The `depth` best rows that hold any of these words, and their BM25 scores, best first; of
        equally good ones the first. With `allowed` [size] of the rows for which it holds."""
        scores = np.zeros(self.size, np.float32)
        for where in self.inverted.slices(words):
            held = where.stop - where.start
            rarity = math.log(1 + (self.filled - held + 0.5) / (held + 0.5))
            # A row stands at most once among those of a word.
            scores[self.inverted.rows[where]] += np.float32(rarity) * self.weights[where]
        if allowed is not None:
            scores *= allowed
        rows = np.flatnonzero(scores > 0)
        values = scores[rows]
        best = highest(values, depth)
        return rows[best], values[best]


class Gathering:
    """Values of rows that come in batches, to be turned into what finds their rows."""

    def __init__(self) -> None:
        self.rows = 0
        self.nbytes = 0  # of what was gathered
        self._values: list[pa.DictionaryArray] = []
        self._at: list[Integers] = []
        self._counts: list[Integers] = []

    def add(self, lists: pa.ListArray) -> None:
        """Take the lists of the next rows; a value counts as often as its row holds it."""
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        values = lists.flatten().dictionary_encode()
        row = np.repeat(np.arange(len(lists)), lengths)
        size = len(values.dictionary)
        pairs, counts = np.unique(row * size + values.indices.to_numpy(), return_counts=True)
        at, codes = np.divmod(pairs, max(size, 1))
        self._values.append(
            pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), values.dictionary)
        )
        self._at.append((at + self.rows).astype(np.int32))
        self._counts.append(counts.astype(np.int32))
        self.rows += len(lists)
        self.nbytes += 3 * self._at[-1].nbytes

    def inverted(self) -> Inverted:
        """What finds the rows of a value."""
        return self._sorted()[0]

    def postings(self) -> Postings:
        """What finds the best rows for words."""
        inverted, counts = self._sorted()
        lengths = np.bincount(inverted.rows, counts, minlength=self.rows)
        filled = int(np.count_nonzero(lengths))
        average = lengths.sum() / max(filled, 1)
        rest = (K1 * (1 - B + B * lengths / max(average, 1))).astype(np.float32)[inverted.rows]
        weights = counts.astype(np.float32)
        rest += weights
        weights *= np.float32(K1 + 1)
        weights /= rest
        return Postings(inverted, weights, self.rows, filled)

    def _sorted(self) -> tuple[Inverted, Integers]:
        """The rows of each value, and how often each holds it."""
        none = pa.array([], pa.string()).dictionary_encode()
        parts = pa.chunked_array([*self._values, none]).unify_dictionaries().chunks
        words = parts[0].dictionary
        hashes = np.fromiter(map(hash, words.to_pylist()), np.int64, len(words))
        ascending = np.argsort(hashes)
        rank = np.empty(len(words), np.int32)
        rank[ascending] = np.arange(len(words), dtype=np.int32)
        codes = rank[np.concatenate([part.indices.to_numpy() for part in parts])]
        starts = np.zeros(len(words) + 1, np.int64)
        np.cumsum(np.bincount(codes, minlength=len(words)), out=starts[1:])
        order = np.argsort(codes, kind="stable")  # rows of a value stay in their order
        rows = np.concatenate([*self._at, np.empty(0, np.int32)])[order]
        counts = np.concatenate([*self._counts, np.empty(0, np.int32)])[order]
        values = words.take(pa.array(ascending))
        return Inverted(values, hashes[ascending], starts, rows), counts


def highest(values: NDArray[np.float32], depth: int) -> NDArray[np.intp]:
    """The places of the `depth` highest values, highest first; of equally high ones the first.

    Fast where few are equal: a partition of mostly equal values is slow.
    """
    least = np.partition(values, -depth)[-depth] if depth < len(values) else -np.inf
    found = np.flatnonzero(values >= least)
    return found[np.argsort(-values[found], kind="stable")[:depth]]


def split(texts: pa.StringArray) -> pa.ListArray:
    """The words of texts that are split by blanks already, without those that are too long."""
    lists = pc.utf8_split_whitespace(pc.fill_null(texts, ""))
    words = lists.flatten()
    kept = pc.and_(
        pc.greater(pc.binary_length(words), 0), pc.less(pc.binary_length(words), TOO_LONG)
    )
    if pc.all(kept).as_py() in (True, None):
        return lists
    held = np.concatenate([[0], np.cumsum(kept.to_numpy(zero_copy_only=False))])
    ends = held[lists.offsets.to_numpy() - lists.offsets[0].as_py()].astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), words.filter(kept))
