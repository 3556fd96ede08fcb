"""Centrality: how many other files mention a name that only one file defines."""

from conftest import Workspace
from indexes import store_of
from sample import tree

BASE = "class KestrelBase:\n    pass\n\n\ndef run():\n    return 1\n"
USER = "from base import KestrelBase\n\n\nclass {0}(KestrelBase):\n    pass\n"


def mentions(workspace: Workspace) -> dict[str, int]:
    rows = store_of(workspace).read("centrality", ["path", "mentions"]).to_pylist()
    return {row["path"]: row["mentions"] for row in rows}


def test_a_file_counts_the_others_that_mention_what_only_it_defines(make_workspace, tmp_path):  # type: ignore[no-untyped-def]
    files: dict[str, str | bytes] = {
        "base.py": BASE,
        "one.py": USER.format("First"),
        "two.py": USER.format("Second") + "\n\ndef shared_name():\n    return KestrelBase\n",
        "three.py": "def shared_name():\n    return 3\n",
        "tests/test_base.py": "from one import First\n\n\ndef test_first():\n    assert First\n",
    }
    made = tree(tmp_path / "api", files)
    workspace = make_workspace(made)
    workspace.index()
    assert mentions(workspace) == {
        "base.py": 2, "one.py": 1, "two.py": 0, "three.py": 0, "tests/test_base.py": 0
    }  # fmt: skip
    made.commit({"two.py": None})
    workspace.index()
    assert mentions(workspace) == {
        "base.py": 1, "one.py": 1, "three.py": 0, "tests/test_base.py": 0
    }  # fmt: skip
