"""The unattended life of a workspace: its sensors' ticks, its clock, the runs they request."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from conftest import Workspace, WorkTree
from indexes import Line

from codesearch_assets.definitions import build
from codesearch_assets.runs import QUIET
from codesearch_resources.dagster import configured
from codesearch_resources.settings import Settings, load

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

    def tick(self, sensor: str) -> Any:
        """Evaluate a sensor as the daemon would; returns its SensorExecutionData."""
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursors.get(sensor),
            definitions=self.definitions,
            resources={**configured(str(self.file)), **self.resources},
            sensor_name=sensor,
        )
        with context:
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
            raise_on_error=False,
        )


def names(requests: Sequence[dg.RunRequest]) -> list[tuple[str, str]]:
    """Job and repository of requested runs."""
    return [(request.job_name or "", request.partition_key or "") for request in requests]


def index_quickly(workspace: Workspace, *trees: WorkTree) -> None:
    """Make every asset of these repositories, without Dagster for its cost."""
    folder = workspace.settings.data_dir
    for tree in trees:
        line = Line(folder, tree)
        line.run()
        line.results.close()
