"""Breakers: providers and models that are left alone, remembered across processes.

A breaker with a time lets one call through when that time has come. One without waits for a
person: `codesearch index`, changed settings of the provider, or a clock that was set.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from codesearch_resources import results_tables as tables
from codesearch_resources.calls import Trouble
from codesearch_resources.results_tables import aware, present, stored, writing

CLOCK_STEP = 30.0  # seconds; a clock off by more breaks the signatures of a request
_t = tables.breakers.c


@dataclass(frozen=True, slots=True)
class Breaker:
    """A provider (model "") or a model that is left alone until then (aware; None: a person)."""

    provider: str
    model: str
    trouble: Trouble
    why: str
    until: datetime | None
    times: int
    settings: str
    clock: float
    opened_at: datetime

    def holds(self, settings: str, now: datetime) -> bool:
        """Whether nothing may be sent; else one call may, to see whether it is over."""
        if self.until is not None:
            return now < self.until
        # Only what a wrong clock may have caused is tried again when the clock was set.
        clock_was_set = abs(self.clock - clock_offset()) > CLOCK_STEP
        return self.settings == settings and not (self.trouble == "auth" and clock_was_set)


class Breakers:
    """The breakers of one results.db."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine, self._writer = engine, writing(engine)

    def all(self) -> list[Breaker]:
        """Every breaker that was opened and not closed since."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(tables.breakers).order_by(_t.provider, _t.model))
            return [
                Breaker(
                    row.provider,
                    row.model,
                    row.trouble,
                    row.why,
                    aware(row.until),
                    row.times,
                    row.settings,
                    row.clock,
                    row.opened_at.replace(tzinfo=UTC),
                )
                for row in rows
            ]

    def of(self, provider: str, model: str) -> list[Breaker]:
        """Those that concern a model of a provider: its own, and the provider's."""
        return [b for b in self.all() if b.provider == provider and b.model in ("", model)]

    def open(
        self,
        provider: str,
        model: str,
        trouble: Trouble,
        why: str,
        *,
        until: datetime | None,
        settings: str,
    ) -> None:
        """Leave a provider (model "") or a model alone until a time (aware), or for good (None).

        `settings`: a fingerprint of what the user can change about it.
        """
        row = {
            "provider": provider,
            "model": model,
            "trouble": trouble,
            "why": why,
            "until": stored(until),
            "times": 1,
            "settings": settings,
            "clock": clock_offset(),
            "opened_at": present(),
        }
        statement = sqlite.insert(tables.breakers).values(row)
        statement = statement.on_conflict_do_update(
            index_elements=["provider", "model"], set_={**row, "times": _t.times + 1}
        )
        with self._writer.begin() as connection:
            connection.execute(statement)

    def close(self, provider: str, model: str | None = None) -> None:
        """It works again: forget its breakers, of this model and the provider, or all (None)."""
        which = _t.provider == provider
        if model is not None:
            which &= _t.model.in_(["", model])
        with self._writer.begin() as connection:
            connection.execute(sa.delete(tables.breakers).where(which))

    def let_try(self) -> None:
        """A person has acted: let those that wait for one be tried once."""
        now = present()
        with self._writer.begin() as connection:
            waiting = sa.update(tables.breakers).where(_t.until.is_(None))
            connection.execute(waiting.values(until=now))


def clock_offset() -> float:
    """Seconds between the wall clock and the one that nobody sets: moves when the former is set."""
    return time.time() - time.monotonic()


def longer(times: int, first: timedelta, most: timedelta) -> timedelta:
    """`first`, twice as long each further time, `most` at the most."""
    return min(most, first * int(2 ** min(times, 30)))
