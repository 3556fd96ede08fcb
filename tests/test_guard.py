"""The guard tests of the reference under their numbers, each with the behaviours it shows.

Those that need a chain, a server or a process are in the second half and in their own modules.
"""

import json
from datetime import UTC, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from meter_job import (
    DAY,
    FIVE,
    HOUR,
    MINUTE,
    MODEL,
    NOW,
    WEEK,
    Job,
    allows,
    denies,
    estimate,
    limits,
    rules,
    waits_until,
)

from codesearch_resources.calls import Allow, Deny, Usage, Wait
from codesearch_resources.quota.books import Books
from codesearch_resources.quota.guard import decide
from codesearch_resources.quota.rates import cost, rate_card
from codesearch_resources.quota.readers import codex_headers, codex_usage
from codesearch_resources.quota.readers.base import ReadingError
from codesearch_resources.quota.rules import Hours
from codesearch_resources.quota.windows import Report, Window

FIXTURES = Path(__file__).parent / "fixtures" / "quota"


def recorded(name: str) -> Any:
    return json.loads((FIXTURES / f"{name}.json").read_text())


def at(now: float, **percent: Any) -> Job:
    job = Job(now=now)
    job.read(**percent)
    return job


def test_01_every_window_binds_and_the_longest_denial_counts() -> None:
    job = at(NOW, five=10, week=61)
    assert waits_until(job.ask()) == NOW + 3 * DAY
    job.now = NOW + 2 * HOUR + MINUTE
    job.read(five=0, week=61, five_resets=NOW + 7 * HOUR)
    assert waits_until(job.ask()) == NOW + 3 * DAY
    assert allows(at(NOW, five=10, week=58).ask())


def test_01_the_5h_window_waits_for_its_own_reset() -> None:
    assert waits_until(at(NOW, five=50, week=10).ask()) == NOW + 2 * HOUR
    assert waits_until(at(NOW, five=50, week=61).ask()) == NOW + 3 * DAY


@pytest.mark.parametrize(
    ("kind", "allowed", "stopped"), [("5h", 45, 51), ("week", 55, 61), ("month", 65, 71)]
)
def test_01_each_class_has_its_reserve(kind: str, allowed: int, stopped: int) -> None:
    length = {"5h": FIVE, "week": WEEK, "month": 30 * DAY}[kind]
    for percent, expected in ((allowed, True), (stopped, False)):
        raw = {
            "used_percent": percent,
            "limit_window_seconds": length,
            "reset_at": NOW + length / 2,
        }
        job = Job()
        job.read({"rate_limit": {"primary_window": raw}})
        assert allows(job.ask()) is expected


def test_02_a_week_in_the_first_place_is_held_to_the_weeks_reserve() -> None:
    job = Job(now=1_795_291_000.0)
    body = recorded("codex_usage_weekly_in_primary")
    body["rate_limit"]["primary_window"]["used_percent"] = 55  # 55 % would deny a 5h window
    job.read(body)
    assert allows(job.ask())


def test_02_month_and_week_are_both_enforced() -> None:
    job = Job()
    job.read(recorded("codex_usage_monthly_in_primary"))  # the week is at 61 %
    assert "week window" in job.ask().why  # type: ignore[union-attr]


def test_03_the_headers_of_a_free_plan_deny_by_their_week() -> None:
    job = Job()
    report = codex_headers.parse(recorded("codex_headers_free_429"), NOW)
    assert report is not None
    job.hear(report)
    assert waits_until(job.ask()) == 1_795_593_705


@pytest.mark.parametrize(
    ("name", "allowed"), [("percent_left", True), ("used_percent", False), ("percent", False)]
)
def test_04_ninety_means_what_its_name_says(name: str, allowed: bool) -> None:
    job = Job()
    raw = {name: 90, "limit_window_seconds": WEEK, "reset_at": NOW + DAY}
    job.read({"rate_limit": {"primary_window": raw}})
    assert allows(job.ask()) is allowed
    if name == "percent":
        assert "cannot be read" in denies(job.ask())


def test_05_a_header_of_081_is_081_percent() -> None:
    job = Job()
    report = codex_headers.parse(recorded("codex_headers"), NOW)
    assert report is not None
    job.hear(report)
    assert allows(job.ask())


@pytest.mark.parametrize(
    ("reset_at", "expected"),
    [
        ((NOW + DAY) * 1000, NOW + DAY),
        (datetime.fromtimestamp(NOW + DAY, UTC).isoformat(), NOW + DAY),
        (0, None),
        ("", None),
        (1000, None),
        (1_786_706_000_000_000, None),
    ],
)
def test_06_resets_in_every_form(reset_at: object, expected: float | None) -> None:
    job = Job()
    raw = {"used_percent": 61, "limit_window_seconds": WEEK, "reset_at": reset_at}
    job.read({"rate_limit": {"primary_window": raw}})
    if expected is None:
        assert "61% of the week window" in denies(job.ask())
    else:
        assert waits_until(job.ask()) == expected


@pytest.mark.parametrize("ahead", [2 * HOUR, -2 * HOUR])
@pytest.mark.parametrize(("five", "week"), [(10, 10), (55, 10), (10, 61)])
def test_07_a_wrong_clock_decides_the_same(ahead: float, five: int, week: int) -> None:
    right, wrong = Job(), Job(now=NOW + ahead)
    for job in (right, wrong):
        job.hear(codex_usage.parse(limits(five, week), job.now, server_clock=NOW))
    one, other = right.ask(), wrong.ask()
    assert type(one) is type(other)
    if isinstance(one, Wait):
        assert waits_until(other) == waits_until(one) + ahead


def test_08_a_transient_zero_lets_nothing_through() -> None:
    job = at(NOW, week=62)
    for week in (0, 62, 0, 62, 62):
        job.now += MINUTE
        job.read(week=week)
        assert not allows(job.ask())


def test_09_a_real_reset_is_taken_up_after_two_readings() -> None:
    job = at(NOW, week=62)
    job.now += MINUTE
    job.read(week=0, week_resets=NOW + 7 * DAY)
    assert not allows(job.ask())
    job.now += MINUTE
    job.read(week=0, week_resets=NOW + 7 * DAY)
    assert allows(job.ask())


def test_09_a_laptop_that_slept_over_a_reset_reads_before_it_sends() -> None:
    job = at(NOW, five=20, week=20)
    job.now += 9 * HOUR
    assert "cannot be read" in denies(job.ask())
    job.read(five=2, week=20, five_resets=job.now + 4 * HOUR)
    assert allows(job.ask())


def test_10_a_refusal_beats_the_meter_and_retry_after() -> None:
    job = at(NOW, week=43)
    job.books.refuse("the usage limit has been reached", NOW, NOW + 5 * HOUR)
    job.books.refuse("the usage limit has been reached", NOW, NOW + 30)
    job.now += 10 * MINUTE
    job.read(week=43)
    assert waits_until(job.ask()) == NOW + 5 * HOUR
    job.now = NOW + 5 * HOUR + 1
    job.read(week=43)
    assert allows(job.ask())


def test_10_without_a_time_the_pause_doubles_up_to_six_hours() -> None:
    books = Books(rules())
    pauses = []
    now = NOW
    for _ in range(7):
        books.refuse("usage limit", now, None)
        until = books.breakers["refused"].until
        assert until is not None
        pauses.append((until - now) / MINUTE)
        now = until
    assert pauses == [15, 30, 60, 120, 240, 360, 360]


def test_10_a_redeemed_reset_closes_the_breaker_when_it_is_confirmed() -> None:
    job = at(NOW, week=100)
    job.books.refuse("the usage limit has been reached", NOW, NOW + 5 * HOUR)
    for n in (1, 2):
        assert not allows(job.ask())
        job.now = NOW + n * MINUTE
        job.read(week=0, week_resets=NOW + 7 * DAY)
    assert allows(job.ask())


def test_10_what_a_reading_refuses_is_denied_whatever_its_percentages() -> None:
    job = Job()
    job.read(recorded("codex_usage_reached"))
    assert "allows nothing" in denies(job.ask())
    job.now += MINUTE
    job.read(five=10, week=10)
    assert allows(job.ask())


@pytest.mark.parametrize("body", [None, "<html>", {"detail": "unauthorized"}, [], {"error": {}}])
def test_11_a_meter_that_cannot_be_read_denies_a_subscription(body: object) -> None:
    job = Job()
    with pytest.raises(ReadingError):
        codex_usage.parse(body, NOW)
    assert "nothing is known" in denies(job.ask())


def test_11_a_key_with_a_budget_goes_on_without_a_meter() -> None:
    assert allows(Job(rules(shared=False, spend_per_day=5.0)).ask())


def test_11_a_reading_ages_to_unknown() -> None:
    job = at(NOW, week=10)
    job.now += 59 * MINUTE
    assert allows(job.ask())
    job.now += 2 * MINUTE
    assert "cannot be read" in denies(job.ask())
    job.now = NOW - HOUR  # the clock was put back: the reading is of a time to come
    assert "cannot be read" in denies(job.ask())


def test_11_a_key_at_its_rate_limit_waits_for_the_reset() -> None:
    job = Job(rules(shared=False))
    one = Window("unknown", None, 1.0, NOW + 300, "tokens", heard_at=NOW)
    job.hear(Report("openai_headers", NOW, (one,), full=False))
    assert waits_until(job.ask()) == NOW + 300


def test_12_a_call_that_is_charged_many_times_over_stops_the_job_at_the_twentieth() -> None:
    job = at(NOW, five=10, week=10)
    assert job.send_while_allowed(100, Usage(input=8_050, output=50)) == 20
    assert denies(job.ask()) == "each request is billed 8,050 input tokens, you sent 310"


def test_12_hidden_output_counts_as_well() -> None:
    job = at(NOW, five=10, week=10)
    assert job.send_while_allowed(100, Usage(input=310, output=460)) == 20
    assert "460 output tokens" in denies(job.ask())


def test_12_a_key_is_checked_too() -> None:
    job = Job(rules(shared=False))
    assert job.send_while_allowed(100, Usage(input=8_050, output=50)) == 20


def test_12_few_excesses_are_no_excess() -> None:
    job = Job(rules(shared=False))
    for n in range(40):
        job.send(Usage(input=8_050 if n % 3 == 0 else 310, output=50))
    assert allows(job.ask())


def test_14_a_persons_use_slows_the_job_and_raises_no_alarm() -> None:
    alone, beside = _hour_by_hour(person=0.0), _hour_by_hour(person=5.0)
    assert beside.books.breakers == {}
    assert beside.books.movement.person_until > 0
    assert 0 < beside.sent < 0.6 * alone.sent


def _hour_by_hour(person: float, hours: float = 8) -> Job:
    """An honest job, and a person who takes `person` percent of the 5-hour window an hour."""
    job = Job()
    five = week = 10.0
    credits = job.rules.expected(estimate())
    assert credits is not None
    resets, end, next_poll = NOW + FIVE, NOW + hours * HOUR, NOW
    while job.now < end:
        if job.now >= resets:
            five, resets = 0.0, resets + FIVE
        if job.now >= next_poll:
            five, week = five + person / 60, week + person / 300
            job.read(five=int(five), week=int(week), five_resets=resets)
            next_poll = job.now + MINUTE
        decision = job.ask()
        if isinstance(decision, Allow):
            job.send()
            five, week = five + credits / 8, week + credits / 40
            job.now += 1
        else:
            until = decision.until.timestamp() if isinstance(decision, Wait) else end
            job.now = max(job.now + 1, min(until, next_poll))
    return job


def test_14_a_person_halves_what_may_be_ahead_of_the_meter() -> None:
    job = at(NOW, five=10, week=10)
    job.books.movement.observed = 10.0  # a unit of cost takes at most 0.1 % of a window
    _done(job)
    job.send_while_allowed(1000)
    alone = job.books.unobserved()
    job.books.movement.person_until = job.now + HOUR
    assert "somebody else" in job.ask().why  # type: ignore[union-attr]
    job.books.unseen = alone / 2 - 0.1
    assert allows(job.ask())
    job.books.unseen = alone / 2 + 0.1
    assert not allows(job.ask())


def _done(job: Job) -> None:
    """The slow start is over."""
    job.books.reserve(-1, estimate(), job.now)
    job.books.fail(-1, job.now, charged=False)
    job.books.starts[("codex", MODEL)].stage = 7


def test_l3_the_meter_against_the_books() -> None:
    job = at(NOW, five=10, week=10)
    _done(job)
    job.send_while_allowed(30)  # 0.9 credits, 0.02 % of the week
    assert job.sent >= 20
    job.now += 5 * MINUTE
    job.read(five=30, week=14)
    assert "standing still" in job.ask().why  # type: ignore[union-attr]
    while job.now < NOW + HOUR and not isinstance(job.ask(), Deny):
        job.now += MINUTE
        job.read(five=30, week=14)
    assert denies(job.ask()) == "the meter (week) moved 4%, this job accounts for 0.0%"


def test_l3_what_shows_after_half_an_hour_is_nobody_else() -> None:
    job = at(NOW, five=10, week=10)
    _done(job)
    job.send_while_allowed(30)
    while job.now < NOW + 2 * HOUR and not isinstance(job.ask(), Deny):
        job.now += MINUTE
        job.read(week=14 if job.now > NOW + 31 * MINUTE else 12, five=10)
    assert "the meter (week) moved 4%" in denies(job.ask())


def test_l3_a_meter_that_goes_on_moving_is_somebody_else() -> None:
    job = at(NOW, five=10, week=10)
    _done(job)
    job.send_while_allowed(30)
    percent = 10.0
    while job.now < NOW + 90 * MINUTE:
        job.now += MINUTE
        percent += 0.2
        job.read(five=int(percent), week=int(percent))
    assert job.books.breakers == {}
    assert job.books.movement.person_until > job.now


def test_l4_what_was_sent_since_the_reading_counts_half_as_much_again() -> None:
    job = at(NOW, week=58)
    assert allows(job.ask())
    job.books.unseen = 4000 * 0.02 / 1.5 - 0.1  # 2 % of the week, by the prior
    assert allows(job.ask())
    job.books.unseen += 0.2
    assert "what was sent included" in job.ask().why  # type: ignore[union-attr]


def test_l5_the_cap_follows_the_tightest_window() -> None:
    job = at(NOW, five=10, week=10)
    _done(job)
    job.books.movement.observed = 10.0  # a unit takes at most 0.1 % of either window
    job.books.unseen = 20.0 - 0.1
    assert allows(job.ask())
    job.books.unseen = 20.0
    assert "at most 2% ahead" in job.ask().why  # type: ignore[union-attr]
    job.books.movement.windows[(None, "5h")].total = 0.01  # and now twice that of the 5 hours
    job.books.unseen = 10.0 - 0.1
    assert allows(job.ask())
    job.books.unseen = 10.0
    assert not allows(job.ask())


def test_l6_twenty_then_settle_then_double() -> None:
    job = Job(rules(off=frozenset({"cap"})))
    stages = []
    for _ in range(4):
        job.read(five=10, week=10)
        stages.append(job.send_while_allowed(10_000))
        assert "slow start" in job.ask().why  # type: ignore[union-attr]
        job.now += 14 * MINUTE
        job.read(five=10, week=10)
        assert not allows(job.ask())
        job.now += 2 * MINUTE
    assert stages == [20, 40, 80, 160]


def test_l6_a_new_model_and_a_long_pause_start_again() -> None:
    job = Job(rules(off=frozenset({"cap"}), unpriced=True))
    job.read(five=10, week=10)
    _done(job)
    assert job.send_while_allowed(30) == 30
    for _ in range(20):
        assert allows(job.ask(estimate("another")))
        job.send(wanted=estimate("another"))
    assert "slow start" in job.ask(estimate("another")).why  # type: ignore[union-attr]
    assert allows(job.ask())
    job.now += 25 * HOUR
    job.read(five=10, week=10, five_resets=job.now + HOUR)
    job.read(five=10, week=10, five_resets=job.now + HOUR)
    assert job.send_while_allowed(100) == 20


def test_l7_answers_without_usage_cost_half_as_much_again_and_stop_a_subscription() -> None:
    job = at(NOW, five=10, week=10)
    _done(job)
    expected = job.rules.expected(estimate())
    assert expected is not None
    for n in range(20):
        job.send(Usage() if n < 2 else None)
    assert job.books.spent == pytest.approx(expected * (18 + 2 * 1.5))
    assert denies(job.ask()) == "2 of 20 answers do not say what was charged"
    key = Job(rules(shared=False))
    for _ in range(40):
        key.send(Usage())
    assert allows(key.ask())


def test_l8_a_meter_that_falls_gives_nothing_back() -> None:
    job = at(NOW, five=10, week=50)
    job.send_while_allowed(20)
    spent = job.books.spent
    for n in range(3):
        job.now += 60 * (n + 1)
        job.read(five=10, week=0)
    assert job.books.spent == spent


def test_r3_pace_spreads_the_allowance_over_the_window() -> None:
    job = Job(rules(pace=True))
    job.read(week=20, week_resets=NOW + WEEK / 2)  # half of 60 % is allowed by now
    assert allows(job.ask())
    job = Job(rules(pace=True))
    job.read(week=40, week_resets=NOW + WEEK / 2)
    expected = NOW - WEEK / 2 + WEEK * 40 / 60
    assert waits_until(job.ask()) == pytest.approx(expected, abs=HOUR / 2)
    assert allows(at(NOW, week=40, week_resets=NOW + WEEK / 2).ask())


def test_r4_quiet_hours() -> None:
    zone = timezone(timedelta(hours=1))
    job = Job(rules(hours=Hours(time(22), time(7), zone)), now=_clock(15, zone))
    job.read(week=10, week_resets=job.now + DAY)
    assert waits_until(job.ask()) == _clock(22, zone)
    for hour in (22, 23):
        job.now = _clock(hour, zone)
        job.read(week=10, week_resets=job.now + DAY)
        assert allows(job.ask())
    job.now = _clock(23, zone) + 8 * HOUR - 1
    job.read(week=10, week_resets=job.now + DAY)
    assert allows(job.ask())
    job.now += 2
    assert not allows(job.ask())


def _clock(hour: int, zone: timezone) -> float:
    return datetime(2026, 11, 21, hour, tzinfo=zone).timestamp()


def test_w4_a_window_of_unknown_length_is_held_to_the_strictest_reserve() -> None:
    for percent, allowed in ((45, True), (51, False)):
        job = Job()
        job.read({"rate_limit": {"primary_window": {"used_percent": percent}}})
        assert allows(job.ask()) is allowed


def test_w15_an_extra_limit_binds_its_model_alone_and_an_unknown_one_binds_all() -> None:
    body = recorded("codex_usage")
    body["rate_limit"] = limits(10, 10)["rate_limit"]
    extra = body["additional_rate_limits"][0]
    extra["rate_limit"]["primary_window"]["used_percent"] = 95
    job = Job(rules(unpriced=True))
    job.read(body)
    assert allows(job.ask())
    assert not allows(job.ask(estimate("gpt-5.3-codex-spark")))
    extra["limit_name"] = None
    job = Job()
    job.read(body)
    assert not allows(job.ask())


def test_bought_credits_are_left_alone_unless_the_settings_say_so() -> None:
    body = {**limits(100, 20), "credits": {"has_credits": True, "balance": "9"}}
    job = Job()
    job.read(body)
    assert not allows(job.ask())
    job = Job(rules(bought=5.0))
    job.read(body)
    assert allows(job.ask())
    job.books.settle(_reserved(job), Usage(input=0, output=14_200), job.now)  # 4.97 credits
    assert not allows(job.ask(estimate(output=200)))


def _reserved(job: Job) -> int:
    job.books.reserve(0, estimate(), job.now)
    return 0


def test_bought_credits_are_not_reached_by_a_reserve_of_nothing() -> None:
    body = {**limits(97.9, 20), "credits": {"has_credits": True, "balance": "9"}}
    free = {"5h": 0.0, "week": 0.0, "month": 0.0}
    job = Job(rules(reserve=free))
    job.read(body)
    assert allows(job.ask())
    job.now += MINUTE
    job.read({**body, "rate_limit": limits(98, 20)["rate_limit"]})
    assert not allows(job.ask())


def test_h3_a_budget_is_each_meters_own() -> None:
    one = Job(rules(shared=False, spend_per_day=0.2))
    other = Job(rules(shared=False, spend_per_day=0.2))
    sent = one.send_while_allowed(1000)
    assert 4 <= sent <= 6
    midnight = datetime.fromtimestamp(NOW, UTC).replace(hour=0, minute=0, second=0)
    assert waits_until(one.ask()) == (midnight + timedelta(days=1)).timestamp()
    assert allows(other.ask())
    one.now += DAY
    assert allows(one.ask())


def test_a_run_has_a_number_of_calls_and_a_sum() -> None:
    job = Job(rules(shared=False, calls_per_run=7))
    assert job.send_while_allowed(100) == 7
    assert "max_calls_per_run" in denies(job.ask())
    job = Job(rules(shared=False, spend_per_run=0.2))
    assert 4 <= job.send_while_allowed(100) <= 6
    assert "max_spend_per_run" in denies(job.ask())


def test_a_subscription_is_drawn_on_only_when_the_entry_says_so() -> None:
    job = Job(rules(allowed=False))
    job.read(five=1, week=1)
    assert "allow_subscription" in denies(job.ask())


def test_21_what_breaks_the_money_stops_everything() -> None:
    job = Job(rules(shared=False))
    job.books.trip("money", "the credit balance is exhausted", NOW)
    job.now += 30 * DAY
    assert denies(job.ask()) == "the credit balance is exhausted"
    job.books.resume()
    assert allows(job.ask())


def test_23_the_fast_tier_by_model_and_no_price_is_no_yes() -> None:
    card = rate_card()
    usage = Usage(input=1_000_000, output=0)
    for model, factor in ((MODEL, 2.0), ("gpt-5.4", 2.0), ("gpt-5.5", 2.5)):
        rate = card.find(model, "credits")
        assert rate is not None
        normal, fast = cost(rate, usage), cost(rate, usage, fast=True)
        assert normal is not None
        assert fast is not None
        assert fast.amount / normal.amount == factor
    assert card.find("gpt-9", "credits") is None
    job = Job(rules(prices={}, shared=False, spend_per_day=5.0))
    assert "price of gpt-5.3-codex is unknown" in denies(job.ask())
    assert allows(Job(rules(prices={}, shared=False, unpriced=True)).ask())


def test_24_parts_larger_than_their_whole_are_cut_and_flagged() -> None:
    rate = rate_card().find(MODEL, "credits")
    assert rate is not None
    odd = cost(rate, Usage(input=100, cached=300, output=10, reasoning=50))
    same = cost(rate, Usage(input=100, cached=100, output=10))
    assert odd is not None
    assert same is not None
    assert odd.amount == same.amount
    assert odd.flags == ("cached_above_input", "reasoning_above_output")
    assert cost(rate, Usage(input=None, output=5)) is None
    negative = cost(rate, Usage(input=-5, output=5))
    assert negative is not None
    assert negative.amount >= 0
    assert negative.flags == ("negative_tokens",)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 60),  # percent of the 5 hours
            st.integers(0, 30),
            st.integers(1, 90),  # minutes until the next reading
            st.floats(0, 20),  # true cost of a call, against its estimate
        ),
        min_size=1,
        max_size=25,
    )
)
def test_25_never_more_than_the_cap_beyond_the_last_trusted_reading(
    readings: list[tuple[int, int, int, float]],
) -> None:
    job = Job()
    for five, week, minutes, factor in readings:
        job.read(five=five, week=week)
        until = job.now + minutes * MINUTE
        for _ in range(60):
            decision = decide(job.rules, job.state, job.books, estimate(), job.now)
            if not isinstance(decision, Allow):
                break
            job.send(Usage(input=round(310 * factor), output=round(60 * factor)))
            _within_cap(job)
            job.now += 1
        job.now = max(job.now, until)


def _within_cap(job: Job) -> None:
    """What no reading covers is at most 2 % of each window, or the first calls, or one call."""
    books = job.books
    expected = job.rules.expected(estimate()) or 0.0
    last = books.recent[-1][1] - expected if books.recent else 0.0
    for window in job.state.windows:
        bound = books.movement.bound(window.key)
        if bound is None:
            assert books.calls <= 20
        elif len(books.recent) > 1:
            # The last answer may have cost more than was expected of it.
            assert (books.unobserved() - max(0.0, last)) * bound <= 0.02 + 1e-6
