"""W-1 to W-16: what a meter says, and what of it is believed. Names carry the rule's number."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codesearch_resources.quota import fields
from codesearch_resources.quota.meter import MeterState, merge
from codesearch_resources.quota.readers import (
    codex_app_server,
    codex_headers,
    codex_usage,
    file,
    ollama_usage,
    openai_headers,
)
from codesearch_resources.quota.readers.base import ReadingError
from codesearch_resources.quota.windows import Report, Window, kind_of, window

NOW = 1_795_291_000.0
FIXTURES = Path(__file__).parent / "fixtures" / "quota"
HOUR, WEEK = 3600.0, 604_800.0


def recorded(name: str) -> Any:
    return json.loads((FIXTURES / f"{name}.json").read_text())


def kinds(report: Report) -> dict[str, float | None]:
    return {w.kind: w.used for w in report.windows}


def week(used: float | None, at: float, **more: Any) -> Report:
    """A full reading of one weekly window."""
    given: dict[str, Any] = {"resets_at": NOW + 3 * 86_400, "source": "test", **more}
    account = given.pop("account", None)
    full = given.pop("full", True)
    one = Window("week", WEEK, used, label="primary", heard_at=at, **given)
    return Report("test", at, (one,), full, account)


def after(*reports: Report) -> MeterState:
    state = MeterState()
    for report in reports:
        state = merge(state, report)
    return state


def only(state: MeterState) -> Window:
    (found,) = state.windows
    return found


@pytest.mark.parametrize(
    ("seconds", "kind"),
    [
        (18_000, "5h"),
        (18_800, "5h"),
        (19_000, "other:19000"),
        (86_400, "day"),
        (604_800, "week"),
        (590_000, "week"),
        (28 * 86_400, "month"),
        (31 * 86_400, "month"),
        (365 * 86_400, "year"),
        (3600, "other:3600"),
        (None, "unknown"),
        (0, "unknown"),
        (-5, "unknown"),
    ],
)
def test_w1_the_class_is_by_length(seconds: float | None, kind: str) -> None:
    assert kind_of(seconds) == kind


def test_w1_swapped_positions_change_nothing() -> None:
    body = recorded("codex_usage")
    limit = body["rate_limit"]
    swapped = {
        **limit,
        "primary_window": limit["secondary_window"],
        "secondary_window": limit["primary_window"],
    }
    first = codex_usage.parse(body, NOW)
    second = codex_usage.parse({**body, "rate_limit": swapped}, NOW)
    assert {w.key: w.used for w in first.windows} == {w.key: w.used for w in second.windows}


def test_w2_a_week_in_the_first_place_is_a_week_and_no_5h_window() -> None:
    report = codex_usage.parse(recorded("codex_usage_weekly_in_primary"), NOW)
    assert kinds(report) == {"week": 0.17}


def test_w3_month_and_week_are_both_there() -> None:
    report = codex_usage.parse(recorded("codex_usage_monthly_in_primary"), NOW)
    assert kinds(report) == {"month": 0.12, "week": 0.61}


@pytest.mark.parametrize("length", [None, 0, -1, "soon", True])
def test_w4_without_a_length_the_class_is_unknown(length: object) -> None:
    found = window({"used_percent": 61, "limit_window_seconds": length}, label="x", now=NOW)
    assert (found.kind, found.used) == ("unknown", 0.61)


def test_w5_a_reset_beyond_the_window_discredits_its_length() -> None:
    raw = {"used_percent": 5, "windowDurationMins": 70, "resetsAt": NOW + 3 * HOUR}
    found = window(raw, label="primary", now=NOW)
    assert (found.kind, found.flags) == ("unknown", ("reset_beyond_window",))


def test_w6_the_name_decides_the_scale() -> None:
    assert fields.used({"used_percent": 0.81}) == (pytest.approx(0.0081), ())
    assert fields.used({"percent_left": 90})[0] == pytest.approx(0.1)
    assert fields.used({"remaining_percent": 1})[0] == pytest.approx(0.99)
    assert fields.used({"percent": 90}) == (None, ())


def test_w6_of_two_that_differ_the_higher_use_counts() -> None:
    assert fields.used({"used_percent": 10, "percent_left": 50}) == (
        0.5,
        ("used_and_left_differ",),
    )
    assert fields.used({"used_percent": 10, "percent_left": 89}) == (pytest.approx(0.11), ())


@pytest.mark.parametrize("value", [-1, "NaN", "inf", float("nan"), float("inf"), "many", None])
@pytest.mark.parametrize("name", ["used_percent", "percent_left"])
def test_w7_what_is_no_use_is_none(name: str, value: object) -> None:
    assert fields.used({name: value}) == (None, ())


def test_w7_above_the_limit_is_kept() -> None:
    assert fields.used({"used_percent": 130}) == (1.3, ())
    assert fields.used({"percent_left": 130}) == (None, ())
    assert fields.number(10**400) is None
    assert fields.number(True) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (NOW + 100, NOW + 100),
        ((NOW + 100) * 1000, NOW + 100),
        ("2026-11-21T20:00:00Z", 1_795_291_200.0),
        ("2026-11-21T20:00:00", 1_795_291_200.0),
        ("2026-11-21T21:00:00+01:00", 1_795_291_200.0),
        (0, None),
        ("", None),
        (-5, None),
        (86_400, None),
        (1_786_706_000_000_000, None),
        ("tomorrow", None),
        (None, None),
    ],
)
def test_w8_resets_in_every_form(value: object, expected: float | None) -> None:
    assert fields.instant(value, NOW) == expected


def test_w8_moment_and_delay() -> None:
    assert fields.resets({"reset_at": NOW + 60, "reset_after_seconds": 78}, NOW) == (NOW + 60, ())
    assert fields.resets({"reset_at": "", "reset_after_seconds": 78}, NOW) == (NOW + 78, ())
    assert fields.resets({"reset_at": NOW + 60, "reset_after_seconds": 999}, NOW) == (
        NOW + 999,
        ("reset_times_differ",),
    )


def test_w9_the_servers_clock_counts() -> None:
    ahead = NOW + 2 * HOUR
    report = codex_usage.parse(recorded("codex_usage"), ahead, server_clock=NOW)
    right = codex_usage.parse(recorded("codex_usage"), NOW)
    assert report.skew == -2 * HOUR
    assert [w.resets_at for w in report.windows] == [w.resets_at for w in right.windows]
    assert codex_usage.parse(recorded("codex_usage"), NOW + 20, server_clock=NOW).skew == 0


def test_w10_a_window_is_dropped_when_two_full_readings_lack_it() -> None:
    five = Window("5h", 18_000, 0.5, NOW + HOUR, "secondary", heard_at=NOW, source="test")
    both = week(0.3, NOW)
    both = replace(both, windows=(*both.windows, five))
    once = after(both, week(0.3, NOW + 60))
    assert {w.kind for w in once.windows} == {"week", "5h"}
    assert {w.kind for w in merge(once, week(0.3, NOW + 120)).windows} == {"week"}


def test_w10_a_sparse_reading_drops_nothing() -> None:
    five = Window("5h", 18_000, 0.5, NOW + HOUR, "secondary", heard_at=NOW, source="test")
    both = replace(week(0.3, NOW), windows=(*week(0.3, NOW).windows, five))
    state = after(both, *(week(0.3, NOW + 60 * n, full=False) for n in range(1, 5)))
    assert {w.kind for w in state.windows} == {"week", "5h"}


def test_w11_a_place_that_changes_its_class_is_another_window() -> None:
    as_month = replace(week(0.1, NOW).windows[0], kind="month", length=30 * 86_400)
    readings = [
        Report("test", NOW + 60 * n, (replace(as_month, heard_at=NOW + 60 * n),), full=False)
        for n in (1, 2)
    ]
    state = after(week(0.3, NOW), readings[0])
    assert {w.kind: w.used for w in state.windows} == {"week": 0.3, "month": 0.1}
    state = merge(state, readings[1])
    assert {w.kind: w.used for w in state.windows} == {"month": 0.1}
    assert state.notes == ("the window of kind week is gone, primary is of kind month now",)


def test_w12_a_lower_use_is_believed_when_a_second_reading_agrees() -> None:
    state = after(week(0.62, NOW), week(0.0, NOW + 60))
    assert only(state).used == 0.62
    assert only(merge(state, week(0.0, NOW + 70))).used == 0.62  # too soon after the first
    assert only(merge(state, week(0.01, NOW + 95))).used == 0.01


def test_w12_a_transient_zero_changes_nothing() -> None:
    state = after(week(0.62, NOW), week(0.0, NOW + 60), week(0.62, NOW + 120))
    assert (only(state).used, only(state).pending) == (0.62, None)
    assert only(merge(state, week(0.0, NOW + 180))).used == 0.62


def test_w12_the_second_reading_must_name_the_same_boundary() -> None:
    state = after(week(0.62, NOW), week(0.0, NOW + 60, resets_at=NOW + 5 * 86_400))
    other = week(0.0, NOW + 120, resets_at=NOW + 7 * 86_400)
    assert only(merge(state, other)).used == 0.62
    same = week(0.0, NOW + 120, resets_at=NOW + 5 * 86_400)
    assert only(merge(state, same)).used == 0.0


def test_w12_a_reset_that_is_due_is_believed_at_once() -> None:
    state = after(week(0.62, NOW, resets_at=NOW + 100), week(0.02, NOW + 60, resets_at=NOW + WEEK))
    assert (only(state).used, only(state).resets) == (0.02, 1)


def test_w12_noise_below_five_points_is_no_reset() -> None:
    assert only(after(week(0.62, NOW), week(0.60, NOW + 60), week(0.60, NOW + 120))).used == 0.62


def test_w13_older_readings_and_other_accounts_are_ignored() -> None:
    state = after(week(0.62, NOW, account="a"))
    late = merge(state, week(0.9, NOW - 60, account="a"))
    assert (only(late).used, "older" in late.notes[0]) == (0.62, True)
    other = merge(state, week(0.1, NOW + 60, account="b"))
    assert (only(other).used, "another account" in other.notes[0]) == (0.62, True)


def test_w13_an_unreadable_use_leaves_the_old_one_in_doubt() -> None:
    state = after(week(0.62, NOW), week(None, NOW + 60))
    assert (only(state).used, only(state).unreadable, only(state).heard_at) == (0.62, True, NOW)
    assert only(merge(state, week(0.10, NOW + 120))).used == 0.62


def test_w14_what_refuses_is_read() -> None:
    for change in (
        {"rate_limit": {"allowed": False}},
        {"rate_limit": {"limit_reached": True}},
        {"rate_limit_reached_type": {"type": "rate_limit_reached"}},
        {"spend_control": {"reached": True}},
    ):
        assert codex_usage.parse({**recorded("codex_usage"), **change}, NOW).refused, change
    assert codex_usage.parse(recorded("codex_usage"), NOW).refused is None
    assert codex_usage.parse(recorded("codex_usage_reached"), NOW).refused


def test_w15_extra_limits_carry_their_feature() -> None:
    report = codex_usage.parse(recorded("codex_usage"), NOW)
    assert {w.feature for w in report.windows} == {None, "GPT-5.3-Codex-Spark"}


def test_w16_ollamas_limits_are_shares_and_null_is_no_limit() -> None:
    report = ollama_usage.parse(recorded("ollama_usage"), NOW)
    assert kinds(report) == {"5h": 0.046, "week": 0.051}
    monthly = ollama_usage.parse(recorded("ollama_usage_monthly"), NOW)
    assert (kinds(monthly), monthly.unlimited) == ({"month": 0.35}, False)
    free = ollama_usage.parse({"limits": {"weekly": None}}, NOW)
    assert (free.windows, free.unlimited) == ((), True)
    strange = ollama_usage.parse({"limits": {"decade": {"usage": 0.5}}}, NOW)
    assert kinds(strange) == {"unknown": 0.5}


def test_w16_ollamas_known_boundaries() -> None:
    resets = {
        w.label: w.resets_at for w in ollama_usage.parse(recorded("ollama_usage"), NOW).windows
    }
    assert resets["session"] is not None
    assert resets["weekly"] is not None
    assert resets["session"] % 18_000 == 0
    assert 0 < resets["session"] - NOW <= 18_000
    # Monday 2026-11-23 00:00 UTC
    assert resets["weekly"] == 1_795_392_000.0


def test_headers_of_a_free_plan_hold_one_week() -> None:
    report = codex_headers.parse(recorded("codex_headers_free_429"), NOW)
    assert report is not None
    assert (kinds(report), report.full, report.credits) == ({"week": 1.0}, False, None)
    assert (report.windows[0].resets_at, report.windows[0].flags) == (1_795_593_705, ())


def test_headers_count_in_percent_and_families_are_features() -> None:
    report = codex_headers.parse(recorded("codex_headers"), NOW)
    assert report is not None
    by_key = {(w.feature, w.kind): w.used for w in report.windows}
    assert by_key == {
        (None, "5h"): pytest.approx(0.0081),
        (None, "week"): 0.31,
        ("GPT-5.3-Codex-Spark", "week"): 0.03,
    }
    assert report.credits == 9.99
    assert codex_headers.parse({"content-type": "text/html"}, NOW) is None


def test_openais_headers_and_their_unknowns() -> None:
    report = openai_headers.parse(recorded("openai_headers"), NOW)
    assert report is not None
    assert {w.label: (w.used, w.resets_at) for w in report.windows} == {
        "requests": (0.0001, NOW + 0.02),
        "tokens": (0.75, NOW + 360),
    }
    unknown = openai_headers.parse(recorded("openai_headers_unknown"), NOW)
    assert unknown is not None
    assert {w.label: w.used for w in unknown.windows} == {"tokens": None}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("6m0s", 360), ("20ms", 0.02), ("1h2m3s", 3723), ("12", 12), ("-1", None), ("soon", None)],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert openai_headers.duration(text) == seconds


def test_the_app_servers_limits() -> None:
    content = recorded("codex_app_server")
    report = codex_app_server.parse(content["limits"], NOW, account=content["account"])
    by_key = {(w.feature, w.kind): w.used for w in report.windows}
    assert by_key == {
        (None, "5h"): 0.25,
        (None, "week"): 0.31,
        ("GPT-5.3-Codex-Spark", "week"): 0.03,
    }
    assert report.account
    assert "example.com" not in report.account
    assert report.credits == 12.5


def test_a_file_of_any_scripts(tmp_path: Path) -> None:
    path = tmp_path / "meter.json"
    path.write_text((FIXTURES / "file.json").read_text())
    report = file.MeterFile(path).read(NOW)
    assert {w.kind: w.used for w in report.windows} == {"week": pytest.approx(0.1)}
    assert report.heard_at < NOW
    path.write_text((FIXTURES / "codex_usage.json").read_text())
    assert "5h" in kinds(file.MeterFile(path).read(NOW))


@pytest.mark.parametrize(
    "text", ["", "<html>", "[1]", '{"windows": 3}', '{"error": "no"}', "[" * 9999]
)
def test_a_file_that_holds_no_meter_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "meter.json"
    path.write_text(text)
    with pytest.raises(ReadingError):
        file.MeterFile(path).read(NOW)
    with pytest.raises(ReadingError):
        file.MeterFile(tmp_path / "absent.json").read(NOW)


@pytest.mark.parametrize("body", [None, [], "x", 3, {}, {"detail": "unauthorized"}])
def test_answers_that_are_no_usage_are_errors(body: object) -> None:
    with pytest.raises(ReadingError):
        codex_usage.parse(body, NOW)
    with pytest.raises(ReadingError):
        ollama_usage.parse(body, NOW)
    with pytest.raises(ReadingError):
        codex_app_server.parse(body, NOW)


def test_raw_readings_are_kept_without_secrets() -> None:
    body = {
        **recorded("codex_usage"),
        "account_id": "acct-1",
        "email": "somebody@example.com",
        "note": "Bearer abc.def sk-1234567890abcdef for somebody@example.com",
    }
    text = json.dumps(codex_usage.parse(body, NOW).raw)
    for secret in ("acct-1", "somebody", "abc.def", "sk-123"):
        assert secret not in text
    assert '"limit_window_seconds": 18000' in text
    assert "GPT-5.3-Codex-Spark" in text
