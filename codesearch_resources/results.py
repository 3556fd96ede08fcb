"""results.db: what cost something and could not be had again for nothing.

Summaries that a language model wrote, by (content hash, output contract). LanceDB tables are
projections of it: delete them, index again, and no provider is called.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from codesearch_resources.summarizers.base import Summary

RESULTS_FILE = "results.db"
SCHEMA_VERSION = 1
LOOKUP_BATCH = 500  # bound variables a statement

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


class ResultsError(Exception):
    """results.db cannot be used; the message says what to do."""


class Results:
    """The durable store of paid results under one data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / RESULTS_FILE
        self._engine = sa.create_engine(f"sqlite:///{self.path}", connect_args={"timeout": 30})
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
                f"{self.path} cannot be read: {error.orig}. Restore it from a backup, or move it "
                "away to start without what was paid for."
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
