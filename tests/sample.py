"""Two small repositories indexed once a test process, for tests that only read the index."""

from functools import cache
from pathlib import Path

import pytest
from conftest import Workspace, WorkTree

CLIENT = '''\
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
ROUTER = '''\
class Router:
    """Which handler serves a path."""

    def __init__(self):
        self.routes = {}

    def add(self, path, handler):
        self.routes[path] = handler

    def resolve(self, path):
        return self.routes[path]
'''
TEST = "def test_call_with_backoff():\n    assert call_with_backoff(lambda: 200) == 200\n"
GO = """\
package main

// ParseHeader splits a header line at its colon.
func ParseHeader(line string) (string, string) {
	name, value, _ := strings.Cut(line, ":")
	return strings.TrimSpace(name), strings.TrimSpace(value)
}
"""
JS = """\
/** Draws the chart of daily sales. */
export function drawSalesChart(canvas, sales) {
  for (const day of sales) canvas.bar(day.date, day.total);
}
"""


def long_function(name: str, what: str) -> str:
    """A function of 160 lines, so that no two of them share a chunk."""
    body = "".join(f"    {what}_{n} = read_{what}(source, {n})\n" for n in range(157))
    return f'def {name}(source):\n    """Import the {what} rows."""\n{body}    return source\n'


IMPORTS = "\n\n".join(
    long_function(f"import_{what}", what) for what in ("orders", "customers", "invoices")
)
API = {
    "src/api/client.py": CLIENT,
    "src/api/router.py": ROUTER,
    "src/api/imports.py": IMPORTS,
    "tests/test_client.py": TEST,
    "logo.png": b"\x89PNG\r\n\x1a\n\0\0\0\0",
    "notes.txt": "How to call the server.\n",
}
WEB = {"server/header.go": GO, "page/chart.js": JS}


def tree(folder: Path, files: dict[str, str | bytes]) -> WorkTree:
    """A new git repository with one commit."""
    made = WorkTree(folder)
    made.path.mkdir(parents=True)
    made.git("init", "--quiet", "--initial-branch=main")
    made.commit(files, "first")
    return made


@cache
def _built(folder: Path) -> Workspace:
    api, web = tree(folder / "api", API), tree(folder / "web", WEB)
    file = folder / "codesearch.yaml"
    file.write_text(f"repositories:\n  - path: {api.path}\n  - path: {web.path}\n")
    workspace = Workspace(file)
    assert {outcome.error for outcome in workspace.index()} == {""}
    return workspace


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The repositories `api` (Python) and `web` (Go, JavaScript), indexed. Only read it."""
    return _built(tmp_path_factory.getbasetemp() / "sample")
