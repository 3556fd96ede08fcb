"""Which set of vectors answers: looked up for each question, so that a switch needs no restart.

A question goes to one set and is embedded by that set's own embedder; vectors of two embedders
never meet. While another set is being filled, notices say how far it is.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from codesearch.lanes import Lanes
from codesearch_resources.coverage import coverage
from codesearch_resources.embedders.base import Embedder
from codesearch_resources.embedders.make import embedder_of, make_embedder, set_of
from codesearch_resources.sets import Sets, VectorSet, read_sets, sets_written
from codesearch_resources.settings import Settings
from codesearch_resources.store import SOON, Store

SAID_FOR = timedelta(hours=1)  # how long after a switch a notice tells of it
# Of the settings, what neither lanes nor an embedder read; of repositories it reads `local_only`.
UNREAD = {"repositories", "missing_discover", "dagster_home", "grace_days", "keep_runs_days"}
STANDS = 1.0  # seconds that a notice is held to be true: counting rows takes milliseconds


class Serving:
    """The lanes over the set that serves now."""

    def __init__(self, settings: Settings) -> None:
        self._lock = threading.Lock()
        self._filling: dict[str, Store] = {}  # sets that are asked only how far they are
        self._settings, self._configured = settings, set_of(settings.embedder)
        self._opened: tuple[tuple[str, str], Store, Lanes] | None = None
        self._told: tuple[Sets, float, list[str]] | None = None
        self._read: tuple[tuple[int, ...], Sets] | None = None

    def follow(self, settings: Settings) -> None:
        """Go by these settings from now on; their data folder is the one there was."""
        with self._lock:
            if _made_of(settings) != _made_of(self._settings):  # else what lanes hold still holds
                self._leave()
            self._settings, self._configured = settings, set_of(settings.embedder)
            self._told = None

    def close(self) -> None:
        """End the threads that ask the lanes."""
        if self._opened is not None:
            self._opened[2].close()

    @property
    def store(self) -> Store:
        """The tables of the set that serves now."""
        return self._now()[0]

    @property
    def lanes(self) -> Lanes:
        """The lanes over the set that serves now."""
        return self._now()[1]

    def notices(self) -> list[str]:
        """What a person should know about the vectors that are searched."""
        found, now, told = self._sets(), time.monotonic(), self._told
        if told is None or told[0] != found or now - told[1] > STANDS:
            told = self._told = (found, now, notices(self._settings, found, self._tables))
        return list(told[2])

    def _sets(self) -> Sets:
        """The sets as they stand now; their file is read when another has taken its place."""
        written, read = sets_written(self._settings.data_dir), self._read
        if read is None or read[0] != written:
            self._read = read = (written, read_sets(self._settings.data_dir))
        return read[1]

    def _now(self) -> tuple[Store, Lanes]:
        found = self._sets()
        name = found.serving or self._configured.name
        # Opened anew at each switch: a handle from before may not see the last rows for a while.
        since = (name, found.switched_at)
        with self._lock:
            # What was open before ends with the last question to it: so do its threads.
            if self._opened is None or self._opened[0] != since:
                self._leave()
                self._opened = (since, *self._open(found, name))
            return self._opened[1:]

    def _leave(self) -> None:
        if self._opened is not None:
            self._opened[2].leave()
        self._opened = None

    def _open(self, found: Sets, name: str) -> tuple[Store, Lanes]:
        one = found.sets.get(name, self._configured)
        # The set of the settings is asked as they say now: its server may have another address.
        embedder: Embedder = (
            make_embedder(self._settings.embedder, self._settings)
            if name == self._configured.name
            else embedder_of(one, self._settings)
        )
        store = self._store(one)
        return store, Lanes(store, embedder)

    def _tables(self, one: VectorSet) -> Store:
        if one.name not in self._filling:
            self._filling[one.name] = self._store(one)
        return self._filling[one.name]

    def _store(self, one: VectorSet) -> Store:
        return Store(self._settings.data_dir, one.embedder, one.dimensions, sees_commits=SOON)


def _made_of(settings: Settings) -> tuple[dict[str, Any], bool]:
    local_only = any(entry.local_only for entry in settings.repositories)
    return settings.model_dump(exclude=UNREAD), local_only


def notices(settings: Settings, found: Sets, tables: Callable[[VectorSet], Store]) -> list[str]:
    """What stands between the set that serves and the one that is wanted."""
    wanted = found.wanted(set_of(settings.embedder).name)
    if found.serving in ("", wanted):
        if not found.switched_within(SAID_FOR, datetime.now(UTC)):
            return []
        return [
            f"search now uses the vectors of {found.serving}; `codesearch embedder use "
            f"{found.before}` goes back while those are kept ({settings.grace_days} days)"
        ]
    if wanted not in found.sets:
        return [
            f"the embedder of the settings is a new one, {wanted}: run `codesearch index`; until "
            f"its vectors are there search uses those of {found.serving}"
        ]
    repos = [entry.name for entry in settings.repositories]
    share = coverage(tables(found.sets[wanted]), repos).share
    return [
        f"search uses the vectors of {found.serving} until those of {wanted} cover the same "
        f"chunks; they cover {share:.0%} of them and of the summaries"
    ]
