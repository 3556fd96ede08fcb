"""What the ledger says: attempts one by one, and sums over them."""

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa

from codesearch_resources import results_tables as tables
from codesearch_resources.calls import Purpose, Usage
from codesearch_resources.results_tables import aware, stored

Status = Literal["reserved", "settled", "failed", "unknown"]

_t = tables.attempts.c


@dataclass(frozen=True, slots=True)
class Entry:
    """One attempt as the ledger has it; times are aware, costs dollars, None where not known."""

    id: int
    provider: str
    model: str
    meter: str
    purpose: Purpose
    keys: tuple[str, ...]
    estimated_input: int
    estimated_output: int
    estimated_cost: float | None
    usage: Usage
    cost: float | None
    status: Status
    trouble: str | None
    message: str | None
    http_status: int | None
    seconds: float | None
    began_at: datetime
    ended_at: datetime | None

    @property
    def counted_input(self) -> int:
        """What it counts for: as reported; else, unless it was refused, as estimated."""
        unsaid = 0 if self.status == "failed" else self.estimated_input
        return unsaid if self.usage.input is None else self.usage.input

    @property
    def counted_cost(self) -> float | None:
        """Dollars; None where no price is known."""
        unsaid = 0.0 if self.status == "failed" else self.estimated_cost
        return unsaid if self.cost is None else self.cost

    @property
    def counted_output(self) -> int:
        unsaid = 0 if self.status == "failed" else self.estimated_output
        return unsaid if self.usage.output is None else self.usage.output


@dataclass(frozen=True, slots=True)
class Spent:
    """Sums over attempts, each counted as `Entry` says; `unpriced` calls are not in `cost`."""

    calls: int = 0
    input: int = 0
    output: int = 0
    cost: float = 0.0
    unpriced: int = 0


class Account:
    """The reading half of the ledger."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self.owner = uuid.uuid4().hex

    def entries(
        self,
        *,
        meter: str | None = None,
        provider: str | None = None,
        model: str | None = None,
        since: datetime | None = None,
        after: int = 0,
        status: Status | None = None,
        own: bool = False,
    ) -> list[Entry]:
        """Attempts, oldest first: of a meter, a provider, a model; begun at or after `since`
        (aware); with an id above `after`; `own`: only those of this process."""
        wanted = {"meter": meter, "provider": provider, "model": model, "status": status}
        query = sa.select(tables.attempts).where(_t.id > after).order_by(_t.id)
        for name, value in wanted.items():
            if value is not None:
                query = query.where(tables.attempts.c[name] == value)
        if since is not None:
            query = query.where(_t.began_at >= stored(since))
        if own:
            query = query.where(_t.owner == self.owner)
        with self._engine.connect() as connection:
            return [_entry(row) for row in connection.execute(query)]

    def in_flight(self, provider: str | None = None) -> list[Entry]:
        """The calls that are under way now, in whatever process."""
        return self.entries(provider=provider, status="reserved")

    def spent(
        self, *, meter: str | None = None, since: datetime | None = None, own: bool = False
    ) -> Spent:
        """The sums over the attempts on a meter (None: all) since a time (aware)."""
        refused = _t.status == "failed"
        counted_input = sa.func.coalesce(_t.input, sa.case((refused, 0), else_=_t.estimated_input))
        counted_output = sa.func.coalesce(
            _t.output, sa.case((refused, 0), else_=_t.estimated_output)
        )
        cost = sa.func.coalesce(_t.cost, sa.case((refused, 0.0), else_=_t.estimated_cost))
        query = sa.select(
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(counted_input), 0),
            sa.func.coalesce(sa.func.sum(counted_output), 0),
            sa.func.coalesce(sa.func.sum(cost), 0.0),
            sa.func.count() - sa.func.count(cost),
        )
        if meter is not None:
            query = query.where(_t.meter == meter)
        if since is not None:
            query = query.where(_t.began_at >= stored(since))
        if own:
            query = query.where(_t.owner == self.owner)
        with self._engine.connect() as connection:
            return Spent(*connection.execute(query.select_from(tables.attempts)).one())

    def ratios(self, provider: str, model: str, last: int = 20) -> list[float]:
        """Reported over estimated input of the last settled attempts that reported any, newest
        first."""
        query = (
            sa.select(_t.input, _t.estimated_input)
            .where(_t.provider == provider, _t.model == model)
            .where(_t.status == "settled", _t.input.is_not(None), _t.estimated_input > 0)
            .order_by(_t.id.desc())
            .limit(last)
        )
        with self._engine.connect() as connection:
            return [row.input / row.estimated_input for row in connection.execute(query)]


def _entry(row: Any) -> Entry:
    return Entry(
        id=row.id,
        provider=row.provider,
        model=row.model,
        meter=row.meter,
        purpose=row.purpose,
        keys=tuple(row.keys if isinstance(row.keys, list) else json.loads(row.keys)),
        estimated_input=row.estimated_input,
        estimated_output=row.estimated_output,
        estimated_cost=row.estimated_cost,
        usage=Usage(row.input, row.cached, row.cache_write, row.output, row.reasoning),
        cost=row.cost,
        status=row.status,
        trouble=row.trouble,
        message=row.message,
        http_status=row.http_status,
        seconds=row.seconds,
        began_at=row.began_at.replace(tzinfo=UTC),
        ended_at=aware(row.ended_at),
    )
