"""What the night costs: ticks over repositories at rest, and Dagster's share of the runs.

    python benchmarks/night.py --repositories 12 --ticks 5

Makes small repositories and indexes them, then prints

- CPU seconds of a night's tick when none of them moved, git included, and the runs it requests and
  the table versions it writes (both none);
- the memory of the ticking process after each tenth tick: the sensors live in a process that stays;
- when all of them moved: CPU seconds of a run of `refresh` in a process of its own, as the daemon
  starts it, beside the same functions called directly in one; `import lancedb`, which both pay once
  a process, apart.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

DIRECT = """
import sys
from pathlib import Path
from codesearch_assets.chunks import refresh_chunks
from codesearch_assets.embeddings import refresh_code_embeddings
from codesearch_assets.repo_snapshots import take_snapshot
from codesearch_resources.dagster import git_repository
from codesearch_resources.embedders.make import wanted_embedder
from codesearch_resources.settings import load
from codesearch_resources.store import Store
settings = load(Path(sys.argv[1]))
entry = settings.repository(sys.argv[2])
embedder = wanted_embedder(settings)
store = Store(settings.data_dir, embedder.id, embedder.dimensions)
repository = git_repository(settings, entry)
take_snapshot(store, repository, entry, repository.head())
refresh_chunks(store, repository)
refresh_code_embeddings(store, entry.name, embedder)
"""
# What the run launcher starts: `dagster api execute_run`, with the run made by the queue.
THROUGH_DAGSTER = """
import os, sys
os.environ["DAGSTER_HOME"] = sys.argv[3]
import dagster as dg
from codesearch_assets.definitions import build
job = build(sys.argv[1]).resolve_job_def("refresh")
with dg.DagsterInstance.get() as instance:
    result = job.execute_in_process(
        instance=instance,
        partition_key=sys.argv[2],
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
assert result.success
"""


def cpu() -> float:
    """CPU seconds of this process and of its ended children."""
    return sum(os.times()[:4])


def measured(work: Callable[[], Any]) -> tuple[float, Any]:
    before = cpu()
    result = work()
    return cpu() - before, result


def git(folder: Path, *arguments: str) -> None:
    names = {"NAME": "A", "EMAIL": "a@example.com"}
    identity = {f"GIT_{who}_{k}": v for who in ("AUTHOR", "COMMITTER") for k, v in names.items()}
    command = ["git", "-C", str(folder), *arguments]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **identity})


def commit(folder: Path, number: int) -> None:
    for k in range(5):
        text = f"def {folder.name}_{k}(value):\n    total = value + {number}\n    return total\n"
        (folder / f"f{k}.py").write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "--quiet", "-m", "change")


def make(folder: Path, repositories: int) -> Path:
    entries = []
    for number in range(repositories):
        tree = folder / f"repo{number:02}"
        tree.mkdir()
        git(tree, "init", "--quiet")
        commit(tree, 0)
        entries.append(f"  - path: {tree}\n")
    file = folder / "codesearch.yaml"
    file.write_text("repositories:\n" + "".join(entries))
    return file


def resident_megabytes() -> float:
    """Memory of this process now, by the system's own account."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    found = re.search(r"VmRSS:\s+(\d+) kB", status.read_text())
    return int(found.group(1)) / 1024 if found else float("nan")


def ticks(file: Path, count: int) -> None:
    """Tick the nightly sensor, each time a day later."""
    import dagster as dg

    from codesearch_assets import night
    from codesearch_assets.definitions import build
    from codesearch_assets.runs import index, instance_of
    from codesearch_resources.dagster import configured
    from codesearch_resources.embedders.make import wanted_embedder
    from codesearch_resources.settings import load
    from codesearch_resources.store import Store

    settings = load(file)
    outcomes = index(settings, settings.repositories)
    assert not any(outcome.error for outcome in outcomes), outcomes
    embedder = wanted_embedder(settings)
    store = Store(settings.data_dir, embedder.id, embedder.dimensions)
    definitions = build(str(file))
    sensor = definitions.resolve_sensor_def("nightly")
    before = {name: store.table(name).version for name in store.specs}
    start = datetime.now(UTC)
    cursor = night.Cursor().after(start).text()
    cost, asked = [], 0
    with instance_of(settings) as instance:
        for number in range(count):
            night.now = lambda day=number: start + timedelta(days=day + 1)
            context = dg.build_sensor_context(
                instance=instance,
                cursor=cursor,
                definitions=definitions,
                resources=configured(str(file)),
            )
            with context, dg.partition_loading_context(dynamic_partitions_store=instance):
                seconds, made = measured(lambda c=context: sensor.evaluate_tick(c))
            cursor, asked = made.cursor, asked + len(made.run_requests or [])
            cost.append(seconds)
            if number % 10 == 0:
                print(f"memory after tick {number + 1}: {resident_megabytes():.0f} MB")
    written = sum(store.table(name).version != before[name] for name in store.specs)
    rest = sorted(cost[1:]) or cost
    print(
        f"tick over {len(settings.repositories)} repositories at rest: first {cost[0]:.2f} CPU s, "
        f"then {rest[len(rest) // 2]:.2f} (median of {len(rest)}), {asked} runs requested, "
        f"{written} tables written"
    )


def child(code: str, *arguments: str) -> float:
    """CPU seconds of a Python process of its own."""
    command = [sys.executable, "-c", code, *arguments]
    return measured(lambda: subprocess.run(command, check=True, capture_output=True))[0]


def changed(file: Path) -> None:
    """Refresh every repository twice after a commit: through Dagster, and directly."""
    from codesearch_resources.settings import load

    settings = load(file)
    home = str(settings.dagster_home)
    names = [entry.name for entry in settings.repositories]
    ways: dict[str, list[float]] = {"through Dagster": [], "directly": []}
    for number, name in enumerate(names):
        tree = settings.repository(name).path
        assert tree is not None
        commit(tree, 2 * number + 1)
        ways["through Dagster"].append(child(THROUGH_DAGSTER, str(file), name, home))
        commit(tree, 2 * number + 2)
        ways["directly"].append(child(DIRECT, str(file), name))
    lancedb = child("import lancedb")
    mean = {way: sum(seconds) / len(seconds) for way, seconds in ways.items()}
    for way, seconds in mean.items():
        print(f"refresh of a changed repository {way}: {seconds:.2f} CPU s (mean of {len(names)})")
    print(f"of both, import lancedb: {lancedb:.2f} CPU s")
    print(f"Dagster's overhead: {mean['through Dagster'] - mean['directly']:.2f} CPU s a run")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repositories", type=int, default=12)
    parser.add_argument("--ticks", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = make(Path(folder), arguments.repositories)
        ticks(file, arguments.ticks)
        changed(file)


if __name__ == "__main__":
    main()
