"""results.db: what cost something and could not be had again for nothing.

Summaries that a language model wrote, by (content hash, output contract). LanceDB tables are
projections of it: delete them, index again, and no provider is called.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from codesearch_resources.data_dir import storage_trouble
from codesearch_resources.summarizers.base import Summary

RESULTS_FILE = "results.db"
SCHEMA_VERSION = 1
LOOKUP_BATCH = 500  # bound variables a statement
LOCK_WAIT = 30.0  # seconds for another process that writes

_metadata = sa.MetaData()
_summaries = sa.Table(
    "summaries",
    _metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("summary", sa.String, nullable=False),
    sa.Column("provider", sa.String, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("prompt_version", sa.String, nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
)

_slices = sa.Table(
    "slices",
    _metadata,
    sa.Column("repo", sa.String, primary_key=True),
    sa.Column("served_at", sa.DateTime, nullable=False),
    sa.Column("ended", sa.String, nullable=False),
    sa.Column("next_at", sa.DateTime, nullable=False),
)

# How a slice of summaries ended: by its time, with nothing left, or with no provider that may be
# used. One that only began was killed or failed.
Ended = Literal["begun", "time", "done", "denied"]
# Until then a slice that failed, or found no provider, is not followed by another.
PAUSE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Slice:
    """The last slice of a repository: when it was served, and from when on the next may be."""

    served_at: datetime
    ended: Ended
    next_at: datetime

    def may_follow(self, now: datetime) -> bool:
        return now >= self.next_at


class ResultsError(Exception):
    """results.db cannot be used; the message says what to do."""


class Results:
    """The durable store of paid results under one data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / RESULTS_FILE
        self._engine = sa.create_engine(
            f"sqlite:///{self.path}", connect_args={"timeout": LOCK_WAIT}
        )
        sa.event.listen(self._engine, "connect", _configure)
        self._migrate()

    def close(self) -> None:
        """Release the database file."""
        self._engine.dispose()

    def _migrate(self) -> None:
        try:
            with self._engine.begin() as connection:
                version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
                if version > SCHEMA_VERSION:
                    raise ResultsError(
                        f"{self.path} was written by a newer codesearch (schema {version}, this "
                        f"one knows {SCHEMA_VERSION}). Upgrade codesearch."
                    )
                _metadata.create_all(connection)
                if version != SCHEMA_VERSION:
                    connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
        except sa.exc.DatabaseError as error:
            raise ResultsError(
                storage_trouble(str(error.orig))
                or f"{self.path} cannot be read: {error.orig}. Restore it from a backup, or move "
                "it away to start without what was paid for."
            ) from error

    def keep(self, summaries: Mapping[str, Summary]) -> None:
        """Store paid summaries by key in one transaction; an existing key keeps its first text."""
        if not summaries:
            return
        now = datetime.now(UTC).replace(tzinfo=None)
        rows = [
            {
                "key": key,
                "summary": written.text,
                "provider": written.provider,
                "model": written.model,
                "prompt_version": written.prompt_version,
                "created_at": now,
            }
            for key, written in summaries.items()
        ]
        statement = sqlite.insert(_summaries).on_conflict_do_nothing()
        with self._engine.begin() as connection:
            connection.execute(statement, rows)

    def begin_slice(self, repo: str) -> None:
        """Note that a slice of a repository begins: should it die, the next one waits."""
        self._note_slice(repo, "begun", PAUSE)

    def end_slice(self, repo: str, ended: Ended) -> None:
        """Note how the slice ended; one that found no provider is followed after a pause."""
        self._note_slice(repo, ended, PAUSE if ended == "denied" else timedelta(0))

    def _note_slice(self, repo: str, ended: Ended, pause: timedelta) -> None:
        now = datetime.now(UTC).replace(tzinfo=None)
        row = {"repo": repo, "served_at": now, "ended": ended, "next_at": now + pause}
        statement = sqlite.insert(_slices).values(row)
        statement = statement.on_conflict_do_update(index_elements=["repo"], set_=row)
        with self._engine.begin() as connection:
            connection.execute(statement)

    def slices(self) -> dict[str, Slice]:
        """The last slice of each repository that had one."""
        with self._engine.connect() as connection:
            return {
                row.repo: Slice(
                    row.served_at.replace(tzinfo=UTC), row.ended, row.next_at.replace(tzinfo=UTC)
                )
                for row in connection.execute(sa.select(_slices))
            }

    def find(self, keys: Iterable[str]) -> dict[str, Summary]:
        """The stored summaries among `keys`."""
        found: dict[str, Summary] = {}
        with self._engine.connect() as connection:
            for batch in _batches(sorted(set(keys))):
                rows = connection.execute(sa.select(_summaries).where(_summaries.c.key.in_(batch)))
                for row in rows:
                    found[row.key] = Summary(
                        row.summary, "model", row.provider, row.model, row.prompt_version
                    )
        return found


def _batches(keys: Sequence[str]) -> Iterable[Sequence[str]]:
    return (keys[at : at + LOOKUP_BATCH] for at in range(0, len(keys), LOOKUP_BATCH))


def _configure(connection: object, _record: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    # A reader never waits for the writer, and a committed row survives kill -9.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.close()
