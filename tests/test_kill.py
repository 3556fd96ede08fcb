"""kill -9 at any moment of an index run: the next plain run ends where an undisturbed one does."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import Workspace, WorkTree
from indexes import DOCUMENTED, PARTS, CutHere, Line, contents, store_of

from codesearch_assets import chunks as chunks_module
from codesearch_assets.embeddings import BATCH
from codesearch_resources.embedders.embedded import EmbeddedEmbedder

# `codesearch index` with each text that is given to the embedder counted before it is embedded,
# and a word on standard output once the imports, which take most of a short run, are through.
COUNTED_INDEX = """
import os, sys
from codesearch.cli import main
import codesearch_assets.runs, lancedb
from codesearch_resources.embedders.embedded import EmbeddedEmbedder

counts, config = sys.argv[1:]
own = EmbeddedEmbedder.embed

def embed(self, texts, kind):
    file = os.open(counts, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(file, f"{len(texts)}\\n".encode())
    os.close(file)
    return own(self, texts, kind)

EmbeddedEmbedder.embed = embed
print("ready", flush=True)
main(["index", "--config", config])
"""
ROOT = Path(__file__).parent.parent


class Campaign:
    """Index runs of one work tree in processes of their own, some of them killed."""

    def __init__(self, tree: WorkTree, folder: Path) -> None:
        self.tree, self.folder = tree, folder
        self.counts = folder / "counts"
        self.file = folder / "codesearch.yaml"
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget everything: an empty data folder and Dagster home."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.file.write_text(f"repositories:\n  - path: {self.tree.path}\n")
        self.killed = 0

    def run(self, kill_after: float | None = None) -> tuple[bool, float]:
        """Index; kill it so many seconds after its imports. (ended by itself, seconds)."""
        process = subprocess.Popen(
            [sys.executable, "-c", COUNTED_INDEX, str(self.counts), str(self.file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            started = time.monotonic()
            try:
                _, errors = process.communicate(timeout=kill_after)
            except subprocess.TimeoutExpired:
                return False, time.monotonic() - started
            assert process.returncode == 0, errors
            return True, time.monotonic() - started
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                self.killed += 1
                process.communicate()

    @property
    def embedded(self) -> int:
        """Texts given to the embedder since the beginning, by killed runs too."""
        return sum(map(int, self.counts.read_text().split())) if self.counts.exists() else 0

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.file)


def corpus(tree: WorkTree, packages: Sequence[str], most_files: int) -> None:
    """Commit the Python sources of installed packages."""
    found: list[tuple[str, Path]] = []
    for package in packages:
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        folder = Path(spec.origin).parent
        found += [(f"{package}/{f.relative_to(folder)}", f) for f in sorted(folder.rglob("*.py"))]
    tree.commit({name: file.read_bytes() for name, file in found[:most_files]})


def assert_same_tables(campaign: Campaign, expected: dict[str, list[tuple[object, ...]]]) -> None:
    found = contents(store_of(campaign.workspace))
    for name, wanted in expected.items():
        assert found[name] == wanted, f"{name} after {campaign.killed} kills"


def test_killed_runs_leave_what_a_plain_run_completes(
    make_tree: Callable[..., WorkTree], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = make_tree("corpus")
    corpus(tree, ["click"], 40)
    embedded: list[int] = []
    own = EmbeddedEmbedder.embed

    def counted(self: EmbeddedEmbedder, texts: Sequence[str], kind: str) -> object:
        embedded.append(len(texts))
        return own(self, texts, kind)  # type: ignore[arg-type]

    monkeypatch.setattr(EmbeddedEmbedder, "embed", counted)
    # What needs no kill is run in this process, which has its imports behind it.
    undisturbed = Campaign(tree, tmp_path / "undisturbed")
    started = time.monotonic()
    assert not any(outcome.error for outcome in undisturbed.workspace.index())
    seconds = time.monotonic() - started
    expected = contents(store_of(undisturbed.workspace))
    assert 100 < len(expected["chunks"]) < 1_000
    alone = sum(embedded)
    assert alone > 0

    moments = random.Random(20)
    campaign = Campaign(tree, tmp_path / "killed")
    for part in range(3):
        campaign.run(kill_after=seconds * (part + moments.random()) / 3)
    assert campaign.killed >= 1
    embedded.clear()
    assert not any(outcome.error for outcome in campaign.workspace.index())
    assert_same_tables(campaign, expected)
    assert campaign.embedded + sum(embedded) <= alone + BATCH * campaign.killed


SOAK_PACKAGES = ["click", "httpx", "sqlalchemy", "pydantic", "rich", "hypothesis", "dagster"]


@pytest.mark.soak
def test_twenty_kills_of_a_long_run_change_nothing(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    tree = make_tree("corpus")
    corpus(tree, SOAK_PACKAGES, 600)
    campaign = Campaign(tree, tmp_path / "campaign")
    _, seconds = campaign.run()
    expected, alone = contents(store_of(campaign.workspace)), campaign.embedded
    print(f"undisturbed: {len(expected['chunks'])} chunks, {alone} texts, {seconds:.1f} s")
    moments = random.Random(20)
    kills = rounds = 0
    while kills < 20:
        # Each killed run is followed by another, killed again unless it ends first.
        campaign.begin_anew()
        rounds += 1
        ended = False
        while not ended:
            moment = moments.uniform(0, seconds) if kills + campaign.killed < 20 else None
            ended, _ = campaign.run(kill_after=moment)
        assert_same_tables(campaign, expected)
        assert campaign.embedded <= alone + BATCH * campaign.killed
        print(f"round {rounds}: {campaign.killed} kills, {campaign.embedded - alone} texts again")
        kills += campaign.killed
    assert kills == 20


@pytest.mark.parametrize("back", [False, True], ids=["forward", "back"])
def test_a_run_that_dies_between_any_two_writes_is_completed_by_the_next(
    make_tree: Callable[..., WorkTree],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    back: bool,
) -> None:
    """Also when the branch has moved back meanwhile, and the half-done files are as they were."""
    monkeypatch.setattr(chunks_module, "CuttingProcess", CutHere)
    tree = make_tree("api", {"parts.py": PARTS, "settings.py": "LIMIT = 3\n"})
    first = tree.git("rev-parse", "HEAD")
    second = tree.commit(
        {"parts.py": PARTS.replace("bravo", "omega"), "settings.py": None, "wait.py": DOCUMENTED}
    )
    clean = Line(tmp_path / "clean", tree)
    clean.refresh(first if back else second)
    expected = clean.all_rows()

    line = Line(tmp_path / "data", tree)
    writes, ended = 0, False
    while not ended:
        line.refresh(first)
        with pytest.MonkeyPatch.context() as patch:
            _die_before_write(patch, line, writes)
            try:
                line.refresh(second)
                ended = True
            except KeyboardInterrupt:
                pass
        line.refresh(first if back else second)
        assert line.all_rows() == expected, f"died before write {writes}"
        writes += 1
    assert writes > 8


def _die_before_write(patch: pytest.MonkeyPatch, line: Line, write: int) -> None:
    """Let the store make so many writes, then nothing more."""
    left = [write]
    own_upsert, own_delete = line.store.upsert, line.store.delete

    def upsert(name, rows):  # type: ignore[no-untyped-def]
        _count(left, rows.num_rows)
        return own_upsert(name, rows)

    def delete(name, keys):  # type: ignore[no-untyped-def]
        keys = list(keys)
        _count(left, len(keys))
        return own_delete(name, keys)

    patch.setattr(line.store, "upsert", upsert)
    patch.setattr(line.store, "delete", delete)


def _count(left: list[int], rows: int) -> None:
    if rows and left[0] == 0:
        raise KeyboardInterrupt
    left[0] -= bool(rows)
