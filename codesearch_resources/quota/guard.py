"""May this call be sent now? Decided from rules, windows, the job's own books and the clock.

`decide` is pure. Every rule that binds is asked; a denial goes before a wait, and of the waits the
longest counts. What is not known is never taken for zero.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from codesearch_resources.calls import Allow, Decision, Deny, Estimate, Wait
from codesearch_resources.quota.books import LONG_PAUSE, Books
from codesearch_resources.quota.meter import MeterState
from codesearch_resources.quota.movement import LOOK, SAMPLE, SHOWN
from codesearch_resources.quota.rules import Rules
from codesearch_resources.quota.windows import Window

CAUTION = 1.5  # what was sent since a reading counts this much
FROM_THE_FUTURE = 120.0  # seconds; a reading that is younger than now was not made now
_ALLOW = Allow()
_ROUNDING = 1e-9


def decide(
    rules: Rules, state: MeterState, books: Books, estimate: Estimate, now: float
) -> Decision:
    """Whether a call that takes at most `estimate` may be sent at `now` (epoch seconds)."""
    if rules.own_machine:
        return _ALLOW
    wait: Wait | None = None
    for found in _objections(rules, state, books, estimate, now):
        if isinstance(found, Deny):
            return found
        if wait is None or found.until > wait.until:
            wait = found
    return wait or _ALLOW


def _objections(
    rules: Rules, state: MeterState, books: Books, estimate: Estimate, now: float
) -> Iterator[Wait | Deny]:
    if rules.shared and not rules.allowed:
        yield Deny(
            f"{rules.meter} is a subscription: it is drawn on only by an entry of `summarizers` "
            "that says `allow_subscription: true`"
        )
    yield from _breakers(books, now)
    expected = rules.expected(estimate)
    if expected is None:
        yield Deny(
            f"the price of {estimate.model} is unknown: give it a `price`, or agree with "
            "`price_unknown_ok: true`"
        )
        return
    yield from _budgets(rules, books, expected, now)
    if rules.hours is not None:
        opens = rules.hours.opens(datetime.fromtimestamp(now, UTC))
        if opens is not None:
            yield Wait(opens, f"{rules.meter} is used by batches from {rules.hours.start:%H:%M} on")
    if state.refused:
        yield _refused(state, now)
    yield from _windows(rules, state, books, estimate, expected, now)
    if rules.shared and "meter_check" not in rules.off:
        yield from _suspicion(rules, books, now)
    if rules.shared and "slow_start" not in rules.off:
        yield from _slow_start(rules, books, estimate, now)


def _breakers(books: Books, now: float) -> Iterator[Wait | Deny]:
    for breaker in books.breakers.values():
        if breaker.until is None:
            yield Deny(breaker.why)
        elif breaker.until > now:
            yield Wait(_moment(breaker.until), breaker.why)


def _budgets(rules: Rules, books: Books, expected: float, now: float) -> Iterator[Wait | Deny]:
    if rules.calls_per_run is not None and books.calls >= rules.calls_per_run:
        yield Deny(f"this run has made its {rules.calls_per_run:,} calls (`max_calls_per_run`)")
    spent = books.spent + books.flying + expected
    if rules.spend_per_run is not None and spent > rules.spend_per_run + _ROUNDING:
        yield Deny(f"this run has spent its {rules.spend_per_run:,.2f} (`max_spend_per_run`)")
    daily = rules.spend_per_day
    if daily is not None and books.today(now) + expected > daily + _ROUNDING:
        midnight = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0)
        tomorrow = midnight.replace(microsecond=0) + timedelta(days=1)
        yield Wait(tomorrow, f"today's {daily:,.2f} for {rules.meter} are spent")


def _refused(state: MeterState, now: float) -> Wait | Deny:
    why = state.refused or ""
    ends = [
        window.resets_at - state.skew
        for window in state.windows
        if window.resets_at is not None and (window.used or 0) >= 1
    ]
    until = max(ends, default=0.0)
    return Wait(_moment(until), why) if until > now else Deny(why)


def _windows(
    rules: Rules,
    state: MeterState,
    books: Books,
    estimate: Estimate,
    expected: float,
    now: float,
) -> Iterator[Wait | Deny]:
    binding = [w for w in state.windows if rules.binds(w.feature, estimate.model)]
    if not binding and rules.shared:
        age = None if state.heard_at is None else now - state.heard_at
        if not state.unlimited or age is None or age > rules.unknown_after:
            yield Deny(f"nothing is known of the limits of {rules.meter}")
    unobserved = books.unobserved() + expected
    for window in binding:
        if is_unknown(window, rules, now):
            if rules.shared:
                yield Deny(f"the {window.kind} window of {rules.meter} cannot be read")
            continue
        if _is_bought(rules, state, books, window, expected, now):
            continue
        yield from _reserve(rules, state, books, window, unobserved, now)
        if rules.shared and "cap" not in rules.off:
            yield from _cap(rules, books, window, unobserved, now)


def _is_bought(
    rules: Rules,
    state: MeterState,
    books: Books,
    window: Window,
    expected: float,
    now: float,
) -> bool:
    """Whether a window is used up and bought credits may be spent in its place."""
    if (window.used or 0.0) < 1 or not state.credits:
        return False
    return books.bought_today(now) + expected <= min(rules.bought, state.credits)


def is_unknown(window: Window, rules: Rules, now: float) -> bool:
    """Whether nothing can be said of a window's use: never read, unreadable, or too long ago."""
    age = now - window.heard_at
    too_old = age > rules.unknown_after or age < -FROM_THE_FUTURE
    return window.used is None or window.unreadable or too_old


def effective_use(rules: Rules, books: Books, window: Window, unobserved: float) -> float:
    """A window's use with what was sent since, upper bound; `window.used` is known."""
    used = window.used or 0.0
    if "effective_use" in rules.off:
        return used
    per_cost = books.movement.likely(window.key)
    return used if per_cost is None else used + unobserved * per_cost * CAUTION


def line(rules: Rules, state: MeterState, kind: str) -> float:
    """The use of such a window at which the job stops."""
    floor = rules.floor(kind)
    # Behind a full window lie bought credits: a lagging meter must not reach them unasked.
    if rules.shared and state.credits and not rules.bought:
        floor = max(floor, rules.unobserved)
    return 1 - floor


def _reserve(
    rules: Rules,
    state: MeterState,
    books: Books,
    window: Window,
    unobserved: float,
    now: float,
) -> Iterator[Wait | Deny]:
    """The reserve of one window, and the pace within it."""
    stop = line(rules, state, window.kind)
    used = effective_use(rules, books, window, unobserved if rules.shared else 0.0)
    resets_at = None if window.resets_at is None else window.resets_at - state.skew
    if used >= stop - _ROUNDING:
        why = f"{used:.0%} of the {window.kind} window of {rules.meter} is used"
        why += f", {1 - stop:.0%} is kept for you" if stop < 1 else ""
        if (window.used or 0.0) + rules.quantum < stop:
            yield Wait(_moment(_observable(rules, books, now)), f"{why} (what was sent included)")
        elif resets_at is None:
            yield Deny(why)
        else:
            yield Wait(_moment(max(resets_at, now + rules.poll)), why)
    elif rules.pace and resets_at is not None and window.length:
        allowed = (1 - (resets_at - now) / window.length) * stop
        if used > allowed:
            from_start = window.length * (used / stop)
            yield Wait(
                _moment(max(resets_at - window.length + from_start, now + rules.poll)),
                f"{used:.0%} of the {window.kind} window of {rules.meter} is used, "
                f"its even pace allows {max(0.0, allowed):.0%} by now",
            )


def _cap(
    rules: Rules, books: Books, window: Window, unobserved: float, now: float
) -> Iterator[Wait]:
    """Never more than a small share of a window beyond what readings have covered."""
    bound = books.movement.bound(window.key)
    if bound is None:
        return  # the first twenty calls are their own cap
    person = now < books.movement.person_until
    most = rules.unobserved / 2 if person else rules.unobserved
    # One call at a time may always be looked at, else a bound that is too high never falls.
    if unobserved * bound > most + _ROUNDING and books.unobserved() > 0:
        why = f"waiting until the meter shows what was sent (at most {most:.0%} ahead of it)"
        if person:
            why += "; somebody else is using it"
        yield Wait(_moment(_observable(rules, books, now)), why)


def _suspicion(rules: Rules, books: Books, now: float) -> Iterator[Wait]:
    if books.movement.suspect_since is not None:
        until = max(books.last_at + (SHOWN + LOOK) * rules.settle, now) + rules.poll
        why = "the meter moved more than this job accounts for: standing still to see who it was"
        yield Wait(_moment(until), why)


def _slow_start(
    rules: Rules, books: Books, estimate: Estimate, now: float
) -> Iterator[Wait | Deny]:
    start = books.starts.get((estimate.provider, estimate.model))
    if start is None or now - start.last_at > LONG_PAUSE:
        sent, quota = 0, SAMPLE
    else:
        found = start.quota()
        if found is None:
            return
        sent, quota = start.sent, found
    if sent >= quota:
        why = f"slow start: {quota} calls were sent, waiting for the meter to show them"
        yield Wait(_moment(max(books.last_at + rules.settle, now) + rules.poll), why)


def _observable(rules: Rules, books: Books, now: float) -> float:
    """When a reading can have covered the oldest of what was sent."""
    if books.in_flight or not books.recent:
        return now + rules.poll
    return max(books.recent[0][0] + rules.settle, now) + rules.poll


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
