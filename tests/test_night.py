"""The night by itself: when it is due, who answers, whose slice is next."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from conftest import Workspace, WorkTree
from hypothesis import given
from hypothesis import strategies as st

from codesearch_assets import night
from codesearch_assets.night import Cursor, in_turn, is_due, latest_night
from codesearch_resources.results import PAUSE, Results, Slice
from codesearch_resources.settings import Nightly

THREE = Nightly(cron="0 3 * * *", timezone="UTC")


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "latest"),
    [
        ("2026-05-02 02:59:59", "2026-05-01 03:00"),
        ("2026-05-02 03:00:00", "2026-05-02 03:00"),
        ("2026-05-02 03:00:00.000001", "2026-05-02 03:00"),
        ("2026-05-02 23:00", "2026-05-02 03:00"),
    ],
)
def test_the_latest_night_is_at_or_before_now(now: str, latest: str) -> None:
    assert latest_night(THREE, at(now)) == at(latest)


@pytest.mark.parametrize(
    ("zone", "latest"),
    [
        ("Europe/Berlin", "2026-07-10 01:00"),
        ("America/New_York", "2026-07-10 07:00"),
        ("Asia/Kolkata", "2026-07-09 21:30"),
        ("Pacific/Auckland", "2026-07-09 15:00"),
    ],
)
def test_the_cron_line_is_read_in_its_own_time_zone(zone: str, latest: str) -> None:
    nightly = Nightly(cron="0 3 * * *", timezone=zone)
    assert latest_night(nightly, at("2026-07-10 12:00")) == at(latest)


def nights(nightly: Nightly, start: datetime, hours: int) -> list[datetime]:
    """When nights began, ticked every quarter of an hour, as the sensor would have it."""
    cursor = Cursor(night=latest_night(nightly, start).isoformat())
    begun = []
    for quarter in range(hours * 4):
        now = start + timedelta(minutes=15 * quarter)
        if is_due(cursor, nightly, now):
            begun.append(now)
        cursor = cursor.after(latest_night(nightly, now))
    return begun


@pytest.mark.parametrize("day", ["2026-03-28 12:00", "2026-10-24 12:00"])
@pytest.mark.parametrize("cron", ["0 2 * * *", "30 2 * * *", "0 3 * * *"])
def test_each_day_has_one_night_when_the_clock_is_put_forward_or_back(day: str, cron: str) -> None:
    """Half past two comes never on one of these days, and twice on the other."""
    nightly = Nightly(cron=cron, timezone="Europe/Berlin")
    begun = nights(nightly, at(day, "Europe/Berlin"), 72)
    local = [moment.astimezone(ZoneInfo("Europe/Berlin")) for moment in begun]
    assert len({moment.date() for moment in local}) == len(local) == 3
    assert all(1 <= moment.hour <= 3 for moment in local)


def test_several_missed_nights_are_one() -> None:
    cursor = Cursor(night=at("2026-05-01 03:00").isoformat())
    now = at("2026-05-09 11:00")
    assert is_due(cursor, THREE, now)
    assert not is_due(Cursor(night=latest_night(THREE, now).isoformat()), THREE, now)


def test_just_switched_on_it_waits_for_its_first_night() -> None:
    assert not is_due(Cursor(), THREE, at("2026-05-01 03:00"))


def test_an_earlier_hour_in_the_settings_does_not_repeat_the_night() -> None:
    begun = Cursor(night=at("2026-05-02 03:00").isoformat())
    for cron in ("0 2 * * *", "0 5 * * *"):
        assert not is_due(begun, Nightly(cron=cron), at("2026-05-02 04:00"))


ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"])
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)).map(
    lambda moment: moment.replace(tzinfo=UTC)
)


@given(zone=ZONES, hour=st.integers(0, 23), minute=st.integers(0, 59), now=MOMENTS)
def test_wherever_and_whenever_a_night_is_due_once_a_day(
    zone: str, hour: int, minute: int, now: datetime
) -> None:
    nightly = Nightly(cron=f"{minute} {hour} * * *", timezone=zone)
    latest = latest_night(nightly, now)
    assert latest <= now < latest + timedelta(hours=26)
    begun, cursor = 0, Cursor().after(latest)
    for hours in range(1, 49):
        later = now + timedelta(hours=hours)
        begun += is_due(cursor, nightly, later)
        cursor = cursor.after(latest_night(nightly, later))
    assert begun in (1, 2, 3)


def test_a_cursor_is_what_was_written() -> None:
    cursor = Cursor(night="2026-05-01T03:00:00+00:00", settled={"api": "1-2-3"})
    assert Cursor.parse(cursor.text()) == cursor


@pytest.mark.parametrize(
    "text",
    [None, "", "{", "[]", "7", '{"other": 1}', '{"night": 5}', '{"night": "x"}', '{"settled": 5}'],
)
def test_a_cursor_that_somebody_edited_starts_afresh(text: str | None) -> None:
    assert Cursor.parse(text) == Cursor()


@given(
    waiting=st.sets(st.sampled_from("abcdef")),
    served=st.dictionaries(st.sampled_from("abcdef"), MOMENTS),
)
def test_the_in_turn_goes_to_the_one_served_longest_ago(
    waiting: set[str], served: dict[str, datetime]
) -> None:
    turns = in_turn(waiting, served)
    assert sorted(turns) == sorted(waiting)
    if not waiting:
        return
    chosen = turns[0]
    never = sorted(waiting - served.keys())
    if never:
        assert chosen == never[0]
    else:
        assert served[chosen] == min(served[name] for name in waiting)


def test_each_has_its_turn_before_one_has_its_second() -> None:
    served: dict[str, datetime] = {}
    turns = []
    for hour in range(9):
        chosen = in_turn(["a", "b", "c"], served)[0]
        served[chosen] = at("2026-05-01 00:00") + timedelta(hours=hour)
        turns.append(chosen)
    assert "".join(turns) == "abcabcabc"


@pytest.mark.parametrize(
    ("ended", "pauses"), [("time", False), ("done", False), ("denied", True), (None, True)]
)
def test_a_slice_that_ended_by_time_is_followed_at_once_others_after_a_pause(
    tmp_path_factory: pytest.TempPathFactory, ended: str | None, pauses: bool
) -> None:
    """None: it only began, and was killed or failed."""
    with closing(Results(tmp_path_factory.mktemp("results"))) as results:
        results.begin_slice("api")
        if ended:
            results.end_slice("api", ended)  # type: ignore[arg-type]
        last = results.slices()["api"]
    now = datetime.now(UTC)
    assert last.ended == (ended or "begun")
    assert abs(last.served_at - now) < timedelta(minutes=1)
    assert last.may_follow(now) is not pauses
    assert last.may_follow(now + PAUSE)


@given(moment=MOMENTS, seconds=st.integers(-100, 100))
def test_a_slice_may_follow_from_its_moment_on(moment: datetime, seconds: int) -> None:
    last = Slice(moment, "denied", moment)
    assert last.may_follow(moment + timedelta(seconds=seconds)) is (seconds >= 0)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A loopback socket that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield listening.getsockname()[1]


def test_a_silent_remote_delays_none_of_the_others_and_is_named(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    silent_port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """More silent ones than are asked at once: the local ones do not stand behind them."""
    monkeypatch.setattr(night, "HEAD_TIMEOUT", 1.0)
    monkeypatch.setattr(night, "HEADS_DEADLINE", 3.0)
    monkeypatch.setattr(night, "HEADS_AT_ONCE", 2)
    tree = make_tree("api", {"a.py": "A = 1\n"})
    gone = make_tree("gone", {"a.py": "A = 1\n"})
    lines = [
        f"  - {{name: silent{n}, url: 'git://user:secret@127.0.0.1:{silent_port}/x'}}\n"
        for n in range(6)
    ]
    workspace = make_workspace(gone, tree, extra="".join(lines))
    settings = workspace.settings
    (gone.path / ".git").rename(gone.path / "not-git")
    started = time.monotonic()
    found, silent = night.heads(settings, list(reversed(settings.repositories)))
    assert time.monotonic() - started < 5
    assert found == {"api": tree.git("rev-parse", "HEAD")}
    assert sorted(silent) == ["gone", *(f"silent{n}" for n in range(6))]
    assert str(gone.path) in silent["gone"]
    assert all(silent[f"silent{n}"] for n in range(6))
    assert "secret" not in str(silent)
