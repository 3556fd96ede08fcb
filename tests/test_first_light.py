"""The whole line once: real repositories in, answers out."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Workspace, WorkTree

from codesearch_resources.git import git_dir

PROJECT = WorkTree(Path(__file__).parent.parent)
RETRY = '''\
"""Talking to the server."""

import time


def call_with_backoff(send, attempts=5):
    """Send again, waiting longer each time, when the quota is used up."""
    for attempt in range(attempts):
        answer = send()
        if answer.status != 429:
            return answer
        time.sleep(2**attempt)
    raise RuntimeError("gave up")
'''
PARSE = "def parse_config(text):\n    return dict(line.split('=') for line in text.splitlines())\n"


def test_a_question_finds_the_function_that_answers_it(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    tree = make_tree("api", {"client.py": RETRY, "config.py": PARSE})
    workspace = make_workspace(tree)
    assert [outcome.error for outcome in workspace.index()] == ["", ""]
    with workspace.open() as opened:
        best = opened.search("where do we wait when the quota is exhausted?")[0]
        assert (best.repo, best.path, best.symbol) == ("api", "client.py", "call_with_backoff")
        assert best.commit == tree.git("rev-parse", "HEAD")
        counts = [len(opened.table(name)) for name in ("chunks", "summaries")]
        assert counts[0] == counts[1] > 0


@pytest.mark.skipif(git_dir(PROJECT.path) is None, reason="this is no git checkout")
def test_three_questions_about_this_project_are_answered_in_the_first_three_hits(
    make_workspace: Callable[..., Workspace],
) -> None:
    workspace = make_workspace(PROJECT)
    assert [outcome.error for outcome in workspace.index()] == ["", ""]
    expected = {
        "find the settings file in a folder above": ("settings.py", "find"),
        "needs_refresh": ("freshness.py", "needs_refresh"),
        "cut a function that is too long at its statements": ("cutter.py", "Cutter"),
    }
    with workspace.open() as opened:
        for question, (file, symbol) in expected.items():
            hits = opened.search(question, limit=3)
            shown = [hit for hit in hits if Path(hit.path).name == file]
            assert any(
                hit.symbol.startswith(symbol) or f"def {symbol}(" in hit.text for hit in shown
            ), (question, [(hit.path, hit.symbol) for hit in hits])
