"""The ledger: our own durable account of every call, one row an attempt.

A row is reserved before the socket opens, in a transaction of its own, and settled in one with the
text that was paid for. What a crash leaves reserved becomes `unknown` and counts at its full
estimate. Reserved rows are a provider's slots, and each holds a lease on its keys: both are shared
by every process that has the file open.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock
from sqlalchemy.dialects import sqlite

from codesearch_resources import results_tables as tables
from codesearch_resources.account import Account
from codesearch_resources.calls import CallError, Estimate, Usage
from codesearch_resources.data_dir import LOCKS, is_locked
from codesearch_resources.results_tables import present, writing
from codesearch_resources.summarizers.base import Summary

DIED = "its process ended before the answer came"
EXPIRED = "no answer came in the time a call may take"
_t = tables.attempts.c


@dataclass(frozen=True, slots=True)
class Reserved:
    """The call may be sent; `attempt` is its row."""

    attempt: int


@dataclass(frozen=True, slots=True)
class NoSlot:
    """As many calls as the provider takes are under way, here and in other processes."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Somebody else is having this key written now."""


@dataclass(frozen=True, slots=True)
class Known:
    """The key has been written meanwhile."""


Reservation = Reserved | NoSlot | Taken | Known


class Ledger(Account):
    """The attempts of one results.db, and the leases and slots that they hold."""

    def __init__(self, engine: sa.Engine, data_dir: Path) -> None:
        super().__init__(engine)
        self._writer = writing(engine)
        # Losing power loses the rows of calls that were just sent, and their answers with them.
        self._hurried = writing(engine, hurried=True)
        self._data_dir = data_dir
        # One writer at a time is all SQLite has; waiting here is quicker than its polling.
        self._turn = threading.Lock()
        self._alive: FileLock | None = None

    def close(self) -> None:
        """Count what is still reserved by this process in full, and let others see it has ended."""
        if self._alive is None:
            return
        with self._writing() as connection:
            _abandon(connection, _t.owner == self.owner, DIED)
        self._alive.release()
        Path(self._alive.lock_file).unlink(missing_ok=True)
        self._alive = None

    def reserve(
        self,
        estimate: Estimate,
        keys: Sequence[str],
        *,
        slots: int,
        lasts: timedelta,
        cost: float | None = None,
    ) -> Reservation:
        """Write the row of a call that is about to be sent, and lease its keys.

        `slots`: the calls the provider may have under way; `lasts`: after so long the call is
        taken to be lost; `cost`: the estimate in dollars.
        """
        with self._writing(hurried=True) as connection:
            self._live()
            now = present()
            _abandon(connection, _t.expires_at < now, EXPIRED)
            if _count_open(connection, estimate.provider) >= slots:
                return NoSlot()
            if _any_key(connection, tables.leases, keys):
                return Taken()
            written = tables.summaries.c.reopened_at.is_(None)
            if estimate.purpose == "summary" and _any_key(
                connection, tables.summaries, keys, written
            ):
                return Known()
            row = {
                "provider": estimate.provider,
                "model": estimate.model,
                "meter": estimate.meter,
                "purpose": estimate.purpose,
                "keys": list(keys),
                "estimated_input": estimate.input,
                "estimated_output": estimate.output,
                "estimated_cost": cost,
                "status": "reserved",
                "owner": self.owner,
                "began_at": now,
                "expires_at": now + lasts,
            }
            done = connection.execute(sa.insert(tables.attempts), row)
            attempt = int(done.lastrowid)
            lease = {"attempt": attempt, "owner": self.owner, "expires_at": now + lasts}
            if keys:
                connection.execute(sa.insert(tables.leases), [{"key": k, **lease} for k in keys])
            return Reserved(attempt)

    def settle(
        self,
        attempt: int,
        usage: Usage,
        written: Mapping[str, Summary],
        *,
        response: str,
        seconds: float,
        cost: float | None = None,
    ) -> None:
        """The call brought what was wanted: its row and its summaries in one transaction."""
        with self._writing() as connection:
            _end(
                connection,
                attempt,
                status="settled",
                cost=cost,
                response=response,
                seconds=seconds,
                **_usage_columns(usage),
            )
            keep(connection, written)

    def fail(
        self,
        attempt: int,
        error: CallError,
        *,
        response: str | None = None,
        seconds: float | None = None,
        cost: float | None = None,
    ) -> None:
        """The call brought nothing. What the server may have charged without saying so is unknown
        and counts in full: what was sent and not answered, and an answer without usage."""
        with self._writing() as connection:
            _end(
                connection,
                attempt,
                status="unknown" if error.unsaid else "failed",
                trouble=error.trouble,
                message=str(error),
                http_status=error.status,
                cost=cost,
                response=response,
                seconds=seconds,
                **_usage_columns(error.usage or Usage()),
            )

    def recover(self) -> int:
        """Count in full what processes that have ended left reserved; how many rows those were."""
        with self._engine.connect() as connection:
            held = sa.select(tables.leases.c.owner).union(
                sa.select(_t.owner).where(_t.status == "reserved")
            )
            owners = {row.owner for row in connection.execute(held)} - {self.owner}
        dead = [owner for owner in owners if not is_locked(self._data_dir, _lock_name(owner))]
        if not dead:
            return 0
        with self._writing() as connection:
            count = _abandon(connection, _t.owner.in_(dead), DIED)
            connection.execute(sa.delete(tables.leases).where(tables.leases.c.owner.in_(dead)))
        for owner in dead:
            (self._data_dir / LOCKS / f"{_lock_name(owner)}.lock").unlink(missing_ok=True)
        return count

    @contextmanager
    def _writing(self, *, hurried: bool = False) -> Iterator[sa.Connection]:
        writer = self._hurried if hurried else self._writer
        with self._turn, writer.begin() as connection:
            yield connection

    def _live(self) -> None:
        """Hold the lock by which other processes tell that this one still works."""
        if self._alive is None:
            folder = self._data_dir / LOCKS
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{_lock_name(self.owner)}.lock"
            self._alive = FileLock(path, thread_local=False)
            self._alive.acquire()


def keep(connection: sa.Connection, written: Mapping[str, Summary]) -> None:
    """Store summaries by key; one that is there already stays, unless it was on the list again."""
    if not written:
        return
    now = present()
    rows = [
        {
            "key": key,
            "summary": summary.text,
            "provider": summary.provider,
            "model": summary.model,
            "prompt_version": summary.prompt_version,
            "created_at": now,
        }
        for key, summary in written.items()
    ]
    statement = sqlite.insert(tables.summaries)
    changed = ("summary", "provider", "model", "prompt_version", "created_at")
    statement = statement.on_conflict_do_update(
        index_elements=["key"],
        set_={
            **{name: statement.excluded[name] for name in changed},
            "reopened_at": None,
            "replaced_at": statement.excluded.created_at,
        },
        where=tables.summaries.c.reopened_at.is_not(None),
    )
    connection.execute(statement, rows)


def _lock_name(owner: str) -> str:
    return f"caller-{owner}"


def _any_key(connection: sa.Connection, table: sa.Table, keys: Sequence[str], *where: Any) -> bool:
    query = sa.select(table.c.key).where(table.c.key.in_(keys), *where).limit(1)
    return connection.execute(query).first() is not None


def _count_open(connection: sa.Connection, provider: str) -> int:
    query = sa.select(sa.func.count()).where(_t.provider == provider, _t.status == "reserved")
    return int(connection.execute(query).scalar_one())


def _abandon(connection: sa.Connection, which: Any, why: str) -> int:
    """Count reserved rows in full, and let go of their keys."""
    found = sa.select(_t.id).where(_t.status == "reserved", which)
    ids = [row.id for row in connection.execute(found)]
    if ids:
        lost = {"status": "unknown", "trouble": "ambiguous", "message": why, "ended_at": present()}
        connection.execute(sa.update(tables.attempts).where(_t.id.in_(ids)).values(lost))
        connection.execute(sa.delete(tables.leases).where(tables.leases.c.attempt.in_(ids)))
    return len(ids)


def _end(connection: sa.Connection, attempt: int, **values: Any) -> None:
    values["ended_at"] = present()
    connection.execute(sa.update(tables.attempts).where(_t.id == attempt).values(values))
    connection.execute(sa.delete(tables.leases).where(tables.leases.c.attempt == attempt))


def _usage_columns(usage: Usage) -> dict[str, int | None]:
    return {
        "input": usage.input,
        "cached": usage.cached,
        "cache_write": usage.cache_write,
        "output": usage.output,
        "reasoning": usage.reasoning,
    }
