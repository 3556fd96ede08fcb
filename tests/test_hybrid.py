"""The hybrid set-up end to end: vectors by a local model, summaries by one in the cloud."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import WorkTree
from embedding_servers import EmbeddingServer, is_fixed, turned

from codesearch.cli import main
from codesearch.search import Index
from codesearch_assets.runs import index
from codesearch_resources.embedders import questions
from codesearch_resources.results import Results
from codesearch_resources.settings import load

EMBEDDER, WRITER = "qwen3-embedding:0.6b", "deepseek-v4-flash:cloud"
CODE = "def call_with_backoff(send, attempts=5):\n" + "".join(
    f"    attempts = attempts + {n} * send({n})\n" for n in range(12)
)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddingServer]:
    monkeypatch.setattr(questions, "PATIENCE", questions.TIMEOUT)
    with EmbeddingServer(vectors=turned, remote=[WRITER]) as running:
        yield running


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every address that this process connects a socket to."""
    seen: list[Any] = []
    own = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            seen.append(address)
        own(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return seen


def profile(tree: WorkTree, folder: Path, server: EmbeddingServer) -> Path:
    """What `init --profile hybrid` writes, with the server of this test."""
    file = folder / "codesearch.yaml"
    arguments = ["init", "--profile", "hybrid", "--yes", "--config", str(file), str(tree.path)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    text = file.read_text().replace("http://localhost:11434", server.url)
    file.write_text(text.replace("dimensions: 1024", "dimensions: 256 "))
    return file


def test_the_profile_asks_before_code_may_leave(
    make_tree: Callable[..., WorkTree], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = make_tree("api", {"a.py": CODE})
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    done = CliRunner().invoke(main, ["init", "--profile", "hybrid", str(tree.path)], input="n\n")
    assert done.exit_code != 0
    assert "local_only: false" in done.output
    assert os.listdir() == []
    done = CliRunner().invoke(main, ["init", "--profile", "hybrid", str(tree.path)], input="y\n")
    assert done.exit_code == 0
    settings = load(Path("codesearch.yaml"))
    assert settings.embedder.kind == "ollama"
    assert settings.embedder.local_only
    assert not settings.repositories[0].local_only


def test_vectors_stay_and_summaries_go_where_the_chain_says(
    make_tree: Callable[..., WorkTree],
    tmp_path: Path,
    server: EmbeddingServer,
    connected: list[Any],
) -> None:
    settings = load(profile(make_tree("api", {"client.py": CODE}), tmp_path, server))
    assert [o.error for o in index(settings, settings.repositories) if o.error] == []
    with Index(settings) as opened:
        found = opened.ask("call again with backoff")
    assert not any("without vectors" in notice for notice in found.notices), found.notices
    assert "vectors" in found.hits[0].lanes
    by_path = {path: {c.model for c in server.calls if c.path == path} for path in
               ("/api/embed", "/api/chat")}  # fmt: skip
    assert by_path == {"/api/embed": {EMBEDDER}, "/api/chat": {WRITER}}
    assert {host for host, *_ in connected} == {"127.0.0.1"}
    results = Results(settings.data_dir)
    purposes = {(entry.purpose, entry.model) for entry in results.ledger.entries()}
    results.close()
    assert purposes == {("embedding", EMBEDDER), ("summary", WRITER)}


def test_an_embedding_model_that_turns_out_to_be_remote_gets_no_text(
    make_tree: Callable[..., WorkTree], tmp_path: Path, server: EmbeddingServer
) -> None:
    """A plain name whose model Ollama passes on: summaries may leave, vectors may not."""
    server.remote.add(EMBEDDER)
    settings = load(profile(make_tree("api", {"client.py": CODE}), tmp_path, server))
    outcomes = index(settings, settings.repositories)
    (failed,) = (outcome.error for outcome in outcomes if outcome.error)
    assert "local_only" in failed
    assert not [call for call in server.calls if call.path == "/api/embed"]


def test_an_index_made_anew_costs_no_vector(
    make_tree: Callable[..., WorkTree], tmp_path: Path, server: EmbeddingServer
) -> None:
    """LanceDB's tables deleted: everything comes from results.db."""
    import shutil

    settings = load(profile(make_tree("api", {"client.py": CODE}), tmp_path, server))
    assert [o.error for o in index(settings, settings.repositories) if o.error] == []
    shutil.rmtree(settings.data_dir / "lancedb")
    server.calls.clear()
    assert [o.error for o in index(settings, settings.repositories) if o.error] == []
    assert [text for text in server.texts if not is_fixed(text)] == []
    with Index(settings) as opened:
        assert "vectors" in opened.ask("call again with backoff").hits[0].lanes
