"""How far a set of vectors covers the chunks, and the step from one set to the next."""

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from codesearch_resources.sets import Sets, VectorSet, expired, forget, read_sets, switch
from codesearch_resources.store import LANCE_FOLDER, SEEN, Store, among


@dataclass(frozen=True, slots=True)
class Coverage:
    """Rows of a set beside the rows they are made of."""

    chunks: int
    code_vectors: int
    summaries: int
    summary_vectors: int

    @property
    def share(self) -> float:
        """Between 0 and 1; 1 for an index without chunks."""
        of = self.chunks + self.summaries
        had = min(self.code_vectors, self.chunks) + min(self.summary_vectors, self.summaries)
        return had / of if of else 1.0


def store_of(data_dir: Path, one: VectorSet) -> Store:
    """The tables of an index with the vectors of this set."""
    return Store(data_dir, one.embedder, one.dimensions)


def coverage(store: Store, repos: Sequence[str]) -> Coverage:
    """The rows that a set and its sources have of these repositories."""
    made, where = set(store.names()), among("repo", repos)
    names = ("chunks", store.code_vectors, "summaries", store.summary_vectors)
    counts = [store.count(name, where) if repos and name in made else 0 for name in names]
    return Coverage(*counts)


def covers(new: Store, old: Store, repos: Sequence[str]) -> bool:
    """Whether `new` has a vector wherever `old` has one of a chunk, or summary, that is there.

    Both of the same data folder. Only the rows of `repos` count: what was struck from the settings
    is not searched.
    """
    if not repos:
        return True
    pairs = (
        ("chunks", new.code_vectors, old.code_vectors),
        ("summaries", new.summary_vectors, old.summary_vectors),
    )
    made = set(new.names())
    for source, own, other in pairs:
        if not {source, other} <= made:
            continue
        wanted = _ids(new, other, repos) & _ids(new, source, repos)
        if wanted and (own not in made or not wanted <= _ids(new, own, repos)):
            return False
    return True


def _ids(store: Store, name: str, repos: Sequence[str]) -> set[str]:
    return set(store.read(name, ["chunk_id"], among("repo", repos))["chunk_id"].to_pylist())


def switch_when_covered(data_dir: Path, configured: str, repos: Sequence[str]) -> Sets | None:
    """Let the wanted set serve once it covers the one that does; the sets after a switch."""
    found = read_sets(data_dir)
    wanted = found.wanted(configured)
    if wanted == found.serving or wanted not in found.sets or found.serving not in found.sets:
        return None
    new = store_of(data_dir, found.sets[wanted])
    if not covers(new, store_of(data_dir, found.sets[found.serving]), repos):
        return None
    return switch(data_dir, wanted)


def drop_expired(data_dir: Path, grace: timedelta, now: datetime) -> list[str]:
    """Delete the tables of sets that nobody has used for `grace`; returns their names.

    The caller holds upkeep's lock. A table is moved aside first: half of one must not be met.
    """
    dropped = []
    for one in expired(read_sets(data_dir), grace, now):
        if not forget(data_dir, one.name):
            continue
        store = store_of(data_dir, one)
        for name in (store.code_vectors, store.summary_vectors):
            folder = store.folder / f"{name}.lance"
            aside = store.folder / f"{name}.dropped-{time.time_ns()}"
            (store.folder / SEEN / name).unlink(missing_ok=True)
            if folder.is_dir():
                folder.rename(aside)
                shutil.rmtree(aside, ignore_errors=True)
        dropped.append(one.name)
    for left in (data_dir / LANCE_FOLDER).glob("*.dropped-*"):  # of one that was killed here
        shutil.rmtree(left, ignore_errors=True)
    return dropped


def stored_hashes(data_dir: Path, one: VectorSet) -> set[str]:
    """The hashes of all texts that a set has rows of."""
    store = store_of(data_dir, one)
    made = set(store.names())
    found: set[str] = set()
    for name in {store.code_vectors, store.summary_vectors} & made:
        found.update(store.read(name, ["text_hash"])["text_hash"].to_pylist())
    return found


def size(store: Store) -> int:
    """Bytes on disk of a set's two tables."""
    names = (store.code_vectors, store.summary_vectors)
    total = 0
    for name in names:
        for folder, _, files in os.walk(store.folder / f"{name}.lance"):
            for file in files:
                with suppress(FileNotFoundError):  # upkeep may remove it meanwhile
                    total += Path(folder, file).stat().st_size
    return total
