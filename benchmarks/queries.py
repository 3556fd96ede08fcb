"""Warm query times: the whole question beside its own LanceDB calls made bare, one after another.

    codesearch index --config corpus/codesearch.yaml
    python benchmarks/queries.py --corpus corpus [--dimensions 1024] [--peer-python PYTHON]

A question's calls are taken down while it is asked and made again, without anything of ours around
them; beside them the same question by an index that holds nothing in memory and its calls, the
code vectors scanned in numpy. After those the same questions one after another, as a process meets
them that does nothing else, and by the peer on the same files, with vectors of its own model's
length. With `--dimensions` the index is copied and its vectors widened by a fixed rotation, which
keeps every similarity: the costs of longer vectors, not a better model.
"""

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codesearch import in_memory
from codesearch.evaluation import BRANCH
from codesearch.lanes import DEPTHS
from codesearch.search import Index
from codesearch_resources.embedders.base import Kind
from codesearch_resources.embedders.embedded import EmbeddedEmbedder
from codesearch_resources.embedders.identity import EMBEDDED
from codesearch_resources.embedders.make import wanted_embedder
from codesearch_resources.sets import SETS_FILE
from codesearch_resources.settings import Settings, load
from codesearch_resources.settings_embedders import EmbeddedSettings
from codesearch_resources.store import LANCE_FOLDER, Store
from codesearch_resources.upkeep import upkeep

PEER = Path(__file__).with_name("retrieval_peers.py")
WHOLE = "whole question"
NO_CALL = 0.5  # milliseconds that asking nothing takes at most
ALONE = "whole question, nothing between"
QUESTIONS = (
    "retry with exponential backoff when the server is busy",
    "parse the content type header of a request",
    "where is a connection taken out of the pool",
    "serialize an object to JSON with custom converters",
    "how are cookies stored between requests",
    "validate a model field before assignment",
    "spawn a task on the runtime",
    "websocket handshake",
    "middleware that logs each request",
    "read a file asynchronously",
    "escape a string for JSON",
    "TLS certificate verification failed",
    "rotate log files by date",
    "format a floating point number",
    "dispatch an action to the store",
    "resolve a host name without blocking",
    "parse_url",
    "JsonConvert.SerializeObject",
    "Router",
    "createStore",
)


@dataclass
class Recorded:
    """The calls of the last question, in the order they were made."""

    store: Store
    calls: list[tuple[str, Callable[[Any], object]]]

    def __enter__(self) -> "Recorded":
        ask = self.store.ask

        def recording(name: str, question: Callable[[Any], Any]) -> Any:
            self.calls.append((name, question))
            return ask(name, question)

        self.store.ask = recording  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        del self.store.ask

    def again(self) -> None:
        """Make the calls once more, one after another."""
        for name, question in self.calls:
            question(self.store.table(name))


class Wide(EmbeddedEmbedder):
    """The embedded embedder in more dimensions: the same similarities, longer vectors."""

    id = f"{EmbeddedEmbedder.id}_wide"
    rotation: NDArray[np.float32]

    def __init__(self) -> None:
        self._narrow = EmbeddedEmbedder()

    def embed(self, texts: Sequence[str], kind: Kind) -> NDArray[np.float32]:
        wide: NDArray[np.float32] = self._narrow.embed(texts, kind) @ self.rotation
        unit: NDArray[np.float32] = wide / np.linalg.norm(wide, axis=1, keepdims=True)
        return unit


def widen(dimensions: int) -> None:
    """Have the embedded embedder answer in that many dimensions, by a fixed rotation."""
    shape = (dimensions, EmbeddedEmbedder.dimensions)
    square, _ = np.linalg.qr(np.random.default_rng(0).standard_normal(shape))
    Wide.dimensions, Wide.rotation = dimensions, square.T.astype(np.float32)
    EMBEDDED[EmbeddedSettings(kind="embedded").model] = Wide


def widened(corpus: Path, dimensions: int) -> Path:
    """A copy of an index with vectors of more dimensions, its vector indices built."""
    folder = corpus.with_name(f"{corpus.name}-{dimensions}")
    widen(dimensions)
    if not folder.exists():
        shutil.copytree(corpus, folder, ignore=shutil.ignore_patterns("*.git", "configuration"))
        data = load(folder / "codesearch.yaml").data_dir
        # So that the set of the settings serves.
        (data / LANCE_FOLDER / SETS_FILE).unlink(missing_ok=True)
        narrow = Store(data, EmbeddedEmbedder.id, EmbeddedEmbedder.dimensions)
        store = Store(data, Wide.id, dimensions)
        store.create()
        for source, target in (
            (narrow.code_vectors, store.code_vectors),
            (narrow.summary_vectors, store.summary_vectors),
        ):
            rows = narrow.read(source, narrow.specs[source].schema.names)
            flat = rows["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            vectors = flat.reshape(rows.num_rows, -1).astype(np.float32) @ Wide.rotation
            at = rows.schema.get_field_index("vector")
            column = pa.FixedSizeListArray.from_arrays(
                pa.array(vectors.astype(np.float16).ravel()), dimensions
            )
            store.upsert(target, rows.set_column(at, "vector", column))
        upkeep(store)
    return folder


def timed(work: Callable[[], object]) -> float:
    """Milliseconds of a piece of work."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def resident() -> float:
    """Megabytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def nearest(matrix: NDArray[np.float32], vector: NDArray[np.float32]) -> NDArray[np.intp]:
    """The rows whose product with a vector is largest, in no order.

    Not by `@`: the threads of a BLAS go on spinning for a while, and slow the next question.
    """
    depth = DEPTHS["vectors"]
    return np.argpartition(np.vecdot(matrix, vector), -depth)[-depth:]


def measure(index: Index, bare: Index, rounds: int) -> dict[str, list[float]]:
    """Milliseconds by what was done; interleaved, so that all meet the same machine."""
    table = index.store.read(index.store.code_vectors, ["vector"])
    flat = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    matrix = flat.reshape(table.num_rows, -1).astype(np.float32)
    embedder = wanted_embedder(index.settings)
    found: dict[str, list[float]] = {}

    def note(name: str, work: Callable[[], object]) -> None:
        found.setdefault(name, []).append(timed(work))

    for question in (*QUESTIONS, *QUESTIONS):
        index.ask(question)
        bare.ask(question)
    for _ in range(rounds):
        for question in QUESTIONS:
            note(WHOLE, partial(index.ask, question))
            with Recorded(index.store, []) as recorded:
                index.ask(question)
            note("its LanceDB calls, bare", recorded.again)
            note("whole question, nothing held", partial(bare.ask, question))
            with Recorded(bare.store, []) as recorded:
                bare.ask(question)
            note("the LanceDB calls of that, bare", recorded.again)
            vector = embedder.embed([question], "query")[0]
            note("exact scan of code vectors, numpy", partial(nearest, matrix, vector))
    return found


def holding_nothing(settings: Settings) -> Index:
    """An index that asks the tables for everything."""
    index = Index(settings)
    rows, matrix = in_memory.ROWS_AT_MOST, in_memory.BYTES_AT_MOST
    in_memory.ROWS_AT_MOST = in_memory.BYTES_AT_MOST = 0
    index.warm()
    in_memory.ROWS_AT_MOST, in_memory.BYTES_AT_MOST = rows, matrix
    return index


def peer_times(python: str, corpus: Path, rounds: int) -> dict[str, list[float]]:
    """The peer's milliseconds for the same questions over the same files, once built, for ten hits
    and for as many as where its answers are judged."""
    folder = corpus / "files"
    for entry in load(corpus / "codesearch.yaml").repositories:
        target = folder / entry.name
        if not target.exists():
            target.mkdir(parents=True)
            command = ["git", "-C", str(entry.path), "archive", entry.branch or BRANCH]
            command += [entry.root] if entry.root not in ("", ".") else []
            tar = subprocess.run(command, capture_output=True, check=True)
            subprocess.run(["tar", "-x", "-C", str(target)], input=tar.stdout, check=True)
    asking = [{"folder": str(folder), "queries": list(QUESTIONS) * rounds, "times": True}]
    done = subprocess.run(
        [python, str(PEER)], input=json.dumps(asking), capture_output=True, text=True, check=True
    )
    times: dict[str, list[float]] = json.loads(done.stdout)[0]
    return {f"semble, {hits}": values for hits, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure warm questions.")
    parser.add_argument("--corpus", type=Path, default=Path("corpus"))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--dimensions", type=int, default=EmbeddedEmbedder.dimensions)
    parser.add_argument("--peer-python", default="", help="a Python that has semble")
    arguments = parser.parse_args()
    corpus = arguments.corpus
    if arguments.dimensions != EmbeddedEmbedder.dimensions:
        corpus = widened(corpus, arguments.dimensions)
    settings = load(corpus / "codesearch.yaml")
    with Index(settings) as index, holding_nothing(settings) as bare:
        before = resident()
        index.warm()
        print(f"held in memory: {resident() - before:.0f} MB")
        found = measure(index, bare, arguments.rounds)
        chunks = index.store.count("chunks")
        alone = found[ALONE] = []
        for half in (1, 2):  # before the peer and after it, so that both meet the same machine
            for _ in range(arguments.rounds):
                alone += [timed(partial(index.ask, question)) for question in QUESTIONS]
            if half == 1 and arguments.peer_python:
                found |= peer_times(arguments.peer_python, arguments.corpus, 2 * arguments.rounds)
    whole = found[ALONE]
    print(f"{chunks} chunks, {arguments.dimensions} dimensions, {len(whole)} questions")
    for name, values in found.items():
        if statistics.median(values) < NO_CALL:
            print(f"{name:<36} none in most questions")
            continue
        p50, p99 = statistics.median(values), percentile(values, 0.99)
        ratio = statistics.median(whole) / p50
        print(
            f"{name:<36} p50 {p50:7.1f} ms   p99 {p99:7.1f} ms   whole question / this {ratio:.2f}"
        )


if __name__ == "__main__":
    main()
