"""Two cells of the night with real servers, a real ledger and a clock that is put forward."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from calls import QUICK, desk, ollama, pieces
from provider_faults import Fault, fault
from simulator import Call, Simulator
from the_night import FACTORS, LAGS, SIZES, Subscription

from codesearch_resources.calls import Usage
from codesearch_resources.quota.metered import MeteredGuard
from codesearch_resources.quota.readers import codex_usage
from codesearch_resources.results import Results
from codesearch_resources.settings_limits import Limits
from codesearch_resources.settings_meters import MeterSettings
from codesearch_resources.settings_summarizers import Price
from codesearch_resources.summarizers.base import summary_key
from codesearch_resources.summarizers.chain import Chain
from codesearch_resources.summarizers.order import Order

CHUNKS, SLICE = 2_000, 200
# So short that 2,000 chunks last until every doubt is settled, however late the meter shows it.
SHORT_SLICE = 80
PRICE = Price(input=1.75, output=14.0)  # dollars; in credits what the card says of GPT-5.3-Codex
LIMITS = Limits(max_calls_per_run=100_000, dollars_per_day="unlimited")
METER = MeterSettings(name="codex", window_credits={"week": 4000})


class Plan:
    """The subscription behind the server: what is used of it, and what its meter shows."""

    def __init__(self, factor: float, lag: int) -> None:
        self.factor = factor
        self.truth = Subscription(lag * 60.0)
        self.now = min(self.truth.ends.values()) - SIZES["primary"][0]  # the beginning

    def charge(self, call: Call) -> None:
        rate = 43.75 * 300 + 350 * 50  # credits of a million such calls
        self.truth.charge(self.factor * rate / 1e6)

    def show(self, results: Results) -> None:
        """The meter is read."""
        self.truth.pass_to(self.now)
        results.meters.keep("codex", codex_usage.parse(self.truth.body(self.now), self.now))


class Guarded(Chain):
    """A chain whose guard lives by the plan's clock."""

    clock: Callable[[], float]

    def guard(self, results: Results) -> MeteredGuard:
        callers = {link.name: link.caller for link in self.links}
        return MeteredGuard(
            [link.caller.settings for link in self.links],
            lambda provider: callers[provider].is_cloud(),
            LIMITS,
            results,
            meters=[METER],
            clock=self.clock,
        )


@pytest.mark.parametrize(("factor", "visible", "lag"), [(6.8, True, 0), (50.0, False, 30)])
def test_the_night(tmp_path: Path, factor: float, visible: bool, lag: int) -> None:
    _night(tmp_path, factor, visible, lag)


@pytest.mark.soak
@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("visible", [True, False])
@pytest.mark.parametrize("lag", LAGS)
def test_the_whole_matrix(tmp_path: Path, factor: float, visible: bool, lag: int) -> None:
    _night(tmp_path, factor, visible, lag, SHORT_SLICE)


def _night(folder: Path, factor: float, visible: bool, lag: int, at_once: int = SLICE) -> None:
    plan = Plan(factor, lag)

    def charged(call: Call) -> Fault | None:
        plan.charge(call)
        return fault("counts", counts=round(300 * factor)) if visible and factor > 1 else None

    with Simulator() as far, Simulator() as own, desk(folder) as office:
        far.remote.add("gpt-5.3-codex")
        far.always(charged)
        codex = ollama(
            far, "codex", model="gpt-5.3-codex", meter="codex", allow_subscription=True, price=PRICE
        )
        chain = Guarded(
            [codex, ollama(own, "local")], limits=LIMITS, meters=[METER], patience=QUICK
        )
        chain.clock = lambda: plan.now
        wanted, sliced = pieces(CHUNKS), _slices(office.results, plan, chain)
        for at in range(0, CHUNKS, at_once):
            sliced(wanted[at : at + at_once])
        found = office.results.find(summary_key(piece.content_hash) for piece in wanted)
        marks = office.results.meters.marks("codex")
        attempts = office.results.ledger.entries(provider="codex")
        settled = office.results.ledger.entries(status="settled")
    assert len(found) == CHUNKS
    assert len(far.calls) + len(own.calls) == CHUNKS == len(settled)
    assert len(attempts) == len(far.calls)
    share = plan.truth.share("secondary")
    assert share <= (0.22 if lag == 30 else 0.20)
    if factor > 1:
        assert set(marks) == {"overhead" if visible else "discrepancy"}
    assert all(entry.usage != Usage() for entry in attempts)


def _slices(results: Results, plan: Plan, chain: Guarded) -> Callable[[list[Any]], None]:
    def work(pieces: list[Any]) -> None:
        """A slice, a quarter of an hour's wait, and readings each minute of it."""
        plan.show(results)
        with closing(chain.summarize(pieces, Order(results, local_only=False))) as done:
            assert len(list(done)) == len(pieces)
        for _ in range(17):
            plan.now += 60
            plan.show(results)

    return work
