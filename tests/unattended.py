"""The unattended life of a workspace: its sensors' ticks, its clock, the runs they request."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from conftest import WorkTree
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from indexes import CutHere, Line

from codesearch_assets import night
from codesearch_assets.definitions import build
from codesearch_assets.partitions import NAME
from codesearch_assets.runs import QUIET, instance_of
from codesearch_resources.dagster import configured
from codesearch_resources.embedders.embedded import EmbeddedEmbedder
from codesearch_resources.settings import Settings, load
from codesearch_resources.store import Store

HOLDER = """
import sys
from pathlib import Path
from codesearch_resources.data_dir import lock
with lock(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another_process(data_dir: Path, name: str) -> Iterator[int]:
    """A process that holds a lock, as a run does; gives its id."""
    command = [sys.executable, "-c", HOLDER, str(data_dir), name]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder.pid
        holder.communicate()


@dataclass
class Clock:
    """What the sensors take for the present; set it as `night.now`."""

    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.time

    def to(self, hour: int, minute: int = 0) -> None:
        """Move on to the next time it is so late, in UTC."""
        moved = self.time.replace(hour=hour, minute=minute, second=0, microsecond=0)
        self.time = moved if moved > self.time else moved + timedelta(days=1)


@dataclass
class Unattended:
    """A workspace with its Dagster instance; ticks do what the daemon does with their results."""

    file: Path
    instance: dg.DagsterInstance
    resources: Mapping[str, object] = field(default_factory=dict)
    cursors: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.definitions = build(str(self.file), self.resources)

    @property
    def settings(self) -> Settings:
        return load(self.file, absent_ok=True)

    def store(self) -> Store:
        """The tables, reading every commit."""
        data_dir = self.settings.data_dir
        return Store(data_dir, EmbeddedEmbedder.id, EmbeddedEmbedder.dimensions)

    def tick(self, sensor: str) -> Any:
        """Evaluate a sensor as the daemon would; returns its SensorExecutionData."""
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursors.get(sensor),
            definitions=self.definitions,
            resources={**configured(str(self.file)), **self.resources},
            sensor_name=sensor,
        )
        # The daemon's process gives the partitions to the resolution of run requests like this.
        with context, dg.partition_loading_context(dynamic_partitions_store=self.instance):
            made = self.definitions.resolve_sensor_def(sensor).evaluate_tick(context)
        self.cursors[sensor] = made.cursor
        for request in made.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(
                request.partitions_def_name, list(request.partition_keys)
            )
        return made

    def asked(self, sensor: str) -> list[tuple[str, str]]:
        """Job and repository of the runs that a tick requests."""
        return names(self.tick(sensor).run_requests)

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        """Execute a requested run in this process."""
        assert request.job_name is not None
        config: Any = request.run_config
        return self.definitions.resolve_job_def(request.job_name).execute_in_process(
            run_config={**config, **QUIET},
            instance=self.instance,
            tags=dict(request.tags),
            partition_key=request.partition_key,
            asset_selection=request.asset_selection,
            raise_on_error=False,
        )


def names(requests: Sequence[dg.RunRequest]) -> list[tuple[str, str]]:
    """Job and repository of requested runs."""
    return [(request.job_name or "", request.partition_key or "") for request in requests]


ADD = "def add(left, right):\n    return left + right\n"
REPOS = ("api", "lib", "web")


class World(Unattended):
    """Three repositories, the night switched on, the clock at three."""

    trees: dict[str, WorkTree]
    clock: Clock

    def commit(self, name: str) -> str:
        text = f"def changed_{time.monotonic_ns()}():\n    return 1\n"
        return self.trees[name].commit({"changed.py": text})

    def finish(self, name: str) -> None:
        """Bring a repository up to date, without Dagster for its cost."""
        _index(self.settings.data_dir, self.trees[name])

    def begin(
        self,
        job: str,
        repo: str,
        status: dg.DagsterRunStatus,
        config: Any = None,
        assets: Sequence[str] = (),
    ) -> str:
        """A run of the instance that stands at `status`; nobody works on it. With `assets` one of
        them alone, as the UI's own job `__ASSET_JOB` has it."""
        location = RegisteredCodeLocationOrigin("codesearch_assets.definitions")
        run = self.instance.create_run_for_job(
            self.definitions.resolve_job_def(job),
            run_config=config,
            tags={"dagster/partition": repo} if repo else {},
            asset_selection=frozenset(map(dg.AssetKey, assets)) or None,
            status=status,
            remote_job_origin=RemoteRepositoryOrigin(location, "__repository__").get_job_origin(
                job
            ),
        )
        return run.run_id

    def strike(self, *names: str) -> None:
        """Take repositories out of the settings."""
        lines = self.file.read_text().splitlines()
        kept = [line for line in lines if not line.endswith(tuple(f"/{name}" for name in names))]
        self.file.write_text("\n".join(kept) + "\n")


def make_template(folder: Path) -> Path:
    """Three repositories, their index and a Dagster home, to be copied into each test."""
    from codesearch_assets import chunks as chunks_module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks_module, "CuttingProcess", CutHere)
        for name in REPOS:
            tree = WorkTree(folder / name)
            tree.path.mkdir(parents=True)
            tree.git("init", "--quiet", "--initial-branch=main")
            tree.commit({f"{name}.py": ADD}, "first")
            _index(folder / "workspace" / "data", tree)
    file = folder / "workspace" / "codesearch.yaml"
    file.write_text("repositories: []\n")
    with instance_of(load(file)) as instance:
        instance.add_dynamic_partitions(NAME, list(REPOS))
    for owned in ("data", "dagster_home"):
        (folder / "workspace" / owned / "configuration").unlink()
    return folder


@contextmanager
def copied(
    template: Path,
    folder: Path,
    *,
    extra: str = "",
    indexed: bool = True,
    resources: Mapping[str, object] | None = None,
) -> Iterator[World]:
    """A world of its own: the template under `folder`, its night just begun."""
    shutil.copytree(template, folder, dirs_exist_ok=True, symlinks=True)
    file = folder / "workspace" / "codesearch.yaml"
    entries = "".join(f"  - path: {folder / name}\n" for name in REPOS)
    file.write_text(f"repositories:\n{entries}{extra}")
    if not indexed:
        shutil.rmtree(folder / "workspace" / "data")
    with instance_of(load(file)) as instance, pytest.MonkeyPatch.context() as patch:
        world = World(file, instance, resources or {})
        world.trees = {name: WorkTree(folder / name) for name in REPOS}
        world.clock = Clock()
        patch.setattr(night, "now", world.clock)
        world.clock.to(2)
        world.cursors["nightly"] = night.Cursor().after(world.clock.time).text()
        world.clock.to(3)
        yield world


def _index(data_dir: Path, tree: WorkTree) -> None:
    line = Line(data_dir, tree)
    line.run()
    line.results.close()
