"""Real repositories and real indexes, small enough to be made afresh in each test."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from connect_guard import guarded

from codesearch.search import Index
from codesearch_assets.runs import Outcome, index
from codesearch_resources.settings import Settings, load

IDENTITY = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="Run the campaigns at full size too.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--soak") or os.environ.get("CODESEARCH_SOAK"):
        return
    for item in items:
        if "soak" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="a long campaign: make soak"))


@dataclass(frozen=True)
class WorkTree:
    """A git repository with a work tree."""

    path: Path

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.path), *arguments],
            env={**os.environ, **IDENTITY},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def write(self, files: Mapping[str, str | bytes | None]) -> None:
        """Write files into the work tree; None deletes one."""
        for name, content in files.items():
            file = self.path / name
            if content is None:
                file.unlink()
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, files: Mapping[str, str | bytes | None], message: str = "change") -> str:
        """Write files, commit everything, return the commit."""
        self.write(files)
        self.git("add", "-A")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


@dataclass(frozen=True)
class Workspace:
    """A folder with a codesearch.yaml, and what a user does with it."""

    file: Path

    @property
    def settings(self) -> Settings:
        return load(self.file)

    def index(self, *names: str, everything: bool = False) -> list[Outcome]:
        """`codesearch index`, in this process."""
        settings = self.settings
        entries = [settings.repository(name) for name in names] or settings.repositories
        return index(settings, entries, everything=everything)

    def open(self) -> Index:
        return Index(self.settings)


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the user's configuration nor a DAGSTER_HOME left by another test is seen."""
    monkeypatch.delenv("CODESEARCH_CONFIG", raising=False)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))


@pytest.fixture
def connect_guard() -> Iterator[list[str]]:
    """Every connect beyond this machine fails, and fails the test."""
    with guarded() as seen:
        yield seen


@pytest.fixture
def make_tree(tmp_path: Path) -> Callable[..., WorkTree]:
    """Make a git repository under tmp_path, with a first commit when files are given."""

    def make(name: str = "repo", files: Mapping[str, str | bytes | None] | None = None) -> WorkTree:
        tree = WorkTree(tmp_path / name)
        tree.path.mkdir(parents=True)
        tree.git("init", "--quiet", "--initial-branch=main")
        if files is not None:
            tree.commit(files, "first")
        return tree

    return make


@pytest.fixture
def make_workspace(tmp_path: Path) -> Iterator[Callable[..., Workspace]]:
    """Write a codesearch.yaml for work trees; `extra` is appended as it is."""

    def make(*trees: WorkTree, name: str = "workspace", extra: str = "") -> Workspace:
        folder = tmp_path / name
        folder.mkdir()
        entries = "".join(f"  - path: {tree.path}\n" for tree in trees)
        file = folder / "codesearch.yaml"
        file.write_text((f"repositories:\n{entries}" if trees else "") + extra)
        return Workspace(file)

    return make


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where a shell started these tests with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
