"""The ledger against what providers report, by provider and day.

Two things can be compared: the tokens that answers report against those that were expected, and,
where a meter tells what was spent (Ollama's `activity.cost`), its rise against the ledger.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from codesearch_resources.account import Entry
from codesearch_resources.quota import fields

TOLERANCE = 1.2  # times the ledger
FEW = 20  # calls say nothing yet


@dataclass(frozen=True, slots=True)
class Day:
    """One provider on one day (UTC); dollars None where nobody says."""

    provider: str
    day: str
    calls: int
    expected_input: int
    reported_input: int
    unreported: int  # answers without usage
    dollars: float | None
    meter_dollars: float | None

    @property
    def trouble(self) -> str | None:
        """What does not agree, in words; None: it does, or there is too little to tell."""
        if self.calls < FEW:
            return None
        where = f"{self.provider} on {self.day}"
        if self.reported_input > TOLERANCE * self.expected_input:
            return (
                f"{where}: {self.reported_input:,} input tokens were charged, "
                f"{self.expected_input:,} were expected"
            )
        known = self.dollars is not None and self.meter_dollars is not None
        if known and (self.meter_dollars or 0.0) > TOLERANCE * (self.dollars or 0.0) + 0.01:
            return (
                f"{where}: its meter says ${self.meter_dollars:.2f}, the ledger ${self.dollars:.2f}"
            )
        return None


def by_day(entries: Iterable[Entry], meter_dollars: Mapping[tuple[str, str], float]) -> list[Day]:
    """The ledger's attempts by provider and day; `meter_dollars` by (meter, day)."""
    groups: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.status != "reserved":
            groups[entry.provider, entry.began_at.date().isoformat()].append(entry)
    days = []
    for (provider, day), found in sorted(groups.items()):
        said = [entry for entry in found if entry.usage.input is not None]
        costs = [entry.counted_cost for entry in found if entry.counted_cost is not None]
        days.append(
            Day(
                provider,
                day,
                len(found),
                sum(entry.estimated_input for entry in said),
                sum(entry.usage.input or 0 for entry in said),
                sum(e.usage.input is None for e in found if e.status == "settled"),
                sum(costs) if costs else None,
                meter_dollars.get((found[0].meter, day)),
            )
        )
    return days


def rises(readings: Iterable[tuple[float, object]]) -> dict[str, float]:
    """What a meter's own cost rose by on each day, from raw readings with their times, in order.

    Only rises count: a period of four weeks that moves on takes old costs away.
    """
    found: dict[str, float] = defaultdict(float)
    before: float | None = None
    for at, raw in readings:
        activity = raw.get("activity") if isinstance(raw, Mapping) else None
        cost = fields.number(activity.get("cost")) if isinstance(activity, Mapping) else None
        if cost is None:
            continue
        if before is not None and cost > before:
            found[datetime.fromtimestamp(at, UTC).date().isoformat()] += cost - before
        before = cost
    return dict(found)
