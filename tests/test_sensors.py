"""The three sensors on a real instance: what they request, what they leave alone, what they say."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from indexes import CutHere, FakeModel, Line, moved, versions
from unattended import REPOS, World, copied, held_by_another_process, make_template, names

from codesearch_assets import chunks as chunks_module
from codesearch_assets import night
from codesearch_assets import upkeep as upkeep_module
from codesearch_assets.partitions import COMMIT_TAG, NAME
from codesearch_resources import upkeep as tables_upkeep
from codesearch_resources.data_dir import is_locked, run_lock
from codesearch_resources.results import PAUSE, Results
from codesearch_resources.store import set_aside

SENSORS = ("catalog", "nightly", "upkeep")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


@pytest.fixture
def make_world(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., World]]:
    monkeypatch.setattr(chunks_module, "CuttingProcess", CutHere)
    with ExitStack() as opened:

        def make(**wanted: Any) -> World:
            return opened.enter_context(copied(template, tmp_path / "world", **wanted))

        yield make


# nightly


def test_as_installed_the_night_is_off_and_the_others_run(tmp_path: Path) -> None:
    from codesearch_assets.definitions import build

    found = {sensor.name: sensor.default_status for sensor in build().sensors or []}
    assert found == {
        "catalog": dg.DefaultSensorStatus.RUNNING,
        "nightly": dg.DefaultSensorStatus.STOPPED,
        "upkeep": dg.DefaultSensorStatus.RUNNING,
    }


def test_where_nothing_moved_nothing_is_requested_and_nothing_written(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    before = versions(world.store())
    made = world.tick("nightly")
    assert made.run_requests == []
    assert made.skip_message.startswith("nothing moved")
    assert moved(before, versions(world.store())) == set()


def test_only_the_repository_that_moved_is_requested_pinned_to_its_commit(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    head = world.commit("lib")
    [request] = world.tick("nightly").run_requests
    assert (request.job_name, request.partition_key) == ("refresh", "lib")
    assert request.tags[COMMIT_TAG] == head
    assert request.run_key is None  # one holds for all time, failed runs included
    assert int(request.tags["dagster/priority"]) > 0


def test_a_night_asks_once_and_a_missed_one_is_caught_up(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.commit("lib")
    assert world.asked("nightly") == [("refresh", "lib")]
    world.finish("lib")
    world.commit("api")
    world.clock.to(3, 1)
    assert world.asked("nightly") == []  # the next night will see it
    world.clock.time += timedelta(days=5, hours=9)
    assert world.asked("nightly") == [("refresh", "api")]
    world.clock.time += timedelta(minutes=1)
    assert ("refresh", "api") not in world.asked("nightly")


def test_switched_on_it_waits_for_its_first_night(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.cursors.clear()
    world.commit("lib")
    assert world.asked("nightly") == []
    world.clock.to(3)
    assert world.asked("nightly") == [("refresh", "lib")]


def test_a_changed_setting_is_behind_as_a_commit_is(make_world: Callable[..., World]) -> None:
    world = make_world()
    text = world.file.read_text()
    world.file.write_text(text.replace("/web\n", "/web\n    exclude: ['*.md']\n"))
    assert world.asked("nightly") == [("refresh", "web")]


@pytest.fixture
def silent_url() -> Iterator[str]:
    """A remote on loopback that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield f"git://127.0.0.1:{listening.getsockname()[1]}/x"


def test_an_unreachable_remote_is_named_and_delays_none_of_the_others(
    make_world: Callable[..., World], silent_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(night, "HEAD_TIMEOUT", 1.0)
    world = make_world(extra=f"  - {{name: down, url: '{silent_url}'}}\n")
    world.instance.add_dynamic_partitions(NAME, ["down"])
    said: list[str] = []
    monkeypatch.setattr(night, "heads", _listening(night.heads, said))
    world.commit("api")
    started = time.monotonic()
    assert world.asked("nightly") == [("refresh", "api")]
    assert time.monotonic() - started < 30
    assert said == ["down"]
    world.finish("api")
    world.clock.to(3)
    made = world.tick("nightly")
    assert made.run_requests == []
    assert made.skip_message.startswith("down: ")


def _listening(heads: Callable[..., Any], said: list[str]) -> Callable[..., Any]:
    def asked(*arguments: Any) -> Any:
        found, silent = heads(*arguments)
        said.extend(silent)
        return found, silent

    return asked


@pytest.mark.parametrize("trouble", ["branch", "garbage", "empty"])
def test_a_lost_branch_or_a_broken_clone_is_named_and_removes_nothing(
    make_world: Callable[..., World], trouble: str
) -> None:
    world = make_world()
    tree = world.trees["web"]
    if trouble == "branch":
        tree.git("branch", "-m", "main", "other")
        text = world.file.read_text()
        world.file.write_text(text.replace("/web\n", "/web\n    branch: main\n"))
    elif trouble == "garbage":
        (tree.path / ".git" / "HEAD").write_bytes(b"\0\xff garbage")
    else:
        shutil.rmtree(tree.path / ".git")
    world.commit("api")
    made = world.tick("nightly")
    assert names(made.run_requests) == [("refresh", "api")]
    world.finish("api")
    world.clock.to(3)
    assert "web: " in world.tick("nightly").skip_message
    world.tick("catalog")
    catalog = world.tick("catalog")
    assert catalog.run_requests == []
    assert world.store().count("chunks", "repo = 'web'") == 1


def test_a_repository_without_a_partition_waits_for_the_catalog(
    make_world: Callable[..., World],
) -> None:
    world = make_world(indexed=False)
    world.instance.delete_dynamic_partition(NAME, "api")
    assert world.asked("nightly") == [("refresh", "lib"), ("refresh", "web")]
    world.tick("catalog")
    world.clock.to(3)
    assert ("refresh", "api") in world.asked("nightly")


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING])
def test_what_waits_in_the_queue_is_not_requested_twice(
    make_world: Callable[..., World], status: dg.DagsterRunStatus
) -> None:
    world = make_world()
    world.commit("lib")
    world.commit("web")
    run_id = world.begin("refresh", "lib", status)
    assert world.asked("nightly") == [("refresh", "web")]
    world.finish("web")
    world.clock.to(3)
    assert "lib: a refresh of it is still under way" in world.tick("nightly").skip_message
    world.instance.delete_run(run_id)
    world.clock.to(3)
    assert world.asked("nightly") == [("refresh", "lib")]


@pytest.mark.parametrize(
    ("assets", "asked"),
    [
        (["repo_snapshots"], []),
        (["code_embeddings"], []),
        (["chunks", "summaries"], []),
        (["summaries"], [("refresh", "lib")]),  # its slice keeps nobody from being refreshed
    ],
)
def test_what_was_launched_in_the_ui_is_not_requested_twice(
    make_world: Callable[..., World], assets: list[str], asked: list[tuple[str, str]]
) -> None:
    """A click or a backfill runs the UI's own job, with the partition as its tag."""
    world = make_world()
    world.commit("lib")
    world.begin("__ASSET_JOB", "lib", dg.DagsterRunStatus.QUEUED, assets=assets)
    world.begin("__ASSET_JOB", "api", dg.DagsterRunStatus.QUEUED, assets=assets)
    assert world.asked("nightly") == asked


def test_no_slice_is_requested_while_summaries_were_launched_in_the_ui(
    make_world: Callable[..., World],
) -> None:
    world = make_world(resources={"summarizer": FakeModel(most=0)})
    run_id = world.begin(
        "__ASSET_JOB", "web", dg.DagsterRunStatus.QUEUED, assets=["summaries", "chunks"]
    )
    assert world.asked("nightly") == []
    world.instance.delete_run(run_id)
    world.begin("__ASSET_JOB", "web", dg.DagsterRunStatus.QUEUED, assets=["chunks"])
    assert world.asked("nightly") == [("summarise", "api")]


def test_what_is_being_worked_on_is_not_requested_twice(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.commit("lib")
    world.commit("web")
    with held_by_another_process(world.settings.data_dir, "lib.refresh"):
        assert world.asked("nightly") == [("refresh", "web")]


def test_a_run_between_two_steps_holds_no_lock_and_is_not_doubled(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.commit("lib")
    run_id = world.begin("refresh", "lib", dg.DagsterRunStatus.STARTED)
    run = world.instance.get_run_by_id(run_id)
    assert run is not None
    world.instance.report_engine_event("a step has just ended", run)
    assert world.asked("nightly") == []


def test_a_killed_command_line_run_blocks_nothing(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays STARTED in Dagster for ever; its lock went with its process."""
    world = make_world()
    world.commit("lib")
    run_id = world.begin("refresh", "lib", dg.DagsterRunStatus.STARTED)
    run = world.instance.get_run_by_id(run_id)
    assert run is not None
    world.instance.report_engine_event("its last word", run)
    monkeypatch.setattr(night, "BETWEEN_STEPS", 0.0)
    with held_by_another_process(world.settings.data_dir, "lib.refresh") as process:
        assert world.asked("nightly") == []
        os.kill(process, signal.SIGKILL)
    world.clock.to(3)
    assert world.asked("nightly") == [("refresh", "lib")]


def test_a_run_whose_process_was_killed_gives_its_place_back_and_one_at_work_keeps_it(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster itself would count both as runs at work for ever, in the queue and in their pool."""
    monkeypatch.setattr(night, "SILENCE", 0.0)
    world = make_world(resources={"summarizer": FakeModel(most=0)})
    killed, alive = (
        world.begin("summarise", name, dg.DagsterRunStatus.STARTED) for name in ("api", "lib")
    )
    data_dir = world.settings.data_dir
    with (
        held_by_another_process(data_dir, run_lock(killed)) as process,
        held_by_another_process(data_dir, run_lock(alive)),
    ):
        assert night.fail_dead_runs(world.instance, world.settings) == []
        os.kill(process, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while is_locked(data_dir, run_lock(killed)):
            assert time.monotonic() < deadline
        world.tick("catalog")
        statuses = {run.run_id: run.status for run in world.instance.get_runs()}
        assert statuses == {
            killed: dg.DagsterRunStatus.FAILURE,
            alive: dg.DagsterRunStatus.STARTED,
        }
        assert night.fail_dead_runs(world.instance, world.settings) == []
    monkeypatch.setattr(night, "BETWEEN_STEPS", 0.0)
    # That it was killed is no reason to wait, as a failure of its own would be.
    assert world.asked("nightly") == [("summarise", "api")]


def test_a_run_of_another_project_on_the_same_instance_is_left_alone(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(night, "SILENCE", 0.0)

    @dg.job
    def their_own() -> None:
        pass

    world = make_world()
    world.instance.create_run_for_job(their_own, status=dg.DagsterRunStatus.STARTED)
    assert night.fail_dead_runs(world.instance, world.settings) == []


def test_a_run_holds_its_own_lock_from_the_first_step_to_the_last(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(night, "SILENCE", 0.0)
    looked: list[list[str]] = []

    class Looking(DeadEmbedder):
        def embed(self, texts: Any, kind: Any) -> Any:
            looked.append(night.fail_dead_runs(world.instance, world.settings))
            return self.own.embed(texts, kind)

    world = make_world(resources={"embedder": Looking()})
    world.commit("api")
    [request] = world.tick("nightly").run_requests
    result = world.run(request)
    assert result.success
    assert looked == [[]]
    assert list((world.settings.data_dir / "locks").glob("run.*")) == []


def test_a_run_that_nobody_ever_queued_blocks_for_minutes_only(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    world.commit("lib")
    world.begin("refresh", "lib", dg.DagsterRunStatus.NOT_STARTED)
    assert world.asked("nightly") == []
    monkeypatch.setattr(night, "JUST_MADE", timedelta(0))
    world.clock.to(3)
    assert world.asked("nightly") == [("refresh", "lib")]


class DeadEmbedder:
    """An embedder whose server is down."""

    def __init__(self) -> None:
        from codesearch_resources.embedders.embedded import EmbeddedEmbedder

        self.own = EmbeddedEmbedder()
        self.id, self.dimensions, self.view = self.own.id, self.own.dimensions, self.own.view
        self.dead = True

    def embed(self, texts: Any, kind: Any) -> Any:
        from codesearch_resources.embedders.base import EmbeddingError

        if self.dead:
            raise EmbeddingError("the embedder does not answer")
        return self.own.embed(texts, kind)


def test_a_failed_last_asset_is_asked_for_again_the_next_night(
    make_world: Callable[..., World],
) -> None:
    embedder = DeadEmbedder()
    world = make_world(resources={"embedder": embedder})
    head = world.commit("api")
    [request] = world.tick("nightly").run_requests
    assert not world.run(request).success
    row = world.store().repository_row("api")
    assert (row["chunks_commit"], row["code_embeddings_commit"] == head) == (head, False)
    embedder.dead = False
    world.clock.to(3)
    [again] = [r for r in world.tick("nightly").run_requests if r.job_name == "refresh"]
    assert (again.partition_key, again.tags[COMMIT_TAG]) == ("api", head)
    result = world.run(again)
    assert result.success
    made = {
        event.asset_key.to_user_string(): event
        for event in result.get_asset_materialization_events()
    }
    chunks = made["chunks"].step_materialization_data.materialization.metadata
    assert (chunks["files_cut_now"].value, chunks["rows_written"].value) == (0, 0)
    world.clock.to(3)
    assert ("refresh", "api") not in world.asked("nightly")


# slices


def test_slices_come_one_at_a_time_to_the_one_served_longest_ago(
    make_world: Callable[..., World],
) -> None:
    world = make_world(resources={"summarizer": FakeModel(most=0)})
    served = datetime.now(UTC) - timedelta(hours=3)
    _served(world, {"api": served, "lib": served - timedelta(minutes=5), "web": served})
    assert world.asked("nightly") == [("summarise", "lib")]
    run_id = world.begin("summarise", "lib", dg.DagsterRunStatus.QUEUED)
    assert world.asked("nightly") == []
    world.instance.delete_run(run_id)
    with held_by_another_process(world.settings.data_dir, "lib.summarise"):
        assert world.asked("nightly") == []
    _served(world, {"lib": datetime.now(UTC) - timedelta(seconds=1)})
    assert world.asked("nightly") == [("summarise", "api")]


def _served(world: World, times: dict[str, datetime], ended: Any = "time") -> None:
    """Note slices that were served at these times."""
    from codesearch_resources import results as module
    from codesearch_resources.results_tables import stored

    with (
        closing(Results(world.settings.data_dir)) as results,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, moment in times.items():
            patch.setattr(module, "present", lambda moment=moment: stored(moment))
            results.begin_slice(name)
            if ended:
                results.end_slice(name, ended)


@pytest.mark.parametrize(("ended", "follows"), [("time", True), ("denied", False), (None, False)])
def test_a_slice_that_ended_by_time_is_followed_at_once_others_after_a_pause(
    make_world: Callable[..., World], ended: str | None, follows: bool
) -> None:
    world = make_world(resources={"summarizer": FakeModel(most=0)})
    world.strike("lib", "web")
    world.clock.time = datetime.now(UTC)
    _served(world, {"api": world.clock.time}, ended)
    world.clock.time += timedelta(seconds=1)
    assert world.asked("nightly") == ([("summarise", "api")] if follows else [])
    world.clock.time += PAUSE
    assert ("summarise", "api") in world.asked("nightly")


def test_a_slice_that_waits_for_a_window_is_followed_by_the_first_tick_after_it_opens(
    make_world: Callable[..., World],
) -> None:
    world = make_world(resources={"summarizer": FakeModel(most=0)})
    world.strike("lib", "web")
    world.clock.time = datetime.now(UTC)
    opens = world.clock.time + timedelta(days=2)
    with closing(Results(world.settings.data_dir)) as results:
        results.begin_slice("api")
        results.end_slice("api", "denied", opens, "the weekly window is used up")
    world.clock.time = opens - timedelta(seconds=1)
    assert ("summarise", "api") not in world.asked("nightly")
    world.clock.time = opens
    assert ("summarise", "api") in world.asked("nightly")


def test_a_repository_that_is_to_be_refreshed_waits_with_its_summaries(
    make_world: Callable[..., World],
) -> None:
    world = make_world(resources={"summarizer": FakeModel(most=0)})
    world.commit("api")
    assert world.asked("nightly") == [("refresh", "api"), ("summarise", "lib")]


def test_a_tick_that_is_late_leaves_the_summaries_to_the_next(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(resources={"summarizer": FakeModel(most=0)})
    world.commit("web")
    with monkeypatch.context() as patch:
        patch.setattr(night, "SUMMARIES_DEADLINE", 0.0)
        assert world.asked("nightly") == [("refresh", "web")]
    assert world.asked("nightly") == [("summarise", "api")]


def test_a_settled_repository_is_not_read_again_until_it_moves(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    from codesearch_assets import automation

    world = make_world()
    looked: list[str] = []
    own = automation.needs_summarise

    def looking(tables: Any, results: Any, repo: str, *rest: Any) -> bool:
        looked.append(repo)
        return own(tables, results, repo, *rest)

    monkeypatch.setattr(automation, "needs_summarise", looking)
    world.tick("nightly")
    looked.clear()
    assert world.asked("nightly") == []
    assert looked == []
    world.commit("api")
    line = Line(world.settings.data_dir, world.trees["api"])
    line.refresh()
    line.results.close()
    assert world.asked("nightly") == [("summarise", "api")]
    assert looked == ["api"]


# catalog


def test_partitions_follow_the_settings(make_world: Callable[..., World]) -> None:
    world = make_world(indexed=False)
    for name in REPOS:
        world.instance.delete_dynamic_partition(NAME, name)
    assert world.tick("catalog").run_requests == []
    assert set(world.instance.get_dynamic_partitions(NAME)) == set(REPOS)
    assert "the partitions are those of" in world.tick("catalog").skip_message


def test_a_struck_repository_is_requested_to_be_removed_and_once(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.tick("catalog")
    world.strike("lib")
    [request] = world.tick("catalog").run_requests
    assert request.job_name == "remove_repositories"
    assert request.run_config["ops"]["remove_rows"]["config"] == {"names": ["lib"]}
    config = request.run_config
    run_id = world.begin("remove_repositories", "", dg.DagsterRunStatus.QUEUED, config)
    assert world.tick("catalog").run_requests == []
    world.instance.delete_run(run_id)
    assert world.run(request).success
    assert world.tick("catalog").run_requests == []
    assert set(world.instance.get_dynamic_partitions(NAME)) == {"api", "web"}


def test_a_struck_repository_is_not_removed_while_a_run_of_the_ui_waits(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.tick("catalog")
    run_id = world.begin("__ASSET_JOB", "web", dg.DagsterRunStatus.QUEUED, assets=["summaries"])
    world.strike("web")
    assert world.asked("catalog") == []
    world.instance.delete_run(run_id)
    assert world.asked("catalog") == [("remove_repositories", "")]


@pytest.mark.parametrize("how", ["works", "waits"])
def test_a_struck_repository_is_not_removed_while_a_run_of_it_is_unfinished(
    make_world: Callable[..., World], how: str
) -> None:
    world = make_world()
    world.tick("catalog")
    world.strike("lib")
    if how == "waits":
        world.begin("summarise", "lib", dg.DagsterRunStatus.QUEUED)
        made = world.tick("catalog")
    else:
        with held_by_another_process(world.settings.data_dir, "lib.summarise"):
            made = world.tick("catalog")
    assert made.run_requests == []
    assert "to be removed when their runs have ended: lib" in made.skip_message


def test_more_than_half_is_refused_and_the_way_out_is_said(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.tick("catalog")
    world.strike("lib", "web")
    for _ in range(2):
        made = world.tick("catalog")
        assert made.run_requests == []
        assert "codesearch repos remove lib web --yes" in made.skip_message


# upkeep


def test_upkeep_is_requested_where_tables_are_due_and_not_twice(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    made = world.tick("upkeep")
    assert (made.run_requests, made.skip_message) == ([], "nothing to do yet")
    monkeypatch.setattr(tables_upkeep, "UNINDEXED_ROWS", 1)
    [request] = world.tick("upkeep").run_requests
    assert "tables due: " in request.tags["codesearch/reason"]
    assert int(request.tags["dagster/priority"]) > 5
    with held_by_another_process(world.settings.data_dir, "upkeep"):
        assert world.tick("upkeep").run_requests == []
    assert world.run(request).success
    assert world.tick("upkeep").run_requests == []


def test_a_failed_upkeep_is_not_asked_for_at_once(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world()
    monkeypatch.setattr(tables_upkeep, "UNINDEXED_ROWS", 1)
    job = world.definitions.resolve_job_def("upkeep")
    world.instance.create_run_for_job(job, status=dg.DagsterRunStatus.FAILURE)
    assert world.tick("upkeep").run_requests == []
    monkeypatch.setattr(night, "RETRY_PAUSE", timedelta(0))
    assert len(world.tick("upkeep").run_requests) == 1


def test_old_runs_are_purged_but_none_that_holds_a_latest_materialisation(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of those that stay than of those that make it worth it."""
    monkeypatch.setattr(upkeep_module, "WORTH_PURGING", 3)
    world = make_world(indexed=False)
    latest = {world.run(request).run_id for request in world.tick("nightly").run_requests}
    assert len(latest) == 3
    run_ids = [world.begin("refresh", "api", dg.DagsterRunStatus.FAILURE) for _ in range(2)]
    queued = world.begin("refresh", "web", dg.DagsterRunStatus.QUEUED)
    assert world.tick("upkeep").run_requests == []
    world.clock.time = datetime.now(UTC) + timedelta(days=31)
    assert world.tick("upkeep").run_requests == []  # two are not worth it
    run_ids.append(world.begin("refresh", "api", dg.DagsterRunStatus.CANCELED))
    home = world.settings.dagster_home
    for run_id in run_ids:
        run = world.instance.get_run_by_id(run_id)
        assert run is not None
        world.instance.report_engine_event("a word in its log", run)
        assert list(home.rglob(f"{run_id}.db"))
    [request] = world.tick("upkeep").run_requests
    assert request.tags["codesearch/reason"] == "3 old runs or more"
    result = world.run(request)
    assert result.success
    kept = {run.run_id for run in world.instance.get_runs()}
    assert kept == latest | {queued, result.run_id}
    for run_id in run_ids:
        assert list(home.rglob(f"*{run_id}*")) == []
    assert list(home.rglob(f"{result.run_id}.db"))


def test_a_damaged_table_that_was_set_aside_goes_after_the_grace_period(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    before = versions(world.store())
    other = world.store().folder / "chunks.lance.damaged-mine"  # not made by us: left alone
    other.mkdir()
    shutil.copytree(world.store().folder / "chunks.lance", world.store().folder / "aside")
    place = set_aside(world.settings.data_dir, "chunks")
    assert place is not None
    (world.store().folder / "aside").rename(world.store().folder / "chunks.lance")
    world.clock.time = datetime.now(UTC) + timedelta(days=world.settings.grace_days, minutes=-5)
    assert world.tick("upkeep").run_requests == []
    world.clock.time += timedelta(minutes=10)
    [request] = world.tick("upkeep").run_requests
    assert "damaged tables were set aside" in request.tags["codesearch/reason"]
    result = world.run(request)
    assert result.success
    [event] = result.get_asset_materialization_events()
    assert event.materialization.metadata["damaged_tables_deleted"].value == 1
    assert not place.exists()
    assert other.is_dir()
    assert moved(before, versions(world.store())) == set()
    assert world.tick("upkeep").run_requests == []


# trouble


def _no_file(world: World) -> None:
    world.file.unlink()


def _broken_file(world: World) -> None:
    world.file.write_text("repositories: [\n")


def _other_owner(world: World) -> None:
    other = world.file.with_name("other.yaml")
    other.write_text("repositories: []\n")
    (world.settings.data_dir / "configuration").write_text(f"{other}\n")


def _newer_format(world: World) -> None:
    (world.settings.data_dir / "format").write_text("99\n")


def _data_dir_is_a_file(world: World) -> None:
    data_dir = world.settings.data_dir
    shutil.rmtree(data_dir)
    data_dir.write_text("")


def _broken_catalog(world: World) -> None:
    (world.settings.data_dir / "catalog.json").write_text("[")


def _broken_results(world: World) -> None:
    (world.settings.data_dir / "results.db").write_text("no database" * 1000)


TROUBLES: dict[str, tuple[Callable[[World], None], str, tuple[str, ...]]] = {
    "no settings": (_no_file, "codesearch.yaml", SENSORS),
    "broken settings": (_broken_file, "codesearch.yaml", SENSORS),
    "another's data_dir": (_other_owner, "belongs to", SENSORS),
    "newer format": (_newer_format, "has format 99", SENSORS),
    "data_dir is a file": (_data_dir_is_a_file, "is a file, not a folder", SENSORS),
    "broken catalog": (_broken_catalog, "catalog.json cannot be read", ("catalog",)),
    "broken results": (_broken_results, "Restore it from a backup", ("nightly",)),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_is_a_reason_to_skip_and_never_an_exception(
    make_world: Callable[..., World], trouble: str
) -> None:
    break_it, reason, sensors = TROUBLES[trouble]
    world = make_world()
    world.commit("api")
    before = world.cursors["nightly"]
    break_it(world)
    for sensor in sensors:
        made = world.tick(sensor)
        assert made.run_requests == []
        assert reason in made.skip_message
        assert "Traceback" not in made.skip_message
    assert world.cursors["nightly"] == before  # the night is not over


def test_a_damaged_table_is_set_aside_and_the_same_night_makes_it_anew(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.commit("api")
    table = world.settings.data_dir / "lancedb" / "chunks.lance"
    for file in (table / "data").iterdir():
        file.unlink()
    made = world.tick("nightly")
    assert made.run_requests == []
    assert "The table chunks is damaged" in made.skip_message
    world.clock.time += timedelta(minutes=1)
    requests = world.tick("nightly").run_requests
    assert names(requests) == [("refresh", name) for name in REPOS]
    for request in requests:
        assert world.run(request).success
    assert world.store().count("chunks") == 4


READ_ONLY = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from codesearch_assets.runs import instance_of
from codesearch_resources.settings import load
from unattended import Unattended
file = Path(sys.argv[2])
with instance_of(load(file)) as instance:
    world = Unattended(file, instance)
    for sensor in ("catalog", "nightly", "upkeep"):
        made = world.tick(sensor)
        print(sensor, len(made.run_requests), made.skip_message)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_read_only_data_dir_is_a_reason_to_skip(make_world: Callable[..., World]) -> None:
    """By a read-only bind: root may write whatever the permissions say."""
    world = make_world()
    (world.settings.data_dir / "catalog.json").unlink(missing_ok=True)
    shutil.rmtree(world.settings.data_dir / "locks", ignore_errors=True)
    data_dir = str(world.settings.data_dir)
    shell = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", shell, data_dir, sys.executable, "-c", READ_ONLY]
    done = subprocess.run(
        [*command, str(Path(__file__).parent), str(world.file)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "read-only file system" in said["catalog"]
    assert all(line.split()[1] == "0" for line in said.values())
    assert set(said) == set(SENSORS)
