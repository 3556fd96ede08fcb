"""A table's rows in memory: what a question needs of them, and how they are read.

Within one table LanceDB gives a row's address to no other row, so an address that is not known, or
leads nowhere, only means that the table has just moved on.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from codesearch.candidates import Candidate
from codesearch.postings import Gathering, Inverted, Postings, split
from codesearch_resources.store import ALL_ROWS

ROWS_AT_MOST = 300_000  # of a table; above, nothing is held of it
# Of the vectors of a table, of its words, of what is shown of it; above, the table is asked.
# Measured at 94,384 chunks of 256 numbers: some 700 MB in all, 7 KB a chunk, and while `chunks` is
# read several hundred more.
BYTES_AT_MOST = 192 * 2**20
MASKS = 4  # tables that a filter is kept for
DEFINES = 1.0  # what a chunk that defines an asked name is worth in its lane
BATCH_ROWS = 1_024  # read at once; between two batches the making can be ended

COLUMNS = (
    "chunk_id", "repo", "path", "language", "kind", "marks", "symbol", "names",
    "start_line", "end_line", "symbols",
)  # fmt: skip
SHOWN = ("text", "start_line", "end_line", "symbols")  # of a hit

Floats = NDArray[np.float32]
Going = Callable[[], bool]  # whether to go on


class Ended(Exception):
    """Nobody wants any more what is being made."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Where a table's rows are and the chunks they are of, each found by the other."""

    ids: Sequence[str]  # of chunks, in the order of the rows
    places: Mapping[str, int]  # in that order, by chunk id
    addresses: NDArray[np.uint64]  # in that order
    ascending: NDArray[np.intp]  # the order of the addresses

    def at(self, addresses: NDArray[np.uint64]) -> list[str] | None:
        """The chunks at these addresses; None when one of them is not known."""
        if not len(self.addresses):
            return None if len(addresses) else []
        found = np.searchsorted(self.addresses, addresses, sorter=self.ascending)
        places = self.ascending[np.minimum(found, len(self.addresses) - 1)]
        if not np.array_equal(self.addresses[places], addresses):
            return None
        return [self.ids[place] for place in places.tolist()]

    def of(self, ids: Iterable[str]) -> list[int]:
        """The addresses of those of these chunks that are known."""
        known = [self.places[key] for key in ids if key in self.places]
        return [int(address) for address in self.addresses[known]]


class Allowed:
    """The chunks that a question with filters may find."""

    def __init__(self, ids: frozenset[str]) -> None:
        self.ids = ids
        self._masks: dict[int, tuple[Sequence[str], NDArray[np.bool_]]] = {}

    def mask(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        """For each row of a table, whether its chunk is among them; made once for a table."""
        found = self._masks.get(id(ids))
        if found is None:
            if len(self._masks) > MASKS:  # of tables as they were before
                self._masks.clear()
            made = np.fromiter(map(self.ids.__contains__, ids), np.bool_, len(ids))
            found = self._masks[id(ids)] = (ids, made)
        return found[1]


@dataclass(frozen=True, slots=True)
class Words:
    """A table that is searched by words: what finds its rows, and what is shown of them."""

    rows: Rows
    postings: Postings | None
    shown: pa.Table | None

    def best(
        self, postings: Postings, words: Iterable[str], depth: int, allowed: Allowed | None
    ) -> dict[str, float]:
        """The BM25 scores of the `depth` best chunks, best first, equally good ones by id."""
        mask = allowed.mask(self.rows.ids) if allowed is not None else None
        places, scores = postings.best(words, depth, mask)
        ids = [self.rows.ids[place] for place in places]
        ranked = sorted(zip(scores, ids, strict=True), key=lambda one: (-one[0], one[1]))
        return {chunk_id: score for score, chunk_id in ranked}

    def read(self, shown: pa.Table, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What is shown of those of these chunks that there are."""
        known = {key: self.rows.places[key] for key in ids if key in self.rows.places}
        rows = shown.take(pa.array(known.values(), pa.int64()))
        return dict(zip(known, rows.to_pylist(), strict=True))


@dataclass(frozen=True, slots=True)
class Chunks:
    """Every chunk."""

    words: Words
    candidates: Mapping[str, Candidate]
    named: Inverted  # by look-up names

    def defining(
        self, names: Iterable[str], most: int, allowed: Allowed | None
    ) -> dict[str, float]:
        """The first chunks that define any of these names, by id."""
        found = (self.words.rows.ids[place] for place in self.named.holding(names))
        fitting = (key for key in found if allowed is None or key in allowed.ids)
        return dict.fromkeys(sorted(islice(fitting, most)), DEFINES)


@dataclass(frozen=True, slots=True)
class Matrix:
    """Every vector of a table [rows, dimensions], of unit length."""

    ids: Sequence[str]
    vectors: Floats

    def nearest(
        self, vector: Floats, depth: int, allowed: Allowed | None = None
    ) -> dict[str, float]:
        """The cosine similarity of the `depth` rows nearest to a vector, by chunk id, nearest
        first; of equally near ones those with the lowest ids. Nothing is near to a vector of
        length 0."""
        length = float(np.linalg.norm(vector))
        if not length:
            return {}
        # Not `@`: threads of a BLAS spin while they wait, which slows what comes after.
        likeness = np.vecdot(self.vectors, vector / length)
        rows = len(likeness)
        if allowed is not None:
            mask = allowed.mask(self.ids)
            likeness = np.where(mask, likeness, -np.inf)
            depth = min(depth, int(np.count_nonzero(mask)))
            if not depth:
                return {}
        least = np.partition(likeness, rows - depth)[rows - depth] if depth < rows else -np.inf
        near = np.flatnonzero(likeness >= least)
        found = zip((-likeness[near]).tolist(), (self.ids[at] for at in near.tolist()), strict=True)
        return {chunk_id: -distance for distance, chunk_id in heapq.nsmallest(depth, found)}


def _batches(table: Any, columns: Sequence[str], going: Going) -> Iterator[pa.RecordBatch]:
    query = table.search().select(list(columns)).with_row_id(True).limit(ALL_ROWS)
    for batch in query.to_batches(batch_size=BATCH_ROWS):
        if not going():
            raise Ended
        yield batch
    if not going():  # sorting what was read takes its time too
        raise Ended


class _Reading:
    """What is read of a table's rows, batch by batch."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._addresses: list[NDArray[np.uint64]] = []

    def add(self, batch: pa.RecordBatch) -> None:
        self.ids += batch["chunk_id"].to_pylist()
        self._addresses.append(batch["_rowid"].to_numpy().copy())  # a view keeps the whole batch

    def rows(self) -> Rows:
        addresses = np.concatenate([*self._addresses, np.empty(0, np.uint64)])
        places = {chunk_id: place for place, chunk_id in enumerate(self.ids)}
        return Rows(self.ids, places, addresses, np.argsort(addresses))


class _ReadingWords(_Reading):
    """The same of a table that is searched by words, of which the columns `shown` are shown."""

    def __init__(self, shown: Sequence[str]) -> None:
        super().__init__()
        self._words: Gathering | None = Gathering()
        self._columns = list(shown)
        self._shown: list[pa.RecordBatch] | None = []
        self._bytes = 0

    def add(self, batch: pa.RecordBatch) -> None:
        super().add(batch)
        if self._words is not None:
            self._words.add(split(batch["fts_text"]))
            if self._words.nbytes > BYTES_AT_MOST:
                self._words = None
        if self._shown is not None:
            every_row = pa.array(range(batch.num_rows), pa.int64())
            self._shown.append(batch.select(self._columns).take(every_row))
            self._bytes += self._shown[-1].nbytes
            if self._bytes > BYTES_AT_MOST:
                self._shown = None

    def words(self) -> Words:
        postings = self._words.postings() if self._words is not None else None
        return Words(self.rows(), postings, self._table())

    def _table(self) -> pa.Table | None:
        if self._shown:
            return pa.Table.from_batches(self._shown).combine_chunks()
        return pa.table({name: [] for name in self._columns}) if self._shown == [] else None


def rows_of(table: Any, going: Going) -> Rows | None:
    """The rows of a table; None for more than ROWS_AT_MOST."""
    if table.count_rows() > ROWS_AT_MOST:
        return None
    read = _Reading()
    for batch in _batches(table, ["chunk_id"], going):
        read.add(batch)
    return read.rows()


def words_of(table: Any, going: Going) -> Words | None:
    """The words of `summaries`; None for more than ROWS_AT_MOST."""
    if table.count_rows() > ROWS_AT_MOST:
        return None
    read = _ReadingWords(["summary"])
    for batch in _batches(table, ["chunk_id", "summary", "fts_text"], going):
        read.add(batch)
    return read.words()


def chunks_of(table: Any, going: Going) -> Chunks | None:
    """The rows of `chunks`; None for more than ROWS_AT_MOST."""
    if table.count_rows() > ROWS_AT_MOST:
        return None
    read, names = _ReadingWords(SHOWN), Gathering()
    every: dict[str, Candidate] = {}
    for batch in _batches(table, list(dict.fromkeys((*COLUMNS, *SHOWN, "fts_text"))), going):
        read.add(batch)
        names.add(batch["names"])
        every |= candidates(pa.Table.from_batches([batch]))
    return Chunks(read.words(), every, names.inverted())


def candidates(rows: pa.Table) -> dict[str, Candidate]:
    """Rows of `chunks` as candidates, by id."""
    # One object for each path and language instead of one for each row.
    plain = [
        _shared(column) if column.type == pa.string() else column.to_pylist()
        for column in rows.select(COLUMNS[1:-1]).columns
    ]
    return {
        chunk_id: Candidate(
            chunk_id, repo, path, language, kind, tuple(marks or ()), symbol, tuple(names or ()),
            start, end, inside,
        )
        for chunk_id, repo, path, language, kind, marks, symbol, names, start, end, inside in zip(
            rows["chunk_id"].to_pylist(), *plain, _inside(rows["symbols"]), strict=True
        )
    }  # fmt: skip


def _shared(column: pa.ChunkedArray) -> list[str | None]:
    found = column.combine_chunks().dictionary_encode()
    values = [*found.dictionary.to_pylist(), None]
    return [values[at] for at in pc.fill_null(found.indices, len(values) - 1).to_pylist()]


def _inside(symbols: pa.ChunkedArray) -> list[tuple[str, ...]]:
    """The names of each chunk's definitions."""
    lists = symbols.combine_chunks()
    names = pc.struct_field(lists.flatten(), "name").to_pylist()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    ends = np.cumsum(lengths).tolist()
    return [tuple(names[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def vectors_of(table: Any, going: Going, dimensions: int) -> Matrix | Rows | None:
    """A table's vectors where they are few or short, else its rows, else nothing."""
    rows = table.count_rows()
    if rows * dimensions * np.dtype(np.float32).itemsize > BYTES_AT_MOST:
        return rows_of(table, going)
    ids: list[str] = []
    vectors = np.empty((rows, dimensions), np.float32)
    for batch in _batches(table, ["chunk_id", "vector"], going):
        if batch["vector"].null_count:  # a text that was refused has none
            batch = batch.filter(batch["vector"].is_valid())
        start, end = len(ids), len(ids) + batch.num_rows
        if end > rows:
            return None  # the table has just grown: this is not kept
        part = vectors[start:end]
        part[:] = batch["vector"].flatten().to_numpy(zero_copy_only=False).reshape(part.shape)
        lengths = np.sqrt(np.einsum("ij,ij->i", part, part))
        part /= np.maximum(lengths, np.float32(1e-9))[:, np.newaxis]
        ids += batch["chunk_id"].to_pylist()
    return Matrix(ids, vectors[: len(ids)])
