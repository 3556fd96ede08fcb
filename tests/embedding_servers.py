"""Servers of vectors on loopback, and embedders that ask them, for tests."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simulator import Call, Simulator

from codesearch_resources.embedders.embedded import EmbeddedEmbedder
from codesearch_resources.embedders.fingerprint import PROBE
from codesearch_resources.embedders.proof import OTHER
from codesearch_resources.embedders.server import ServerEmbedder, server_embedder
from codesearch_resources.settings import Settings, load
from codesearch_resources.settings_embedders import (
    OllamaEmbedderSettings,
    OpenAICompatibleSettings,
    ServerSettings,
)

WIDTH = 16
OWN = EmbeddedEmbedder()  # its table is read once
Vectors = Callable[[Sequence[str]], Sequence[Sequence[float]]]
# A change of the answer of one call: gets the texts and the vectors that would be given.
Spoil = Callable[[Sequence[str], list[Any]], Any]


def turned(texts: Sequence[str]) -> list[list[float]]:
    """The embedded embedder's vectors in a space of their own: turned, so that no cosine between
    the two spaces means anything."""
    own = OWN.embed(list(texts), "document")
    signs = np.where(np.arange(own.shape[1]) % 3 == 0, -1.0, 1.0)
    return (np.roll(own, 101, axis=1) * signs).tolist()


def spread(texts: Sequence[str], width: int = WIDTH) -> list[list[float]]:
    """A direction for each text, made of its letters: like texts lie close."""
    found = []
    for text in texts:
        letters = np.array([ord(letter) for letter in text], dtype=np.int64)
        row = np.full(width, 0.01)
        np.add.at(row, (letters * 31 + np.arange(len(letters))) % width, 1.0 + letters % 7)
        found.append((row / np.linalg.norm(row)).tolist())
    return found


class EmbeddingServer(Simulator):
    """The simulator with vectors of its own, which `spoil` may change on their way out."""

    def __init__(self, vectors: Vectors = spread, spoil: Spoil | None = None, **how: Any) -> None:
        self.vectors, self.spoil = vectors, spoil
        super().__init__(**how)

    def answer(self, call: Call) -> dict[str, Any]:
        made = super().answer(call)
        texts = texts_of(call)
        vectors: Any = [list(row) for row in self.vectors(texts)] if texts else []
        if self.spoil is not None:
            vectors = self.spoil(texts, vectors)
        if call.path == "/api/embed":
            return {**made, "embeddings": vectors}
        data = [
            {"object": "embedding", "index": n, "embedding": row} for n, row in enumerate(vectors)
        ]
        return {**made, "data": data}

    @property
    def texts(self) -> list[str]:
        """Every text it was asked for but the fixed ones, in the order of the calls."""
        return [text for texts in self.batches for text in texts]

    @property
    def served_texts(self) -> list[str]:
        """Those of them that it gave a vector for."""
        return [t for call in self.served for t in texts_of(call) if not is_fixed(t)]

    @property
    def batches(self) -> list[list[str]]:
        """The texts of each call that held others than the fixed ones."""
        asked = [[t for t in texts_of(call) if not is_fixed(t)] for call in self.calls]
        return [texts for texts in asked if texts]


def is_fixed(text: str) -> bool:
    """Whether it is one that a server is asked for before it is trusted with a text."""
    return text in (PROBE, OTHER, "canary") or text.startswith("w0 w1 w2")


def texts_of(call: Call) -> list[str]:
    given = call.body.get("input")
    return [given] if isinstance(given, str) else list(given or [])


def around(folder: Path, extra: str = "") -> Settings:
    """Settings in a folder of their own, without a repository."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "codesearch.yaml"
    file.write_text(extra or "repositories: []\n")
    settings = load(file)
    settings.data_dir.mkdir(exist_ok=True)
    return settings


def settings_for(url: str, kind: str = "ollama", **more: Any) -> ServerSettings:
    given = {"model": "nomen-embed", "dimensions": WIDTH, "url": url, "timeout_seconds": 20, **more}
    if kind == "ollama":
        return OllamaEmbedderSettings(kind="ollama", **given)
    return OpenAICompatibleSettings(kind="openai_compatible", **given)


def embedder_for(
    server: Simulator, folder: Path, kind: str = "ollama", **more: Any
) -> ServerEmbedder:
    """An embedder that asks a server, with a results.db in `folder`."""
    return server_embedder(settings_for(server.url, kind, **more), around(folder))


def cosines(first: NDArray[Any], second: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Row by row."""
    other = np.array(second, dtype=np.float64)
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    return np.sum(first.astype(np.float64) * other, axis=1)


def most_calls(batch: int) -> int:
    """What finding one bad text in a batch may cost: halving."""
    return 2 * math.ceil(math.log2(batch)) + 1
