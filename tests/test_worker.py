"""Files are cut in a process that may be lost, and only the file that cost it notices."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Timer

import pytest
from odd_cutters import at_a_marker, what_is_imported

from codesearch_assets.chunking.chunk import FileChunks
from codesearch_assets.chunking.chunker import cut
from codesearch_assets.chunking.worker import (
    AHEAD,
    BATCH_BYTES,
    BATCH_FILES,
    CuttingFailed,
    CuttingProcess,
    Limits,
)

SMALL = "def number_{0}():\n    return {0}\n"
QUICK = Limits(cpu_seconds=0.5, wall=3.0)


def file(number: int, first: str = "") -> tuple[str, str, bytes]:
    return f"src/file_{number}.py", "python", (first + SMALL.format(number)).encode()


def cut_here(files: list[tuple[str, str, bytes]]) -> list[FileChunks]:
    return [cut(data, path, language) for path, language, data in files]


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


def test_chunks_come_in_order_and_are_those_of_cutting_here() -> None:
    big = "".join(SMALL.format(number) for number in range(20_000)).encode()
    files = [file(number) for number in range(3 * BATCH_FILES)]
    files[5:5] = [("big.py", "", big), ("notes.md", "", b"# A\n\ntext\n"), ("void.py", "", b"")]
    files[90:90] = [("latin.py", "", "# caf\xe9\nx = 1\n".encode("latin-1"))]
    with CuttingProcess() as cutting:
        assert list(cutting.cut_many(files)) == cut_here(files)
        assert cutting.started == 1


def test_one_process_serves_many_calls_and_none_starts_for_nothing() -> None:
    with CuttingProcess() as cutting:
        assert list(cutting.cut_many([])) == []
        assert cutting.started == 0
        for number in range(3):
            assert list(cutting.cut_many([file(number)])) == cut_here([file(number)])
        assert cutting.started == 1


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("spin", "parser timed out"),
        ("sleep", "parser timed out"),
        ("crash", "parser died"),
        ("eat", "parser died"),
    ],
)
def test_a_file_that_the_parser_cannot_bear_costs_that_file_alone(word: str, reason: str) -> None:
    files = [file(number) for number in range(2 * BATCH_FILES)]
    odd = (files[10][0], "python", f"{word} = 1\n".encode() + files[10][2])
    files[10] = odd
    with CuttingProcess(at_a_marker, QUICK) as cutting:
        found = list(cutting.cut_many(files))
        assert cutting.started == 2
    assert (found[10].outcome, found[10].reason) == ("windows", reason)
    assert found[10].chunks[0].text == odd[2].decode().rstrip("\n")
    del found[10], files[10]
    assert found == cut_here(files)


def test_each_file_tells_the_time_it_took_a_lost_try_included() -> None:
    files = [file(1), file(2, "spin = 1\n"), file(3)]
    with CuttingProcess(at_a_marker, QUICK) as cutting:
        list(cutting.cut_many([file(0)]))  # the grammar is there now
        quick, lost, other = (found.seconds for found in cutting.cut_many(files))
    assert lost >= QUICK.cpu_seconds
    assert 0 < quick < lost
    assert other > 0


@pytest.mark.parametrize("language", ["javascript", "typescript", "go"])
def test_openings_that_never_close_run_into_the_limit_and_cost_that_file_alone(
    language: str,
) -> None:
    pest = ("pest", language, b"/*\n{-\n<!--\n" * 8_000)  # seconds to minutes, without a limit
    files = [file(1), pest, file(2)]
    started = time.monotonic()
    with CuttingProcess(limits=Limits(cpu_seconds=0.5, cpu_seconds_per_mb=0.5)) as cutting:
        found = list(cutting.cut_many(files))
    assert time.monotonic() - started < 30
    assert (found[1].outcome, found[1].reason) == ("windows", "parser timed out")
    assert found[1].chunks == cut(pest[2], *pest[:2], "parser timed out").chunks
    assert [found[0], found[2]] == cut_here([file(1), file(2)])


def test_a_file_that_kills_even_without_its_grammar_is_skipped_with_the_reason() -> None:
    files = [file(1), ("odd.py", "python", b"always-crash = 1\n"), file(2)]
    with CuttingProcess(at_a_marker, QUICK) as cutting:
        found = list(cutting.cut_many(files))
    assert found[1] == FileChunks("python", "skipped", "parser died", False, ())
    assert [found[0], found[2]] == cut_here([file(1), file(2)])


def test_every_odd_file_of_many_is_told_apart() -> None:
    words = {3: "crash", 4: "crash", 40: "spin", BATCH_FILES: "crash", BATCH_FILES + 1: "print"}
    files = [
        file(number, f"{words[number]} = 1\n" if number in words else "")
        for number in range(2 * BATCH_FILES)
    ]
    with CuttingProcess(at_a_marker, QUICK) as cutting:
        found = list(cutting.cut_many(files))
    windows = {number: one.reason for number, one in enumerate(found) if one.outcome == "windows"}
    died, late = "parser died", "parser timed out"
    assert windows == {3: died, 4: died, 40: late, BATCH_FILES: died}
    assert [one.chunks[0].symbols[-1].name for one in found] == [
        f"number_{number}" for number in range(len(files))
    ]


def test_a_slow_file_within_its_limits_is_parsed() -> None:
    files = [file(1, "slow = 1\n"), file(2, "print = 1\n")]
    with CuttingProcess(at_a_marker, QUICK) as cutting:
        assert [one.outcome for one in cutting.cut_many(files)] == ["parsed", "parsed"]
        assert cutting.started == 1


def test_time_that_is_spent_with_the_chunks_is_not_the_parsers() -> None:
    with CuttingProcess(at_a_marker, Limits(cpu_seconds=0.3, wall=1.0)) as cutting:
        for found in cutting.cut_many([file(number) for number in range(3)]):
            time.sleep(0.5)
            assert found.outcome == "parsed"


def test_few_files_are_held_at_once() -> None:
    taken = 0

    def files() -> Iterator[tuple[str, str, bytes]]:
        nonlocal taken
        for number in range(40):
            taken += 1
            yield f"{number}.txt", "text", b"words\n" * (BATCH_BYTES // 12)

    with CuttingProcess() as cutting:
        for done, _ in enumerate(cutting.cut_many(files()), 1):
            assert taken - done <= 2 * (AHEAD + 1) + 1


def test_leaving_in_the_middle_leaves_nothing_behind() -> None:
    with CuttingProcess() as cutting:
        some = cutting.cut_many([file(number) for number in range(300)])
        next(some)
        some.close()  # type: ignore[attr-defined]
        assert list(cutting.cut_many([file(7)])) == cut_here([file(7)])


def test_the_process_imports_nothing_heavy_and_ends_with_the_block() -> None:
    with CuttingProcess(what_is_imported) as cutting:
        (found,) = cutting.cut_many([file(1)])
        assert alive(int(found.language))
    assert not alive(int(found.language))
    heavy = {"dagster", "lancedb", "pyarrow", "pandas", "numpy", "pydantic"}
    assert heavy.isdisjoint(found.reason.split())


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_run_ends_the_process_at_once() -> None:
    started = time.monotonic()
    timer = Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with CuttingProcess(at_a_marker) as cutting, pytest.raises(KeyboardInterrupt):
        list(cutting.cut_many([file(1, "spin = 1\n")]))
    assert time.monotonic() - started < 5


def test_the_process_ends_when_its_parent_is_killed() -> None:
    code = (
        "import sys, time; sys.path[:] = {path!r}\n"
        "from odd_cutters import what_is_imported\n"
        "from codesearch_assets.chunking.worker import CuttingProcess\n"
        "cutting = CuttingProcess(what_is_imported)\n"
        "(found,) = cutting.cut_many([('a.py', 'python', b'x = 1')])\n"
        "print(found.language, flush=True); time.sleep(1000)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code.format(path=sys.path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert gone(child)


def test_a_process_that_cannot_start_is_an_error_and_no_fault_of_the_files() -> None:
    def nowhere(data: bytes, path: str, language: str, without_grammar: str) -> FileChunks:
        raise NotImplementedError

    with CuttingProcess(nowhere) as cutting, pytest.raises(CuttingFailed, match="nowhere"):
        list(cutting.cut_many([file(1)]))
