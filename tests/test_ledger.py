"""The ledger: a row before the socket, settled with its text, and nothing paid for twice."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from codesearch_resources.calls import CallError, Estimate, Usage
from codesearch_resources.data_dir import RESULTS_FILE
from codesearch_resources.ledger import Known, Ledger, NoSlot, Reserved, Taken
from codesearch_resources.results import Results
from codesearch_resources.summarizers.base import Summary

CALL = Estimate("cloud", "some-model", "cloud", "summary", input=300, output=60)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def results(tmp_path: Path) -> Iterator[Results]:
    with closing(Results(tmp_path)) as opened:
        yield opened


def text(of: str) -> Summary:
    return Summary(of, "model", "cloud", "some-model", "1")


def reserve(ledger: Ledger, *keys: str, slots: int = 9, cost: float | None = None) -> int:
    made = ledger.reserve(CALL, keys, slots=slots, lasts=MINUTE, cost=cost)
    assert isinstance(made, Reserved)
    return made.attempt


def settle(results: Results, attempt: int, key: str, usage: Usage, **more: float) -> None:
    results.ledger.settle(
        attempt, usage, {key: text(f"{key}.")}, response=f"{key}.", seconds=0.5, **more
    )


def test_an_answer_settles_its_row_and_its_summary_at_once(results: Results) -> None:
    attempt = reserve(results.ledger, "k")
    [row] = results.ledger.in_flight("cloud")
    assert (row.status, row.counted_input, row.counted_output) == ("reserved", 300, 60)
    settle(results, attempt, "k", Usage(310, output=40), cost=0.01)
    assert results.ledger.in_flight() == []
    [row] = results.ledger.entries()
    assert (row.status, row.counted_input, row.counted_output, row.cost) == (
        "settled", 310, 40, 0.01,
    )  # fmt: skip
    assert results.find(["k"])["k"].text == "k."
    assert results.ledger.ratios("cloud", "some-model") == [310 / 300]


def test_the_row_is_on_disk_before_anything_is_sent(results: Results, tmp_path: Path) -> None:
    reserve(results.ledger, "k")
    with closing(sqlite3.connect(tmp_path / RESULTS_FILE)) as other:
        assert other.execute("select status, estimated_input from attempts").fetchall() == [
            ("reserved", 300)
        ]


def test_reserved_rows_are_the_slots_of_every_process(results: Results, tmp_path: Path) -> None:
    first = reserve(results.ledger, "a", slots=2)
    with closing(Results(tmp_path)) as other:
        reserve(other.ledger, "b", slots=2)
        full = other.ledger.reserve(CALL, ["c"], slots=2, lasts=MINUTE)
        assert isinstance(full, NoSlot)
        settle(results, first, "a", Usage(1, output=1))
        reserve(other.ledger, "c", slots=2)


def test_a_key_is_written_by_one_and_known_to_all_after_that(
    results: Results, tmp_path: Path
) -> None:
    attempt = reserve(results.ledger, "k")
    with closing(Results(tmp_path)) as other:
        assert isinstance(other.ledger.reserve(CALL, ["k"], slots=9, lasts=MINUTE), Taken)
        settle(results, attempt, "k", Usage(1, output=1))
        assert isinstance(other.ledger.reserve(CALL, ["k"], slots=9, lasts=MINUTE), Known)
        other.reopen(["k"])
        reserve(other.ledger, "k")


def test_a_call_that_outlives_its_lease_counts_in_full_and_frees_its_key(
    results: Results,
) -> None:
    results.ledger.reserve(CALL, ["k"], slots=1, lasts=timedelta(seconds=-1))
    again = reserve(results.ledger, "k", slots=1)
    lost, _ = results.ledger.entries()
    assert (lost.status, lost.counted_input, lost.trouble) == ("unknown", 300, "ambiguous")
    settle(results, again, "k", Usage(5, output=5))
    # Should the first one answer after all, its row says what it took, and the text stays.
    settle(results, lost.id, "k", Usage(290, output=20))
    assert results.ledger.spent().input == 295


CRASH = """
import os, sys
from datetime import timedelta
from pathlib import Path
from codesearch_resources.calls import Estimate
from codesearch_resources.results import Results
results = Results(Path(sys.argv[1]))
call = Estimate("cloud", "some-model", "cloud", "summary", input=300, output=60)
print(results.ledger.reserve(call, ["k"], slots=9, lasts=timedelta(hours=9)), flush=True)
if sys.argv[2] == "crash":
    os._exit(9)
sys.stdin.read()
"""


def test_what_a_dead_process_left_is_counted_in_full_and_free_again(
    results: Results, tmp_path: Path
) -> None:
    subprocess.run([sys.executable, "-c", CRASH, str(tmp_path), "crash"], check=False, timeout=60)
    assert isinstance(results.ledger.reserve(CALL, ["k"], slots=9, lasts=MINUTE), Taken)
    assert results.ledger.recover() == 1
    [row] = results.ledger.entries()
    assert (row.status, row.counted_input, row.counted_output) == ("unknown", 300, 60)
    reserve(results.ledger, "k")


def test_what_a_living_process_holds_is_left_to_it(results: Results, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CRASH, str(tmp_path), "wait"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as living:
        assert living.stdout is not None
        assert b"Reserved" in living.stdout.readline()
        assert results.ledger.recover() == 0
        assert isinstance(results.ledger.reserve(CALL, ["k"], slots=9, lasts=MINUTE), Taken)
        living.communicate(timeout=60)


def test_closing_counts_in_full_what_is_still_under_way(tmp_path: Path) -> None:
    with closing(Results(tmp_path)) as results:
        reserve(results.ledger, "k")
    with closing(Results(tmp_path)) as results:
        [row] = results.ledger.entries()
        assert row.status == "unknown"
        reserve(results.ledger, "k")


@pytest.mark.parametrize(
    ("error", "status", "counted"),
    [
        (CallError("rate", "too many", status=429), "failed", 0),
        (CallError("ambiguous", "no answer"), "unknown", 300),
        (CallError("item", "cut off", status=200), "unknown", 300),
        (CallError("item", "too short", status=200, usage=Usage(290, output=1)), "failed", 290),
        (CallError("overload", "down", status=503), "failed", 0),
    ],
)
def test_a_failure_counts_for_what_the_server_may_have_charged(
    results: Results, error: CallError, status: str, counted: int
) -> None:
    results.ledger.fail(reserve(results.ledger, "k"), error, response="…")
    [row] = results.ledger.entries()
    assert (row.status, row.trouble, row.counted_input) == (status, error.trouble, counted)
    reserve(results.ledger, "k")


def test_sums_are_of_what_each_row_counts_for(results: Results) -> None:
    settle(results, reserve(results.ledger, "a", cost=0.5), "a", Usage(10, output=2), cost=0.1)
    results.ledger.fail(reserve(results.ledger, "b", cost=0.5), CallError("rate", "no"))
    results.ledger.fail(reserve(results.ledger, "c", cost=0.5), CallError("ambiguous", "?"))
    reserve(results.ledger, "d")
    spent = results.ledger.spent(meter="cloud")
    rows = results.ledger.entries(meter="cloud")
    assert (spent.calls, spent.input, spent.output) == (
        4, sum(r.counted_input for r in rows), sum(r.counted_output for r in rows),
    )  # fmt: skip
    assert spent.cost == pytest.approx(0.6)
    assert spent.unpriced == 1
    assert results.ledger.spent(since=datetime.now(UTC) + MINUTE).calls == 0
    assert results.ledger.spent(meter="another").calls == 0


def test_many_threads_never_write_one_key_twice_nor_pass_the_slots(results: Results) -> None:
    paid: list[str] = []
    most: list[int] = []

    def work() -> None:
        for key in [f"k{n}" for n in range(25)]:
            made = results.ledger.reserve(CALL, [key], slots=3, lasts=MINUTE)
            if isinstance(made, Reserved):
                most.append(len(results.ledger.in_flight()))
                paid.append(key)
                settle(results, made.attempt, key, Usage(1, output=1))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paid) == len(set(paid))
    assert max(most) <= 3
