"""The index lives in Dagster: clicks, backfills and a night, with the real webserver and daemon.

The tests of a scenario follow each other: each begins with what the one before it left.
"""

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser import browser_page, materialise, switch, webserver
from conftest import Workspace, WorkTree
from indexes import Line, moved, store_of, unwritable, versions
from live import PATIENCE, Live, Run, eventually

from codesearch_resources.store import Store, of_repo

ADD = "def add(left, right):\n    return left + right\n"
MOVED = "def moved():\n    return 1\n"
ASSETS = ("repo_snapshots", "chunks", "code_embeddings", "summaries", "summary_embeddings")
DOCTORED = "text = 'doctored'"
# By clicks, by a backfill, by being struck, by a commit: how each is used.
CLICKED, FILLED, STRUCK, MOVING = "clicked", ("one", "two"), "struck", "moving"


@dataclass
class Life:
    """A workspace whose UI is open in a browser."""

    workspace: Workspace
    trees: dict[str, WorkTree]
    live: Live
    page: Any

    @property
    def store(self) -> Store:
        return store_of(self.workspace)

    def click(self, what: str, *partitions: str) -> str:
        """Materialise an asset, or all of the lineage page when `what` is "all"."""
        path = "/asset-groups" if what == "all" else f"/assets/{what}"
        return materialise(self.page, self.live.server.url + path, *partitions)

    def doctor(self, *names: str) -> None:
        """Spoil the chunks of repositories in a way that only cutting them again mends."""
        for name in names:
            self.store.table("chunks").update(
                where=of_repo(name), values={"text": "doctored", "digest": 0}
            )

    def doctored(self) -> set[str]:
        return set(self.store.read("chunks", ["repo"], DOCTORED)["repo"].to_pylist())

    def holding(self, name: str) -> set[str]:
        """The tables that have rows of a repository."""
        return {table for table in self.store.specs if self.store.count(table, of_repo(name))}

    def strike(self, name: str) -> None:
        """Take a repository out of the settings."""
        lines = self.workspace.file.read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.endswith(f"/{name}\n")]
        self.workspace.file.write_text("".join(kept))


@contextmanager
def silent_remote() -> Iterator[str]:
    """The URL of a remote that takes a connection and then says nothing."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield f"git://127.0.0.1:{listener.getsockname()[1]}/silent"


@contextmanager
def life_of(folder: Path, names: Sequence[str], indexed: Sequence[str]) -> Iterator[Life]:
    """Repositories, some of them indexed, a remote that is silent, and `codesearch ui`."""
    workspace = Workspace(folder / "codesearch.yaml")
    trees = {name: WorkTree(folder / name) for name in names}
    for name, tree in trees.items():
        tree.path.mkdir()
        tree.git("init", "--quiet", "--initial-branch=main")
        tree.commit({f"{name}.py": ADD})
    with silent_remote() as url:
        entries = "".join(f"  - path: {tree.path}\n" for tree in trees.values())
        workspace.file.write_text(
            f"repositories:\n{entries}  - {{name: silent, url: '{url}'}}\n"
            "nightly: {cron: '* * * * *'}\n"
        )
        for name in indexed:
            line = Line(workspace.settings.data_dir, trees[name])
            line.run()
            line.results.close()
        command = ("codesearch", "ui", "--config", str(workspace.file))
        ui = webserver(*command, folder=folder, environment={}, by_script=True)
        with ui as server, browser_page() as page:
            page.set_default_timeout(PATIENCE / 4 * 1000)
            yield Life(workspace, trees, Live(server), page)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    indexed = (*FILLED, STRUCK, MOVING)
    with life_of(tmp_path_factory.mktemp("life"), (CLICKED, *indexed), indexed) as life:
        life.doctor(*FILLED, STRUCK)
        yield life


def check_partitions_follow_the_settings(life: Life) -> None:
    wanted = sorted([*life.trees, "silent"])
    assert eventually(life.live.partitions, lambda found: found == wanted)


def check_one_click_switches_the_night_on(life: Life) -> None:
    statuses = {name: life.live.sensor(name)["status"] for name in ("catalog", "nightly", "upkeep")}
    assert statuses == {"catalog": "RUNNING", "nightly": "STOPPED", "upkeep": "RUNNING"}
    switch(life.page, life.live.server, "nightly")
    eventually(lambda: life.live.sensor("nightly")["status"], lambda status: status == "RUNNING")
    eventually(lambda: life.live.sensor("nightly")["ticks"], bool)


def check_one_is_materialised_by_clicks(life: Life) -> None:
    run = life.live.ended(life.click("all", CLICKED))
    assert (run.status, set(run.wrote)) == ("SUCCESS", {*ASSETS, "upkeep"})
    assert life.holding(CLICKED) == set(life.store.specs)


def check_a_backfill_writes_the_chosen_alone(life: Life, others: set[str]) -> None:
    """Of the doctored repositories, those that are backfilled have their chunks again."""
    assert life.doctored() == {*FILLED, *others}
    runs = life.live.of_backfill(life.click("chunks", *FILLED), len(FILLED))
    assert {(run.partition, run.status, *run.wrote) for run in runs} == {
        (name, "SUCCESS", "chunks") for name in FILLED
    }
    assert life.doctored() == others


def refreshes(life: Life, since: float) -> list[Run]:
    return [run for run in life.live.runs(since) if run.job == "refresh"]


def commit(life: Life, name: str) -> float:
    """A commit in a repository; the time just before it."""
    since = time.time()
    life.trees[name].commit({"moved.py": MOVED})
    return since


def check_a_commit_leads_to_one_run(life: Life, name: str, since: float) -> None:
    [run] = eventually(lambda: refreshes(life, since), bool)
    done = life.live.ended(run.id)
    assert (done.partition, done.status) == (name, "SUCCESS")
    assert life.store.count("chunks", f"{of_repo(name)} AND path = 'moved.py'") == 1
    assert [run.partition for run in refreshes(life, since)] == [name]
    [tick] = [t for t in life.live.sensor("nightly")["ticks"] if run.id in t["runIds"]]
    assert tick["endTimestamp"] - tick["timestamp"] < 30
    assert "silent: " in life.live.said("nightly", since)


def check_a_struck_repository_is_gone(life: Life, name: str) -> None:
    eventually(life.live.partitions, lambda found: name not in found)
    assert life.holding(name) == set()


def check_it_failed_in_a_sentence(life: Life, run: Run) -> None:
    [(step, said)] = life.live.failures(run.id).items()
    assert step == "code_embeddings"
    assert said.startswith(f"The table {life.store.code_vectors} cannot be read or written: ")
    assert "then run again: the next run goes on from there" in said


def check_it_goes_on_from_there(life: Life, failed: Run) -> None:
    """Executed again from failure, nothing is parsed again: the one asset runs that failed."""
    again = life.live.from_failure(failed.id)
    assert (again.status, set(again.wrote)) == ("SUCCESS", {"code_embeddings"})
    assert again.wrote["code_embeddings"]["rows_written"] == 1


def test_partitions_appear_from_the_settings(life: Life) -> None:
    check_partitions_follow_the_settings(life)


def test_what_failed_is_executed_again_from_where_it_failed(life: Life) -> None:
    with unwritable(life.store, life.store.code_vectors):
        life.trees[MOVING].commit({"again.py": MOVED})
        run = life.live.job("refresh", MOVING)
    assert run.wrote["chunks"]["files_cut_now"] == 1
    check_it_failed_in_a_sentence(life, run)
    check_it_goes_on_from_there(life, run)


def test_the_night_is_switched_on_by_one_click(life: Life) -> None:
    check_one_click_switches_the_night_on(life)


def test_an_asset_alone_fails_in_one_sentence_that_names_what_comes_first(life: Life) -> None:
    run = life.live.ended(life.click("code_embeddings", CLICKED))
    sentence = f"{CLICKED} has no chunks yet: materialise chunks first"
    assert (run.status, life.live.failures(run.id)) == ("FAILURE", {"code_embeddings": sentence})


def test_a_repository_is_materialised_by_clicks(life: Life) -> None:
    check_one_is_materialised_by_clicks(life)


def test_a_backfill_leaves_others_alone_and_a_commit_leads_to_one_run(life: Life) -> None:
    """The backfill goes on while the night waits for its minute; a silent remote is named."""
    since = commit(life, MOVING)
    check_a_backfill_writes_the_chosen_alone(life, {STRUCK})
    life.strike(STRUCK)
    check_a_commit_leads_to_one_run(life, MOVING, since)


def test_a_struck_repository_loses_its_partition_and_its_rows(life: Life) -> None:
    check_a_struck_repository_is_gone(life, STRUCK)


def test_told_to_end_it_ends_and_leaves_no_process(life: Life) -> None:
    """SIGTERM to the one process that was started, as `kill` and service managers send it."""
    process = life.live.server.process
    process.terminate()
    process.wait(PATIENCE)

    def left() -> list[str]:
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # a process may end while it is looked at
                session = stat.read_text().rpartition(")")[2].split()[3]
                found += [stat.parent.name] if int(session) == process.pid else []
        return found

    eventually(left, lambda found: not found)


# The whole of it, at full size: twelve repositories, a silent remote, every step as a user does it.

ALONE = "alone"
NEED = {
    "summary_embeddings": "has no summaries yet: materialise summaries first",
    "summaries": "has no chunks yet: materialise chunks first",
    "code_embeddings": "has no chunks yet: materialise chunks first",
    "chunks": "has no snapshot yet: materialise repo_snapshots first",
}


@pytest.fixture
def twelve(tmp_path: Path) -> Iterator[Life]:
    indexed = (*FILLED, STRUCK, MOVING)
    names = (CLICKED, ALONE, *indexed, *(f"other{n}" for n in range(6)))
    with life_of(tmp_path, names, indexed) as life:
        life.doctor(*FILLED, STRUCK)
        yield life


def check_each_asset_alone(life: Life, name: str) -> None:
    """From the last to the first each names what is missing; from the first on each succeeds."""
    for asset, missing in NEED.items():
        run = life.live.ended(life.click(asset, name))
        assert life.live.failures(run.id) == {asset: f"{name} {missing}"}
        assert not run.wrote
    assert life.holding(name) == set()
    for asset in ASSETS:
        run = life.live.ended(life.click(asset, name))
        assert (run.status, set(run.wrote)) == ("SUCCESS", {asset})
    assert life.holding(name) == set(life.store.specs)


def check_a_backfill_of_all_and_again(life: Life) -> None:
    """The first fills what is missing, the second writes no version of any table."""
    runs = life.live.backfill(ASSETS, list(life.trees))
    assert {(run.partition, run.status) for run in runs} == {(n, "SUCCESS") for n in life.trees}
    assert all(life.holding(name) == set(life.store.specs) for name in life.trees)
    assert life.live.job("upkeep").status == "SUCCESS"
    before = versions(life.store)
    runs = life.live.backfill(ASSETS, list(life.trees))
    assert {run.status for run in runs} == {"SUCCESS"}
    assert moved(before, versions(life.store)) == set()
    assert {run.wrote["chunks"]["files_cut_now"] for run in runs} == {0}


def check_a_failure_is_asked_for_again_and_goes_on_from_there(life: Life, name: str) -> None:
    since = time.time()
    with unwritable(life.store, life.store.code_vectors):
        life.trees[name].commit({"again.py": MOVED})
        two = eventually(lambda: refreshes(life, since)[::-1], lambda found: len(found) == 2)
        first, second = (life.live.ended(run.id) for run in two)
    for run in (first, second):
        assert (run.partition, run.status) == (name, "FAILURE")
        check_it_failed_in_a_sentence(life, run)
    assert [run.wrote["chunks"]["files_cut_now"] for run in (first, second)] == [1, 0]
    check_it_goes_on_from_there(life, second)


@pytest.mark.soak
def test_twelve_repositories_live_in_the_ui(twelve: Life) -> None:
    steps = {
        "partitions": lambda: check_partitions_follow_the_settings(twelve),
        "each asset": lambda: check_each_asset_alone(twelve, ALONE),
        "one by clicks": lambda: check_one_is_materialised_by_clicks(twelve),
        "chunks of two": lambda: check_a_backfill_writes_the_chosen_alone(twelve, {STRUCK}),
        "all, and again": lambda: check_a_backfill_of_all_and_again(twelve),
        "the switch": lambda: check_one_click_switches_the_night_on(twelve),
        "a commit": lambda: check_a_commit_leads_to_one_run(twelve, MOVING, commit(twelve, MOVING)),
        "a failure": lambda: check_a_failure_is_asked_for_again_and_goes_on_from_there(
            twelve, FILLED[0]
        ),
        "struck": lambda: twelve.strike(STRUCK),
        "gone": lambda: check_a_struck_repository_is_gone(twelve, STRUCK),
    }
    for name, step in steps.items():
        started = time.monotonic()
        step()
        print(f"{name}: {time.monotonic() - started:.0f} s")
