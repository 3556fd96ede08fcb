"""The guard of a run, over real results and real servers: meters, pauses, consent, hand-over."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from calls import QUICK, Desk, desk, ollama, pieces
from simulator import Simulator, fault

from codesearch_resources.calls import Allow, CallError, Deny, Estimate, Usage, Wait
from codesearch_resources.ledger import Ledger, NoSlot, Reserved
from codesearch_resources.quota.desk import Desk as MeterDesk
from codesearch_resources.quota.metered import MeteredGuard
from codesearch_resources.quota.rates import own_rate
from codesearch_resources.quota.rules import Rules
from codesearch_resources.quota.windows import Report, Window, stamped
from codesearch_resources.results import Results
from codesearch_resources.settings import load
from codesearch_resources.settings_limits import Limits
from codesearch_resources.settings_meters import FileReading, MeterSettings
from codesearch_resources.settings_summarizers import OllamaSettings, Price
from codesearch_resources.summarizers.chain import Chain, make_chain
from codesearch_resources.summarizers.order import Order

WEEK = 604_800.0
NOW = 1_795_291_000.0
ESTIMATE = Estimate("far", "m", "far", "summary", 300, 140)
CHEAP = Price(input=1.0, output=2.0)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Desk]:
    with desk(tmp_path) as found:
        yield found


def link(name: str = "far", **values: Any) -> OllamaSettings:
    return OllamaSettings(name=name, kind="ollama", model="m", **values)


def meter(name: str = "far", **values: Any) -> MeterSettings:
    return MeterSettings(name=name, **values)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def guarded(
    results: Results, links: list[OllamaSettings], clock: Clock | None = None, **more: Any
) -> MeteredGuard:
    limits = more.pop("limits", Limits(dollars_per_day="unlimited"))
    return MeteredGuard(links, lambda _: True, limits, results, clock=clock or Clock(), **more)


def weekly(used: float, at: float = NOW) -> Report:
    one = Window("week", WEEK, used, NOW + 3 * 86_400, "weekly", heard_at=at, source="test")
    return Report("test", at, (one,))


def test_a_call_that_was_sent_counts_wherever_its_provider_is_by_then(office: Desk) -> None:
    def reach(provider: str) -> bool:
        if gone:
            raise CallError("overload", "nobody can tell")
        return provider == "far"

    gone: list[str] = []
    limits = Limits(max_calls_per_run=2, dollars_per_day=1.0)
    links = [link(price=CHEAP), link("own")]
    guard = MeteredGuard(links, reach, limits, office.results, clock=Clock())
    own, usage = Estimate("own", "m", "own", "summary", 300, 140), Usage(input=300, output=50)
    # Never sent, and not to be taken for the call to the own machine that comes after it.
    assert isinstance(guard.allow(ESTIMATE), Allow)
    assert isinstance(guard.allow(own), Allow)
    guard.observe(own, usage, {}, None)
    for _ in range(2):
        assert isinstance(guard.allow(ESTIMATE), Allow)
        gone.append("far")
        guard.observe(ESTIMATE, usage, {}, None)
        gone.clear()
    assert isinstance(guard.allow(ESTIMATE), Deny)


def test_a_subscription_needs_its_reading_and_its_yes(office: Desk) -> None:
    results = office.results
    silent = guarded(results, [link(allow_subscription=True)], meters=[meter()])
    assert "nothing is known" in silent.allow(ESTIMATE).why  # type: ignore[union-attr]
    results.meters.keep("far", weekly(0.1))
    assert isinstance(
        guarded(results, [link(allow_subscription=True)], meters=[meter()]).allow(ESTIMATE), Allow
    )
    found = guarded(results, [link()], meters=[meter()]).allow(ESTIMATE)
    assert isinstance(found, Deny)
    assert "allow_subscription" in found.why


def test_the_yes_of_one_provider_is_not_that_of_another(office: Desk) -> None:
    office.results.meters.keep("pool", weekly(0.1))
    links = [
        link("far", meter="pool", price=CHEAP, allow_subscription=True),
        link("off", meter="pool", price=CHEAP),
    ]
    guard = guarded(office.results, links, meters=[meter("pool")])
    found = guard.allow(Estimate("off", "m", "pool", "summary", 300, 140))
    assert isinstance(found, Deny)
    assert "off may not draw on" in found.why
    assert isinstance(guard.allow(Estimate("far", "m", "pool", "summary", 300, 140)), Allow)


def test_a_key_without_a_meter_is_held_to_the_runs_purse(office: Desk) -> None:
    limits = Limits(max_calls_per_run=3, dollars_per_day=1.0)
    guard = guarded(office.results, [link(price=CHEAP)], limits=limits)
    for _ in range(3):
        assert isinstance(guard.allow(ESTIMATE), Allow)
        guard.observe(ESTIMATE, Usage(input=300, output=50), {}, None)
    assert "max_calls_per_run" in guard.allow(ESTIMATE).why  # type: ignore[union-attr]


def test_a_run_spends_at_most_its_sum(office: Desk) -> None:
    limits = Limits(max_spend_per_run=0.002, dollars_per_day=1.0)
    guard = guarded(office.results, [link(price=CHEAP)], limits=limits)
    sent = 0
    while isinstance(guard.allow(ESTIMATE), Allow):
        guard.observe(ESTIMATE, Usage(input=300, output=50), {}, None)
        sent += 1
    assert sent == 4  # .0004 each, and the fifth might take .00058
    assert "max_spend_per_run" in guard.allow(ESTIMATE).why  # type: ignore[union-attr]


def test_an_unknown_price_needs_a_yes(office: Desk) -> None:
    limits = Limits(dollars_per_day=1.0)
    guard = guarded(office.results, [link()], limits=limits)
    assert "no price is known" in guard.allow(ESTIMATE).why  # type: ignore[union-attr]
    # With a meter of its own the yes is one of its providers'.
    results, key = office.results, meter(subscription=False)
    asked = guarded(results, [link(price_unknown_ok=True)], limits=limits, meters=[key])
    assert isinstance(asked.allow(ESTIMATE), Allow)


def test_the_yes_to_an_unknown_price_is_each_providers_own(office: Desk) -> None:
    """Asked wherever dollars are bounded, and heard without a meter too."""
    results, far = office.results, ESTIMATE
    bounded = Limits(dollars_per_day="unlimited", max_spend_per_run=1.0)
    assert isinstance(guarded(results, [link()], limits=bounded).allow(far), Deny)
    daily = Limits(dollars_per_day=1.0)
    yes = link(price_unknown_ok=True)
    assert isinstance(guarded(results, [yes], limits=daily).allow(far), Allow)
    links = [link(meter="pool", price_unknown_ok=True), link("off", meter="pool")]
    pool = [meter("pool", subscription=False)]
    guard = guarded(results, links, limits=daily, meters=pool)
    found = guard.allow(Estimate("off", "m", "pool", "summary", 300, 140))
    assert isinstance(found, Deny)
    assert "no price is known" in found.why
    assert isinstance(guard.allow(Estimate("far", "m", "pool", "summary", 300, 140)), Allow)


def test_two_providers_on_one_meter_share_its_books(office: Desk) -> None:
    links = [link("far", meter="pool", price=CHEAP), link("off", meter="pool", price=CHEAP)]
    pool = meter("pool", subscription=False, dollars_per_day=0.001)
    guard = guarded(office.results, links, meters=[pool])
    sent = 0
    while True:
        asked = Estimate(("far", "off")[sent % 2], "m", "pool", "summary", 300, 140)
        if not isinstance(guard.allow(asked), Allow):
            break
        guard.observe(asked, Usage(input=300, output=50), {}, None)
        sent += 1
    assert sent == 2


def test_what_stopped_a_meter_stops_it_after_a_restart_until_a_person_resumes_it(
    office: Desk,
) -> None:
    results, clock = office.results, Clock()
    results.meters.keep("far", weekly(0.1))
    links, meters = [link(allow_subscription=True, price=CHEAP)], [meter()]
    guard = guarded(results, links, clock, meters=meters)
    for _ in range(20):
        assert isinstance(guard.allow(ESTIMATE), Allow)
        guard.observe(ESTIMATE, Usage(input=8_050, output=50), {}, None)
    why = "each request is billed 8,050 input tokens, you sent 300"
    assert guard.allow(ESTIMATE) == Deny(why)
    again = guarded(results, links, clock, meters=meters)
    assert again.allow(ESTIMATE) == Deny(why)
    assert results.meters.resume("far", clock.now + 1) == ["overhead"]
    clock.now += 5
    results.meters.keep("far", weekly(0.1, clock.now))
    assert isinstance(again.allow(ESTIMATE), Allow)


def test_a_pause_holds_over_restarts_and_in_every_process(tmp_path: Path) -> None:
    with closing(Results(tmp_path)) as one, closing(Results(tmp_path)) as other:
        clock = Clock()
        links = [link(price=CHEAP)]
        key = [meter(subscription=False)]
        working = guarded(one, links, clock, meters=key)
        assert isinstance(working.allow(ESTIMATE), Allow)
        working.observe(ESTIMATE, Usage(input=300, output=50), {}, None)
        other.meters.mark("far", "paused", "paused by hand", clock.now)
        clock.now += 3
        assert working.allow(ESTIMATE) == Deny("paused by hand")
    with closing(Results(tmp_path)) as anew:
        assert guarded(anew, links, clock, meters=key).allow(ESTIMATE) == Deny("paused by hand")
        anew.meters.resume("far", clock.now)
        clock.now += 3
        assert isinstance(guarded(anew, links, clock, meters=key).allow(ESTIMATE), Allow)


def test_what_other_processes_send_counts(tmp_path: Path) -> None:
    """The slow start is the meter's: two processes together send its twenty calls."""
    with closing(Results(tmp_path)) as one, closing(Results(tmp_path)) as other:
        clock = Clock()
        clock.now = time.time()
        now = clock.now
        week = Window("week", WEEK, 0.1, now + 86_400, "weekly", heard_at=now, source="test")
        one.meters.keep("far", Report("test", now, (week,)))
        links, meters = [link(allow_subscription=True, price=CHEAP)], [meter()]
        for results in (one, other):
            guard = guarded(results, links, clock, meters=meters)
            for _ in range(10):
                assert isinstance(guard.allow(ESTIMATE), Allow)
                _booked(results)
                guard.observe(ESTIMATE, Usage(input=300, output=50), {}, None)
        clock.now = time.time() + 3
        found = guarded(one, links, clock, meters=meters).allow(ESTIMATE)
        assert isinstance(found, Wait)
        assert "slow start: 20 calls" in found.why


def test_what_was_spent_today_stays_spent_when_a_person_resumes_the_meter(tmp_path: Path) -> None:
    links = [link(price=CHEAP)]
    key = [meter(subscription=False, dollars_per_day=0.001)]
    with closing(Results(tmp_path)) as results:
        for _ in range(2):
            _booked(results)
        clock = Clock()
        clock.now = time.time()
        results.meters.resume("far", clock.now)
    with closing(Results(tmp_path)) as anew:
        found = guarded(anew, links, clock, meters=key).allow(ESTIMATE)
    assert isinstance(found, Wait)
    assert "for far are spent" in found.why


def test_a_resumed_meter_begins_slowly_again_after_a_restart(tmp_path: Path) -> None:
    with closing(Results(tmp_path)) as results:
        for _ in range(20):
            _booked(results)
        clock = Clock()
        clock.now = time.time()
        week = Window("week", WEEK, 0.1, clock.now + 86_400, "weekly", heard_at=clock.now)
        results.meters.keep("far", Report("test", clock.now, (week,)))
        links, meters = [link(allow_subscription=True, price=CHEAP)], [meter()]
        assert isinstance(guarded(results, links, clock, meters=meters).allow(ESTIMATE), Wait)
        results.meters.resume("far", clock.now)
        assert isinstance(guarded(results, links, clock, meters=meters).allow(ESTIMATE), Allow)


def _booked(results: Results, estimate: Estimate = ESTIMATE, cost: float | None = None) -> None:
    row = results.ledger.reserve(estimate, [], slots=99, lasts=timedelta(seconds=60))
    assert isinstance(row, Reserved)
    usage = Usage(input=300, output=50)
    results.ledger.settle(row.attempt, usage, {}, response="", seconds=0.1, cost=cost)


@pytest.mark.parametrize(
    ("model", "cost", "subscription", "spent"),
    [
        ("gone", 0.0009, False, 0.0009),  # as it was booked
        ("gone", 0.0009, True, 0.0009 * 25),  # a key became a subscription
        ("gpt-5.3-codex", None, True, (300 * 43.75 + 50 * 350) / 1e6),  # by the card
        ("gone", None, False, (300 * 1 + 50 * 2) / 1e6),  # nobody knows: the dearest there is
    ],
)
def test_calls_of_a_model_that_left_the_settings_keep_their_price(
    office: Desk, model: str, cost: float | None, subscription: bool, spent: float
) -> None:
    before = Estimate("off", model, "pool", "summary", 300, 140)
    _booked(office.results, before, cost)
    links = [link(meter="pool", price=CHEAP, allow_subscription=True)]
    pool = [meter("pool", subscription=subscription)]
    clock = Clock()
    clock.now = time.time()
    limits = Limits(dollars_per_day=1.0)
    books = guarded(office.results, links, clock, meters=pool, limits=limits).desk("pool")
    books.catch_up(clock.now)
    assert books.books.spent == pytest.approx(spent)


def test_what_an_embedder_takes_of_a_shared_meter_is_known_to_the_chain(tmp_path: Path) -> None:
    """By the embedder's own price, which no ledger has for a subscription."""
    file = tmp_path / "codesearch.yaml"
    file.write_text(
        "repositories: []\n"
        "embedder: {kind: openai_compatible, url: 'http://localhost:9', model: vectors,"
        " dimensions: 64, meter: plan, price: {input: 40, output: 0}}\n"
        "summarizers:\n  - {name: far, kind: openai_chat, url: 'https://api.example', model: words,"
        " meter: plan, price: {input: 1, output: 2}}\n"
        "meters:\n  - {name: plan}\n"
    )
    settings = load(file)
    settings.data_dir.mkdir()
    with closing(Results(settings.data_dir)) as results:
        _booked(results, Estimate("embedder", "vectors", "plan", "embedding", 300, 0))
        found = make_chain(settings).guard(results).desk("plan")
        found.catch_up(time.time())
    assert found.books.spent == pytest.approx(300 * 40 * 25 / 1e6)


def _refused(seconds: float) -> CallError:
    until = datetime.now(UTC) + timedelta(seconds=seconds)
    return CallError("quota_window", "the usage limit has been reached", resets_at=until)


def test_w14_a_refusal_closes_the_meter_in_every_process_and_after_a_restart(
    tmp_path: Path,
) -> None:
    links = [link(meter="pool", price=CHEAP), link("off", meter="pool", price=CHEAP)]
    pool = [meter("pool", subscription=False)]
    one_asks = Estimate("far", "m", "pool", "summary", 300, 140)
    other_asks = Estimate("off", "m", "pool", "embedding", 300, 140)
    clock = Clock()
    clock.now = time.time()
    with closing(Results(tmp_path)) as one, closing(Results(tmp_path)) as other:
        here, there = (guarded(r, links, clock, meters=pool) for r in (one, other))
        for guard, asked in ((here, one_asks), (there, other_asks)):
            assert isinstance(guard.allow(asked), Allow)
            guard.cancel()
        assert isinstance(here.allow(one_asks), Allow)
        here.observe(one_asks, None, {}, _refused(7_200))
        clock.now += 3
        found = there.allow(other_asks)
        assert isinstance(found, Wait)
        assert found.why == "the usage limit has been reached"
        assert abs(found.until.timestamp() - clock.now - 7_200) < 60
    with closing(Results(tmp_path)) as anew:
        guard = guarded(anew, links, clock, meters=pool)
        assert isinstance(guard.allow(other_asks), Wait)
        assert anew.meters.resume("pool", clock.now) == ["refused"]
        clock.now += 3
        assert isinstance(guard.allow(other_asks), Allow)


def test_w14_a_reset_that_another_process_saw_lifts_the_refusal(tmp_path: Path) -> None:
    clock = Clock()
    clock.now = time.time()
    links, key = [link(price=CHEAP)], [meter(subscription=False)]
    with closing(Results(tmp_path)) as one, closing(Results(tmp_path)) as other:
        here, there = (guarded(r, links, clock, meters=key) for r in (one, other))
        one.meters.keep("far", _week(0.9, clock.now))
        assert isinstance(here.allow(ESTIMATE), Allow)
        here.observe(ESTIMATE, None, {}, _refused(86_400))
        for _ in range(2):
            clock.now += 60
            one.meters.keep("far", _week(0.0, clock.now, resets_in=7 * 86_400.0))
        assert isinstance(there.allow(ESTIMATE), Allow)  # it read the reset
        there.cancel()
        assert other.meters.refusal("far") is None
        clock.now += 3
        assert isinstance(here.allow(ESTIMATE), Allow)


@pytest.mark.parametrize(
    ("resets", "until", "lifted"),
    [
        ("5h", 4 * 86_400.0, False),
        ("5h", 3_600.0, True),
        ("week", 3_600.0, True),
        ("5h", None, True),
    ],
)
def test_w14_the_reset_of_another_window_lifts_no_refusal(
    office: Desk, resets: str, until: float | None, lifted: bool
) -> None:
    clock = Clock()
    clock.now = start = time.time()
    keep = office.results.meters.keep
    guard = guarded(office.results, [link(price=CHEAP)], clock, meters=[meter(subscription=False)])

    def heard(five: float, week: float, five_left: float, week_left: float) -> None:
        windows = [
            Window("5h", 18_000.0, five, clock.now + five_left, "session"),
            Window("week", WEEK, week, clock.now + week_left, "weekly"),
        ]
        keep("far", Report("test", clock.now, stamped(windows, "test", clock.now)))

    heard(0.3, 0.4, 3_600, 4 * 86_400)
    assert isinstance(guard.allow(ESTIMATE), Allow)
    guard.observe(ESTIMATE, None, {}, _refused(until) if until else CallError("quota_window", "x"))
    for _ in range(2):
        clock.now += 60
        if resets == "5h":
            heard(0.0, 0.4, 18_000, start + 4 * 86_400 - clock.now)
        else:
            heard(0.3, 0.0, start + 3_600 - clock.now, WEEK)
    assert isinstance(guard.allow(ESTIMATE), Allow) == lifted
    guard.cancel()
    assert (office.results.meters.refusal("far") is None) == lifted
    # And to a process that begins now it is the same.
    anew = guarded(office.results, [link(price=CHEAP)], clock, meters=[meter(subscription=False)])
    assert isinstance(anew.allow(ESTIMATE), Allow) == lifted


def _week(used: float, now: float, resets_in: float = 86_400.0) -> Report:
    one = Window("week", WEEK, used, now + resets_in, "weekly", heard_at=now, source="test")
    return Report("test", now, (one,))


@pytest.mark.parametrize("seconds", [-60.0, 9e9])
def test_a_reset_time_that_cannot_be_is_waited_for_by_probes(office: Desk, seconds: float) -> None:
    clock = Clock()
    clock.now = time.time()
    guard = guarded(office.results, [link(price=CHEAP)], clock)
    assert isinstance(guard.allow(ESTIMATE), Allow)
    guard.observe(ESTIMATE, None, {}, _refused(seconds))
    found = guard.allow(ESTIMATE)
    assert isinstance(found, Wait)
    assert abs(found.until.timestamp() - clock.now - 900) < 1


def test_the_pause_after_refusals_without_a_time_goes_on_doubling_after_a_restart(
    office: Desk,
) -> None:
    clock = Clock()
    clock.now = time.time()
    error = CallError("quota_window", "the usage limit has been reached")
    pauses = []
    for _ in range(3):
        guard = guarded(office.results, [link(price=CHEAP)], clock)
        assert isinstance(guard.allow(ESTIMATE), Allow)
        row = office.results.ledger.reserve(ESTIMATE, [], slots=9, lasts=timedelta(seconds=60))
        assert isinstance(row, Reserved)
        office.results.ledger.fail(row.attempt, error)
        guard.observe(ESTIMATE, None, {}, error)
        found = guard.allow(ESTIMATE)
        assert isinstance(found, Wait)
        pauses.append(round((found.until.timestamp() - clock.now) / 60))
        clock.now = found.until.timestamp() + 1
    assert pauses == [15, 30, 60]


def test_calls_that_were_refused_together_close_the_meter_once(office: Desk) -> None:
    start = time.time()
    error = CallError("quota_window", "the usage limit has been reached", retry_after=-5.0)
    rules = Rules("far", shared=False, prices={"m": own_rate("m", 1.0, 2.0)})
    here, there = (MeterDesk(rules, office.results.meters, owner) for owner in ("here", "there"))
    ledger = office.results.ledger
    rows = []
    for call in range(8):
        row = ledger.reserve(ESTIMATE, [], slots=9, lasts=timedelta(seconds=60))
        assert isinstance(row, Reserved)
        rows.append(row.attempt)
        assert isinstance(here.allow(ESTIMATE, call, start), Allow)
    for call, attempt in enumerate(rows):
        ledger.fail(attempt, error)
        here.observe(call, None, {}, error, start + 1 + call / 100)
    # A process that reads of them in the ledger counts them as one as well.
    for one in (here, there):
        one.catch_up(start + 5)
        assert one.books.refusals == 1
        assert one.books.breakers["refused"].until == pytest.approx(start + 901, abs=1)


def test_the_yes_to_an_unknown_price_of_a_subscription_is_each_providers_own(office: Desk) -> None:
    office.results.meters.keep("pool", weekly(0.1))
    links = [
        link("far", meter="pool", allow_subscription=True, price_unknown_ok=True),
        link("off", meter="pool", allow_subscription=True),
    ]
    limits = Limits(dollars_per_day=1.0)
    guard = guarded(office.results, links, limits=limits, meters=[meter("pool")])
    found = guard.allow(Estimate("off", "m", "pool", "summary", 300, 140))
    assert isinstance(found, Deny)
    assert "no price is known" in found.why
    assert isinstance(guard.allow(Estimate("far", "m", "pool", "summary", 300, 140)), Allow)


def test_a_file_is_read_as_the_meter_and_kept_as_it_came(office: Desk, tmp_path: Path) -> None:
    path = tmp_path / "usage.json"
    raw = {"limit_window_seconds": 604_800, "used_percent": 61, "reset_at": NOW + 86_400}
    path.write_text(json.dumps({"read_at": NOW, "windows": [raw], "token": "sk-123456789abc"}))
    reading = FileReading(kind="file", path="usage.json")
    guard = guarded(
        office.results,
        [link(allow_subscription=True, price=CHEAP)],
        meters=[meter(readings=[reading])],
        folder=tmp_path,
    )
    found = guard.allow(ESTIMATE)
    assert isinstance(found, Wait)
    assert found.until.timestamp() == NOW + 86_400
    assert found.why == "61% of the week window of far is used, 40% is kept for you"
    stored = (tmp_path / "results.db").read_bytes() + (tmp_path / "results.db-wal").read_bytes()
    assert b"limit_window_seconds" in stored
    assert b"sk-123456789abc" not in stored


def test_codex_limits_in_an_answers_headers_are_heard(office: Desk) -> None:
    headers = {
        "x-codex-primary-used-percent": "62",
        "x-codex-primary-window-minutes": "10080",
        "x-codex-primary-reset-after-seconds": "1000",
    }
    results = office.results
    results.meters.keep("far", weekly(0.1))
    clock = Clock()
    codex = meter(readings=[{"kind": "codex_headers"}])
    links = [link(allow_subscription=True, price=CHEAP)]
    guard = guarded(results, links, clock, meters=[codex])
    assert isinstance(guard.allow(ESTIMATE), Allow)
    guard.observe(ESTIMATE, Usage(input=300, output=50), headers, None)
    clock.now += 3
    assert isinstance(guard.allow(ESTIMATE), Wait)


def test_threads_wait_for_the_first_reading(office: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        source = "slow"

        def read(self, now: float) -> Report:
            time.sleep(0.2)
            return weekly(0.1, now)

    monkeypatch.setattr("codesearch_resources.quota.metered.polled", lambda *_: [Slow()])
    links = [link(allow_subscription=True, price=CHEAP)]
    guard = guarded(office.results, links, meters=[meter()])
    with ThreadPoolExecutor(4) as pool:
        decisions = list(pool.map(lambda _: guard.allow(ESTIMATE), range(4)))
    assert all(isinstance(decision, Allow) for decision in decisions), decisions


# Through chain and server


def cloud(server: Simulator, name: str, **values: Any) -> OllamaSettings:
    """A provider whose model is remote behind the local endpoint: the cloud, as far as we know."""
    server.remote.add("far-model")
    return ollama(server, name, model="far-model", **{"price": CHEAP, **values})


def chain(*links: Any, meters: list[MeterSettings], **limits: Any) -> Chain:
    given = {"dollars_per_day": "unlimited", "max_calls_per_run": 100_000, **limits}
    return Chain(links, limits=Limits(**given), meters=meters, patience=QUICK)


def week_now(office: Desk, name: str, used: float) -> None:
    now = time.time()
    one = Window("week", WEEK, used, now + 86_400, "weekly", heard_at=now, source="test")
    office.results.meters.keep(name, Report("test", now, (one,)))


def test_12_the_canary_stops_at_twenty_and_the_next_provider_finishes(office: Desk) -> None:
    with Simulator() as dear, Simulator() as own:
        dear.always(fault("counts", counts=8_050))
        week_now(office, "codex", 0.1)
        dear_link = cloud(dear, "codex", meter="codex", allow_subscription=True, workers=1)
        links = chain(dear_link, ollama(own, "local"), meters=[meter("codex")])
        written, order = office.ask(links, pieces(60), local_only=False)
    assert len(dear.calls) == 20
    assert len(written) == 60
    assert "input tokens, you sent" in order.remainder.closed["codex"]
    providers = [summary.provider for summary in written.values()]
    assert (providers.count("codex"), providers.count("local")) == (20, 40)


def test_13_a_phantom_that_only_the_meter_sees_is_left_for_the_next_provider(
    office: Desk,
) -> None:
    """The first twenty are sent, the rest waits for the meter: the next provider writes it."""
    with Simulator() as far, Simulator() as own:
        week_now(office, "codex", 0.1)
        far_link = cloud(far, "codex", meter="codex", allow_subscription=True)
        links = chain(far_link, ollama(own, "local"), meters=[meter("codex")])
        written, order = office.ask(links, pieces(80), local_only=False)
    assert len(far.calls) == 20
    assert len(written) == 80
    assert "slow start" in order.remainder.closed["codex"]
    assert order.remainder.next_at is not None


def test_calls_without_a_slot_are_none_of_the_slow_start(
    office: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = Ledger.reserve
    refused: list[int] = []

    def busy(*given: Any, **more: Any) -> Any:
        if len(refused) < 5:
            refused.append(1)
            return NoSlot()
        return reserve(*given, **more)

    monkeypatch.setattr(Ledger, "reserve", busy)
    with Simulator() as far:
        week_now(office, "codex", 0.1)
        link = cloud(far, "codex", meter="codex", allow_subscription=True)
        links = chain(link, meters=[meter("codex")])
        office.ask(links, pieces(40), local_only=False)
    assert (len(refused), len(far.calls)) == (5, 20)


def test_16_every_provider_denied_leaves_a_remainder_and_the_right_time(office: Desk) -> None:
    with Simulator() as far:
        week_now(office, "codex", 0.7)
        link = cloud(far, "codex", meter="codex", allow_subscription=True)
        written, order = office.ask(
            chain(link, meters=[meter("codex")]), pieces(5), local_only=False
        )
        assert (written, len(far.calls)) == ({}, 0)
    assert order.remainder.next_at is not None
    assert abs(order.remainder.next_at.timestamp() - time.time() - 86_400) < 60
    assert "70% of the week window of codex is used" in order.remainder.lines()[0]


def test_h2_a_provider_that_was_left_stays_left_for_the_slice(office: Desk) -> None:
    """The next list of the same slice goes to the next provider; a new slice asks the first."""
    with Simulator() as far, Simulator() as own:
        far_link = cloud(far, "key", workers=1)
        far.script(fault("quota_window", retry_after=0.01))
        links = chain(far_link, ollama(own, "local"), meters=[])
        order = Order(office.results, local_only=False)
        for prefix in ("one", "two"):
            with closing(links.summarize(pieces(3, prefix), order)) as work:
                assert {summary.provider for _, summary in work} == {"local"}
            office.time_has_come()
        assert len(far.calls) == 1
        written, _ = office.ask(links, pieces(3, "three"), local_only=False)
    assert {summary.provider for summary in written.values()} == {"key"}


def test_17_a_local_only_repository_with_its_provider_down_stays_at_home(office: Desk) -> None:
    with Simulator() as far:
        week_now(office, "codex", 0.1)
        far_link = cloud(far, "codex", meter="codex", allow_subscription=True)
        down = ollama("http://127.0.0.1:9", "local")
        written, order = office.ask(
            chain(down, far_link, meters=[meter("codex")]), pieces(5), local_only=True
        )
    assert (written, far.calls) == ({}, [])
    assert "local_only" in order.remainder.closed["codex"]


def test_18_a_plain_name_that_is_remote_behind_the_local_server_is_refused(office: Desk) -> None:
    with Simulator(remote=["smol:F16"]) as server:
        written, order = office.ask(chain(ollama(server, "local"), meters=[]), pieces(3))
        assert (written, server.calls) == ({}, [])
    assert "passes smol:F16 on to https://ollama.com" in order.remainder.closed["local"]
    assert office.results.ledger.entries() == []


@pytest.mark.parametrize("name", ["not_done", "load", "length", "truncated"])
def test_19_an_answer_of_ollama_that_is_none_is_rejected_and_charged(
    office: Desk, name: str
) -> None:
    """Cut in its first sentence, not finished, only loaded, or after half of the prompt."""
    with Simulator() as server:
        bad = fault(name, text="It adds two numbers and then it")
        server.always(lambda call: bad if "work_1(" in call.prompt else None)
        links = chain(ollama(server, "local"), meters=[])
        written, order = office.ask(links, pieces(3))
        assert set(written) == {"work_0", "work_2"}
        assert sum(call.fault is not None for call in server.calls) >= 2
    assert order.remainder.held.total() == 1
    rejected = [e for e in office.results.ledger.entries() if e.status != "settled"]
    assert all(entry.trouble == "item" and entry.counted_input > 0 for entry in rejected)


def test_21_no_second_request_after_the_money_is_gone(office: Desk) -> None:
    with Simulator() as far:
        far.always(fault("quota_money"))
        key = cloud(far, "key", workers=1)
        links = chain(key, meters=[])
        office.ask(links, pieces(5), local_only=False)
        office.ask(links, pieces(5), local_only=False)
        assert len(far.calls) == 1


def test_22_a_model_that_the_plan_lacks_leaves_the_others(office: Desk) -> None:
    with Simulator() as far:
        far.remote.add("other-model")
        far.always(lambda call: fault("model_plan") if "far" in str(call.body) else None)
        first = cloud(far, "dear", workers=1)
        second = ollama(far, "cheap", model="other-model", price=CHEAP)
        written, _ = office.ask(chain(first, second, meters=[]), pieces(5), local_only=False)
    assert {summary.provider for summary in written.values()} == {"cheap"}


def test_an_order_without_work_asks_no_meter(office: Desk) -> None:
    with closing(chain(meters=[]).summarize([], Order(office.results))) as work:
        assert list(work) == []
