"""A job's own books on one meter: what it sent, what was charged, what the meter did meanwhile.

Fed with what happens, in order: `reserve`, `settle`, `fail` or `cancel`, `read`, `refuse`.
Everything the guard asks is kept up to date as it comes in, so that a decision costs the same after
20 calls and after 70,000. Instants are epoch seconds, costs are in the unit of the meter's prices.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median

from codesearch_resources.calls import Estimate, Usage
from codesearch_resources.quota.fields import SAME_INSTANT
from codesearch_resources.quota.meter import MeterState
from codesearch_resources.quota.movement import SAMPLE, Movement
from codesearch_resources.quota.rules import Rules
from codesearch_resources.quota.windows import Window

EXCESS = 3.0  # times what was expected
ROUNDS = 6  # doublings of the slow start
LONG_PAUSE = 86_400.0
MISSING_COST, MISSING_SHARE = 1.5, 0.05
FIRST_PROBE, LAST_PROBE = 900.0, 6 * 3600.0

Who = tuple[str, str]  # provider, model
Key = tuple[str | None, str]  # of a window


@dataclass(frozen=True, slots=True)
class Breaker:
    """Why nothing is sent, with the numbers. `until` None: until a person says so."""

    kind: str
    why: str
    since: float
    until: float | None = None
    told: bool = False  # the provider said until when


@dataclass(frozen=True, slots=True)
class Reset:
    """A confirmed reset: when it was heard of, when it was due, and whether of the longest
    window."""

    at: float
    due: float | None
    longest: bool


@dataclass(slots=True)
class Start:
    """Where the slow start of one model stands: what was sent in this stage, what is unseen."""

    stage: int = 0
    sent: int = 0
    unseen: int = 0
    last_at: float = 0.0

    def quota(self) -> int | None:
        """Calls of this stage; None: it is over."""
        return None if self.stage > ROUNDS else SAMPLE * 2**self.stage


@dataclass(slots=True)
class Charged:
    """What calls of one model were charged against what they were sent."""

    inputs: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=SAMPLE))
    outputs: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=SAMPLE))
    answers: int = 0
    missing: int = 0

    def excess(self) -> str | None:
        """What is charged three times over, in words; None: nothing is, or too few calls."""
        for what, pairs in (("input", self.inputs), ("output", self.outputs)):
            # More than half of them: the median is.
            if (
                len(pairs) == SAMPLE
                and 2 * sum(billed > EXCESS * sent for billed, sent in pairs) > SAMPLE
            ):
                billed = median(b for b, _ in pairs)
                sent = median(s for _, s in pairs)
                verb = "you sent" if what == "input" else "the cap is"
                return f"each request is billed {billed:,.0f} {what} tokens, {verb} {sent:,.0f}"
        return None


class Books:
    """The books of one job on one meter."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.calls = 0
        self.spent = 0.0  # settled, and never given back
        self.by_day: dict[str, float] = {}
        self.in_flight: dict[int, tuple[Who, float, Estimate]] = {}
        self.began: dict[int, float] = {}  # of those in flight
        self.flying = 0.0
        # Settled, and not yet covered by a reading that is older than the settle time.
        self.recent: deque[tuple[float, float, Who]] = deque()
        self.unseen = 0.0
        self.last_at = 0.0
        self.starts: dict[Who, Start] = {}
        self.charged: dict[Who, Charged] = {}
        self.movement = Movement(rules)
        self.breakers: dict[str, Breaker] = {}
        self.refusals = 0  # in a row, those of calls that were under way together as one
        self.refused_at = -math.inf
        self.windows: dict[Key, Window] = {}  # as they were read last
        self.resets: list[Reset] = []
        self.bought: dict[str, float] = {}
        self._exhausted = False

    def unobserved(self) -> float:
        """What no reading can have seen: in flight, or settled too lately."""
        return self.unseen + self.flying

    def reserve(
        self, call: int, estimate: Estimate, now: float, dollars: float | None = None
    ) -> None:
        """A call is about to be sent; `dollars`: what was booked for it, where it is an old one."""
        who = (estimate.provider, estimate.model)
        asked = Usage(input=estimate.input, output=estimate.output)
        expected = self.rules.taken(estimate.model, asked, dollars) or 0.0
        self.calls += 1
        self.in_flight[call], self.began[call] = (who, expected, estimate), now
        self.flying += expected
        start = self.starts.setdefault(who, Start())
        if start.last_at and now - start.last_at > LONG_PAUSE:
            start.stage, start.sent = 0, 0
        start.sent += 1
        start.unseen += 1
        start.last_at = self.last_at = now

    def settle(
        self, call: int, usage: Usage | None, now: float, dollars: float | None = None
    ) -> None:
        """An answer came. Without its usage it counts as half as much again as was expected."""
        who, expected, estimate = self._landed(call)
        found = self.charged.setdefault(who, Charged())
        found.answers += 1
        taken = None if usage is None else self.rules.taken(estimate.model, usage, dollars)
        if usage is None or usage.input is None or usage.output is None:
            found.missing += 1
        if usage is not None and usage.input is not None:
            found.inputs.append((usage.input, max(1, estimate.input)))
        if usage is not None and usage.output is not None:
            found.outputs.append((usage.output, max(1, estimate.output)))
        self._book(who, expected * MISSING_COST if taken is None else taken, now)
        self.refusals = 0
        self._look_at(found, now)

    def fail(self, call: int, now: float, *, charged: bool) -> None:
        """A call brought nothing. One whose end nobody knows counts in full."""
        who, expected, _ = self._landed(call)
        if charged:
            self._book(who, expected, now)
        else:
            self.starts[who].unseen -= 1

    def cancel(self, call: int) -> None:
        """It was not sent after all: no call, neither of the run nor of the slow start."""
        who, _, _ = self._landed(call)
        self.calls -= 1
        start = self.starts[who]
        start.unseen -= 1
        start.sent = max(0, start.sent - 1)  # 0 where the start began anew meanwhile

    def _landed(self, call: int) -> tuple[Who, float, Estimate]:
        found, _ = self.in_flight.pop(call), self.began.pop(call)
        self.flying = self.flying - found[1] if self.in_flight else 0.0
        return found

    def _book(self, who: Who, amount: float, now: float) -> None:
        self.spent += amount
        day = datetime.fromtimestamp(now, UTC).date().isoformat()
        self.by_day[day] = self.by_day.get(day, 0.0) + amount
        if self._exhausted:
            self.bought[day] = self.bought.get(day, 0.0) + amount
        self.recent.append((now, amount, who))
        self.unseen += amount
        self.last_at = now
        self.movement.sent(amount)

    def _look_at(self, found: Charged, now: float) -> None:
        if "per_request" not in self.rules.off:
            excess = found.excess()
            if excess:
                self.trip("overhead", excess, now)
        missing = found.answers >= SAMPLE and found.missing > MISSING_SHARE * found.answers
        if missing and self.rules.shared:
            share = f"{found.missing} of {found.answers} answers do not say what was charged"
            self.trip("unmetered", share, now)

    def read(self, state: MeterState) -> None:
        """The meter was read, and this is what is known of it now."""
        trusted = [window for window in state.windows if is_trusted(window)]
        if trusted and len(trusted) == len(state.windows):
            self._see(min(window.heard_at for window in trusted))
        self._exhausted = any((window.used or 0) >= 1 for window in state.windows)
        still_since = None if self.in_flight else self.last_at
        if state.heard_at is not None:
            excess = self.movement.read(trusted, state.heard_at, still_since, self.unobserved())
            if excess and self.rules.shared and "meter_check" not in self.rules.off:
                self.trip("discrepancy", excess, state.heard_at)
        self._note_resets(state)
        refused = self.breakers.get("refused")
        if refused is not None and self.is_over(refused.since, refused.until, refused.told):
            self.breakers.pop("refused", None)
            self.refusals = 0

    def _note_resets(self, state: MeterState) -> None:
        lengths = [w.length or 0.0 for w in state.windows if w.feature is None]
        for window in state.windows:
            old = self.windows.get(window.key)
            if old is not None and window.resets > old.resets:
                longest = window.feature is None and window.length == max(lengths)
                self.resets.append(Reset(state.heard_at or 0.0, old.resets_at, longest))
        self.windows = {window.key: window for window in state.windows}

    def is_over(self, since: float, until: float | None, told: bool) -> bool:
        """Whether a reset was confirmed since that ends such a refusal: of the window whose end it
        told, or of the longest one; any, where the provider told no end."""
        return any(
            reset.at > since and (not told or reset.longest or _same(reset.due, until))
            for reset in self.resets
        )

    def _see(self, heard_at: float) -> None:
        """A reading covers what was settled long enough before it."""
        through = heard_at - self.rules.settle
        seen = 0.0
        while self.recent and self.recent[0][0] <= through:
            _, amount, who = self.recent.popleft()
            seen += amount
            self.starts[who].unseen -= 1
        self.unseen = self.unseen - seen if self.recent else 0.0
        self.movement.seen(seen)
        for start in self.starts.values():
            quota = start.quota()
            if quota is not None and start.sent >= quota and start.unseen == 0:
                start.stage, start.sent = start.stage + 1, 0

    def refuse(self, why: str, now: float, until: float | None, began: float | None = None) -> None:
        """The provider refused by its limit a call that `began` then; without a time, the pause
        doubles up to six hours."""
        self.count_refusal(now if began is None else began, now)
        told = until is not None
        if until is None:
            until = now + min(FIRST_PROBE * 2 ** max(self.refusals - 1, 0), LAST_PROBE)
        old = self.breakers.get("refused")
        if old is not None and old.until is not None and old.until > until:
            until, told = old.until, old.told
        self.breakers["refused"] = Breaker("refused", why, now, until, told)

    def count_refusal(self, began: float, now: float) -> None:
        """Count the refusal of a call; one that was under way at the last refusal says no more."""
        if began > self.refused_at:
            self.refusals += 1
        self.refused_at = max(self.refused_at, now)

    def trip(self, kind: str, why: str, now: float) -> None:
        """Open a breaker that a person closes; the first reason stays."""
        self.breakers.setdefault(kind, Breaker(kind, why, now))

    def resume(self) -> None:
        """A person closed every breaker: what tripped them starts afresh, slowly."""
        self.breakers.clear()
        self.refusals = 0
        self.charged.clear()
        self.movement = Movement(self.rules)
        for start in self.starts.values():
            start.stage, start.sent = 0, 0

    def today(self, now: float) -> float:
        """Spent on the day of `now` (UTC), in flight included."""
        day = datetime.fromtimestamp(now, UTC).date().isoformat()
        return self.by_day.get(day, 0.0) + self.flying

    def bought_today(self, now: float) -> float:
        """Spent on that day while a window was used up: bought credits, then."""
        day = datetime.fromtimestamp(now, UTC).date().isoformat()
        return self.bought.get(day, 0.0) + (self.flying if self._exhausted else 0.0)


def _same(due: float | None, until: float | None) -> bool:
    return due is not None and until is not None and abs(due - until) <= SAME_INSTANT


def is_trusted(window: Window) -> bool:
    """Whether the newest reading said this of the window, with nothing open."""
    return not (
        window.used is None
        or window.unreadable
        or window.pending is not None
        or window.missing_since is not None
    )
