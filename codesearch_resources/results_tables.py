"""The tables of results.db and how an older file is brought up to them.

Times are UTC without a zone, as SQLite keeps them.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

SCHEMA_VERSION = 5
LOCK_WAIT = 30.0  # seconds for another process that writes
LOOKUP_BATCH = 500  # bound variables a statement
POOL = 64  # connections; a thread that calls a provider holds one for a moment only

metadata = sa.MetaData()

# What language models wrote, by (content hash, output contract). `reopened_at`: on the list again,
# served meanwhile. `replaced_at`: when an upgrade last changed the text. `unreferenced_since`: no
# chunk has wanted it since.
summaries = sa.Table(
    "summaries",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("summary", sa.String, nullable=False),
    sa.Column("provider", sa.String, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("prompt_version", sa.String, nullable=False),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Column("reopened_at", sa.DateTime),
    sa.Column("replaced_at", sa.DateTime),
    sa.Column("unreferenced_since", sa.DateTime),
)

slices = sa.Table(
    "slices",
    metadata,
    sa.Column("repo", sa.String, primary_key=True),
    sa.Column("served_at", sa.DateTime, nullable=False),
    sa.Column("ended", sa.String, nullable=False),
    sa.Column("next_at", sa.DateTime, nullable=False),
    sa.Column("why", sa.String, nullable=False, server_default=""),
)

# The ledger: one row an attempt, written before the socket opens. `cost` in dollars, NULL where no
# price is known. `owner` is the process that made it, told alive by the lock it holds.
attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("provider", sa.String, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("meter", sa.String, nullable=False),
    sa.Column("purpose", sa.String, nullable=False),
    sa.Column("keys", sa.JSON, nullable=False),
    sa.Column("estimated_input", sa.Integer, nullable=False),
    sa.Column("estimated_output", sa.Integer, nullable=False),
    sa.Column("estimated_cost", sa.Float),
    sa.Column("input", sa.Integer),
    sa.Column("cached", sa.Integer),
    sa.Column("cache_write", sa.Integer),
    sa.Column("output", sa.Integer),
    sa.Column("reasoning", sa.Integer),
    sa.Column("cost", sa.Float),
    sa.Column("status", sa.String, nullable=False),  # reserved, settled, failed, unknown
    sa.Column("trouble", sa.String),
    sa.Column("message", sa.String),
    sa.Column("http_status", sa.Integer),
    sa.Column("seconds", sa.Float),
    sa.Column("response", sa.String),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("began_at", sa.DateTime, nullable=False),
    sa.Column("ended_at", sa.DateTime),
    sa.Column("expires_at", sa.DateTime, nullable=False),
)
sa.Index("attempts_by_meter", attempts.c.meter, attempts.c.began_at)
sa.Index("attempts_by_model", attempts.c.provider, attempts.c.model, attempts.c.id)
sa.Index("attempts_by_owner", attempts.c.owner)
sa.Index("attempts_open", attempts.c.provider, sqlite_where=attempts.c.status == "reserved")

# Who is writing which summary now, so that nobody else pays for it.
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("expires_at", sa.DateTime, nullable=False),
)

# Providers (model "") and models that are left alone. `until` NULL: until a person acts, or
# `settings` or the clock have changed.
breakers = sa.Table(
    "breakers",
    metadata,
    sa.Column("provider", sa.String, primary_key=True),
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("trouble", sa.String, nullable=False),
    sa.Column("why", sa.String, nullable=False),
    sa.Column("until", sa.DateTime),
    sa.Column("times", sa.Integer, nullable=False),  # opened in a row, for longer each time
    sa.Column("settings", sa.String, nullable=False),
    sa.Column("clock", sa.Float, nullable=False),
    sa.Column("opened_at", sa.DateTime, nullable=False),
)

# What a model could not do: its failures, and from when on it is not asked again.
quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("model", sa.String, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("why", sa.String, nullable=False),
    sa.Column("given_up_at", sa.DateTime),
)

# Vectors that servers computed, float16, by the set they belong to and the hash of their text.
vectors = sa.Table(
    "vectors",
    metadata,
    sa.Column("set", sa.String, primary_key=True),
    sa.Column("text_hash", sa.String, primary_key=True),
    sa.Column("vector", sa.LargeBinary, nullable=False),
    sa.Column("kept_at", sa.DateTime, nullable=False),
    sa.Column("unreferenced_since", sa.DateTime),
)

# What meters said, as understood and as it came, secrets removed. Instants are epoch seconds.
readings = sa.Table(
    "readings",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("meter", sa.String, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("heard_at", sa.Float, nullable=False),
    sa.Column("report", sa.JSON, nullable=False),
    sa.Column("raw", sa.JSON),
)
sa.Index("readings_by_meter", readings.c.meter, readings.c.heard_at)

# What holds of a meter until a person acts: paused, or why the guard stopped; and `resumed`, when
# a person last let it go on.
meter_marks = sa.Table(
    "meter_marks",
    metadata,
    sa.Column("meter", sa.String, primary_key=True),
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("why", sa.String, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)

# The refusal that keeps a meter closed, whoever met it. Instants are epoch seconds.
meter_refusals = sa.Table(
    "meter_refusals",
    metadata,
    sa.Column("meter", sa.String, primary_key=True),
    sa.Column("why", sa.String, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("until", sa.Float, nullable=False),
    sa.Column("told", sa.Boolean, nullable=False),
)

# What each version adds to tables that the one before it had; new tables are simply made.
_MIGRATIONS = {
    1: (
        "ALTER TABLE summaries ADD COLUMN reopened_at DATETIME",
        "ALTER TABLE summaries ADD COLUMN replaced_at DATETIME",
        "ALTER TABLE summaries ADD COLUMN unreferenced_since DATETIME",
        "ALTER TABLE slices ADD COLUMN why VARCHAR DEFAULT '' NOT NULL",
    ),
    2: (),
    3: (),
    4: (),
}


def open_engine(path: Path) -> sa.Engine:
    """An engine for the file; `writing` of it begins transactions that are alone."""
    # isolation_level None: the driver itself would begin a transaction too late for `writing`.
    engine = sa.create_engine(
        f"sqlite:///{path}",
        connect_args={"timeout": LOCK_WAIT, "isolation_level": None},
        pool_size=POOL,
    )
    sa.event.listen(engine, "connect", _configure)
    sa.event.listen(engine, "begin", _begin)
    return engine


def writing(engine: sa.Engine, *, hurried: bool = False) -> sa.Engine:
    """The same engine for what reads and then writes: nobody writes in between.

    A commit survives the loss of power as well. A `hurried` one survives that only from the next
    plain one on, and kill -9 at once; it does not wait for the disk.
    """
    return engine.execution_options(codesearch_writes="NORMAL" if hurried else "FULL")


def version_of(connection: sa.Connection) -> int:
    """The version of the file's tables; 0 is a new file."""
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def migrate(connection: sa.Connection, version: int) -> None:
    """Bring the tables from `version` up to the present one, in the caller's transaction."""
    for step in range(max(version, 1), SCHEMA_VERSION) if version else ():
        for statement in _MIGRATIONS[step]:
            connection.exec_driver_sql(statement)
    metadata.create_all(connection)
    if version != SCHEMA_VERSION:
        connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def present() -> datetime:
    """Now, as the tables keep it."""
    return datetime.now(UTC).replace(tzinfo=None)


def stored(moment: datetime | None) -> datetime | None:
    """An aware time as the tables keep it."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment else None


def aware(moment: datetime | None) -> datetime | None:
    """A time of the tables with its zone."""
    return moment.replace(tzinfo=UTC) if moment else None


def moment(at: float) -> datetime:
    """Epoch seconds as the tables keep them."""
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None)


def epoch(stored: datetime) -> float:
    """A time of the tables as epoch seconds."""
    return stored.replace(tzinfo=UTC).timestamp()


def batched_keys(keys: Iterable[str]) -> Iterator[list[str]]:
    """The keys, each once, in portions that one statement takes."""
    ordered = sorted(set(keys))
    return (ordered[at : at + LOOKUP_BATCH] for at in range(0, len(ordered), LOOKUP_BATCH))


def _configure(connection: object, _record: object) -> None:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    # A reader never waits for the writer, and a committed row survives kill -9.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    synchronous = connection.get_execution_options().get("codesearch_writes")
    if synchronous is None:
        connection.exec_driver_sql("BEGIN DEFERRED")
        return
    connection.exec_driver_sql(f"PRAGMA synchronous = {synchronous}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")
