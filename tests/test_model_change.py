"""A change of the embedder under searching readers, killed on the way: no search ever notices.

Two embedders of one width in two spaces: a question of one put to vectors of the other would
not fail, it would find anything. Every answer must be one that either set gives by itself.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Workspace, WorkTree
from embedding_servers import EmbeddingServer, turned
from test_kill import corpus

from codesearch.search import Index
from codesearch_resources.embedders import questions as questions_module
from codesearch_resources.embedders.server import BATCH_TEXTS
from codesearch_resources.sets import read_sets

QUESTIONS = (
    "where are options parsed?",
    "format the help text",
    "an error for a bad parameter",
    "prompt for a password",
)
ROOT = Path(__file__).parent.parent
INDEX = (
    "import sys; from codesearch.cli import main; import codesearch_assets.runs, lancedb; "
    "print('ready', flush=True); main(['index', '--config', sys.argv[1]])"
)
Seen = tuple[Any, ...]


def answer(index: Index, question: str) -> Seen:
    """The hits of a question with the rank that vectors gave each."""
    found = index.ask(question)
    assert found.hits
    assert not any("without vectors" in notice for notice in found.notices), found.notices
    ranks = tuple((hit.path, hit.start_line, hit.lanes.get("vectors")) for hit in found.hits)
    assert any(rank is not None for _, _, rank in ranks), "answered without vectors"
    return ranks


class Readers:
    """Threads that ask all the time, two on each open index; what they saw, by question."""

    def __init__(self, workspace: Workspace, count: int) -> None:
        self.seen: dict[str, set[Seen]] = {question: set() for question in QUESTIONS}
        self.failed: list[BaseException] = []
        self._stop = threading.Event()
        self._indexes = [workspace.open() for _ in range((count + 1) // 2)]
        self._threads = [
            threading.Thread(target=self._ask, args=(self._indexes[n // 2], n))
            for n in range(count)
        ]

    def __enter__(self) -> "Readers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for index in self._indexes:
            index.close()

    def _ask(self, index: Index, seed: int) -> None:
        drawn = random.Random(seed)
        while not self._stop.is_set():
            question = drawn.choice(QUESTIONS)
            try:
                self.seen[question].add(answer(index, question))
            except BaseException as error:
                self.failed.append(error)
                return
            self._stop.wait(0.2)


def name_embedder(workspace: Workspace, server: EmbeddingServer | None) -> None:
    """In the settings: the server's, or the one inside."""
    lines = workspace.file.read_text().splitlines()
    named = "embedder: {kind: embedded}"
    if server is not None:
        told = "model: nomen-embed, dimensions: 256, workers: 1"
        named = f"embedder: {{kind: ollama, url: '{server.url}', {told}}}"
    kept = [line for line in lines if not line.startswith("embedder")]
    workspace.file.write_text("\n".join([*kept, named]) + "\n")


def killed_run(workspace: Workspace, after: float) -> bool:
    """`codesearch index` in a process, killed so many seconds after its imports."""
    process = subprocess.Popen(
        [sys.executable, "-c", INDEX, str(workspace.file)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"ready\n"
        process.communicate(timeout=after)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True


def alone(workspace: Workspace) -> dict[str, Seen]:
    """What the set that serves now says to each question."""
    with workspace.open() as index:
        return {question: answer(index, question) for question in QUESTIONS}


def campaign(workspace: Workspace, server: EmbeddingServer, *, readers: int, kills: int) -> None:
    assert [outcome.error for outcome in workspace.index() if outcome.error] == []
    old = alone(workspace)
    name_embedder(workspace, server)
    first = read_sets(workspace.settings.data_dir).serving
    moments, killed = random.Random(8), 0
    with Readers(workspace, readers) as asking:
        while killed < kills:
            assert killed_run(workspace, moments.uniform(1.0, 4.0)), "ended before it was killed"
            killed += 1
            assert read_sets(workspace.settings.data_dir).serving == first
        server.latency = 0.0
        assert [outcome.error for outcome in workspace.index() if outcome.error] == []
        time.sleep(1.0)
    new = alone(workspace)
    assert read_sets(workspace.settings.data_dir).serving != first
    assert not asking.failed, asking.failed[0]
    for question, seen in asking.seen.items():
        assert seen <= {old[question], new[question]}, f"mixed spaces: {question}"
    documents = [text for text in server.texts if text not in QUESTIONS]
    again = len(documents) - len(set(documents))
    print(f"{len(documents)} texts, {killed} kills, {again} asked for again")
    # One worker: the batch under way, or one just being kept with the next one begun.
    assert again <= 2 * BATCH_TEXTS * killed
    # Back and forth: everything is there.
    calls = len(documents)
    for to in (None, server):
        name_embedder(workspace, to)
        assert [outcome.error for outcome in workspace.index() if outcome.error] == []
        assert alone(workspace) == (old if to is None else new)
    assert len([text for text in server.texts if text not in QUESTIONS]) == calls


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(questions_module, "PATIENCE", 30.0)
    # Documents take their time, questions none: readers and the run share one server.
    with EmbeddingServer(vectors=turned, latency=0.3) as running:
        yield running


def test_a_model_is_changed_under_readers_and_kills(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: EmbeddingServer,
) -> None:
    tree = make_tree("corpus")
    corpus(tree, ["click"], 12)
    server.latency = 2.0  # so that every kill comes before the end
    campaign(make_workspace(tree), server, readers=4, kills=2)


@pytest.mark.soak
def test_a_model_is_changed_under_eight_readers_and_ten_kills(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: EmbeddingServer,
) -> None:
    tree = make_tree("corpus")
    corpus(tree, ["click", "httpx", "rich"], 150)
    server.latency = 2.0
    campaign(make_workspace(tree), server, readers=8, kills=10)
