"""What a warm process holds of the tables, so that a question reads less of them.

What is held is used only while its table stands as it did when it was made, which is looked at
every second or so, as the store does for itself. It is made beside the questions, once a table has
been asked about and has stood still for a while: one question of the command line, or a script of a
few, holds nothing. Answers may differ from those of the tables in two ways: held vectors are
compared exactly, while an index that was built over many may miss some that lie near the last place
of the lane; and held words are those of the rows that are there, while an index goes by the rows it
was made of.
"""

import ctypes
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar

import pyarrow as pa

from codesearch.in_memory import (
    Chunks,
    Ended,
    Going,
    Rows,
    Words,
    chunks_of,
    vectors_of,
    words_of,
)
from codesearch.matrix import Matrix
from codesearch_resources.log_file import LOGGER
from codesearch_resources.store import State, Store

AFTER = 3.0  # seconds that a table has stood still when what is held of it is made
# After a version was made this many times as long passes before another: commits of a run that
# come now and then shall not have everything read again for each.
PAUSE = 20.0

log = logging.getLogger(LOGGER)

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
            _give_back()
            ended = time.monotonic()
            self._not_before = ended + PAUSE * (ended - started)


class Held:
    """What is held of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._look, self._looked_at = 0, -float("inf")
        self._lock = threading.Lock()
        self._making: threading.Thread | None = None
        self._one = threading.Lock()  # is made at a time
        self._closed = False
        self._said: set[str] = set()
        self._chunks = Kept(store, "chunks", chunks_of)
        self._summaries = Kept(store, "summaries", words_of)
        self._vectors: dict[str, Kept[Matrix | Rows | None]] = {
            name: Kept(store, name, partial(vectors_of, dimensions=store.dimensions))
            for name in (store.code_vectors, store.summary_vectors)
        }

    def close(self) -> None:
        """End a making that is under way: within a batch of rows, or once what was read is sorted,
        which takes a second or two of 100,000 chunks."""
        self._closed = True

    def look(self) -> int:
        """From now on the tables are looked at again, if it is time to; returns the look's number.

        What a store sees of commits is some moments old anyway, and looking costs a millisecond.
        """
        with self._lock:
            now = time.monotonic()
            if now - self._looked_at >= self._store.sees_commits.total_seconds():
                self._look, self._looked_at = self._look + 1, now
            return self._look

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

    def words(self, name: str) -> Words | None:
        """A table that is searched by words, where it is held."""
        if name == "chunks":
            chunks = self.chunks()
            return chunks.words if chunks is not None else None
        return self._now(self._summaries)

    def vectors(self, name: str) -> Matrix | Rows | None:
        """The vectors of a table, or at least its rows, where they are held."""
        return self._now(self._vectors[name])

    def _every(self) -> dict[str, Kept[Any]]:
        return {"chunks": self._chunks, "summaries": self._summaries, **self._vectors}

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


def _give_back() -> None:
    """Give memory that is free back to the system: reading took more than is held of it."""
    pa.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):  # where the C library is not glibc
        ctypes.CDLL(None).malloc_trim(0)
