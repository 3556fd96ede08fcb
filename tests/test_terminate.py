"""Terminate and kill -9: a run ends soon and wholly, and the next night goes on without a hand."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from browser import Webserver, webserver
from commits import functions, two_commits
from conftest import Workspace, WorkTree
from indexes import CutHere, Line, contents, rows, store_of
from unattended import World, copied, make_template, names

from codesearch_assets import chunks as chunks_module
from codesearch_assets import night
from codesearch_assets.interrupts import never_lost
from codesearch_assets.reporting import told
from codesearch_assets.runs import instance_of
from codesearch_resources.data_dir import RESULTS_FILE
from codesearch_resources.results import Results

ROOT = Path(__file__).parent.parent
SOON = 30.0  # seconds for a terminated run to end
PATIENCE = 240.0  # seconds for what Dagster does in its own time

# A run is brought to a place where it would stay for ever, and told so; how it ended is told too.
LONG = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import pytest
from codesearch_assets import chunks
from codesearch_assets.chunking.worker import CuttingProcess
from codesearch_assets.runs import Runner, instance_of
from codesearch_resources import store
from codesearch_resources.embedders.embedded import EmbeddedEmbedder
from codesearch_resources.settings import load
from codesearch_resources import dagster as resources
from codesearch_resources.summarizers.chain import Chain
from calls import ollama
from simulator import Simulator, fault
import odd_cutters

def there(place):
    print(place, flush=True)

def cut(patch):
    class Sleeping(CuttingProcess):
        def __init__(self):
            super().__init__(cut=odd_cutters.at_a_marker)
        def _hand_over(self, batch):
            super()._hand_over(batch)
            there("there")
    patch.setattr(chunks, "CuttingProcess", Sleeping)

def embed(patch):
    own = EmbeddedEmbedder.embed
    def for_ever(self, texts, kind):
        there("there")
        while True:
            own(self, list(texts) * 20, kind)
    patch.setattr(EmbeddedEmbedder, "embed", for_ever)

def write(patch):
    own = store._merge
    def for_ever(key, rows, table):
        own(key, rows, table)
        there("there")
        while True:
            own(key, rows, table)
    patch.setattr(store, "_merge", for_ever)

def summarize(patch):
    def hang(call):
        there("there")
        return fault("hang", seconds=1000)
    server.always(hang)
    link = ollama(server, workers=1, timeout_seconds=900)
    patch.setattr(resources, "make_chain", lambda *_, **__: Chain([link]))

settings = load(Path(sys.argv[2]))
with Simulator() as server, instance_of(settings) as instance:
    instance.add_dynamic_partitions("repositories", ["api"])
    runner = Runner(settings, instance)
    for place, job in ((write, "refresh"), (cut, "refresh"), (embed, "refresh"),
                       (summarize, "summarise")):
        if place is summarize:
            assert not runner.run("refresh", "api").error
        with pytest.MonkeyPatch.context() as patch:
            place(patch)
            try:
                said = runner.run(job, "api").error
            except BaseException as error:
                said = type(error).__name__
        there(said.splitlines()[0] if said else "it went on")
"""


def _children(parent: int) -> list[int]:
    """The processes that a process has started and that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # a process may end while it is looked at
            state, above = stat.read_text().rpartition(")")[2].split()[:2]
            if int(above) == parent and state != "Z":
                found.append(int(stat.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_a_run_that_is_told_to_end_ends_wherever_it_is_and_leaves_no_process(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace], tmp_path: Path
) -> None:
    tree = make_tree("api", {"a.py": f"sleep = 1\n{functions(['lynx', 'puma'])}"})
    workspace = make_workspace(tree)
    process = subprocess.Popen(
        [sys.executable, "-c", LONG, ROOT / "tests", workspace.file],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    ended = []
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGINT):
            said = process.stdout.readline()
            assert said == "there\n", f"{len(ended)} {said}" + (
                _errors(process) if process.poll() is not None else ""
            )
            time.sleep(0.2)
            process.send_signal(number)
            sent = time.monotonic()
            how = process.stdout.readline().strip()
            assert how
            assert how != "it went on"
            ended.append(time.monotonic() - sent)
            # Git's readers and the cutting process end with the step.
            assert _children(process.pid) == []
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    print("ended after", " ".join(f"{seconds:.2f}" for seconds in ended), "s")
    assert max(ended) < SOON
    # The call that hung may have been paid for: it counts in full, and is in nobody's way.
    with closing(Results(workspace.settings.data_dir)) as results:
        [call] = results.ledger.entries()
        assert call.status == "unknown"
        assert call.counted_input == call.estimated_input
    assert not any(outcome.error for outcome in workspace.index())
    clean = Line(tmp_path / "clean", tree)
    clean.run()
    found = contents(store_of(workspace))
    assert found == {name: clean.rows(name) for name in found}


def _errors(process: "subprocess.Popen[str]") -> str:
    assert process.stderr is not None
    return process.stderr.read()


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("kept", [never_lost, told])  # `told` is around every step
def test_an_interrupt_that_garbage_collection_swallows_is_said_again(
    kept: Callable[[], AbstractContextManager[None]],
) -> None:
    def interrupted() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)  # the handler runs by now, where Python only prints what it raises

    def work() -> None:
        weakref.finalize(held := Held(), interrupted)
        with kept():
            del held
            time.sleep(SOON)  # never to its end: this is what the interrupt ends

    with pytest.raises(KeyboardInterrupt):
        work()


class Held:
    """Something that can be let go of."""


# ------------------------------------------------------------------ kill -9, and the next night


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


def test_what_a_killed_process_left_behind_is_done_by_the_next_night(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed `codesearch index` stays STARTED, a run that waited for its slot QUEUED or
    NOT_STARTED, with nobody left to go on with it."""
    monkeypatch.setattr(chunks_module, "CuttingProcess", CutHere)
    monkeypatch.setattr(night, "BETWEEN_STEPS", 0.2)  # seconds since a killed run's last word
    with copied(template, tmp_path / "world") as world:
        for name in ("api", "lib"):
            world.commit(name)
        _killed_index(world, "api")
        run = world.begin("summarise", "lib", dg.DagsterRunStatus.STARTED)
        # What the run monitoring does with a run whose worker has died.
        world.instance.report_run_failed(world.instance.get_run_by_id(run))
        time.sleep(0.3)
        world.clock.to(3)
        requests = world.tick("nightly").run_requests
        assert {("refresh", "api"), ("refresh", "lib")} <= set(names(requests))
        for request in requests:
            assert world.run(request).success
        store = store_of(Workspace(world.file))
        for name in ("api", "lib"):
            assert {row[2] for row in rows(store, "chunks", name)} == {f"{name}.py", "changed.py"}


KILLED = """
import os, signal, sys
from pathlib import Path
from codesearch_assets import chunks
from codesearch_assets.runs import Runner, instance_of
from codesearch_resources.settings import load
from codesearch_resources.store import Store
own = Store.upsert_changed
def killed(self, name, rows, known):
    if name == "files":
        os.kill(os.getpid(), signal.SIGKILL)
    return own(self, name, rows, known)
Store.upsert_changed = killed
settings = load(Path(sys.argv[1]), absent_ok=True)
with instance_of(settings) as instance:
    Runner(settings, instance).run("refresh", sys.argv[2])
"""


def _killed_index(world: World, name: str) -> None:
    command = [sys.executable, "-c", KILLED, str(world.file), name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


# ------------------------------------------------------------------ the real daemon

LAUNCH = """mutation($job: String!, $partition: String!, $assets: [AssetKeyInput!]) {
    launchRun(executionParams: { mode: "default", runConfigData: {}, selector: { jobName: $job,
        repositoryName: "__repository__", repositoryLocationName: "codesearch_assets.definitions",
        assetSelection: $assets },
    executionMetadata: { tags: [{ key: "dagster/partition", value: $partition }] } }) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
TERMINATE = """mutation($run: String!) { terminateRun(runId: $run) { __typename
    ... on TerminateRunFailure { message } ... on PythonError { message } } }"""
STATUS = """query($run: ID!) { runOrError(runId: $run) { ... on Run { status
    stepStats { stepKey status } } } }"""
SWITCH = """mutation($selector: SensorSelector!) { startSensor(sensorSelector: $selector) {
    __typename ... on PythonError { message } } }"""
RUNS = """{ runsOrError { ... on Runs { results { runId jobName status } } } }"""
JOBS = {
    "repo_snapshots": "refresh",
    "chunks": "refresh",
    "code_embeddings": "refresh",
    "summaries": "summarise",
    "summary_embeddings": "summarise",
}


def _launch(server: Webserver, job: str, partition: str, *assets: str) -> str:
    keys = [{"path": [asset]} for asset in assets] or None
    answer = server.ask(LAUNCH, job=job, partition=partition, assets=keys)["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["runId"])


def _await(what: Callable[[], bool], about: str, seconds: float = PATIENCE) -> float:
    started = time.monotonic()
    while not what():
        assert time.monotonic() - started < seconds, f"{about}: not within {seconds:.0f} seconds"
        time.sleep(0.1)
    return time.monotonic() - started


def _status(server: Webserver, run: str) -> str:
    return str(server.ask(STATUS, run=run)["runOrError"]["status"])


def _steps(server: Webserver, run: str) -> dict[str, Any]:
    found = server.ask(STATUS, run=run)["runOrError"]["stepStats"]
    return {step["stepKey"]: step["status"] for step in found}


def _processes_of(workspace: Workspace) -> dict[int, str]:
    """Process ids and command lines of all that `_dagster` has started, ended leaders or not."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{MARK}={workspace.file}".encode() in (folder / "environ").read_bytes():
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(folder.name)] = line
    return found


def _memory(workspace: Workspace) -> str:
    """What the daemon, the webserver and the servers of the code have held at most."""
    found = []
    for number, line in _processes_of(workspace).items():
        with suppress(OSError):
            status = Path(f"/proc/{number}/status").read_text()
            most = int(status.partition("VmHWM:")[2].split()[0]) / 1e3
            found.append(f"{' '.join(line.split()[2:5])}: {most:.0f} MB")
    return "; ".join(sorted(found))


def _cutting(workspace: Workspace) -> bool:
    return any("import serve; serve(" in line for line in _processes_of(workspace).values())


MARK = "STARTED_BY_THIS_TEST"


@contextmanager
def _dagster(workspace: Workspace) -> Iterator[Webserver]:
    command = ("codesearch", "ui", "--config", str(workspace.file))
    mark = {MARK: str(workspace.file)}
    with webserver(*command, folder=workspace.file.parent, environment=mark) as server:
        yield server


BIG = 2_500  # files


def _big(tree: WorkTree) -> None:
    """A repository that keeps each asset at work for longer than a person waits."""
    tree.commit(
        {f"part{n // 100}/file{n}.py": functions([f"f{n}_{k}" for k in range(6)], n)
         for n in range(BIG)}
    )  # fmt: skip


@pytest.mark.soak
def test_terminate_in_the_ui_ends_a_run_of_each_asset_within_half_a_minute(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    tree = make_tree("big")
    _big(tree)
    workspace = make_workspace(tree)
    with instance_of(workspace.settings) as instance:
        instance.add_dynamic_partitions("repositories", ["big"])
    with _dagster(workspace) as server:
        for asset, job in JOBS.items():
            run = _launch(server, job, "big", asset)
            _await(lambda run=run, asset=asset: asset in _steps(server, run), f"{asset} starts")
            time.sleep(0.5)
            before = _status(server, run)
            answer = server.ask(TERMINATE, run=run)["terminateRun"]
            sent = time.monotonic()
            _await(lambda run=run: _status(server, run) in ("CANCELED", "SUCCESS"), asset, SOON)
            seconds = time.monotonic() - sent
            how = _status(server, run)
            print(f"{asset}: {before}, {answer['__typename']}, {how} after {seconds:.1f} s")
            assert how == "CANCELED", asset
            _await(lambda: not _cutting(workspace), "the cutting process ends")
            if asset != "summary_embeddings":  # what the next one needs
                run = _launch(server, job, "big", asset)
                seconds = _await(
                    lambda run=run: _status(server, run) not in ("QUEUED", "STARTING", "STARTED",
                                                                 "NOT_STARTED"),
                    f"{asset} ends", 900,
                )  # fmt: skip
                assert _status(server, run) == "SUCCESS"
                print(f"{asset}: whole in {seconds:.1f} s")


@pytest.mark.soak
def test_after_kill_9_of_worker_daemon_and_webserver_the_next_night_works_without_a_hand(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    trees = [make_tree(name) for name in ("one", "two")]
    for tree in trees:
        two_commits(tree)
    every_minute = "nightly: {cron: '* * * * *', timezone: UTC}\n"
    workspace = make_workspace(*trees, extra=every_minute)
    assert not any(outcome.error for outcome in workspace.index())
    with _dagster(workspace) as server:
        selector = {
            "repositoryName": "__repository__",
            "repositoryLocationName": "codesearch_assets.definitions",
            "sensorName": "nightly",
        }
        assert server.ask(SWITCH, selector=selector)["startSensor"]["__typename"] == "Sensor"
        # Two runs of the pool `summarizer`: one waits for the other's slot. Their workers die.
        runs = [_launch(server, "summarise", name) for name in ("one", "two")]
        _await(lambda: any(_status(server, run) == "STARTED" for run in runs), "a run starts")
        for number, line in _processes_of(workspace).items():
            if "execute_run" in line or "multiprocessing" in line:
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
        for what in ("dagster-webserver", "dagster_webserver", "dagster._daemon"):
            for number, line in _processes_of(workspace).items():
                if what in line:
                    with suppress(ProcessLookupError):
                        os.kill(number, signal.SIGKILL)
        os.killpg(server.process.pid, signal.SIGKILL)
    last = [tree.commit({"late.py": functions(["ibis"])}) for tree in trees]

    def refreshed() -> bool:
        found = store_of(workspace).read("repositories", ["code_embeddings_commit"])
        return sorted(found["code_embeddings_commit"].to_pylist()) == sorted(last)

    def summarised() -> bool:
        store = store_of(workspace)
        counts = {store.count(name) for name in ("chunks", "summaries", store.summary_vectors)}
        return len(counts) == 1

    with _dagster(workspace) as server:
        seconds = _await(refreshed, "the next night refreshes", 600)
        print(f"refreshed {seconds:.0f} s after the start")
        # A slice that died is followed after an hour; let that be over.
        with closing(sqlite3.connect(workspace.settings.data_dir / RESULTS_FILE)) as database:
            database.execute("UPDATE slices SET next_at = served_at")
            database.commit()
        seconds = _await(summarised, "the slices follow", 600)
        print(f"summarised {seconds:.0f} s later")
        print(_memory(workspace))
        print([(r["jobName"], r["status"]) for r in server.ask(RUNS)["runsOrError"]["results"]])
