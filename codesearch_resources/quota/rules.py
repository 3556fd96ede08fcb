"""What the guard is told: reserves, budgets and patience of one meter, as the settings say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Literal

from codesearch_resources.calls import Estimate, Usage
from codesearch_resources.quota.rates import (
    CREDITS_PER_DOLLAR,
    MILLION,
    Rate,
    cost,
    plain_name,
    rate_card,
)

RESERVE = {"5h": 0.5, "week": 0.4, "month": 0.3}
# Parts that can be switched off, one at a time, to show what each is worth. No setting does it.
Part = Literal["reserve", "per_request", "meter_check", "effective_use", "cap", "slow_start"]
PARTS: tuple[Part, ...] = (
    "reserve", "per_request", "meter_check", "effective_use", "cap", "slow_start",
)  # fmt: skip
# Of a model without a price, weighed instead: output is dearer than input on every card.
_OUTPUT_WEIGHT = 8.0
_LEAST = 1e-6  # a call that is free still counts as one


@dataclass(frozen=True, slots=True)
class Hours:
    """The hours of the day that a batch may work in, over midnight where they end before."""

    start: time
    end: time
    zone: tzinfo = UTC

    def opens(self, now: datetime) -> datetime | None:
        """When they begin next; None: they are running."""
        wall = now.astimezone(self.zone)
        at = wall.timetz().replace(tzinfo=None)
        over_midnight = self.end <= self.start
        inside = at >= self.start or at < self.end if over_midnight else self.start <= at < self.end
        if inside:
            return None
        day = wall.date() if at < self.start else wall.date() + timedelta(days=1)
        return datetime.combine(day, self.start, self.zone).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Rules:
    """The guard's configuration for one meter. Times are seconds, shares are of 1.

    shared     a subscription that a person uses too; else a key with a budget of its own
    allowed    the chain entry says `allow_subscription: true`
    reserve    share that is left to the person, by kind of window; the strictest for other kinds
    bought     bought credits that may be spent a day; 0: none
    plans      what a whole window is thought to hold, in the unit of the prices; a prior
    prices     by model, as it is called; a model without one has no known price
    unpriced   the user agreed to a model without a known price
    """

    meter: str
    shared: bool = True
    allowed: bool = True
    own_machine: bool = False
    reserve: Mapping[str, float] = field(default_factory=lambda: RESERVE)
    bought: float = 0.0
    pace: bool = False
    hours: Hours | None = None
    plans: Mapping[str, float] = field(default_factory=dict)
    prices: Mapping[str, Rate] = field(default_factory=dict)
    unpriced: bool = False
    spend_per_day: float | None = None
    spend_per_run: float | None = None
    calls_per_run: int | None = None
    unobserved: float = 0.02
    settle: float = 900.0
    stale_after: float = 600.0
    unknown_after: float = 3600.0
    quantum: float = 0.01
    poll: float = 60.0
    off: frozenset[Part] = frozenset()

    def floor(self, kind: str) -> float:
        """The share of such a window that is left to the person."""
        if not self.shared or "reserve" in self.off:
            return 0.0
        found = self.reserve.get(kind)
        return max(self.reserve.values(), default=0.0) if found is None else found

    def expected(self, estimate: Estimate) -> float | None:
        """What a call takes at most, in the unit of the prices; None: the price is unknown."""
        return self.charged(estimate.model, Usage(input=estimate.input, output=estimate.output))

    def charged(self, model: str, usage: Usage) -> float | None:
        """What a usage takes; None: the price is unknown, or the usage is."""
        rate = self.prices.get(model)
        if rate is not None:
            found = cost(rate, usage)
            return None if found is None else max(found.amount, _LEAST)
        if not self.unpriced or usage.input is None or usage.output is None:
            return None
        return _weight(usage.input, usage.output)

    def taken(self, model: str, usage: Usage, dollars: float | None = None) -> float | None:
        """What a call that was made takes, in the unit of the prices; None: the usage is unknown.

        Its model may have left the settings since. Then what was booked for it counts, `dollars`,
        else the card, else the dearest price there is, or the weight where the user agreed to
        that: it was made, so it took something.
        """
        if usage.input is None or usage.output is None:
            return None
        rate = self.prices.get(model)
        if rate is None and dollars is not None:
            return max(dollars * (CREDITS_PER_DOLLAR if self.shared else 1.0), _LEAST)
        rate = rate or rate_card().find(model, "credits" if self.shared else "dollars")
        others = [] if self.unpriced else self.prices.values()
        rates = [rate] if rate is not None else list(others)
        found = [cost(rate, usage) for rate in rates]
        amounts = [one.amount for one in found if one is not None]
        return max(*amounts, _LEAST) if amounts else _weight(usage.input, usage.output)

    def binds(self, feature: str | None, model: str) -> bool:
        """Whether an extra limit holds for a model: one that is named after another does not."""
        if feature is None:
            return True
        named = plain_name(feature)
        return named == plain_name(model) or not named.startswith("gpt-")


def _weight(input: int, output: int) -> float:
    return max((input + _OUTPUT_WEIGHT * output) / MILLION, _LEAST)
