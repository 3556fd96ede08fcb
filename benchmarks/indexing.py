"""How fast a clean index is built: MB/s and chunks per second, end to end and per stage.

    python benchmarks/corpora.py --clones FOLDER_OF_CLONES --corpus corpus
    python benchmarks/indexing.py --corpus corpus [--move 50]

CPU seconds of the process, its threads and git children included; wall time beside them. The
baselines of the same run: git handing out every indexed blob, and tree-sitter parsing alone of the
files it has a grammar for.

--move N: then every repository goes N commits back along first parents and is indexed again, and
once more when it is back.
"""

import argparse
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codesearch_assets.chunking.chunker import cut
from codesearch_assets.chunking.grammar import parser
from codesearch_assets.chunking.languages import BY_NAME
from codesearch_assets.chunks import refresh_chunks
from codesearch_assets.embeddings import (
    embed_partition,
    refresh_code_embeddings,
    summary_source,
)
from codesearch_assets.repo_snapshots import take_snapshot
from codesearch_assets.summaries import refresh_summaries
from codesearch_resources.dagster import git_repository
from codesearch_resources.embedders.base import Embedder
from codesearch_resources.embedders.make import wanted_embedder
from codesearch_resources.results import Results
from codesearch_resources.settings import Settings, load
from codesearch_resources.store import Store
from codesearch_resources.summarizers.chain import Chain
from codesearch_resources.upkeep import upkeep


def cpu() -> float:
    """CPU seconds of this process, its threads and its ended children."""
    own, children = os.times()[:2], os.times()[2:4]
    return sum(own) + sum(children)


class Stages:
    """CPU and wall seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, tuple[float, float]] = {}

    def run(self, stage: str, work: Callable[[], Any]) -> Any:
        at_cpu, at_wall = cpu(), time.perf_counter()
        result = work()
        before = self.seconds.get(stage, (0.0, 0.0))
        self.seconds[stage] = (
            before[0] + cpu() - at_cpu,
            before[1] + time.perf_counter() - at_wall,
        )
        return result


def main() -> None:
    argument_parser = argparse.ArgumentParser(description=__doc__)
    argument_parser.add_argument("--corpus", type=Path, default=Path("corpus"))
    argument_parser.add_argument("--move", type=int, default=0, metavar="COMMITS")
    given = argument_parser.parse_args()
    corpus: Path = given.corpus
    settings = load(corpus / "codesearch.yaml")
    data_dir = corpus / "benchmark-data"
    shutil.rmtree(data_dir, ignore_errors=True)
    data_dir.mkdir()
    stages = Stages()
    embedder = wanted_embedder(settings)
    store = Store(data_dir, embedder.id, embedder.dimensions)
    stages.run("make tables", store.create)
    results, chain = Results(data_dir), Chain(settings.summarizers)

    def index(stages: Stages) -> None:
        _index(settings, store, results, chain, embedder, stages)

    index(stages)
    _print_state(store, data_dir)
    whole = sum(seconds for seconds, _ in stages.seconds.values())
    wall = sum(seconds for _, seconds in stages.seconds.values())
    megabytes = _baselines(settings, store, stages)
    _print(stages, megabytes, store.count("chunks"), whole, wall)
    if given.move:
        _move(settings, given.move, index, lambda: _print_state(store, data_dir))


def _index(
    settings: Settings,
    store: Store,
    results: Results,
    chain: Chain,
    embedder: Embedder,
    stages: Stages,
) -> None:
    """All repositories at their HEADs, stage by stage, as `codesearch index` does it."""
    for entry in settings.repositories:
        repository = git_repository(settings, entry)
        head = repository.head()
        stages.run("snapshot", lambda r=repository, e=entry, h=head: take_snapshot(store, r, e, h))
        stages.run("chunks", lambda r=repository: refresh_chunks(store, r))
        name = entry.name
        stages.run("code vectors", lambda n=name: refresh_code_embeddings(store, n, embedder))
        stages.run("summaries", lambda n=name: refresh_summaries(store, results, n, chain))
        stages.run(
            "summary vectors",
            lambda n=name: embed_partition(
                store, n, store.summary_vectors, summary_source(store, n), embedder
            ),
        )
    stages.run("upkeep", lambda: upkeep(store))


def _move(
    settings: Settings, commits: int, index: Callable[[Stages], None], show: Callable[[], None]
) -> None:
    """Index again `commits` back, and again where the repositories were before."""
    there = {entry.name: _git(entry.path, "rev-parse", "HEAD") for entry in settings.repositories}
    back = {
        entry.name: _git(entry.path, "rev-parse", f"HEAD~{commits}")
        for entry in settings.repositories
    }
    for way, heads in (("back", back), ("forward", there)):
        for entry in settings.repositories:
            _git(entry.path, "update-ref", "HEAD", heads[entry.name])
        stages = Stages()
        index(stages)
        print(f"\n{commits} commits {way}")
        for stage, (cpu_s, wall_s) in stages.seconds.items():
            print(f"{stage:<28}{cpu_s:>9.2f}{wall_s:>9.2f}")
        print(f"{'together':<28}{sum(cpu_s for cpu_s, _ in stages.seconds.values()):>9.2f}")
        show()


def _git(repository: Path | None, *arguments: str) -> str:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _print_state(store: Store, data_dir: Path) -> None:
    """Chunks, bytes on disk, and the most memory this process has had so far."""
    size = sum(file.stat().st_size for file in data_dir.rglob("*") if file.is_file()) / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{store.count('chunks')} chunks, {size:.0f} MB on disk, peak memory {peak:.0f} MB")


def _baselines(settings: Any, store: Store, stages: Stages) -> float:
    """Read every indexed blob, cut it, and parse it where there is a grammar."""
    size = 0
    for entry in settings.repositories:
        rows = store.read(
            "repo_snapshots", ["path", "blob_id"], f"repo = '{entry.name}' AND skip_reason = ''"
        ).to_pylist()
        repository = git_repository(settings, entry)
        blobs = stages.run(
            "git: blobs", lambda r=repository, w=rows: list(r.blobs([x["blob_id"] for x in w]))
        )
        size += sum(len(data) for _, data in blobs if data)
        pairs = [(row["path"], data) for row, (_, data) in zip(rows, blobs, strict=True) if data]
        cuts = stages.run("cut alone", lambda p=pairs: [cut(data, path) for path, data in p])
        parsed = [
            (path, data, found.language)
            for (path, data), found in zip(pairs, cuts, strict=True)
            if found.outcome == "parsed" and BY_NAME[found.language].grammar  # not notebooks, Vue
        ]
        stages.run("cut, files with a grammar", lambda f=parsed: [cut(d, p) for p, d, _ in f])
        stages.run("tree-sitter alone", lambda f=parsed: [_parse(d, name) for _, d, name in f])
    return size / 1e6


def _parse(data: bytes, language: str) -> object:
    grammar = BY_NAME[language].grammar
    assert grammar is not None
    return parser(grammar.loader).parse(data)


def _print(stages: Stages, megabytes: float, chunks: int, whole: float, wall: float) -> None:
    print(f"{megabytes:.1f} MB of source, {chunks} chunks")
    print(f"{'stage':<28}{'CPU s':>9}{'wall s':>9}{'MB/CPU s':>10}{'chunks/CPU s':>14}")
    for stage, (cpu_s, wall_s) in stages.seconds.items():
        rate, pieces = megabytes / max(cpu_s, 1e-9), chunks / max(cpu_s, 1e-9)
        print(f"{stage:<28}{cpu_s:>9.2f}{wall_s:>9.2f}{rate:>10.2f}{pieces:>14.0f}")
    print(f"{'end to end':<28}{whole:>9.2f}{wall:>9.2f}{megabytes / whole:>10.2f}"
          f"{chunks / whole:>14.0f}")  # fmt: skip
    seconds = {stage: value for stage, (value, _) in stages.seconds.items()}
    print(f"ratio end to end / git handing out the blobs: {whole / seconds['git: blobs']:.1f}")
    print(
        "ratio tree-sitter alone / the whole cutting of the same files: "
        f"{seconds['tree-sitter alone'] / seconds['cut, files with a grammar']:.2f}"
    )


if __name__ == "__main__":
    main()
