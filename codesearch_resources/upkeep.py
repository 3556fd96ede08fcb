"""Upkeep of the LanceDB tables: fold unindexed rows in, compact, prune, index vectors.

Worth doing rarely: optimizing after every update costs a hundred times the CPU and ten times the
disk of optimizing after every twentieth. A table with nothing to do gets no new version.
"""

import json
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from codesearch_resources.data_dir import modified
from codesearch_resources.schemas import TableSpec
from codesearch_resources.store import DAMAGED, Store

UNINDEXED_ROWS = 2_000  # unindexed text costs 25 CPU ms per 1,000 rows and query
SMALL_FRAGMENTS = 20
# A small table that is only ever updated in place has few fragments and yet a version a write.
OLD_VERSIONS = 200
# Below this an exact scan of 256 float16 numbers a row takes a few milliseconds.
VECTOR_INDEX_ROWS = 20_000
RETENTION = timedelta(hours=1)
STRAY_AGE = 24 * 3600.0  # seconds; a write that takes a day is dead
COMMIT_ATTEMPTS = 8
BUILT_ROWS = "vector_index_rows.json"


@dataclass(frozen=True, slots=True)
class TableState:
    """What decides whether a table is due."""

    name: str
    rows: int
    unindexed: int
    small_fragments: int
    old_versions: int  # past RETENTION
    vector_index_rows: int | None  # None: the table has no vectors, or no vector index yet

    def wants_vector_index(self, spec: TableSpec) -> bool:
        if not spec.vector or self.rows < VECTOR_INDEX_ROWS:
            return False
        return self.vector_index_rows is None or self.rows >= 2 * self.vector_index_rows

    def is_due(self, spec: TableSpec) -> bool:
        indexed = bool(spec.btree or spec.bitmap or spec.full_text)
        return (
            (indexed and self.unindexed >= UNINDEXED_ROWS)
            or self.small_fragments >= SMALL_FRAGMENTS
            or self.old_versions >= OLD_VERSIONS
            or self.wants_vector_index(spec)
        )


def state(store: Store, name: str) -> TableState:
    """How a table stands, from its statistics alone."""
    spec = store.specs[name]
    indices, stats = store.ask(name, lambda table: (table.list_indices(), table.stats()))
    has_vector_index = any(list(index.columns) == [spec.vector] for index in indices)
    return TableState(
        name,
        int(stats["num_rows"]),
        max((int(index.num_unindexed_rows or 0) for index in indices), default=0),
        int(stats["fragment_stats"]["num_small_fragments"]),
        _old_versions(store.folder / f"{name}.lance" / "_versions"),
        _built_rows(store).get(name, 0) if has_vector_index else None,
    )


def _old_versions(folder: Path) -> int:
    """The versions that upkeep would remove, by their files: reading them costs far more."""
    old = time.time() - RETENTION.total_seconds()
    written = map(modified, folder.iterdir())
    return sum(at is not None and at < old for at in written)


def due(store: Store) -> list[TableState]:
    """The tables that want upkeep now."""
    made = set(store.names())
    states = (state(store, name) for name in store.specs if name in made)
    return [found for found in states if found.is_due(store.specs[found.name])]


def upkeep(store: Store) -> list[TableState]:
    """Bring every due table into shape; returns those that were worked on.

    Runs beside writers of rows. Two upkeeps at once would preempt each other, so the caller holds
    a lock or a pool of one.
    """
    worked = due(store)
    for found in worked:
        spec = store.specs[found.name]
        if found.wants_vector_index(spec):
            store.ask(found.name, partial(_retry, partial(_index_vectors, column=spec.vector)))
            _remember_built_rows(store, found)
        store.ask(found.name, partial(_retry, _optimize))
        _remove_strays(store.folder / f"{found.name}.lance" / "data")
    return worked


def _optimize(table: Any) -> None:
    table.optimize(cleanup_older_than=RETENTION)


def _index_vectors(table: Any, column: str) -> None:
    from lancedb.index import IvfRq

    # One bit a dimension; the query refines ten times as many candidates from the real vectors.
    table.create_index(column, config=IvfRq(distance_type="cosine", num_bits=1), replace=True)


def _built_rows(store: Store) -> dict[str, int]:
    """The rows each vector index was trained on: LanceDB counts the folded-in ones with them."""
    try:
        return dict(json.loads((store.folder / BUILT_ROWS).read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def _remember_built_rows(store: Store, found: TableState) -> None:
    built = _built_rows(store) | {found.name: found.rows}
    (store.folder / BUILT_ROWS).write_text(json.dumps(built))


def _retry(work: Callable[[Any], object], table: Any) -> None:
    """The library does not retry a preempted `optimize` or `create_index` by itself."""
    for attempt in range(COMMIT_ATTEMPTS):
        try:
            work(table)
            return
        except RuntimeError as error:
            if "Retryable commit conflict" not in str(error) or attempt == COMMIT_ATTEMPTS - 1:
                raise
            time.sleep(random.uniform(0, 0.1 * 2**attempt))
            table.checkout_latest()


def old_damaged(store: Store, before: datetime) -> list[Path]:
    """The damaged tables that were set aside before a time: nobody came to look at them."""
    folders = store.folder.glob(f"*{DAMAGED}*") if store.folder.is_dir() else ()
    stamps = ((folder, folder.name.rpartition(DAMAGED)[2]) for folder in folders)
    limit = before.timestamp() * 1e9
    return [folder for folder, stamp in stamps if stamp.isdecimal() and int(stamp) < limit]


def remove_damaged(store: Store, before: datetime) -> int:
    """Delete those; returns how many."""
    folders = old_damaged(store, before)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return len(folders)


def _remove_strays(data: Path) -> None:
    """Temporary files of writers that were killed; `optimize` leaves them."""
    for stray in data.glob(".tmp*"):
        written = modified(stray)
        if written is not None and time.time() - written > STRAY_AGE:
            if stray.is_dir():
                shutil.rmtree(stray, ignore_errors=True)
            else:
                stray.unlink(missing_ok=True)
