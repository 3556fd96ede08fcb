"""2,000 pieces of real code through a real embedding model on a real server, ours in nothing.

`make soak ONLY=real_embedder`; any Ollama by CODESEARCH_TEST_OLLAMA (its address) and
CODESEARCH_TEST_OLLAMA_EMBEDDER (model@dimensions, such as qwen3-embedding:0.6b@1024).
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import real_model
from embedding_servers import around

from codesearch_resources.embedders.server import server_embedder
from codesearch_resources.results import Results
from codesearch_resources.settings_embedders import (
    OllamaEmbedderSettings,
    OpenAICompatibleSettings,
    ServerSettings,
)

pytestmark = pytest.mark.soak

TEXTS = 2_000


def pieces() -> list[str]:
    """Definitions of the interpreter's own library."""
    found: dict[str, None] = {}
    for file in sorted(Path(os.__file__).parent.glob("*.py")):
        for part in re.split(r"\n(?=(?:    )?def |class )", file.read_text("utf-8", "replace")):
            if 80 < len(part) < 1500:
                found.setdefault(part)
    return list(found)[:TEXTS]


def llama(tmp: Path) -> Iterator[ServerSettings]:
    with real_model.served_embedder(tmp / "server.log") as url:
        yield OpenAICompatibleSettings(
            kind="openai_compatible", url=url, model=real_model.EMBEDDER_NAME, workers=1,
            dimensions=real_model.EMBEDDER_WIDTH, context=real_model.EMBEDDER_CONTEXT,
        )  # fmt: skip


def ollama(url: str, named: str) -> ServerSettings:
    model, _, width = named.partition("@")
    return OllamaEmbedderSettings(
        kind="ollama", url=url, model=model, dimensions=int(width or 1024), context=512
    )


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[ServerSettings]:
    url, named = (os.environ.get(f"CODESEARCH_TEST_OLLAMA{part}", "") for part in ("", "_EMBEDDER"))
    if url and named:
        yield ollama(url, named)
    else:
        yield from llama(tmp_path)


def test_two_thousand_pieces_have_vectors_once(settings: ServerSettings, tmp_path: Path) -> None:
    texts = pieces()
    assert len(texts) == TEXTS
    home = around(tmp_path / "home")
    embedder = server_embedder(settings, home)
    vectors = embedder.embed(texts, "document")
    assert vectors.shape == (TEXTS, settings.dimensions)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-3)
    results = Results(home.data_dir)
    calls = len(results.ledger.entries())
    assert results.vectors.counts() == {embedder.set_name: TEXTS}
    results.close()
    again = server_embedder(settings, home).embed(texts, "document")
    assert np.sum(again * vectors, axis=1) == pytest.approx(1, abs=1e-2)
    results = Results(home.data_dir)
    assert len(results.ledger.entries()) == calls, "asked for twice"
    results.close()
    # A piece is nearest to itself, when its second half is asked for rather than a stranger's.
    alone = server_embedder(settings, around(tmp_path / "other"))
    halves = [text[len(text) // 2 :] for text in texts[:50]]
    nearest = (alone.embed(halves, "document") @ vectors[:50].T).argmax(axis=1)
    print(f"own half nearest: {np.mean(nearest == np.arange(50)):.2f}, cut {embedder.cut}")
    assert np.mean(nearest == np.arange(50)) > 0.3
