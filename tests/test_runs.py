"""`codesearch index` as Dagster sees it: runs on the same instance, failures in one sentence."""

import subprocess
import sys
from collections.abc import Callable

import dagster as dg
import pytest
from conftest import Workspace, WorkTree

from codesearch_assets import reporting
from codesearch_assets.partitions import COMMIT_TAG
from codesearch_assets.runs import LOCATION, Outcome, instance_of

ADD = "def add(left, right):\n    return left + right\n"
ASSETS = ("repo_snapshots", "chunks", "code_embeddings", "summaries", "summary_embeddings")
HOLDER = """
import os, sys
from pathlib import Path
from codesearch_resources.data_dir import lock
with lock(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def lose_tree(tree: WorkTree) -> None:
    """Damage the repository: HEAD is there, what it holds is not."""
    root = tree.git("rev-parse", "HEAD^{tree}")
    (tree.path / ".git" / "objects" / root[:2] / root[2:]).unlink()


def told(outcomes: list[Outcome]) -> dict[tuple[str, str], str]:
    return {(outcome.repo, outcome.job): outcome.error for outcome in outcomes}


def test_its_runs_are_on_the_instance_that_the_ui_shows(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    tree = make_tree("api", {"add.py": ADD})
    workspace = make_workspace(tree)
    workspace.index()
    with instance_of(workspace.settings) as instance:
        assert instance.get_dynamic_partitions("repositories") == ["api"]
        runs = {run.job_name: run for run in instance.get_runs()}
        assert set(runs) == {"refresh", "summarise"}
        for run in runs.values():
            assert run.status is dg.DagsterRunStatus.SUCCESS
            assert run.tags["dagster/partition"] == "api"
            # Without it the job's own page in the UI does not list the run.
            assert LOCATION.items() <= run.tags.items()
        assert runs["refresh"].tags[COMMIT_TAG] == tree.git("rev-parse", "HEAD")
        for name in ASSETS:
            event = instance.get_latest_materialization_event(dg.AssetKey(name))
            assert event is not None
            made = event.asset_materialization
            assert made is not None
            assert made.partition == "api"
            assert made.metadata["rows_written"].value == 1


def test_one_repositorys_failure_is_a_sentence_and_costs_no_other_one(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    """One repository has a commit whose tree is gone, another one's server does not answer."""
    damaged, good = make_tree("damaged", {"add.py": ADD}), make_tree("good", {"add.py": ADD})
    silent = "  - {name: silent, url: 'http://user:secret@127.0.0.1:9/x'}\n"
    workspace = make_workspace(damaged, good, extra=silent)
    lose_tree(damaged)
    outcomes = told(workspace.index())
    for name, about in (("damaged", str(damaged.path)), ("silent", "http://127.0.0.1:9/x")):
        error = outcomes.pop((name, "refresh"))
        assert about in error
        assert not any(sign in error for sign in ("Traceback", 'File "', "\n", "secret"))
    assert outcomes == {("good", "refresh"): "", ("good", "summarise"): ""}


@pytest.mark.parametrize("job", ["refresh", "summarise"])
def test_a_repository_that_another_process_works_on_says_who(
    job: str,
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reporting, "LOCK_WAIT", 0.1)
    workspace = make_workspace(make_tree("api", {"add.py": ADD}))
    workspace.settings.data_dir.mkdir()
    command = [sys.executable, "-c", HOLDER, str(workspace.settings.data_dir), f"api.{job}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        error = told(workspace.index())["api", job]
        holder.communicate()
    assert f"api.{job} is being worked on by process {holder.pid}" in error
    # The lock ended with its process.
    assert set(told(workspace.index()).values()) == {""}


def test_a_failed_run_is_red_in_the_ui_with_the_same_sentence(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
) -> None:
    tree = make_tree("api", {"add.py": ADD})
    workspace = make_workspace(tree)
    lose_tree(tree)
    [outcome] = workspace.index()
    with instance_of(workspace.settings) as instance:
        [run] = instance.get_runs()
        assert run.status is dg.DagsterRunStatus.FAILURE
        [entry] = instance.all_logs(run.run_id, dg.DagsterEventType.STEP_FAILURE)
        failure = entry.get_dagster_event().step_failure_data.user_failure_data
        assert failure is not None
        assert outcome.error == f"repo_snapshots: {failure.description}"
