"""A copy of results.db a day: what was paid for survives a file that breaks."""

import os
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

FOLDER = "backups"
KEPT = 3  # days


def keep_copy(results: Path, now: datetime) -> Path | None:
    """Copy results.db unless today's copy is there; returns the new one, None without need.

    A file in which nothing was ever sent is not copied. Older copies beyond KEPT are deleted.
    """
    folder = results.parent / FOLDER
    target = folder / f"results-{now:%Y-%m-%d}.db"
    if target.exists() or not _has_calls(results):
        return None
    folder.mkdir(exist_ok=True)
    made = target.with_suffix(f".{os.getpid()}.tmp")
    try:
        with closing(sqlite3.connect(results)) as source, closing(sqlite3.connect(made)) as copy:
            source.backup(copy)
        made.replace(target)
    finally:
        made.unlink(missing_ok=True)
    for old in sorted(folder.glob("results-*.db"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return target


def _has_calls(results: Path) -> bool:
    with closing(sqlite3.connect(results)) as connection:
        return connection.execute("SELECT 1 FROM attempts LIMIT 1").fetchone() is not None
