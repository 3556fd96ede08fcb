"""Readings of every wrong kind: the guard never raises and never allows on what is not known."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from meter_job import MINUTE, NOW, Job, allows, rules

from codesearch_resources.quota.guard import is_unknown
from codesearch_resources.quota.meter import MeterState
from codesearch_resources.quota.readers import codex_usage
from codesearch_resources.quota.readers.base import ReadingError

JOBS, READINGS = 250, 40  # 10,000 readings; ten times as many in the campaign

odd = st.sampled_from(
    [None, True, "", "x", "NaN", "1e999", -1, -0.0, 1e300, 10**400, [], {}, "0x10", "٣", "90"]
)
percent = st.one_of(st.integers(-20, 140), st.floats(0, 120), odd)
length = st.one_of(st.sampled_from([18_000, 604_800, 2_592_000, 86_400, 300, 0]), odd)
moment = st.one_of(
    st.integers(-90_000, 900_000).map(lambda s: int(NOW) + s),
    st.integers(-9000, 9000).map(lambda s: (int(NOW) + s) * 1000),
    odd,
)
fields = st.dictionaries(
    st.sampled_from(["used_percent", "percent_left", "usedPercent", "percent", "used"]),
    percent,
    max_size=2,
)
times = st.dictionaries(
    st.sampled_from(["reset_at", "resets_at", "reset_after_seconds", "reset"]), moment, max_size=2
)
window = st.one_of(
    st.builds(
        lambda used, when, long: {**used, **when, "limit_window_seconds": long},
        fields,
        times,
        length,
    ),
    odd,
)
limit = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "primary_window": window,
            "secondary_window": window,
            "allowed": st.one_of(st.booleans(), odd),
        },
    ),
    odd,
)
body = st.one_of(
    st.fixed_dictionaries(
        {"rate_limit": limit},
        optional={
            "additional_rate_limits": st.one_of(
                st.lists(st.fixed_dictionaries({"rate_limit": limit}), max_size=1), odd
            ),
            "credits": st.one_of(st.just({"has_credits": True, "balance": "5"}), odd),
            "account_id": st.sampled_from(["a", "a", "a", "b", 3]),
            "rate_limit_reached_type": odd,
        },
    ),
    odd,
)
reading = st.tuples(body, st.integers(-120, 900), st.sampled_from([0, 0, 0, 7200, -7200]))


def _check(readings: list[tuple[Any, int, int]]) -> None:
    job = Job(rules(allowed=True))
    claims: dict[Any, list[tuple[float, float, float | None]]] = {}
    for content, seconds, skew in readings:
        job.now += seconds
        before = job.state
        try:
            report = codex_usage.parse(content, job.now, server_clock=job.now + skew)
        except ReadingError:
            continue
        job.hear(report)
        for heard in report.windows:
            if heard.used is not None:
                claims.setdefault(heard.key, []).append((job.now, heard.used, heard.resets_at))
        _never_fell(before, job.state, claims, job.now)
        for late in (0.0, 30 * MINUTE, 90 * MINUTE):
            job.now += late
            if allows(job.ask()):
                assert job.state.windows
                assert not any(is_unknown(w, job.rules, job.now) for w in job.state.windows)
                assert job.state.refused is None
                job.send()
            job.now -= late


def _never_fell(
    before: MeterState, after: MeterState, claims: dict[Any, list[Any]], now: float
) -> None:
    """A use is lower only after its reset was due, or two readings half a minute apart said so."""
    old = {w.key: w for w in before.windows}
    for new in after.windows:
        was = old.get(new.key)
        if was is None or was.used is None:
            continue
        assert new.used is not None
        if new.used >= was.used:
            continue
        due = was.resets_at is not None and now + after.skew >= was.resets_at - 120
        lower = [at for at, used, _ in claims[new.key] if used < was.used]
        confirmed = bool(lower) and any(now - at >= 30 for at in lower)
        assert due or confirmed, (was, new)
        assert new.resets == was.resets + 1


@settings(
    max_examples=JOBS, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(st.lists(reading, min_size=READINGS, max_size=READINGS))
def test_no_reading_raises_or_lets_the_unknown_through(
    readings: list[tuple[Any, int, int]],
) -> None:
    _check(readings)


@pytest.mark.soak
@settings(max_examples=JOBS * 10, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(reading, min_size=READINGS, max_size=READINGS))
def test_a_hundred_thousand_readings(readings: list[tuple[Any, int, int]]) -> None:
    _check(readings)
