"""What tests ask of an index: its rows, its tables' versions, its assets without Dagster."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from conftest import Workspace, WorkTree
from numpy.typing import NDArray

from codesearch_assets.chunking.chunk import FileChunks
from codesearch_assets.chunking.chunker import cut
from codesearch_assets.chunks import refresh_chunks
from codesearch_assets.embeddings import embed_partition, refresh_code_embeddings, summary_source
from codesearch_assets.repo_snapshots import take_snapshot
from codesearch_assets.summaries import refresh_summaries
from codesearch_resources.embedders.base import Document, Kind
from codesearch_resources.embedders.embedded import EmbeddedEmbedder
from codesearch_resources.repositories import Repository
from codesearch_resources.results import Results
from codesearch_resources.settings import RepositorySettings
from codesearch_resources.settings_summarizers import ExtractiveSettings
from codesearch_resources.store import Store, of_repo
from codesearch_resources.summarizers.base import Grade, Piece, Summary, summary_key
from codesearch_resources.summarizers.chain import Chain
from codesearch_resources.summarizers.order import Order, Summarizer

EXTRACTIVE = ExtractiveSettings(name="extractive", kind="extractive")
TIMES = ("created_at", "indexed_at")
LAYERS = ("chunks", "summaries")  # and the two vector tables, which are named by the embedder
# Long enough that each definition is a chunk of its own.
PARTS = "\n\n".join(
    f"def {name}(value):\n"
    + "".join(f"    value = value * {n} + {seed}  # step {n} of {name}\n" for n in range(45))
    + "    return value\n"
    for seed, name in enumerate(["alpha", "bravo", "charlie", "delta"])
)
DOCUMENTED = '''\
def wait(seconds):
    """Wait until the server is ready to take the next request."""
'''


def store_of(workspace: Workspace) -> Store:
    """The store of a workspace, reading every commit."""
    return Store(workspace.settings.data_dir, EmbeddedEmbedder.id, EmbeddedEmbedder.dimensions)


def rows(store: Store, name: str, repo: str | None = None) -> list[tuple[Any, ...]]:
    """A table's rows but for timestamps, in the order of their keys."""
    spec = store.specs[name]
    columns = [spec.key, *(c for c in spec.schema.names if c not in (*TIMES, spec.key))]
    found = store.read(name, columns, of_repo(repo) if repo else "").to_pylist()
    return sorted((tuple(row[c] for c in columns) for row in found), key=lambda row: row[0])


def contents(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Every table's rows but for timestamps."""
    return {name: rows(store, name) for name in store.specs}


def layers(store: Store) -> tuple[str, ...]:
    """The tables that hold one row a chunk."""
    return (*LAYERS, store.code_vectors, store.summary_vectors)


def versions(store: Store) -> dict[str, int]:
    """The version of every table; it moves with each write, of rows or of indices."""
    return {name: store.table(name).version for name in store.specs}


def moved(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """The tables that were written between two `versions`."""
    return {name for name in after if after[name] != before[name]}


@contextmanager
def unwritable(store: Store, table: str) -> Iterator[None]:
    """A table that can be read and not written, by root neither."""
    folder = store.folder / f"{table}.lance" / "_transactions"
    aside = folder.with_name("aside")
    folder.rename(aside)
    folder.touch()
    yield
    folder.unlink()
    aside.rename(folder)


@dataclass
class CountingEmbedder:
    """The embedded embedder, remembering what it was given."""

    own: EmbeddedEmbedder = field(default_factory=EmbeddedEmbedder)
    texts: list[str] = field(default_factory=list)
    id: str = EmbeddedEmbedder.id
    dimensions: int = EmbeddedEmbedder.dimensions

    def view(self, document: Document) -> str:
        return self.own.view(document)

    def embed(self, texts: Sequence[str], kind: Kind) -> NDArray[np.float32]:
        self.texts += texts
        return self.own.embed(texts, kind)


@dataclass
class FakeModel:
    """A summarizer of grade `model` that costs nothing and remembers what it was asked.

    It stops after `most` pieces, as a provider whose window is used up.
    """

    name: str = "fake"
    grade: Grade = "model"
    most: int | None = None
    asked: list[Piece] = field(default_factory=list)

    def given_up(self, results: Results, keys: Sequence[str]) -> set[str]:
        return set()

    def summarize(
        self, pieces: Sequence[Piece], order: Order
    ) -> Generator[tuple[Piece, Summary], None, None]:
        for piece in pieces:
            if self.most is not None and len(self.asked) >= self.most:
                return
            self.asked.append(piece)
            text = f"It is {piece.symbol or piece.kind}, number {len(self.asked)}."
            summary = Summary(text, "model", self.name, "fake-1", "prompt-1")
            order.results.keep({summary_key(piece.content_hash): summary})
            yield piece, summary
            if order.late:
                return


class CutHere:
    """The cutting process without a process, which costs more than cutting a few small files."""

    def __enter__(self) -> "CutHere":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def cut_many(self, files: Iterable[tuple[str, str, bytes]]) -> Iterator[FileChunks]:
        for path, language, data in files:
            yield cut(data, path, language)


class Line:
    """The five assets over one work tree, by direct calls; Dagster is left out for its cost."""

    def __init__(
        self,
        folder: Path,
        tree: WorkTree,
        *,
        name: str | None = None,
        summarizer: Summarizer | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.embedder = CountingEmbedder()
        self.store = Store(folder, self.embedder.id, self.embedder.dimensions)
        self.store.create()
        self.results = Results(folder)
        self.summarizer: Summarizer = summarizer or Chain([EXTRACTIVE])
        self.entry = RepositorySettings(name=name or tree.path.name, path=tree.path)
        self.repository = Repository(name=self.entry.name, path=tree.path)

    def refresh(self, commit: str | None = None) -> None:
        """What the job of that name does, at HEAD or the given commit."""
        take_snapshot(self.store, self.repository, self.entry, commit or self.repository.head())
        refresh_chunks(self.store, self.repository)
        refresh_code_embeddings(self.store, self.entry.name, self.embedder)

    def summarise(self) -> None:
        """What the job of that name does."""
        name, store = self.entry.name, self.store
        refresh_summaries(store, self.results, name, self.summarizer)
        embed_partition(
            store, name, store.summary_vectors, summary_source(store, name), self.embedder
        )

    def run(self, commit: str | None = None) -> None:
        """Both jobs."""
        self.refresh(commit)
        self.summarise()

    def rows(self, name: str) -> list[tuple[Any, ...]]:
        """This repository's rows of a table but for timestamps."""
        return rows(self.store, name, self.entry.name)

    def all_rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """This repository's rows of every table but for timestamps."""
        return {name: self.rows(name) for name in self.store.specs}

    def chunks(self, *columns: str) -> list[dict[str, Any]]:
        """Columns of this repository's chunks by path and line."""
        wanted = list(dict.fromkeys([*columns, "path", "start_line"]))
        found = self.store.read("chunks", wanted, of_repo(self.entry.name)).to_pylist()
        return sorted(found, key=lambda row: (row["path"], row["start_line"]))
