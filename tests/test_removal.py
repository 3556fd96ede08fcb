"""Removal of what was struck: all of it goes but what was paid for, and nothing else does."""

import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from unattended import REPOS, World, copied, held_by_another_process, make_template

from codesearch_assets.partitions import NAME
from codesearch_assets.removal import RemovalConfig, removal_request, remove
from codesearch_resources.catalog import plan, read_catalog, write_catalog
from codesearch_resources.data_dir import is_locked
from codesearch_resources.results import Results
from codesearch_resources.store import Store, of_repo
from codesearch_resources.summarizers.base import Summary

LOG = logging.getLogger("test_removal")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_template(tmp_path_factory.mktemp("template"))
    data_dir = folder / "workspace" / "data"
    other = Store(data_dir, "other", 4)  # vectors of an embedder that was used before
    other.create()
    for name in REPOS:
        row = {
            "chunk_id": f"{name}-1",
            "repo": name,
            "path": "a.py",
            "language": "python",
            "kind": "function",
            "text_hash": "t",
            "vector": [1.0, 0.0, 0.0, 0.0],
            "digest": 1,
        }
        schema = other.specs[other.code_vectors].schema
        other.upsert(other.code_vectors, pa.Table.from_pylist([row], schema=schema))
        (data_dir / "mirrors" / f"{name}.git").mkdir(parents=True)
    with closing(Results(data_dir)) as results:
        results.keep({"key": Summary("It adds.", "model", "p", "m", "1")})
    return folder


@pytest.fixture
def world(template: Path, tmp_path: Path) -> Iterator[World]:
    with ExitStack() as opened:
        made = opened.enter_context(copied(template, tmp_path / "world"))
        settings = made.settings
        write_catalog(settings.data_dir, plan({}, settings, made.clock()).known)
        yield made


def counts(world: World, repo: str) -> dict[str, int]:
    """The rows of a repository in every table that there is, of any embedder."""
    store = world.store()
    return {name: store.count(name, of_repo(repo)) for name in store.names()}


def is_whole(world: World, repo: str) -> bool:
    known = repo in read_catalog(world.settings.data_dir)
    mirror = world.settings.data_dir / "mirrors" / f"{repo}.git"
    partition = world.instance.has_dynamic_partition(NAME, repo)
    return known and mirror.is_dir() and partition and all_or_one(counts(world, repo))


def all_or_one(found: dict[str, int]) -> bool:
    """A row in each table but the one that holds no vector of the other embedder."""
    return sum(count == 0 for count in found.values()) <= 1


def is_gone(world: World, repo: str) -> bool:
    return not (
        any(counts(world, repo).values())
        or repo in read_catalog(world.settings.data_dir)
        or (world.settings.data_dir / "mirrors" / f"{repo}.git").exists()
        or world.instance.has_dynamic_partition(NAME, repo)
    )


def paid(world: World) -> dict[str, Summary]:
    with closing(Results(world.settings.data_dir)) as results:
        return results.find(["key"])


def test_the_job_takes_everything_of_it_and_nothing_of_the_others(world: World) -> None:
    before = {name: counts(world, name) for name in REPOS}
    assert len(before["lib"]) > 7
    assert all(is_whole(world, name) for name in REPOS)
    world.strike("lib")
    result = world.run(removal_request(["lib"]))
    assert result.success
    assert is_gone(world, "lib")
    for name in ("api", "web"):
        assert is_whole(world, name)
        assert counts(world, name) == before[name]
    assert set(paid(world)) == {"key"}
    said = [entry.user_message for entry in world.instance.all_logs(result.run_id)]
    [line] = [text for text in said if text.startswith("removed lib: ")]
    for table, count in before["lib"].items():
        assert (f"{count} rows of {table}" in line) == bool(count)


def test_what_the_settings_have_is_not_removed_whoever_asks(world: World) -> None:
    """The run waited in the queue, and in the meantime it was put back; or somebody mistyped."""
    world.strike("lib")
    result = world.run(removal_request(["lib", "web"]))
    assert result.success
    assert is_gone(world, "lib")
    assert is_whole(world, "web")
    said = [entry.user_message for entry in world.instance.all_logs(result.run_id)]
    assert "not removed, the settings have them: web" in said


@pytest.mark.parametrize("job", ["refresh", "summarise"])
def test_one_that_is_worked_on_is_left_for_later(
    world: World, job: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = world.settings
    with held_by_another_process(settings.data_dir, f"lib.{job}") as process:
        removed = remove(settings, world.store(), world.instance, ["lib", "web"], LOG)
    assert list(removed) == ["web"]
    assert is_gone(world, "web")
    assert is_whole(world, "lib")
    assert (
        f"lib is not removed yet: lib.{job} is being worked on by process {process}" in caplog.text
    )
    assert list(remove(settings, world.store(), world.instance, ["lib"], LOG)) == ["lib"]
    assert is_gone(world, "lib")


def test_one_that_waits_in_the_queue_is_left_for_later(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    import dagster as dg

    run_id = world.begin("refresh", "lib", dg.DagsterRunStatus.QUEUED)
    assert remove(world.settings, world.store(), world.instance, ["lib"], LOG) == {}
    assert "a run of it waits in the queue" in caplog.text
    world.instance.delete_run(run_id)
    assert list(remove(world.settings, world.store(), world.instance, ["lib"], LOG)) == ["lib"]


def test_what_was_never_indexed_is_removed_as_well(world: World) -> None:
    world.instance.add_dynamic_partitions(NAME, ["empty"])
    removed = remove(world.settings, world.store(), world.instance, ["empty", "never"], LOG)
    assert removed == {"empty": 0, "never": 0}
    assert is_gone(world, "empty")


DYING = """
import logging, os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from codesearch_assets import removal
from codesearch_assets.runs import instance_of
from codesearch_resources import catalog
from codesearch_resources.settings import load
from codesearch_resources.store import Store
from codesearch_resources.embedders.embedded import EmbeddedEmbedder
settings, moment = load(Path(sys.argv[2])), sys.argv[3]
store = Store(settings.data_dir, EmbeddedEmbedder.id, EmbeddedEmbedder.dimensions)
own, tables = store.table, []

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def table(name):
    tables.append(name)
    if moment == "rows" and len(set(tables)) == 4:
        die()
    return own(name)

store.table = table
if moment == "mirror":
    removal.shutil.rmtree = lambda *_, **__: die()
if moment == "catalog":
    removal.write_catalog = lambda *_: die()
with instance_of(settings) as instance:
    if moment == "partition":
        type(instance).delete_dynamic_partition = lambda *_: die()
    removal.remove(settings, store, instance, ["lib"], logging.getLogger())
"""


@pytest.mark.parametrize("moment", ["rows", "mirror", "partition", "catalog"])
def test_killed_in_the_middle_the_next_tick_finishes_it(world: World, moment: str) -> None:
    world.strike("lib")
    command = [sys.executable, "-c", DYING, str(Path(__file__).parent), str(world.file), moment]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not is_gone(world, "lib")
    # What says that it is indexed went first: nobody takes half of it for the whole.
    assert world.store().repository_row("lib") == {}
    assert not is_locked(world.settings.data_dir, "lib.refresh")
    [request] = world.tick("catalog").run_requests
    assert world.run(request).success
    assert is_gone(world, "lib")
    assert all(is_whole(world, name) for name in ("api", "web"))
    assert world.tick("catalog").run_requests == []


def test_a_removal_that_cannot_write_fails_in_one_sentence(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codesearch_assets import removal

    def full(*_: Any) -> dict[str, int]:
        raise RuntimeError("lance error: LanceError(IO): No space left on device (os error 28)")

    monkeypatch.setattr(removal, "remove_repository", full)
    world.strike("lib")
    result = world.run(removal_request(["lib"]))
    [failure] = [event for event in result.all_node_events if event.is_step_failure]
    told = failure.step_failure_data.user_failure_data
    assert told is not None
    assert told.description is not None
    assert told.description.startswith("The disk of data_dir is full.")


def test_only_named_repositories_can_be_asked_for() -> None:
    config: Any = removal_request(["a", "b"]).run_config
    assert RemovalConfig(**config["ops"]["remove_rows"]["config"]).names == ["a", "b"]
