"""What a warm process holds of the tables, so that a question reads less of them.

What is held is used only while its table stands as it did when it was made, so it is never of
another age. It is made beside the questions, once a table has been asked about and has stood still
for a while: one question of the command line, or a script of a few, holds nothing. One kind of
answer may differ from that of the tables: held vectors are compared exactly, while an index that
was built over many may miss some that lie near the last place of the lane, and scores may differ
in their last digits.

Within one table LanceDB gives a row's address to no other row, so an address that is not known, or
leads nowhere, only means that the table has just moved on.
"""

import heapq
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from codesearch.candidates import Candidate
from codesearch_resources.log_file import LOGGER
from codesearch_resources.store import ALL_ROWS, State, Store

# Measured at 94,384 chunks of 256 numbers: 1.6 KB a chunk with the addresses of its rows, each of
# the two matrices 1.2 to 1.6 times its own bytes with its ids and what LanceDB keeps of the
# reading; while one is made some 10 MB more. At both limits that is some 900 MB.
ROWS_AT_MOST = 300_000  # of a table; above, nothing is held of it
MATRIX_BYTES = 128 * 2**20  # of each matrix; above, the index is asked
AFTER = 3.0  # seconds that a table has stood still when what is held of it is made
# After a version was made this many times as long passes before another: commits of a run that
# come now and then shall not have everything read again for each.
PAUSE = 20.0
BATCH_ROWS = 1_024  # read at once; between two batches the making can be ended

COLUMNS = (
    "chunk_id", "repo", "path", "language", "kind", "marks", "symbol", "names",
    "start_line", "end_line", "symbols",
)  # fmt: skip

Floats = NDArray[np.float32]
Going = Callable[[], bool]  # whether to go on

log = logging.getLogger(LOGGER)


class Ended(Exception):
    """Nobody wants any more what is being made."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The addresses of a table's rows and the chunks they are of, each found by the other."""

    ids: Mapping[int, str]
    addresses: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Chunks:
    """Every chunk without its text."""

    rows: Rows
    candidates: Mapping[str, Candidate]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Every vector of a table [rows, dimensions], of unit length."""

    ids: Sequence[str]
    vectors: Floats

    def nearest(self, vector: Floats, depth: int) -> dict[str, float]:
        """The cosine similarity of the `depth` rows nearest to a vector, by chunk id; of equally
        near ones those with the lowest ids. Nothing is near to a vector of length 0."""
        length = float(np.linalg.norm(vector))
        if not length:
            return {}
        # Not `@`: threads of a BLAS spin while they wait, which slows what comes after.
        likeness = np.vecdot(self.vectors, vector / length)
        rows = len(likeness)
        least = np.partition(likeness, rows - depth)[rows - depth] if depth < rows else -np.inf
        near = np.flatnonzero(likeness >= least)
        found = zip((-likeness[near]).tolist(), (self.ids[at] for at in near.tolist()), strict=True)
        return {chunk_id: -distance for distance, chunk_id in heapq.nsmallest(depth, found)}


T = TypeVar("T")


class Kept(Generic[T]):
    """What was made of one table as it stood at one moment."""

    def __init__(self, store: Store, name: str, make: Callable[[Any, Going], T]) -> None:
        self._store, self._name, self._make = store, name, make
        self.due = False  # whether it is worth making
        self._held: tuple[State, T] | None = None
        # The look that was last taken, and what it showed: one attribute, so that a making that
        # ends between two reads never shows what is of another age.
        self._looked: tuple[int, T | None] = (-1, None)
        self._met: tuple[State, float] | None = None  # the last state seen, and since when
        self._not_before = 0.0

    def now(self, look: int) -> T | None:
        """What is held of the table as it stands now; once a look is enough to find that out."""
        looked = self._looked
        if looked[0] != look:
            self._looked = looked = (look, self._look())
        return looked[1]

    def _look(self) -> T | None:
        state, held, met = self._store.state(self._name), self._held, self._met
        if held is not None and held[0] == state:
            return held[1]
        now = time.monotonic()
        if met is None or met[0] != state:
            self._met = (state, now)
        elif now >= max(met[1] + AFTER, self._not_before):
            self.due = True
        return None

    def make(self, going: Going) -> None:
        """Make it of the table as it stands now, if that stands still meanwhile.

        Raises Ended when `going` says so, and what the store raises.
        """
        started = time.monotonic()
        self.due, self._not_before = False, float("inf")
        try:
            state = self._store.state(self._name)
            if self._held is not None and self._held[0] == state:
                return
            self._held, self._looked = None, (-1, None)  # never two at once in memory
            made = self._store.ask(self._name, lambda table: self._make(table, going))
            if self._store.state(self._name) == state:
                self._held = (state, made)
        finally:
            pa.default_memory_pool().release_unused()
            ended = time.monotonic()
            self._not_before = ended + PAUSE * (ended - started)


class Held:
    """What is held of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._look = 0
        self._lock = threading.Lock()
        self._making: threading.Thread | None = None
        self._one = threading.Lock()  # is made at a time
        self._closed = False
        self._said: set[str] = set()
        self._chunks = Kept(store, "chunks", chunks_of)
        self._rows = {"summaries": Kept(store, "summaries", rows_of)}
        self._vectors: dict[str, Kept[Matrix | Rows | None]] = {
            name: Kept(store, name, partial(vectors_of, dimensions=store.dimensions))
            for name in (store.code_vectors, store.summary_vectors)
        }

    def close(self) -> None:
        """End a making that is under way; what was begun of it ends within a batch of rows."""
        self._closed = True

    def look(self) -> None:
        """From now on the tables are looked at again."""
        with self._lock:
            self._look += 1

    def warm(self) -> None:
        """Make all of it now."""
        made = set(self._store.names())
        for name, kept in self._every().items():
            if name in made:
                with self._one:
                    kept.make(self._going)

    def chunks(self) -> Chunks | None:
        """Every chunk, where they are held."""
        return self._now(self._chunks)

    def rows(self, name: str) -> Rows | None:
        """The rows of a table that is searched by words, where they are held."""
        if name == "chunks":
            chunks = self.chunks()
            return chunks.rows if chunks is not None else None
        return self._now(self._rows[name])

    def vectors(self, name: str) -> Matrix | Rows | None:
        """The vectors of a table, or at least its rows, where they are held."""
        return self._now(self._vectors[name])

    def _every(self) -> dict[str, Kept[Any]]:
        return {"chunks": self._chunks, **self._rows, **self._vectors}

    def _now(self, kept: Kept[T]) -> T | None:
        found = kept.now(self._look)
        if kept.due:
            with self._lock:
                if self._making is None or not self._making.is_alive():
                    # No daemon: Python would end it in the middle of what is not Python.
                    self._making = threading.Thread(target=self._make_due, name="held")
                    self._making.start()
        return found

    def _going(self) -> bool:
        # The main thread counts as ended while Python waits for the others at its exit.
        return not self._closed and threading.main_thread().is_alive()

    def _make_due(self) -> None:
        while due := [name for name, kept in self._every().items() if kept.due]:
            try:
                with self._one:
                    self._every()[due[0]].make(self._going)
            except Ended:
                return
            except Exception as error:
                said = f"the table {due[0]} is not held in memory: {error}"
                if self._going() and said not in self._said:
                    self._said.add(said)
                    log.warning("%s", said)


def _batches(table: Any, columns: Sequence[str], going: Going) -> Iterator[pa.RecordBatch]:
    query = table.search().select(list(columns)).with_row_id(True).limit(ALL_ROWS)
    for batch in query.to_batches(batch_size=BATCH_ROWS):
        if not going():
            raise Ended
        yield batch


def _rows(ids: Mapping[int, str]) -> Rows:
    return Rows(ids, {chunk_id: address for address, chunk_id in ids.items()})


def rows_of(table: Any, going: Going) -> Rows | None:
    """The rows of a table; None for more than ROWS_AT_MOST."""
    if table.count_rows() > ROWS_AT_MOST:
        return None
    ids: dict[int, str] = {}
    for batch in _batches(table, ["chunk_id"], going):
        ids |= zip(batch["_rowid"].to_pylist(), batch["chunk_id"].to_pylist(), strict=True)
    return _rows(ids)


def chunks_of(table: Any, going: Going) -> Chunks | None:
    """The rows of `chunks`; None for more than ROWS_AT_MOST."""
    if table.count_rows() > ROWS_AT_MOST:
        return None
    ids: dict[int, str] = {}
    every: dict[str, Candidate] = {}
    for batch in _batches(table, COLUMNS, going):
        found = candidates(pa.Table.from_batches([batch]))
        ids |= zip(batch["_rowid"].to_pylist(), found, strict=True)
        every |= found
    return Chunks(_rows(ids), every)


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
    if rows * dimensions * np.dtype(np.float32).itemsize > MATRIX_BYTES:
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
