"""The guard until limit windows are read: own machines are free, the cloud has a daily budget."""

import statistics
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from codesearch_resources.calls import Allow, CallError, Decision, Deny, Estimate, Usage, Wait
from codesearch_resources.ledger import Ledger
from codesearch_resources.settings_limits import Limits
from codesearch_resources.settings_summarizers import Price

# An honest provider charges about what is sent; one that adds a prompt of its own shows at once.
MOST_RATIO, RATIO_CALLS = 3.0, 20
READ_AGAIN = 2.0  # seconds; what other processes spend meanwhile is seen after that


def dollars(price: Price | None, input: int, output: int, cached: int = 0) -> float | None:
    """What tokens cost; None without a price, which is never nothing. `cached` is part of input."""
    if price is None:
        return None
    cached_price = price.input if price.cached is None else price.cached
    fresh = max(0, input - cached)
    return (fresh * price.input + cached * cached_price + output * price.output) / 1e6


class InterimGuard:
    """Allows by calls of this run, dollars of this day, and what the server says it was sent."""

    def __init__(
        self,
        limits: Limits,
        ledger: Ledger,
        price_of: Callable[[str, str], Price | None],
        is_cloud: Callable[[str], bool],
    ) -> None:
        """`price_of` a provider and its model; `is_cloud`: whether a provider's calls leave one's
        own machines."""
        self._limits, self._ledger = limits, ledger
        self._price_of, self._is_cloud = price_of, is_cloud
        self._turn = threading.Lock()
        self._read_at = -READ_AGAIN
        self._day = datetime.min.replace(tzinfo=UTC)
        self._spent = 0.0
        self._answers = 0
        # A thread makes one call at a time: asked again, its last one was never sent.
        self._pending: set[int] = set()

    def allow(self, estimate: Estimate) -> Decision:
        if not self._is_cloud(estimate.provider):
            return Allow()
        price = self._price_of(estimate.provider, estimate.model)
        expected = dollars(price, estimate.input, estimate.output)
        with self._turn:
            self._pending.discard(threading.get_ident())
            if self._answers + len(self._pending) >= self._limits.max_calls_per_run:
                return Deny(
                    f"{self._limits.max_calls_per_run} calls to the cloud in this run, as many as "
                    "limits.max_calls_per_run allows"
                )
            decision = self._within_budget(expected) or self._honest(estimate)
            if decision is None:
                self._pending.add(threading.get_ident())
                self._spent += expected or 0.0
            return decision or Allow()

    def observe(
        self,
        estimate: Estimate,
        answer_usage: Usage | None,
        headers: Mapping[str, str],
        error: CallError | None,
    ) -> None:
        if self._is_cloud(estimate.provider):
            with self._turn:
                self._pending.discard(threading.get_ident())
                self._answers += 1

    def _within_budget(self, expected: float | None) -> Decision | None:
        budget = self._limits.budget
        if budget is None:
            return None
        if expected is None:
            return Deny(
                "no price is known for it, so limits.dollars_per_day cannot be kept: give the "
                "provider a price, or set limits.dollars_per_day: unlimited"
            )
        self._read_spent()
        if self._spent + expected <= budget:
            return None
        tomorrow = self._day + timedelta(days=1)
        return Wait(tomorrow, f"limits.dollars_per_day is used up ({self._spent:.2f} of {budget})")

    def _read_spent(self) -> None:
        now = datetime.now(UTC)
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        if day != self._day or time.monotonic() - self._read_at >= READ_AGAIN:
            self._day, self._read_at = day, time.monotonic()
            self._spent = self._ledger.spent(since=day).cost

    def _honest(self, estimate: Estimate) -> Decision | None:
        if self._answers < RATIO_CALLS:
            return None
        ratios = self._ledger.ratios(estimate.provider, estimate.model, RATIO_CALLS)
        if len(ratios) < RATIO_CALLS or statistics.median(ratios) < MOST_RATIO:
            return None
        return Deny(
            f"each call is charged {statistics.median(ratios):.1f} times the input that was sent"
        )
