"""A disk that is full, then read-only: run in a mount namespace of its own by test_trouble.

    unshare -m sh -c 'mount -t tmpfs …  FOLDER/disk && python troubled_disk.py FOLDER short'

FOLDER has a git repository `api`, and an empty folder `disk` on a file system of a few megabytes.
Prints one JSON object: for each trouble, how its run ended.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from conftest import WorkTree
from indexes import CutHere, Line

from codesearch.search import Index
from codesearch_assets import chunks as chunks_module
from codesearch_assets.chunks import refresh_chunks
from codesearch_assets.definitions import build
from codesearch_assets.repo_snapshots import take_snapshot
from codesearch_assets.runs import QUIET, index, instance_of
from codesearch_assets.summaries import refresh_summaries
from codesearch_resources.data_dir import DataDirError
from codesearch_resources.settings import Settings, load
from codesearch_resources.store import StoreError

JOBS = {
    "repo_snapshots": "refresh",
    "chunks": "refresh",
    "code_embeddings": "refresh",
    "summaries": "summarise",
    "summary_embeddings": "summarise",
}


@contextmanager
def full(disk: Path, left: int = 0) -> Iterator[None]:
    """Fill the disk until nothing more goes on it, but for so many bytes."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (2**20, 4096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
        file.truncate(max(0, file.tell() - left))
    yield
    filler.unlink()


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """The same folder behind a read-only bind mount."""
    subprocess.run(["mount", "--bind", disk, disk], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", disk], check=True)
    yield
    subprocess.run(["umount", disk], check=True)


class Case:
    """One workspace on the troubled disk, at its first commit when a trouble begins."""

    def __init__(self, folder: Path, with_dagster: bool) -> None:
        self.with_dagster = with_dagster  # in the runs that follow a trouble
        self.disk = folder / "disk"
        self.tree = WorkTree(folder / "api")
        self.first, self.second = self.tree.git("rev-list", "--reverse", "HEAD").split()
        self.file = folder / "codesearch.yaml"
        self.file.write_text(
            f"data_dir: {self.disk}/data\nrepositories:\n  - path: {self.tree.path}\n"
        )
        clean = Line(folder / "clean", self.tree)
        clean.run(self.second)
        self.expected = self._rows(clean)
        with instance_of(self.settings) as instance:
            instance.add_dynamic_partitions("repositories", ["api"])

    @property
    def settings(self) -> Settings:
        return load(self.file)

    def line(self) -> Line:
        """The assets without Dagster; a fresh one knows nothing of what was met before."""
        return Line(self.settings.data_dir, self.tree)

    def upstream_of(self, asset: str) -> None:
        """Everything at the first commit, what comes before the asset at the second."""
        line = self.line()
        line.run(self.first)
        place = list(JOBS).index(asset)
        if place > 0:
            take_snapshot(line.store, line.repository, line.entry, self.second)
        if place > 1:
            refresh_chunks(line.store, line.repository)
        if place > 3:
            refresh_summaries(line.store, line.results, "api", line.summarizer)
        line.results.close()

    def run(self, asset: str) -> str:
        """Materialise one asset of the second commit; what its failure says, "" for none."""
        with instance_of(self.settings) as instance:
            done = (
                build(str(self.file))
                .resolve_job_def(JOBS[asset])
                .execute_in_process(
                    run_config=QUIET,
                    instance=instance,
                    partition_key="api",
                    asset_selection=[dg.AssetKey(asset)],
                    raise_on_error=False,
                )
            )
        return "" if done.success else failure(done)

    def readable(self) -> bool:
        """Whether every table can be read to its end, and a question is answered."""
        store = self.line_of_reader()
        for name, spec in store.specs.items():
            store.read(name, spec.schema.names)
        with Index(self.settings) as opened:
            return bool(opened.search("kestrel"))

    def line_of_reader(self) -> Any:
        from indexes import store_of

        return store_of(self)  # type: ignore[arg-type]  # it has settings, which is all that counts

    def completed(self) -> bool:
        """Whether a plain run now ends where an undisturbed one does."""
        line = self.line()
        if self.with_dagster:
            outcomes = index(self.settings, self.settings.repositories)
            assert not any(outcome.error for outcome in outcomes), outcomes
        else:
            line.run(self.second)
        equal = self._rows(line) == self.expected
        line.results.close()
        return equal

    @staticmethod
    def _rows(line: Line) -> dict[str, Any]:
        return line.all_rows()


def failure(done: dg.ExecuteInProcessResult) -> str:
    """The failed step's sentence; a trace of another error with its name."""
    for event in done.all_node_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.user_failure_data is not None:
                return str(data.user_failure_data.description)
            return f"a trace: {data.error.to_string() if data.error else ''}"
    return "no step failed"


def report(case: Case, told: str, readable: bool) -> dict[str, Any]:
    return {"told": told, "readable": readable, "completed": case.completed()}


def in_each_asset(
    case: Case, trouble: Callable[[], Any], name: str, assets: Iterable[str]
) -> dict[str, Any]:
    found = {}
    for asset in assets:
        case.upstream_of(asset)
        with trouble():
            told, readable = case.run(asset), case.readable()
        found[f"{name}: {asset}"] = report(case, told, readable)
    return found


def out_of_space_in_the_middle(case: Case) -> dict[str, Any]:
    """The estimate said that there is room, and then there is not."""
    case.upstream_of("chunks")
    with pytest.MonkeyPatch.context() as patch, full(case.disk, left=60_000):
        patch.setattr(chunks_module, "require_space", lambda *_: None)
        patch.setattr(chunks_module, "BATCH_FILES", 1)
        told, readable = case.run("chunks"), case.readable()
    return {"in the middle: chunks": report(case, told, readable)}


def whole_index(case: Case, name: str, trouble: Callable[[], Any]) -> dict[str, Any]:
    """`codesearch index` where Dagster's own home has the trouble too."""
    line = case.line()
    line.run(case.first)
    line.results.close()
    with trouble():
        try:
            outcomes = index(case.settings, case.settings.repositories)
            told = "; ".join(outcome.error for outcome in outcomes)
        except (DataDirError, StoreError) as error:
            told = str(error)
        readable = case.readable()
    return {f"{name}: codesearch index": report(case, told, readable)}


def main(folder: Path, everything: bool) -> None:
    chunks_module.CuttingProcess = CutHere  # type: ignore[assignment,misc]
    case = Case(folder, everything)
    found = in_each_asset(case, lambda: full(case.disk), "full", JOBS)
    found |= out_of_space_in_the_middle(case)
    there = JOBS if everything else ["code_embeddings"]
    found |= in_each_asset(case, lambda: read_only(case.disk), "read-only", there)
    case.with_dagster = True
    case.file.write_text(case.file.read_text() + f"dagster_home: {case.disk}/home\n")
    found |= whole_index(case, "full", lambda: full(case.disk))
    if everything:
        found |= whole_index(case, "read-only", lambda: read_only(case.disk))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "everything")
