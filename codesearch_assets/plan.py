"""What a run of summaries would take, before anything is sent: calls, tokens, money, windows, time.

Counted as the run itself counts: the same work list, the same prompts, the same guard. No text of a
repository leaves; of a server at most its own page on the model is asked.
"""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from codesearch_assets.plan_calls import Call, RepositoryPlan, counted
from codesearch_resources.calls import Allow, Deny, Estimate, Usage
from codesearch_resources.quota.desk import Desk
from codesearch_resources.quota.guard import decide, is_unknown, line
from codesearch_resources.quota.metered import MeteredGuard, price_objection
from codesearch_resources.quota.rates import CREDITS_PER_DOLLAR, cost, rate_card
from codesearch_resources.results import Results
from codesearch_resources.settings import RepositorySettings, Settings
from codesearch_resources.store import Store
from codesearch_resources.summarizers.chain import Chain, Link
from codesearch_resources.summarizers.prompt import OUTPUT_CAP

# Real tokens of a request by its estimate: within 15 % of each tokenizer in docs/quota.md.
TYPICAL = 0.96
LEAST_OUTPUT = 10  # tokens of the shortest sentence
WORTH_ADVICE = 1.0  # dollars
USUAL_SECONDS = 5.0  # of a call, where none was made yet
USUAL_CALLS = 200  # the last ones, which tell the pace


@dataclass(slots=True)
class WindowPlan:
    """One window of a provider's meter; shares of 1, None where nothing is known."""

    kind: str
    used: float | None
    line: float
    takes: float | None


@dataclass(slots=True)
class ProviderPlan:
    """One provider of the chain: what it would get. `unit` is dollars, credits, or "" for free."""

    name: str
    model: str
    cloud: bool | None  # None: its server could not be asked
    calls: int = 0
    input_tokens: int = 0
    output_tokens: tuple[int, int] = (0, 0)
    cost: tuple[float, float] | None = None
    unit: str = ""
    hours: float = 0.0
    assumed_pace: bool = False
    windows: list[WindowPlan] = field(default_factory=list)
    why: str = ""  # what keeps it from more, or from any


@dataclass(slots=True)
class Plan:
    """The whole of it. `remainder`: calls that no provider may do now."""

    repositories: list[RepositoryPlan] = field(default_factory=list)
    providers: list[ProviderPlan] = field(default_factory=list)
    chunks: int = 0
    needed: int = 0
    calls: int = 0
    cloud_calls: int = 0
    dollars: float = 0.0
    remainder: int = 0
    beyond: list[str] = field(default_factory=list)  # limits of a run that it is larger than
    advice: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """In the form of the JSON output."""
        return asdict(self)


def make_plan(
    settings: Settings,
    store: Store,
    results: Results,
    chain: Chain,
    entries: Sequence[RepositorySettings],
    now: float,
) -> Plan:
    """What `codesearch index` of these repositories would have written, by whom, for how much."""
    plan = Plan()
    reach = {link.name: link.reaches_cloud() for link in chain.links}  # asks servers: once each
    cloud = {name for name, leaves in reach.items() if leaves}
    calls = list(counted(plan.repositories, cloud, store, results, chain, entries))
    guard = chain.guard(results)
    left = calls
    for link in chain.links:
        found, left = _share(link, reach[link.name], left, guard, settings, results, now)
        plan.providers.append(found)
    plan.calls, plan.remainder = len(calls), len(left)
    plan.chunks = sum(repo.chunks for repo in plan.repositories)
    plan.needed = sum(repo.needed for repo in plan.repositories)
    plan.cloud_calls = sum(found.calls for found in plan.providers if found.cloud)
    dollars = [found.cost[1] for found in plan.providers if found.cost and found.unit == "dollars"]
    plan.dollars = sum(dollars)
    _beyond(plan, settings)
    plan.advice = _advice(plan, calls)
    return plan


def _share(
    link: Link,
    cloud: bool | None,
    calls: Sequence[Call],
    guard: MeteredGuard,
    settings: Settings,
    results: Results,
    now: float,
) -> tuple[ProviderPlan, list[Call]]:
    """What one provider would get of the calls, and what it leaves."""
    told = link.caller.settings
    found = ProviderPlan(link.name, link.model, cloud)
    if found.cloud is None:
        found.why = "its server does not answer now"
        return found, list(calls)
    held = link.holding(results)
    if held is not None and held.until is not None:  # else a person's `index` tries it again
        found.why = f"{held.why}; from {held.until:%a %H:%M} UTC on"
        return found, list(calls)
    given_up = link.given_up(results, [call.key for call in calls])
    theirs: list[Call] = []
    kept: list[Call] = []
    mine: list[Call] = []
    for call in calls:
        if (call.providers and link.name not in call.providers) or call.key in given_up:
            theirs.append(call)
        elif found.cloud and (call.local_only or link.name in call.secret):
            kept.append(call)
        else:
            mine.append(call)
    found.why = _kept_back(kept)
    room = len(mine)
    desk = guard.desk(told.limit)
    if found.cloud and mine:
        desk.poll(now)
        desk.catch_up(now)
        room, why = _room(link, mine, desk, settings, now)
        found.why = why or found.why
    taken, rest = mine[:room], mine[room:]
    _fill(found, link, taken, desk, results, now)
    return found, [*theirs, *kept, *rest]


def _kept_back(kept: Sequence[Call]) -> str:
    """What may not leave for the cloud, in words."""
    local = sum(call.local_only for call in kept)
    reasons = [f"{local:,} calls are of repositories that are local_only"] if local else []
    secret = len(kept) - local
    reasons += [f"{secret:,} calls seem to hold a secret, which stays here"] if secret else []
    return "; ".join(reasons)


def _room(
    link: Link, calls: Sequence[Call], desk: Desk, settings: Settings, now: float
) -> tuple[int, str]:
    """How many of the calls the guard would let through in the end, and why not more."""
    told = link.caller.settings
    usual = round(statistics.mean(call.input_tokens[link.name] for call in calls))
    cap = _output_cap(link)
    estimate = Estimate(link.name, link.model, told.limit, "summary", usual, cap)
    objection = price_objection(told, settings.limits)
    if objection is not None:
        return 0, objection.why
    decision = decide(desk.rules, desk.state, desk.books, estimate, now)
    if desk.rules.shared and not told.allow_subscription:
        return 0, "it does not say `allow_subscription: true`"
    if isinstance(decision, Deny):
        return 0, decision.why
    if not isinstance(decision, Allow) and (_is_refused(desk, now) or _until_reset(desk, now)):
        return 0, f"{decision.why}; from {decision.until:%a %H:%M} UTC on"
    if desk.rules.shared:
        return _room_in_windows(desk, estimate, len(calls))
    # Agreed to without a price, it counts towards no budget.
    priced = link.model in desk.rules.prices
    budget, each = settings.limits.budget, desk.rules.expected(estimate) if priced else None
    if budget is not None and each and len(calls) * each > budget:
        days = len(calls) * each / budget
        return len(calls), f"limits.dollars_per_day spreads it over {days:.1f} days"
    return len(calls), ""


def _is_refused(desk: Desk, now: float) -> bool:
    """Whether the provider itself said until when."""
    refused = desk.books.breakers.get("refused")
    return refused is not None and (refused.until or 0.0) > now


def _until_reset(desk: Desk, now: float) -> bool:
    """Whether a window is over its line, rather than the meter being waited for."""
    return any(
        (window.used or 0.0) + desk.rules.quantum >= line(desk.rules, desk.state, window.kind)
        for window in desk.state.windows
        if not is_unknown(window, desk.rules, now)
    )


def _room_in_windows(desk: Desk, estimate: Estimate, count: int) -> tuple[int, str]:
    """Calls until the first of the windows that do not open again soon is at its line."""
    each = desk.rules.expected(estimate) or 0.0
    room, why = count, ""
    for window in desk.state.windows:
        per_cost = desk.books.movement.likely(window.key)
        if per_cost is None or not each or window.kind in ("5h", "day"):
            continue
        left = line(desk.rules, desk.state, window.kind) - (window.used or 0.0)
        fits = max(0, int(left / (each * per_cost)))
        if fits < room:
            share = desk.rules.floor(window.kind)
            room = fits
            why = f"{share:.0%} of its {window.kind} window is kept for you"
    return room, why


def _output_cap(link: Link) -> int:
    """Output tokens that a call of this provider takes at most."""
    return OUTPUT_CAP + link.caller.settings.thinking_tokens


def _fill(
    found: ProviderPlan,
    link: Link,
    calls: Sequence[Call],
    desk: Desk,
    results: Results,
    now: float,
) -> None:
    found.calls = len(calls)
    found.input_tokens = round(TYPICAL * sum(call.input_tokens[link.name] for call in calls))
    found.output_tokens = (len(calls) * LEAST_OUTPUT, len(calls) * _output_cap(link))
    rate = desk.rules.prices.get(link.model)
    if found.cloud and rate is not None:
        least, most = (
            cost(rate, Usage(input=found.input_tokens, output=output))
            for output in found.output_tokens
        )
        if least and most:
            found.cost, found.unit = (least.amount, most.amount), rate.unit
    seconds = _pace(results, link)
    found.assumed_pace = seconds is None
    workers = link.caller.settings.workers
    found.hours = len(calls) * (seconds or USUAL_SECONDS) / workers / 3600
    if found.cloud and desk.rules.shared:
        found.windows = [_window(desk, window, found, now) for window in desk.state.windows]


def _window(desk: Desk, window: Any, found: ProviderPlan, now: float) -> WindowPlan:
    unknown = is_unknown(window, desk.rules, now)
    per_cost = desk.books.movement.likely(window.key)
    takes = found.cost[1] * per_cost if found.cost and per_cost is not None else None
    stop = line(desk.rules, desk.state, window.kind)
    return WindowPlan(window.kind, None if unknown else window.used, stop, takes)


def _pace(results: Results, link: Link) -> float | None:
    """Seconds of a usual call of it, by the last ones; None: it was never asked."""
    entries = results.ledger.entries(provider=link.name, model=link.model, status="settled")
    seconds = [entry.seconds for entry in entries[-USUAL_CALLS:] if entry.seconds]
    return statistics.median(seconds) if seconds else None


def _beyond(plan: Plan, settings: Settings) -> None:
    limits = settings.limits
    if plan.cloud_calls > limits.max_calls_per_run:
        plan.beyond.append(
            f"{plan.cloud_calls:,} calls to the cloud, limits.max_calls_per_run is "
            f"{limits.max_calls_per_run:,}"
        )
    most = limits.most_per_run
    if most is not None and plan.dollars > most:
        plan.beyond.append(f"up to ${plan.dollars:.2f}, limits.max_spend_per_run is ${most:.2f}")


def _advice(plan: Plan, calls: Sequence[Call]) -> list[str]:
    """What a person who knows prices would say."""
    advice = []
    if plan.calls:
        by_repo = Counter(call.repo for call in calls)
        name, most = by_repo.most_common(1)[0]
        if len(by_repo) > 1 and most > plan.calls / 2:
            advice.append(f"{name} alone is {most / plan.calls:.0%} of it")
        marked = sum(call.marked for call in calls)
        if marked > plan.calls / 4:
            advice.append(
                f"tests and documents are {marked / plan.calls:.0%} of it; they come last"
            )
    for found in plan.providers:
        if found.calls and found.cloud and found.cost:
            advice += _cheaper(found, plan)
    if any(found.assumed_pace and found.calls for found in plan.providers):
        advice.append(f"hours are by {USUAL_SECONDS:.0f} s a call until one has been made")
    return advice


def _cheaper(found: ProviderPlan, plan: Plan) -> list[str]:
    """Local, the Batch API, a smaller model: only where it saves at least half."""
    assert found.cost is not None
    most = found.cost[1] * (1 / CREDITS_PER_DOLLAR if found.unit == "credits" else 1.0)
    if most < WORTH_ADVICE:
        return []
    lines = []
    local = [other.name for other in plan.providers if other.cloud is False]
    if local:
        lines.append(f"{local[0]} would write what {found.name} gets at no cost: put it first")
    usage = Usage(input=found.input_tokens, output=found.output_tokens[1])
    offers = []
    for rate in rate_card().rates:
        priced = cost(rate, usage) if rate.unit == "dollars" else None
        batched_price = cost(rate, usage, batch=True) if rate.batch and priced else None
        offers += [(priced.amount, rate.model)] if priced else []
        if batched_price:
            offers.append((batched_price.amount, f"{rate.model} through the Batch API"))
    amount, what = min(offers, default=(most, ""))
    if amount * 2 <= most:
        ours = f"{found.cost[1]:,.0f} credits" if found.unit == "credits" else f"${most:.2f}"
        lines.append(f"{what} with a key of its own would cost ${amount:.2f} instead of {ours}")
    return lines
