"""docs/operations.md: every command in it, executed as it stands and in its order."""

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import IDENTITY, Workspace, WorkTree
from unattended import ADD

from codesearch_assets.runs import instance_of
from codesearch_resources.catalog import read_catalog

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "operations.md"
REPOS = ("api", "web", "lib", "old", "older")


def blocks() -> list[str]:
    """The fenced shell blocks of the page."""
    return re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def commands_of(folder: Path) -> Path:
    """A folder with the commands that an installed environment has."""
    folder.mkdir()
    for name in ("codesearch", "dagster"):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {name} "$@"\n')
        script.chmod(0o755)
    (folder / "python").symlink_to(sys.executable)
    return folder


@pytest.fixture
def workspace(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> Workspace:
    made = make_workspace(*(make_tree(name, {"add.py": ADD}) for name in REPOS))
    made.index()
    return made


def test_every_fenced_block_is_a_shell_block() -> None:
    fences = re.findall(r"^```(\w*)$", PAGE.read_text(), re.MULTILINE)
    assert fences == ["bash", ""] * len(blocks())


def test_each_command_does_what_the_page_says(workspace: Workspace, tmp_path: Path) -> None:
    folder = workspace.file.parent
    environment = {
        **os.environ,
        **IDENTITY,
        "PATH": f"{commands_of(tmp_path / 'bin')}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }
    environment.pop("DAGSTER_HOME", None)  # the page itself says where it is
    script = "set -e\n" + "".join(f"echo '@@@ {n}'\n{text}" for n, text in enumerate(blocks()))
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    said = done.stdout.split("@@@ ")[1:]
    assert len(said) == len(blocks())
    by_command = dict(zip(blocks(), said, strict=True))

    def output(command: str) -> str:
        [text] = [text for block, text in by_command.items() if command in block]
        return text

    assert re.search(r"nightly \[RUNNING\]", output("sensor start"))
    assert all(name in output("codesearch index\ncodesearch status") for name in REPOS)
    assert "removed old from" in output("repos remove")
    assert re.search(r"older: \d+ rows deleted", output("repos remove"))
    assert "results.db" in output("du -sh")
    with sqlite3.connect(folder / "results-backup.db") as backup:
        [(version,)] = backup.execute("PRAGMA user_version").fetchall()
        assert version > 0
    left = {"api", "web", "lib"}
    assert set(read_catalog(workspace.settings.data_dir)) == left
    with workspace.open() as opened, instance_of(workspace.settings) as instance:
        assert set(opened.table("chunks")["repo"]) == left
        assert set(instance.get_dynamic_partitions("repositories")) == left
        asked = [
            (run.job_name, run.tags["dagster/partition"])
            for run in instance.get_runs()
            if "dagster/backfill" in run.tags
        ]
    assert sorted(asked) == [
        *(("refresh", name) for name in ("api", "web")),
        ("summarise", "api"),
    ]
