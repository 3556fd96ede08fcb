"""results.db: what cost something and could not be had again for nothing.

Summaries that a language model wrote, by (content hash, output contract), and the ledger of every
call. LanceDB tables are projections of it: delete them, index again, and no provider is called.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from codesearch_resources import results_tables as tables
from codesearch_resources.breakers import Breakers
from codesearch_resources.data_dir import RESULTS_FILE, storage_trouble
from codesearch_resources.kept_vectors import KeptVectors
from codesearch_resources.ledger import Ledger, keep
from codesearch_resources.quarantine import Quarantine
from codesearch_resources.quota.kept import Kept
from codesearch_resources.results_tables import SCHEMA_VERSION, batched_keys, present, writing
from codesearch_resources.summarizers.base import Summary

# What no chunk has wanted for so long is dropped.
UNREFERENCED = timedelta(days=90)

# How a slice of summaries ended: by its time, with nothing left, or with no provider that may be
# used. One that only began was killed or failed.
Ended = Literal["begun", "time", "done", "denied"]
# Until then a slice that failed, or found no provider, is not followed by another.
PAUSE = timedelta(hours=1)
_t = tables.summaries.c


@dataclass(frozen=True, slots=True)
class Slice:
    """The last slice of a repository: when it was served, and from when on the next may be."""

    served_at: datetime
    ended: Ended
    next_at: datetime
    why: str = ""  # what stood in the way of the rest

    def may_follow(self, now: datetime) -> bool:
        return now >= self.next_at


class ResultsError(Exception):
    """results.db cannot be used; the message says what to do."""


class Results:
    """The durable store of paid results under one data folder."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / RESULTS_FILE
        self._engine = tables.open_engine(self.path)
        self._writer = writing(self._engine)
        self._migrate()
        self.ledger = Ledger(self._engine, data_dir)
        self.breakers = Breakers(self._engine)
        self.quarantine = Quarantine(self._engine)
        self.vectors = KeptVectors(self._engine)
        self.meters = Kept(self._engine)

    def close(self) -> None:
        """Release the database file; what this process has in flight counts in full."""
        self.ledger.close()
        self._engine.dispose()

    def _migrate(self) -> None:
        try:
            with self._engine.connect() as connection:
                version = tables.version_of(connection)
            if version == SCHEMA_VERSION:
                return
            with self._writer.begin() as connection:  # another process may have come first
                version = tables.version_of(connection)
                if version > SCHEMA_VERSION:
                    raise ResultsError(
                        f"{self.path} was written by a newer codesearch (schema {version}, this "
                        f"one knows {SCHEMA_VERSION}). Upgrade codesearch."
                    )
                tables.migrate(connection, version)
        except sa.exc.DatabaseError as error:
            raise ResultsError(
                storage_trouble(str(error.orig))
                or f"{self.path} cannot be read: {error.orig}. Restore it from a backup, or move "
                "it away to start without what was paid for."
            ) from error

    def keep(self, summaries: Mapping[str, Summary]) -> None:
        """Store paid summaries by key in one transaction; an existing key keeps its first text,
        unless it is on the list again."""
        if summaries:
            with self._writer.begin() as connection:
                keep(connection, summaries)

    def find(self, keys: Iterable[str]) -> dict[str, Summary]:
        """The stored summaries among `keys`, those on the list again too."""
        return {
            row.key: Summary(row.summary, "model", row.provider, row.model, row.prompt_version)
            for row in self._rows(keys)
        }

    def reopened(self, keys: Iterable[str]) -> set[str]:
        """The keys among these that are on the list again, their old text served meanwhile."""
        return {row.key for row in self._rows(keys, _t.reopened_at.is_not(None))}

    def replaced(self, keys: Iterable[str]) -> dict[str, datetime]:
        """When an upgrade has last changed the text (aware), for those where one has."""
        rows = self._rows(keys, _t.replaced_at.is_not(None))
        return {row.key: row.replaced_at.replace(tzinfo=UTC) for row in rows}

    def _rows(self, keys: Iterable[str], *where: Any) -> list[Any]:
        with self._engine.connect() as connection:
            return [
                row
                for batch in batched_keys(keys)
                for row in connection.execute(
                    sa.select(tables.summaries).where(_t.key.in_(batch), *where)
                )
            ]

    def written_by(self, *, model: str = "", prompt_version: str = "") -> set[str]:
        """The keys of what a model wrote, or a prompt brought forth; "" is any."""
        query = sa.select(_t.key)
        if model:
            query = query.where(_t.model == model)
        if prompt_version:
            query = query.where(_t.prompt_version == prompt_version)
        with self._engine.connect() as connection:
            return set(connection.execute(query).scalars())

    def reopen(self, keys: Iterable[str]) -> int:
        """Put paid summaries on the list again; returns how many were not on it yet."""
        count = 0
        with self._writer.begin() as connection:
            for batch in batched_keys(keys):
                which = _t.key.in_(batch) & _t.reopened_at.is_(None)
                done = connection.execute(
                    sa.update(tables.summaries).where(which).values(reopened_at=present())
                )
                count += done.rowcount
        return count

    def state(self) -> str:
        """Moves whenever a key is put on the list again, written anew, or given up."""
        reopened = sa.select(sa.func.count(), sa.func.max(_t.reopened_at)).where(
            _t.reopened_at.is_not(None)
        )
        replaced = sa.select(sa.func.max(_t.replaced_at))
        given_up = sa.select(sa.func.count(), sa.func.max(tables.quarantine.c.given_up_at)).where(
            tables.quarantine.c.given_up_at.is_not(None)
        )
        with self._engine.connect() as connection:
            values = [
                v for q in (reopened, replaced, given_up) for v in connection.execute(q).one()
            ]
        return "/".join(str(value) for value in values)

    def drop_unreferenced(self, referenced: Iterable[str], now: datetime) -> int:
        """Drop what no chunk has wanted for UNREFERENCED before `now` (aware); returns how many.

        `referenced` are the keys of all chunks there are.
        """
        moment = tables.stored(now)
        with self._writer.begin() as connection:
            wanted = set(referenced)
            rows = connection.execute(sa.select(_t.key, _t.unreferenced_since)).all()
            back = [row.key for row in rows if row.unreferenced_since and row.key in wanted]
            out = [row.key for row in rows if not row.unreferenced_since and row.key not in wanted]
            for keys, since in ((back, None), (out, moment)):
                for batch in batched_keys(keys):
                    marked = sa.update(tables.summaries).where(_t.key.in_(batch))
                    connection.execute(marked.values(unreferenced_since=since))
            old = _t.unreferenced_since <= tables.stored(now - UNREFERENCED)
            return connection.execute(sa.delete(tables.summaries).where(old)).rowcount

    def begin_slice(self, repo: str) -> None:
        """Note that a slice of a repository begins: should it die, the next one waits."""
        self._note_slice(repo, "begun", present() + PAUSE)

    def end_slice(
        self, repo: str, ended: Ended, next_at: datetime | None = None, why: str = ""
    ) -> None:
        """Note how the slice ended. One that found no provider is followed when one opens
        (`next_at`, aware), or after a pause where that is not known."""
        denied = tables.stored(next_at) or present() + PAUSE
        self._note_slice(repo, ended, denied if ended == "denied" else present(), why)

    def let_follow(self) -> None:
        """A person has let a provider go on: the next slices need not wait any more."""
        denied = tables.slices.c.ended == "denied"
        with self._writer.begin() as connection:
            connection.execute(sa.update(tables.slices).where(denied).values(next_at=present()))

    def _note_slice(self, repo: str, ended: Ended, next_at: datetime, why: str = "") -> None:
        row = {
            "repo": repo,
            "served_at": present(),
            "ended": ended,
            "next_at": next_at,
            "why": why,
        }
        statement = sqlite.insert(tables.slices).values(row)
        statement = statement.on_conflict_do_update(index_elements=["repo"], set_=row)
        with self._writer.begin() as connection:
            connection.execute(statement)

    def slices(self) -> dict[str, Slice]:
        """The last slice of each repository that had one."""
        with self._engine.connect() as connection:
            return {
                row.repo: Slice(
                    row.served_at.replace(tzinfo=UTC),
                    row.ended,
                    row.next_at.replace(tzinfo=UTC),
                    row.why,
                )
                for row in connection.execute(sa.select(tables.slices))
            }
