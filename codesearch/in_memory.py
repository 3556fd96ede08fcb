"""A table's rows in memory: what a question needs of them, and how they are read.

Within one table LanceDB gives a row's address to no other row, so an address that is not known, or
leads nowhere, only means that the table has just moved on.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from codesearch.candidates import Candidate, Known, Placed, Places, known
from codesearch.matrix import Filling, Matrix
from codesearch.postings import Gathering, Integers, Inverted, Postings, split
from codesearch.symbols import Definition, Shown
from codesearch_resources.store import ALL_ROWS

ROWS_AT_MOST = 300_000  # of a table; above, nothing is held of it
# Of the vectors of a table as they are stored (rounded, they take half as much again), of its
# words, of what is shown of it; above, the table is asked. Measured at 94,384 chunks of 256
# numbers: 674 MB in all, 7 KB a chunk, and while `chunks` is read several hundred more.
BYTES_AT_MOST = 192 * 2**20
TABLES = 8  # whose rows' places are kept, those of tables as they were before among them
DEFINES = 1.0  # what a chunk that defines an asked name is worth in its lane
BATCH_ROWS = 1_024  # read at once; between two batches the making can be ended

COLUMNS = (
    "chunk_id", "repo", "path", "language", "kind", "marks", "symbol", "names",
    "start_line", "end_line", "symbols",
)  # fmt: skip
SPAN = ("start_line", "end_line")  # of a definition

Mask = NDArray[np.bool_]
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


@dataclass(frozen=True, slots=True)
class Words:
    """A table that is searched by words: what finds its rows, and the texts that are shown."""

    rows: Rows
    postings: Postings | None
    texts: pa.StringArray | None

    def read(self, texts: pa.StringArray, ids: Iterable[str]) -> dict[str, str]:
        """The texts of those of these chunks that there are."""
        places = self.rows.places
        return {key: texts[places[key]].as_py() or "" for key in ids if key in places}


@dataclass(frozen=True, slots=True)
class Chunks:
    """Every chunk."""

    words: Words
    known: Known
    named: Inverted  # by look-up names
    spans: Integers  # [definitions, 2]: first and last line
    first_span: NDArray[np.intp]  # [rows and one]
    _places: dict[int, tuple[Sequence[str], Places]] = field(default_factory=dict, repr=False)

    def places(self, ids: Sequence[str]) -> Places:
        """The places of chunks among those that are known, -1 for others; made once for a table's.

        `ids` are remembered by what they are, not by what they hold.
        """
        found = self._places.get(id(ids))
        if found is None:
            if len(self._places) >= TABLES:
                self._places.clear()
            places = (self.known.places.get(key, -1) for key in ids)
            found = self._places[id(ids)] = (ids, np.fromiter(places, np.intp, len(ids)))
        return found[1]

    def read(self, texts: pa.StringArray, ids: Iterable[str]) -> dict[str, Shown]:
        """What is shown of those of these chunks that there are."""
        found = {}
        for key, text in self.words.read(texts, ids).items():
            chunk, row = self.known.chunks[self.known.places[key]], self.words.rows.places[key]
            spans = self.spans[self.first_span[row] : self.first_span[row + 1]].tolist()
            inside = [Definition(n, *lines) for n, lines in zip(chunk.inside, spans, strict=True)]
            found[key] = Shown(text, chunk.start_line, chunk.end_line, inside)
        return found

    def defining(self, names: Collection[str], most: int, allowed: Mask | None) -> Placed:
        """The first chunks that define any of these names."""
        places = self.places(self.words.rows.ids)[self.named.holding(names)]
        if allowed is not None:
            places = places[allowed[places]]
        return Placed(self.known, places[:most], np.full(len(places[:most]), DEFINES))


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
    """The same of a table that is searched by words, of which a column of texts is shown."""

    def __init__(self, shown: str) -> None:
        super().__init__()
        self._words: Gathering | None = Gathering()
        self._shown = shown
        self._texts: list[pa.StringArray] | None = []
        self._bytes = 0

    def add(self, batch: pa.RecordBatch) -> None:
        super().add(batch)
        if self._words is not None:
            self._words.add(split(batch["fts_text"]))
            if self._words.nbytes > BYTES_AT_MOST:
                self._words = None
        if self._texts is not None:
            every_row = pa.array(range(batch.num_rows), pa.int64())
            self._texts.append(batch[self._shown].take(every_row))  # a view keeps the whole batch
            self._bytes += self._texts[-1].nbytes
            if self._bytes > BYTES_AT_MOST:
                self._texts = None

    def words(self) -> Words:
        postings = self._words.postings() if self._words is not None else None
        none = pa.array([], pa.string())
        texts = pa.concat_arrays([none, *self._texts]) if self._texts is not None else None
        return Words(self.rows(), postings, texts)


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
    read = _ReadingWords("summary")
    for batch in _batches(table, ["chunk_id", "summary", "fts_text"], going):
        read.add(batch)
    return read.words()


def chunks_of(table: Any, going: Going) -> Chunks | None:
    """The rows of `chunks`; None for more than ROWS_AT_MOST."""
    if table.count_rows() > ROWS_AT_MOST:
        return None
    read, names = _ReadingWords("text"), Gathering()
    every: list[Candidate] = []
    spans = [np.empty((0, 2), np.int32)]
    for batch in _batches(table, [*COLUMNS, "text", "fts_text"], going):
        read.add(batch)
        names.add(batch["names"])
        every += candidates(pa.Table.from_batches([batch]))
        lines = batch["symbols"].flatten()
        spans.append(np.column_stack([lines.field(name).to_numpy() for name in SPAN]))
    first_span = np.cumsum([0, *(len(chunk.inside) for chunk in every)])
    return Chunks(read.words(), known(every), names.inverted(), np.concatenate(spans), first_span)


def candidates(rows: pa.Table) -> list[Candidate]:
    """Rows of `chunks` as candidates."""
    # One object for each path and language instead of one for each row.
    plain = [
        _shared(column) if column.type == pa.string() else column.to_pylist()
        for column in rows.select(COLUMNS[1:-1]).columns
    ]
    return [
        Candidate(
            chunk_id, repo, path, language, kind, tuple(marks or ()), symbol, tuple(names or ()),
            start, end, inside,
        )
        for chunk_id, repo, path, language, kind, marks, symbol, names, start, end, inside in zip(
            rows["chunk_id"].to_pylist(), *plain, _inside(rows["symbols"]), strict=True
        )
    ]  # fmt: skip


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
    size = rows * dimensions * np.dtype(np.float16).itemsize
    if rows > ROWS_AT_MOST or size > BYTES_AT_MOST:
        return rows_of(table, going)
    filling = Filling(rows, dimensions)
    for batch in _batches(table, ["chunk_id", "vector"], going):
        if batch["vector"].null_count:  # a text that was refused has none
            batch = batch.filter(batch["vector"].is_valid())
        vectors = batch["vector"].flatten().to_numpy(zero_copy_only=False)
        if not filling.add(batch["chunk_id"].to_pylist(), vectors.reshape(-1, dimensions)):
            return None  # the table has just grown: this is not kept
    return filling.matrix()
