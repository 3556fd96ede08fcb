"""Sets of vectors, side by side, one an embedder: which one is searched, and which is filled.

A set is a pair of tables named by its embedder. The one that *serves* is searched; the one that is
*wanted* is filled, and serves as soon as it covers the same chunks. One small file beside the
tables says so. It is replaced as a whole, so that a reader or a kill meets the old one or the new.
It also remembers the settings of each embedder: the questions to a set that still serves are
embedded by its own embedder, whatever the settings say by now.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock

from codesearch_resources.data_dir import DataDirError
from codesearch_resources.store import LANCE_FOLDER

SETS_FILE = "sets.json"


@dataclass(frozen=True, slots=True)
class VectorSet:
    """The vectors of one embedder. `settings` hold no secret: keys are named, never written."""

    embedder: str  # its id: kind, model and view
    dimensions: int
    settings: Mapping[str, Any] = field(default_factory=dict)  # as under `embedder:`
    left_at: str = ""  # ISO 8601: since when it neither serves nor is wanted; "": it does

    @property
    def name(self) -> str:
        return f"{self.embedder}_{self.dimensions}"


@dataclass(frozen=True, slots=True)
class Sets:
    """What stands in the file; an index that was never filled has no set."""

    sets: Mapping[str, VectorSet] = field(default_factory=dict)
    serving: str = ""
    before: str = ""  # what served before the last switch
    switched_at: str = ""  # ISO 8601
    # `codesearch embedder use`: wanted instead of the set of the settings, until those change.
    chosen: str = ""
    instead_of: str = ""

    def wanted(self, configured: str) -> str:
        """The name of the set that is to be filled and to serve."""
        by_hand = self.chosen in self.sets and self.instead_of == configured
        return self.chosen if by_hand else configured

    def switched_within(self, span: timedelta, now: datetime) -> bool:
        """Whether search went from one set to another that lately."""
        return bool(self.switched_at) and now - datetime.fromisoformat(self.switched_at) < span


def read_sets(data_dir: Path) -> Sets:
    """The sets as they stand now. Raises DataDirError for a file that cannot be read."""
    file = data_dir / LANCE_FOLDER / SETS_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        sets = {name: VectorSet(**one) for name, one in content.pop("sets").items()}
        return Sets(sets=sets, **content)
    except FileNotFoundError:
        return Sets()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataDirError(
            f"{file} cannot be read: {error}. Delete it and run `codesearch index`: the tables of "
            "the embedder that the settings name are then the ones that are searched."
        ) from error


def sets_written(data_dir: Path) -> tuple[int, ...]:
    """What tells the file as it stands now from any other; nothing when there is none."""
    try:
        found = os.stat(f"{data_dir}/{LANCE_FOLDER}/{SETS_FILE}")
    except OSError:
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_size


def follow(data_dir: Path, configured: VectorSet, now: datetime | None = None) -> Sets:
    """Note the set that the settings name; the first of an index serves at once.

    Sets that neither serve nor are wanted any more are marked as left from now on. Writes nothing
    when nothing changed.
    """
    at = _iso(now)

    def change(found: Sets) -> Sets:
        if found.instead_of != configured.name:
            found = replace(found, chosen="", instead_of="")
        before = found.sets.get(configured.name, configured)
        sets = {**found.sets, configured.name: replace(configured, left_at=before.left_at)}
        found = replace(found, sets=sets, serving=found.serving or configured.name)
        return _marked(found, found.wanted(configured.name), at)

    return _change(data_dir, change)


def choose(data_dir: Path, name: str, configured: str, now: datetime | None = None) -> Sets:
    """Want the set `name` from now on instead of the one of the settings.

    Raises KeyError when there is no such set.
    """
    at = _iso(now)

    def change(found: Sets) -> Sets:
        if name not in found.sets:
            raise KeyError(name)
        by_hand = name != configured
        found = replace(
            found, chosen=name if by_hand else "", instead_of=configured if by_hand else ""
        )
        return _marked(found, name, at)

    return _change(data_dir, change)


def switch(data_dir: Path, name: str, now: datetime | None = None) -> Sets:
    """Let the set `name` serve. The caller has seen that it covers what served before."""
    at = _iso(now)

    def change(found: Sets) -> Sets:
        if found.serving == name or name not in found.sets:
            return found
        found = replace(found, serving=name, before=found.serving, switched_at=at)
        return _marked(found, name, at)

    return _change(data_dir, change)


def expired(sets: Sets, grace: timedelta, now: datetime) -> list[VectorSet]:
    """The sets that nobody has used for longer than `grace`."""
    return [
        one
        for one in sets.sets.values()
        if one.left_at and now - datetime.fromisoformat(one.left_at) >= grace
    ]


def forget(data_dir: Path, name: str) -> bool:
    """Take a set out of the file before its tables go; False when it is in use again."""

    def change(found: Sets) -> Sets:
        if name not in found.sets or not found.sets[name].left_at:
            return found
        return replace(found, sets={key: one for key, one in found.sets.items() if key != name})

    return name not in _change(data_dir, change).sets


def _marked(found: Sets, wanted: str, at: str) -> Sets:
    """Every set with the time since which it is not in use."""
    used = {found.serving, wanted}
    sets = {
        name: replace(one, left_at="" if name in used else one.left_at or at)
        for name, one in found.sets.items()
    }
    return replace(found, sets=sets)


def _change(data_dir: Path, change: Callable[[Sets], Sets]) -> Sets:
    found = read_sets(data_dir)
    if change(found) == found:
        return found
    folder = data_dir / LANCE_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{SETS_FILE}.lock"):
        before = read_sets(data_dir)
        after = change(before)
        if after != before:
            aside = folder / f".{SETS_FILE}.{os.getpid()}"
            aside.write_text(json.dumps(asdict(after), indent=1), encoding="utf-8")
            aside.replace(folder / SETS_FILE)
        return after


def _iso(now: datetime | None) -> str:
    return (now or datetime.now(UTC)).isoformat()
