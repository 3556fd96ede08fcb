"""Nights on a moved clock: the tables end as a clean index of the last commits, and stay small.

    CODESEARCH_CORPORA=FOLDER make soak ONLY=twenty_nights

FOLDER holds clones of real repositories, each in a folder of its own or in `repo` below one; twelve
of them are replayed by their own commits, twenty nights long.
"""

import os
import random
import resource
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from conftest import WorkTree
from indexes import TIMES, CutHere, moved, versions
from unattended import Clock, Unattended

from codesearch_assets import chunks as chunks_module
from codesearch_assets import night
from codesearch_assets import upkeep as upkeep_asset
from codesearch_assets.runs import index, instance_of
from codesearch_resources import upkeep as upkeep_module
from codesearch_resources.settings import load
from codesearch_resources.store import Store

KEEP_RUNS_DAYS = 3


@dataclass(frozen=True)
class Replay:
    """A repository that is moved along its own history, a commit list from old to new."""

    folder: Path
    branch: str
    commits: Sequence[str]

    def move(self, commit: int) -> None:
        ref = f"refs/heads/{self.branch}"
        git = ["git", "-C", str(self.folder), "update-ref", ref, self.commits[commit]]
        subprocess.run(git, check=True, capture_output=True)


@dataclass(frozen=True)
class Size:
    """What lies on disk after a night, and what the process takes."""

    versions: int  # the most that any table has
    files: int  # of all tables
    megabytes: float
    runs: int  # that Dagster remembers
    dagster_megabytes: float
    peak_megabytes: float  # memory of this process, which ticks and runs


def made_here(make_tree: Callable[..., WorkTree], name: str, commits: int) -> Replay:
    """A repository with a history of edits, new and deleted files, and a line put in above."""
    tree = make_tree(name)
    made = []
    for n in range(commits):
        files: dict[str, str | bytes | None] = {
            f"{name}_{k}.py": "# note\n" * (n % 3) + _function(name, k, n if k == n % 5 else 0)
            for k in range(5)
        }
        files[f"new_{n}.py"] = _function(name, n, n)
        if n > 2:
            files[f"new_{n - 2}.py"] = None
        made.append(tree.commit(files))
    return Replay(tree.path, "main", made)


def _function(name: str, number: int, edit: int) -> str:
    return f"def {name}_{number}(value):\n    total = value + {edit}\n    return total\n"


def real_ones(folder: Path, wanted: int, commits: int, under: Path) -> list[Replay]:
    """Bare shared clones of the smallest repositories below `folder`."""
    found = [path for path in folder.iterdir() for path in (path / "repo", path) if is_git(path)]
    found.sort(key=_size)
    assert len(found) >= wanted, f"{folder} holds {len(found)} clones, {wanted} are needed"
    return [
        _shared_clone(path, commits, under / f"r{n:02}") for n, path in enumerate(found[:wanted])
    ]


def is_git(path: Path) -> bool:
    return (path / "objects").is_dir() or (path / ".git").exists()


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*.pack"))


def _shared_clone(source: Path, commits: int, target: Path) -> Replay:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("clone", "--quiet", "--bare", "--shared", "--single-branch", str(source), str(target))
    branch = git("-C", str(target), "symbolic-ref", "--short", "HEAD")
    history = git("-C", str(target), "rev-list", "--first-parent", f"-{commits}", "HEAD").split()
    return Replay(target, branch, history[::-1])


@contextmanager
def unattended(folder: Path, replays: Sequence[Replay], clock: Clock) -> Iterator[Unattended]:
    folder.mkdir()
    file = folder / "codesearch.yaml"
    entries = "".join(f"  - path: {replay.folder}\n" for replay in replays)
    file.write_text(f"repositories:\n{entries}keep_runs_days: {KEEP_RUNS_DAYS}\n")
    with ExitStack() as opened:
        patch = opened.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(night, "now", clock)
        patch.setattr(upkeep_module, "RETENTION", timedelta(0))
        yield Unattended(file, opened.enter_context(instance_of(load(file))))


def one_night(world: Unattended, clock: Clock) -> list[str]:
    """Tick as the daemon does and execute what is asked for; returns the jobs that ran."""
    clock.to(3)
    ran = []
    for _ in range(200):
        requests = [r for s in ("catalog", "nightly", "upkeep") for r in world.tick(s).run_requests]
        for request in requests:
            result = world.run(request)
            assert result.success, [e for e in result.all_node_events if e.is_step_failure]
            ran.append(str(request.job_name))
        if not requests:
            return ran
        clock.time += timedelta(minutes=1)
    raise AssertionError("the night has no end")


def size_of(world: Unattended, store: Store) -> Size:
    files = [path for path in store.folder.rglob("*") if path.is_file()]
    home = [path for path in world.settings.dagster_home.rglob("*") if path.is_file()]
    return Size(
        max(len(store.table(name).list_versions()) for name in store.specs),
        len(files),
        sum(path.stat().st_size for path in files) / 1e6,
        world.instance.get_runs_count(),
        sum(path.stat().st_size for path in home) / 1e6,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    )


def differing(one: Store, other: Store) -> dict[str, int]:
    """Rows that differ between two indexes in anything but timestamps, by table."""
    found = {}
    for name in one.specs:
        left, right = _sorted_rows(one, name), _sorted_rows(other, name)
        if not left.equals(right):
            rows = zip(left.to_pylist(), right.to_pylist(), strict=False)
            unequal = sum(a != b for a, b in rows)
            found[name] = unequal + abs(left.num_rows - right.num_rows)
    return found


def _sorted_rows(store: Store, name: str) -> pa.Table:
    spec = store.specs[name]
    columns = [column for column in spec.schema.names if column not in TIMES]
    return store.read(name, columns).sort_by(spec.key).combine_chunks()


def replay_nights(
    folder: Path, replays: Sequence[Replay], nights: int, seed: int
) -> tuple[list[Size], dict[str, int]]:
    """Run the nights; returns the sizes after each and the rows that differ from a clean index."""
    chance, clock = random.Random(seed), Clock()
    at = [0] * len(replays)
    for replay in replays:
        replay.move(0)
    sizes = []
    with unattended(folder / "nights", replays, clock) as world:
        clock.to(2)
        world.cursors["nightly"] = night.Cursor().after(clock.time).text()
        world.tick("catalog")
        one_night(world, clock)
        store = world.store()
        sizes.append(size_of(world, store))
        for number in range(1, nights + 1):
            for which, replay in enumerate(replays):
                last = len(replay.commits) - 1
                if number == nights:
                    at[which] = last
                elif chance.random() < 0.5:  # the others have a day off
                    at[which] = min(last, at[which] + chance.randint(1, 1 + 2 * last // nights))
                replay.move(at[which])
            one_night(world, clock)
            sizes.append(size_of(world, store))
            print(number, sizes[-1], flush=True)
        before = versions(store)
        assert one_night(world, clock) in ([], ["upkeep"])  # nothing moved, nothing ran
        quiet = moved(before, versions(store))
    assert quiet == set()
    clean = folder / "clean" / "codesearch.yaml"
    clean.parent.mkdir()
    clean.write_text((folder / "nights" / "codesearch.yaml").read_text())
    settings = load(clean)
    assert not any(outcome.error for outcome in index(settings, settings.repositories))
    fresh = Unattended.__new__(Unattended)
    fresh.file = clean
    return sizes, differing(store, fresh.store())


def test_a_few_nights_end_as_a_clean_index_and_leave_nothing_behind(
    tmp_path: Path, make_tree: Callable[..., WorkTree], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks_module, "CuttingProcess", CutHere)
    monkeypatch.setattr(upkeep_module, "UNINDEXED_ROWS", 10)
    monkeypatch.setattr(upkeep_module, "SMALL_FRAGMENTS", 4)
    monkeypatch.setattr(upkeep_module, "OLD_VERSIONS", 8)
    monkeypatch.setattr(upkeep_asset, "WORTH_PURGING", 5)
    replays = [made_here(make_tree, name, 6) for name in ("api", "lib", "web")]
    sizes, unequal = replay_nights(tmp_path, replays, nights=4, seed=1)
    assert unequal == {}
    assert max(size.versions for size in sizes) <= 30
    assert sizes[-1].runs < 40


@pytest.mark.soak
def test_twenty_nights_over_twelve_real_repositories(tmp_path: Path) -> None:
    folder = os.environ.get("CODESEARCH_CORPORA")
    if not folder:
        pytest.skip("set CODESEARCH_CORPORA to a folder of clones")
    replays = real_ones(Path(folder), 12, commits=60, under=tmp_path)
    sizes, unequal = replay_nights(tmp_path, replays, nights=20, seed=1)
    assert unequal == {}
    first, last = sizes[1], sizes[-1]
    assert max(size.versions for size in sizes) <= 250
    assert last.files < 3 * first.files
    assert last.megabytes < 3 * first.megabytes
    assert last.dagster_megabytes < 0.3 * last.runs + 10
    assert last.runs < 12 * 5 + 12 * 2 * (KEEP_RUNS_DAYS + 2) + upkeep_asset.WORTH_PURGING
