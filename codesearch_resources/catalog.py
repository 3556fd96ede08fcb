"""Which repositories the index knows, and what a change of the settings means for them.

A repository that was struck from the settings is removed. One that was discovered and is only not
there (an unmounted disk, a pattern that suddenly matches nothing) is missing: it keeps its rows for
a grace period. A change that would remove more than half of all is refused until a person says so.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from codesearch_resources.data_dir import DataDirError
from codesearch_resources.git import git_dir
from codesearch_resources.settings import Settings

CATALOG_FILE = "catalog.json"


@dataclass(frozen=True, slots=True)
class Known:
    """A repository the index has a partition for."""

    name: str
    folder: str  # "" for one behind a URL
    discovered: bool
    missing_since: str = ""  # ISO 8601; "" while it is there
    refused: bool = False  # its removal was refused; it stays so until a person decides


@dataclass(frozen=True, slots=True)
class Plan:
    """What following the settings would change. `known` is the catalog afterwards."""

    known: Mapping[str, Known]
    new: tuple[str, ...]
    missing: tuple[str, ...]
    removed: tuple[str, ...]
    refused: tuple[str, ...]


def read_catalog(data_dir: Path) -> dict[str, Known]:
    """The known repositories by name; empty before the first.

    Raises DataDirError for a file that cannot be read: who is missing, and since when, stands
    nowhere else, so nothing is removed on a guess.
    """
    file = data_dir / CATALOG_FILE
    try:
        return {row["name"]: Known(**row) for row in json.loads(file.read_text())}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError) as error:
        raise DataDirError(
            f"{file} cannot be read: {error}. Delete it: it is made anew from the settings. What "
            "was struck while it was broken is to be listed once more, and then struck."
        ) from error


def struck(settings: Settings) -> list[str]:
    """Known repositories that the settings no longer have."""
    present = {entry.name for entry in settings.repositories}
    return sorted(read_catalog(settings.data_dir).keys() - present)


def write_catalog(data_dir: Path, known: Mapping[str, Known]) -> None:
    """Put the catalog in place of the old one; nothing is written when they are equal."""
    if read_catalog(data_dir) == dict(known):
        return
    aside = data_dir / f".{CATALOG_FILE}.{os.getpid()}"
    aside.write_text(json.dumps([asdict(known[name]) for name in sorted(known)], indent=1))
    aside.replace(data_dir / CATALOG_FILE)


def plan(known: Mapping[str, Known], settings: Settings, now: datetime) -> Plan:
    """Compare the known repositories with the settings. Pure but for asking whether folders exist.

    `removed` are to lose their rows now; they leave the catalog when that is done, not before.
    `refused` stay refused however many repositories join later: only a person takes them out.
    """
    present = {
        entry.name: Known(entry.name, str(entry.path or ""), entry.discovered)
        for entry in settings.repositories
    }
    absent = {name: row for name, row in known.items() if name not in present}
    unmounted = _is_unmounted(absent, settings)
    missing = {
        name: row if row.missing_since else replace(row, missing_since=now.isoformat())
        for name, row in absent.items()
        if row.discovered and unmounted
    }
    grace = timedelta(days=settings.grace_days)
    kept = {
        name: row
        for name, row in missing.items()
        if now - datetime.fromisoformat(row.missing_since) < grace
    }
    leaving = absent.keys() - kept.keys()
    too_many = len(leaving) > len(known) / 2
    refused = {name for name in leaving if too_many or known[name].refused}
    absent |= missing
    absent |= {name: replace(absent[name], refused=True) for name in refused}
    return Plan(
        known={**absent, **present},
        new=tuple(sorted(present.keys() - known.keys())),
        missing=tuple(sorted(kept)),
        removed=tuple(sorted(leaving - refused)),
        refused=tuple(sorted(refused)),
    )


def _is_unmounted(absent: Mapping[str, Known], settings: Settings) -> bool:
    """Whether a disk seems to be gone: a pattern finds nothing, or a discovered folder is not there
    (or holds no repository, as a mount point does).

    Then no discovered repository is given up: the names of those that are still found hang on
    the others (`a--api` and `b--api` become `api` when the disk of one is gone).
    """
    folders = (Path(row.folder) for row in absent.values() if row.discovered)
    return bool(settings.missing_discover) or any(not git_dir(folder) for folder in folders)
