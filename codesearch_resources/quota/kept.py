"""What is kept of meters in results.db: readings as they came, and what a person decided."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from codesearch_resources import results_tables as tables
from codesearch_resources.calls import Estimate, Usage
from codesearch_resources.quota.windows import Report, Window

KEEP = 35 * 86_400.0  # seconds; longer than any window that is read every day
_r, _m, _t = tables.readings.c, tables.meter_marks.c, tables.attempts.c
_f = tables.meter_refusals.c


@dataclass(frozen=True, slots=True)
class Mark:
    """What holds of a meter since `at` (epoch seconds)."""

    kind: str
    why: str
    at: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """A provider's refusal by a limit window, `at` and `until` in epoch seconds. `told`: the
    provider said until when; else it is a guess."""

    why: str
    at: float
    until: float
    told: bool = True


@dataclass(frozen=True, slots=True)
class Past:
    """One attempt of the ledger, as the guard's books take it. Times are epoch seconds, `expected`
    and `cost` the dollars that were booked, None where no price was known."""

    id: int
    owner: str
    estimate: Estimate
    usage: Usage
    status: str
    trouble: str | None
    began_at: float
    ended_at: float | None
    expected: float | None = None
    cost: float | None = None

    @property
    def charged(self) -> bool:
        """Whether it may have cost something."""
        return self.status != "failed" or self.usage.input is not None


class Kept:
    """The meters of one results.db."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine, self._writer = engine, tables.writing(engine)

    def keep(self, meter: str, report: Report) -> None:
        """Store a reading, and drop those that are too old to matter."""
        understood = asdict(report)
        raw = understood.pop("raw")
        row = {
            "meter": meter,
            "source": report.source,
            "heard_at": report.heard_at,
            "report": understood,
            "raw": raw,
        }
        old = (_r.meter == meter) & (_r.heard_at < report.heard_at - KEEP)
        with self._writer.begin() as connection:
            connection.execute(sa.insert(tables.readings), row)
            connection.execute(sa.delete(tables.readings).where(old))

    def readings(self, meter: str, since: float, after: int = 0) -> list[tuple[int, Report]]:
        """The readings since then with an id above `after`, oldest first, without what came raw."""
        query = sa.select(_r.id, _r.report).where(
            _r.meter == meter, _r.heard_at >= since, _r.id > after
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(_r.id))
            return [(row.id, _report(row.report)) for row in rows]

    def last_read(self, meter: str, sources: Iterable[str]) -> float | None:
        """Since when there is a reading of each source; None: one has not been read at all."""
        query = sa.select(_r.source, sa.func.max(_r.heard_at)).where(_r.meter == meter)
        with self._engine.connect() as connection:
            rows = connection.execute(query.group_by(_r.source))
            found: dict[str, float] = {row[0]: row[1] for row in rows}
        heard = [found.get(source) for source in sources]
        return None if None in heard else min(h for h in heard if h is not None)

    def raw(self, since: float) -> list[tuple[str, float, object]]:
        """Readings as they came: meter, time, and what it said, oldest first."""
        query = sa.select(_r.meter, _r.heard_at, _r.raw).where(_r.heard_at >= since)
        with self._engine.connect() as connection:
            rows = connection.execute(query.order_by(_r.id))
            return [(row.meter, row.heard_at, row.raw) for row in rows]

    def mark(self, meter: str, kind: str, why: str, at: float) -> None:
        """Note what holds of a meter from now on; the first reason of a kind stays."""
        row = {"meter": meter, "kind": kind, "why": why, "at": at}
        statement = sqlite.insert(tables.meter_marks).values(row).on_conflict_do_nothing()
        with self._writer.begin() as connection:
            connection.execute(statement)

    def resume(self, meter: str, at: float) -> list[str]:
        """Forget every mark of a meter but that it was resumed; returns the kinds forgotten."""
        row = {"meter": meter, "kind": "resumed", "why": "", "at": at}
        with self._writer.begin() as connection:
            gone = connection.execute(
                sa.delete(tables.meter_marks).where(_m.meter == meter).returning(_m.kind)
            )
            kinds = [kind for kind in gone.scalars() if kind != "resumed"]
            refused = sa.delete(tables.meter_refusals).where(_f.meter == meter)
            kinds += ["refused"] if connection.execute(refused).rowcount else []
            connection.execute(sa.insert(tables.meter_marks), row)
        return kinds

    def marks(self, meter: str) -> dict[str, Mark]:
        """What holds of a meter, by kind."""
        query = sa.select(tables.meter_marks).where(_m.meter == meter)
        with self._engine.connect() as connection:
            rows = connection.execute(query)
            return {row.kind: Mark(row.kind, row.why, row.at) for row in rows}

    def refuse(self, meter: str, refusal: Refusal) -> None:
        """Close a meter for every process; of two refusals the later end counts."""
        row = {
            "meter": meter,
            "why": refusal.why,
            "at": refusal.at,
            "until": refusal.until,
            "told": refusal.told,
        }
        statement = sqlite.insert(tables.meter_refusals).values(row)
        statement = statement.on_conflict_do_update(
            index_elements=["meter"],
            set_={
                "why": statement.excluded.why,
                "at": statement.excluded.at,
                "until": sa.func.max(_f.until, statement.excluded.until),
                "told": sa.case(
                    (_f.until > statement.excluded.until, _f.told), else_=statement.excluded.told
                ),
            },
        )
        with self._writer.begin() as connection:
            connection.execute(statement)

    def refusal(self, meter: str) -> Refusal | None:
        """What keeps a meter closed, in whatever process it was met."""
        query = sa.select(_f.why, _f.at, _f.until, _f.told).where(_f.meter == meter)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
            return None if row is None else Refusal(*row)

    def lift(self, meter: str, refusal: Refusal) -> None:
        """The reset that a refusal waited for was confirmed; one that came since stays."""
        same = (_f.meter == meter) & (_f.at <= refusal.at) & (_f.until <= refusal.until)
        with self._writer.begin() as connection:
            connection.execute(sa.delete(tables.meter_refusals).where(same))

    def attempts(
        self, meter: str, since: float, after: int = 0, again: Iterable[int] = ()
    ) -> list[Past]:
        """The ledger's rows of a meter begun since then with an id above `after`, and those of
        `again`, by id."""
        new = (_t.meter == meter) & (_t.began_at >= tables.moment(since)) & (_t.id > after)
        query = sa.select(tables.attempts).where(new | _t.id.in_(list(again))).order_by(_t.id)
        with self._engine.connect() as connection:
            return [_past(row) for row in connection.execute(query)]


def _report(found: dict[str, Any]) -> Report:
    windows = tuple(
        Window(**{**window, "flags": tuple(window["flags"]), "pending": None})
        for window in found["windows"]
    )
    return Report(**{**found, "windows": windows})


def _past(row: Any) -> Past:
    estimate = Estimate(
        row.provider,
        row.model,
        row.meter,
        row.purpose,
        row.estimated_input,
        row.estimated_output,
    )
    usage = Usage(row.input, row.cached, row.cache_write, row.output, row.reasoning)
    ended = None if row.ended_at is None else tables.epoch(row.ended_at)
    began = tables.epoch(row.began_at)
    return Past(
        row.id,
        row.owner,
        estimate,
        usage,
        row.status,
        row.trouble,
        began,
        ended,
        row.estimated_cost,
        row.cost,
    )
