"""Nothing is paid for twice: kill -9 at any moment, two processes at once."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from calls import desk, ollama, pieces
from simulator import Simulator

from codesearch_resources.data_dir import RESULTS_FILE
from codesearch_resources.summarizers.base import summary_key

TESTS = Path(__file__).parent
WORKERS = 3

# One slice over the same pieces, in a process of its own; a word when the first call is sent.
WORK = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from calls import desk, ollama, pieces
from codesearch_resources.ledger import Ledger
own = Ledger.reserve
def reserve(self, *given, **named):
    Ledger.reserve = own
    print("ready", flush=True)
    return own(self, *given, **named)
Ledger.reserve = reserve
folder, url, count, workers = sys.argv[2:]
with desk(Path(folder)) as at:
    chain = at.chain(ollama(url, workers=int(workers), slots=int(workers)))
    found, order = at.ask(chain, pieces(int(count)))
    print(len(found), *order.remainder.lines(), flush=True)
"""


def work(folder: Path, server: Simulator, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORK, str(TESTS), str(folder), server.url, str(count), str(WORKERS)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=TESTS.parent,
    )


def kept(folder: Path) -> dict[str, str]:
    with closing(sqlite3.connect(folder / RESULTS_FILE)) as connection:
        return dict(connection.execute("SELECT key, summary FROM summaries").fetchall())


def campaign(folder: Path, count: int, kills: int, seconds: float) -> None:
    """`kills` runs, each killed within `seconds` after its imports, then one that is left alone."""
    moments = random.Random(kills)
    with Simulator(latency=lambda drawn: drawn.uniform(0.01, 0.05)) as server:
        before: dict[str, str] = {}
        done = 0
        while done < kills:
            with work(folder, server, count) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                time.sleep(moments.uniform(0, seconds))
                ended = process.poll() is not None
                os.kill(process.pid, signal.SIGKILL)
            assert not ended, f"all {count} were written after {done} kills: kill earlier"
            done += 1
            now = kept(folder)
            assert before.items() <= now.items()  # nothing that was accepted is lost or changed
            before = now
        with work(folder, server, count) as process:
            output, _ = process.communicate(timeout=600)
        assert output.splitlines() == ["ready", str(count)]
        calls = len(server.calls)
        print(f"{count} chunks, {kills} kills: {calls} calls, {calls - count} paid again")
        assert len(kept(folder)) == count
        assert calls <= count + WORKERS * kills
        with desk(folder) as at:
            rows, spent = at.results.ledger.entries(), at.results.ledger.spent()
        assert len(rows) >= calls
        assert Counter(row.status for row in rows)["reserved"] == 0
        counted_input, counted_output = server.counted
        assert spent.input >= counted_input
        assert spent.output >= counted_output


def test_15_ten_kills_lose_nothing_and_pay_only_for_what_was_in_flight(tmp_path: Path) -> None:
    campaign(tmp_path, 300, 10, 0.3)


@pytest.mark.soak
def test_a_hundred_kills_over_two_thousand_chunks(tmp_path: Path) -> None:
    campaign(tmp_path, 2_000, 100, 0.3)


def test_two_processes_over_the_same_chunks_pay_each_key_once(tmp_path: Path) -> None:
    count = 300
    with Simulator(latency=0.01) as server:
        both = [work(tmp_path, server, count) for _ in range(2)]
        outputs = [process.communicate(timeout=120)[0].splitlines() for process in both]
        # Each hears of every summary, whoever had it written.
        assert outputs == [["ready", str(count)]] * 2
        assert len(server.calls) == count
        assert len({call.prompt for call in server.calls}) == count
        assert server.most_in_flight <= WORKERS  # the slots are shared
    assert kept(tmp_path).keys() == {summary_key(p.content_hash) for p in pieces(count)}


def test_a_process_that_dies_leaves_its_keys_and_slots_to_the_one_beside_it(
    tmp_path: Path,
) -> None:
    count = 40
    with Simulator(latency=0.3) as server:
        with work(tmp_path, server, count) as doomed:
            assert doomed.stdout is not None
            doomed.stdout.readline()
            while len(server.calls) < WORKERS:
                time.sleep(0.01)
            os.kill(doomed.pid, signal.SIGKILL)
        server.latency = 0.0
        with desk(tmp_path) as at:
            found, order = at.ask(at.chain(ollama(server, workers=WORKERS)), pieces(count))
    assert len(found) == count
    assert order.remainder.lines() == []
    assert len(server.calls) <= count + WORKERS
