"""Whatever the history: following it gives what a clean index of its end gives."""

from pathlib import Path

import pytest
from conftest import WorkTree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from indexes import PARTS, CutHere, Line, layers

from codesearch_assets import chunks as chunks_module

PATHS = ("a.py", "b.py", "lib/a.py", "notes.md", "data.bin")
PIECES = (
    "import os\n\n\n",
    "def one(a):\n    return os.path.join(a, 'x')\n\n\n",
    'def two(a):\n    """Say what the second of them does here."""\n    return one(a)\n\n\n',
    "class Three:\n    def four(self):\n        return two(4)\n\n\n",
    "# Title\n\nWords.\n\n",
    "\x00\x01",
    "x = [\n",
    PARTS[:900] + "\n",
)
CHANGES = st.one_of(
    st.tuples(
        st.just("write"),
        st.sampled_from(PATHS),
        st.lists(st.sampled_from(PIECES), max_size=5).map("".join),
    ),
    st.tuples(st.just("top"), st.sampled_from(PATHS), st.sampled_from(PIECES)),
    st.tuples(st.just("move"), st.sampled_from(PATHS), st.sampled_from(PATHS)),
    st.tuples(st.just("delete"), st.sampled_from(PATHS), st.just("")),
)
HISTORIES = st.lists(st.lists(CHANGES, min_size=1, max_size=4), min_size=2, max_size=4)


def apply(files: dict[str, str], change: tuple[str, str, str]) -> None:
    what, path, value = change
    if what == "write":
        files[path] = value
    elif path not in files:
        return
    elif what == "top":
        files[path] = value + files[path]
    elif what == "move":
        files[value] = files.pop(path)
    else:
        del files[path]


class Histories:
    """Two stores: one that follows every commit, one that sees the last of each history only."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.number = folder, 0
        patch.setattr(chunks_module, "CuttingProcess", CutHere)

    def check(self, history: list[list[tuple[str, str, str]]]) -> None:
        self.number += 1
        name = f"r{self.number}"
        tree = WorkTree(self.folder / name)
        tree.path.mkdir()
        tree.git("init", "--quiet", "--initial-branch=main")
        followed = Line(self.folder / "followed", tree, name=name)
        files: dict[str, str] = {}
        for changes in history:
            before = dict(files)
            for change in changes:
                apply(files, change)
            tree.commit({**dict.fromkeys(before.keys() - files.keys()), **files})
            followed.run()
        clean = Line(self.folder / "clean", tree, name=name)
        clean.run()
        for table in clean.store.specs:
            assert followed.rows(table) == clean.rows(table), table
        assert len({len(clean.rows(table)) for table in layers(clean.store)}) == 1


def test_following_a_history_gives_what_a_clean_index_of_its_end_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories = Histories(tmp_path, monkeypatch)

    @settings(max_examples=6, deadline=None, derandomize=True, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(HISTORIES)
    def follow(history: list[list[tuple[str, str, str]]]) -> None:
        histories.check(history)

    follow()


@pytest.mark.soak
def test_following_many_histories_gives_what_clean_indexes_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories = Histories(tmp_path, monkeypatch)

    @settings(max_examples=200, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(HISTORIES)
    def follow(history: list[list[tuple[str, str, str]]]) -> None:
        histories.check(history)

    follow()
