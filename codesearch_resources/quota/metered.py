"""The guard of a run: every provider's meter at its desk, and the run's own purse.

Own machines are free. Whatever else is asked passes its meter's rules first and then the run's: the
calls and dollars of a run, and the dollars of a day over all providers.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

from codesearch_resources.calls import Allow, CallError, Decision, Deny, Estimate, Usage, Wait
from codesearch_resources.quota.base import Tally
from codesearch_resources.quota.desk import Desk
from codesearch_resources.quota.rates import Rate, Unit, cost, own_rate, rate_card
from codesearch_resources.quota.readers.make import from_headers, polled
from codesearch_resources.quota.rules import Hours, Rules
from codesearch_resources.results import Results
from codesearch_resources.settings import Settings
from codesearch_resources.settings_embedders import EmbeddedSettings
from codesearch_resources.settings_limits import Limits
from codesearch_resources.settings_meters import MeterSettings
from codesearch_resources.settings_summarizers import ExtractiveSettings, Price

GOES_ON = "what was done is kept, and the next run goes on from there"
READ_AGAIN = 2.0  # seconds; what other processes spend meanwhile is seen after that
_CODEX = ("codex_app_server", "codex_usage", "codex_headers")


class Drawing(Protocol):
    """Settings of whatever draws on a meter: a link of the chain, or an embedder."""

    @property
    def name(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def limit(self) -> str: ...
    @property
    def price(self) -> Price | None: ...
    @property
    def price_unknown_ok(self) -> bool: ...
    @property
    def allow_subscription(self) -> bool: ...


def drawing(settings: Settings) -> list[Drawing]:
    """Whatever of a settings file may draw on a meter: the links of the chain and the embedder."""
    links = [one for one in settings.summarizers if not isinstance(one, ExtractiveSettings)]
    embedder = settings.embedder
    return [*links, *([] if isinstance(embedder, EmbeddedSettings) else [embedder])]


def price_of(link: Drawing, meters: Sequence[MeterSettings] = ()) -> Rate | None:
    """The price of a provider's model in dollars: its own, else the card's; None: unknown.

    What a subscription takes is no money: its calls have no price in dollars.
    """
    if any(meter.name == link.limit and meter.subscription for meter in meters):
        return None
    if link.price is not None:
        return own_rate(link.model, link.price.input, link.price.output, link.price.cached)
    return rate_card().find(link.model, "dollars")


def rules_of(
    name: str,
    links: Sequence[Drawing],
    meter: MeterSettings | None,
    limits: Limits,
    zone: str = "UTC",
) -> Rules:
    """The rules of one meter, from its settings and those of the providers that draw on it."""
    prices: dict[str, Rate] = {}
    unit: Unit = "credits" if meter is not None and meter.subscription else "dollars"
    for link in links:
        own = link.price and own_rate(
            link.model, link.price.input, link.price.output, link.price.cached, unit
        )
        if found := own or rate_card().find(link.model, unit):
            prices[link.model] = found
    unpriced = _is_free(limits) or any(link.price_unknown_ok for link in links)
    if meter is None:
        # A key without a meter: the run's purse is its only bound.
        return Rules(name, shared=False, prices=prices, unpriced=unpriced)
    codex = any(reading.kind in _CODEX for reading in meter.readings)
    priors = {k: n for (reader, k), n in rate_card().plans.items() if codex and reader == "codex"}
    span = meter.span()
    return Rules(
        name,
        shared=meter.subscription,
        allowed=any(link.allow_subscription for link in links),
        reserve=meter.kept,
        bought=meter.bought_credits_per_day,
        pace=meter.pace,
        hours=Hours(*span, ZoneInfo(zone)) if span else None,
        plans={**priors, **{k: n for k, n in meter.window_credits.items() if n}},
        prices=prices,
        unpriced=unpriced,
        spend_per_day=meter.dollars_per_day,
        settle=meter.settle_minutes * 60.0,
    )


def _is_free(limits: Limits) -> bool:
    """Whether nothing bounds the dollars, so that a price need not be known."""
    return limits.budget is None and limits.most_per_run is None


def price_objection(link: Drawing, limits: Limits) -> Deny | None:
    """Why a run within these limits does not ask a provider whose price nobody knows."""
    if _is_free(limits) or link.price_unknown_ok or link.price is not None:
        return None
    return None if rate_card().find(link.model, "dollars") else _UNKNOWN_PRICE


class MeteredGuard:
    """What every call of a run is asked through; for several threads at once."""

    def __init__(
        self,
        links: Sequence[Drawing],
        is_cloud: Callable[[str], bool],
        limits: Limits,
        results: Results,
        *,
        meters: Sequence[MeterSettings] = (),
        folder: Path | None = None,
        zone: str = "UTC",
        clock: Callable[[], float] = time.time,
        tally: Tally | None = None,
    ) -> None:
        """`links`: all that may draw on the meters, whoever of them asks here. `folder`: where
        relative paths of `meters` begin; `zone`: of their hours. `tally`: of the run, where it is
        asked through more than one guard."""
        self._is_cloud, self._clock = is_cloud, clock
        self._meters = {meter.name: meter for meter in meters}
        self._results = results
        self._meter_of = {link.name: link.limit for link in links}
        self._allowed = {link.name: link.allow_subscription for link in links}
        self._unpriced = {link.name: price_objection(link, limits) for link in links}
        self._turn = threading.Lock()
        prices = {link.name: price_of(link, meters) for link in links}
        self._purse = Purse(limits, results, prices, tally or Tally())
        self._desks = {
            name: _desk(name, links, self._meters.get(name), limits, results, folder, zone)
            for name in sorted({link.limit for link in links})
        }

    def allow(self, estimate: Estimate) -> Decision:
        desk, call, now = self._desks[estimate.meter], threading.get_ident(), self._clock()
        # A thread makes one call at a time: asked again, its last one was never sent.
        self.cancel()
        if not self._is_cloud(estimate.provider):
            return Allow()
        desk.poll(now)
        with self._turn:
            if desk.rules.shared and not self._allowed[estimate.provider]:
                return Deny(
                    f"{estimate.meter} is a subscription, which {estimate.provider} may not draw "
                    "on: it does not say `allow_subscription: true`"
                )
            objection = self._unpriced[estimate.provider] or self._purse.objection(
                estimate, now, priced=not desk.rules.shared
            )
            if objection is not None:
                return objection
            decision = desk.allow(estimate, call, now)
            if isinstance(decision, Allow):
                self._purse.reserve(call, estimate)
            return decision

    def cancel(self) -> None:
        call = threading.get_ident()
        with self._turn:
            for desk in self._desks.values():
                desk.cancel(call)
            self._purse.cancel(call)

    def observe(
        self,
        estimate: Estimate,
        answer_usage: Usage | None,
        headers: Mapping[str, str],
        error: CallError | None,
    ) -> None:
        # The calls to one's own machines were never booked. To ask again where one went might fail.
        call, now = threading.get_ident(), self._clock()
        with self._turn:
            self._purse.settle(call, estimate, answer_usage)
            self._desks[estimate.meter].observe(call, answer_usage, headers, error, now)

    def desk(self, meter: str) -> Desk:
        """The desk of one meter."""
        return self._desks[meter]

    @property
    def meter_of(self) -> Mapping[str, str]:
        """The meter that each provider draws on, by its name."""
        return self._meter_of

    @property
    def desks(self) -> Mapping[str, Desk]:
        """Every meter's desk by its name."""
        return self._desks

    def reopen(self) -> list[str]:
        """Let go on whom a limit window closed that was reset since, as its meter shows by now."""
        opened = []
        for breaker in self._results.breakers.all():
            desk = self._desks.get(self._meter_of.get(breaker.provider, ""))
            if breaker.trouble != "quota_window" or desk is None or not desk.reads:
                continue
            desk.poll(self._clock())
            with self._turn:
                desk.catch_up(self._clock())
            opened_at = breaker.opened_at.timestamp()
            # Which of its windows was meant, the desk knows, where the refusal is kept.
            refused = "refused" in desk.books.breakers
            if not refused and any(reset.at > opened_at for reset in desk.books.resets):
                self._results.breakers.close(breaker.provider)
                opened.append(breaker.provider)
        return opened


class Purse:
    """Calls and dollars of one run, and the dollars of the day over all providers."""

    def __init__(
        self, limits: Limits, results: Results, prices: Mapping[str, Rate | None], tally: Tally
    ) -> None:
        self._limits, self._results, self._prices = limits, results, prices
        self._tally = tally
        self._pending: dict[int, float] = {}
        self._read_at = -READ_AGAIN
        self._day = datetime.min.replace(tzinfo=UTC)
        self._spent_day = 0.0

    def objection(self, estimate: Estimate, now: float, *, priced: bool) -> Decision | None:
        """Why the run may not send it; `priced`: it costs dollars."""
        most = self._limits.max_calls_per_run
        if self._tally.calls + len(self._pending) >= most:
            return Deny(
                f"{most} calls to the cloud in this run, as many as limits.max_calls_per_run allows"
                f"; {GOES_ON}"
            )
        if not priced:
            return None
        expected = self._expected(estimate)
        per_run, budget = self._limits.most_per_run, self._limits.budget
        if expected is None:
            return None  # the user agreed to a price that nobody knows
        under_way = sum(self._pending.values())
        spent = self._tally.dollars
        if per_run is not None and spent + under_way + expected > per_run:
            why = f"limits.max_spend_per_run is used up ({spent:.2f} of {per_run:.2f})"
            return Deny(f"{why}; {GOES_ON}")
        return self._within_day(budget, under_way + expected, now)

    def _within_day(self, budget: float | None, coming: float, now: float) -> Decision | None:
        if budget is None:
            return None
        day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if day != self._day or time.monotonic() - self._read_at >= READ_AGAIN:
            self._day, self._read_at = day, time.monotonic()
            # What is under way is in it at its estimate already.
            spent = self._results.ledger.spent(since=day).cost
            self._spent_day = max(0.0, spent - sum(self._pending.values()))
        if self._spent_day + coming <= budget:
            return None
        why = f"limits.dollars_per_day is used up ({self._spent_day:.2f} of {budget})"
        return Wait(day + timedelta(days=1), why)

    def reserve(self, call: int, estimate: Estimate) -> None:
        """The call is about to be sent."""
        self._pending[call] = self._expected(estimate) or 0.0

    def cancel(self, call: int) -> None:
        """It was not sent after all."""
        self._pending.pop(call, None)

    def settle(self, call: int, estimate: Estimate, usage: Usage | None) -> None:
        """It ended; what it was charged counts, or what was expected where nobody said."""
        expected = self._pending.pop(call, None)
        if expected is None:
            return
        self._tally.calls += 1
        rate = self._prices[estimate.provider]
        found = cost(rate, usage) if rate and usage else None
        amount = expected if found is None else found.amount
        self._tally.dollars += amount
        self._spent_day += amount

    def _expected(self, estimate: Estimate) -> float | None:
        rate = self._prices[estimate.provider]
        found = rate and cost(rate, Usage(input=estimate.input, output=estimate.output))
        return found.amount if found else None


_UNKNOWN_PRICE = Deny(
    "no price is known for it: give the provider a price, agree with price_unknown_ok: true, or "
    "set limits.dollars_per_day and limits.max_spend_per_run to unlimited"
)


def _desk(
    name: str,
    links: Sequence[Drawing],
    meter: MeterSettings | None,
    limits: Limits,
    results: Results,
    folder: Path | None,
    zone: str,
) -> Desk:
    drawing = [link for link in links if link.limit == name]
    readings = meter.readings if meter is not None else []
    return Desk(
        rules_of(name, drawing, meter, limits, zone),
        results.meters,
        results.ledger.owner,
        readers=polled(readings, folder or Path.cwd()),
        headers=from_headers(readings),
    )
