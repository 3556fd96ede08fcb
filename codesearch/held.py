"""What a warm process holds of the tables, so that a question reads less of them.

Nothing here changes an answer. What is held is used only while its table stands at the version it
was made of, and it is made beside the questions, once one version has been asked about twice: a
lone question of the command line holds nothing. LanceDB gives a row's address to no other row, so
an address that is not known, or leads nowhere, only means that the table has just moved on.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from codesearch.candidates import Candidate
from codesearch_resources.store import ALL_ROWS, Store

ROWS_AT_MOST = 300_000  # of a table; a chunk takes about 2 KB
MATRIX_BYTES = 128 * 2**20  # of each of the two matrices of vectors; above, the index is asked
# After a version was made this many times as long passes before another: commits of a run that
# come every few seconds shall not have everything read again for each.
PAUSE = 20.0

COLUMNS = (
    "chunk_id", "repo", "path", "language", "kind", "marks", "symbol", "names",
    "start_line", "end_line", "symbols",
)  # fmt: skip

Floats = NDArray[np.float32]


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
        """The cosine similarity of the `depth` rows nearest to a vector, by chunk id."""
        # Not `@`: threads of a BLAS spin while they wait, which slows what comes after.
        likeness = np.vecdot(self.vectors, vector / np.linalg.norm(vector))
        rows = len(likeness)
        best = np.argpartition(likeness, -depth)[-depth:] if depth < rows else np.arange(rows)
        ids = (self.ids[at] for at in best.tolist())
        return dict(zip(ids, likeness[best].tolist(), strict=True))


T = TypeVar("T")


class Kept(Generic[T]):
    """What was made of one table at one version."""

    def __init__(self, store: Store, name: str, make: Callable[[Any], T]) -> None:
        self._store, self._name, self._make = store, name, make
        self._held: tuple[int, T] | None = None  # the version, and what was made of it
        self._met: tuple[int, int] = (-1, -1)  # the last version, and the question that met it
        self._looked = -1  # the question that last looked at the version
        self._not_before = 0.0
        self._lock = threading.Lock()

    def now(self, question: int, pool: ThreadPoolExecutor) -> T | None:
        """What is held of the table as it stands now; has it made where that is worth it."""
        held = self._held
        if held is not None and self._looked == question:  # once a question is enough
            return held[1]
        version = self._store.ask(self._name, _version)
        if held is not None and held[0] == version:
            self._looked = question
            return held[1]
        self._looked = -1
        with self._lock:
            if self._met[0] != version:
                self._met = (version, question)
            elif self._met[1] != question and time.monotonic() >= self._not_before:
                self._not_before = float("inf")
                pool.submit(self.make)
        return None

    def make(self) -> None:
        """Make it of the table as it stands now, if that stands still meanwhile."""
        started = time.monotonic()
        try:
            self._held = self._store.ask(self._name, self._made) or self._held
        finally:
            pa.default_memory_pool().release_unused()  # what was read is twice what is held
            ended = time.monotonic()
            self._not_before = ended + PAUSE * (ended - started)

    def _made(self, table: Any) -> tuple[int, T] | None:
        version = _version(table)
        made = self._make(table)
        return (version, made) if _version(table) == version else None


class Held:
    """What is held of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._question = 0
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="held")
        self._chunks = Kept(store, "chunks", chunks_of)
        self._rows = {"summaries": Kept(store, "summaries", rows_of)}
        self._vectors: dict[str, Kept[Matrix | Rows | None]] = {
            name: Kept(store, name, partial(vectors_of, dimensions=store.dimensions))
            for name in (store.code_vectors, store.summary_vectors)
        }

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def asked(self) -> None:
        """Another question begins."""
        self._question += 1

    def warm(self) -> None:
        """Make all of it now."""
        made = set(self._store.names())
        every: dict[str, Kept[Any]] = {"chunks": self._chunks, **self._rows, **self._vectors}
        for name, kept in every.items():
            if name in made:
                kept.make()

    def chunks(self) -> Chunks | None:
        """Every chunk, where they are held."""
        return self._chunks.now(self._question, self._pool)

    def rows(self, name: str) -> Rows | None:
        """The rows of a table that is searched by words, where they are held."""
        if name == "chunks":
            chunks = self.chunks()
            return chunks.rows if chunks is not None else None
        return self._rows[name].now(self._question, self._pool)

    def vectors(self, name: str) -> Matrix | Rows | None:
        """The vectors of a table, or at least its rows, where they are held."""
        return self._vectors[name].now(self._question, self._pool)


def _version(table: Any) -> int:
    return int(table.version)


def _read(table: Any, columns: Sequence[str]) -> pa.Table:
    query = table.search().select(list(columns)).with_row_id(True).limit(ALL_ROWS)
    rows: pa.Table = query.to_arrow()
    return rows


def _rows(read: pa.Table) -> Rows:
    ids, addresses = read["chunk_id"].to_pylist(), read["_rowid"].to_pylist()
    return Rows(dict(zip(addresses, ids, strict=True)), dict(zip(ids, addresses, strict=True)))


def rows_of(table: Any) -> Rows | None:
    """The rows of a table; None for more than ROWS_AT_MOST."""
    return _rows(_read(table, ["chunk_id"])) if table.count_rows() <= ROWS_AT_MOST else None


def chunks_of(table: Any) -> Chunks | None:
    """The rows of `chunks`; None for more than ROWS_AT_MOST."""
    if table.count_rows() > ROWS_AT_MOST:
        return None
    read = _read(table, COLUMNS)
    return Chunks(_rows(read), candidates(read))


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


def vectors_of(table: Any, dimensions: int) -> Matrix | Rows | None:
    """A table's vectors where they are few or short, else its rows, else nothing."""
    if table.count_rows() * dimensions * np.dtype(np.float32).itemsize > MATRIX_BYTES:
        return rows_of(table)
    read = _read(table, ["chunk_id", "vector"])
    read = read.filter(read["vector"].is_valid())  # a text that was refused has none
    flat = read["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    vectors = flat.reshape(-1, dimensions).astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-9))
    return Matrix(read["chunk_id"].to_pylist(), vectors)
