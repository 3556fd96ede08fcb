"""Warm query times: the whole question beside its LanceDB calls made bare.

codesearch index --config corpus/codesearch.yaml
python benchmarks/queries.py --corpus corpus
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lancedb.query import MatchQuery

from codesearch.lanes import DEPTH
from codesearch.search import Index
from codesearch_resources.embedders.make import wanted_embedder
from codesearch_resources.settings import load
from codesearch_resources.text import tokens

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


def times(work: Callable[[str], object], rounds: int) -> list[float]:
    """Milliseconds of each question, `rounds` times round."""
    found = []
    for _ in range(rounds):
        for question in QUESTIONS:
            started = time.perf_counter()
            work(question)
            found.append((time.perf_counter() - started) * 1000)
    return found


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=Path("corpus"))
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    with Index(load(arguments.corpus / "codesearch.yaml")) as index:
        store, embedder = index.store, wanted_embedder(index.settings)

        def bare(question: str) -> None:
            """The four ranked look-ups of a question, one after another, ids and scores only."""
            text = " ".join(dict.fromkeys(tokens(question)))
            vector = embedder.embed([question], "query")[0]
            for name in ("chunks", "summaries"):
                search = store.table(name).search(MatchQuery(text, "fts_text"), query_type="fts")
                search.select(["chunk_id", "_score"]).limit(DEPTH).to_arrow()
            for name in (store.code_vectors, store.summary_vectors):
                search = store.table(name).search(vector, vector_column_name="vector")
                search = search.distance_type("cosine").nprobes(20).refine_factor(10)
                search.select(["chunk_id", "_distance"]).limit(DEPTH).to_arrow()

        times(index.ask, 1)
        times(bare, 1)
        whole: list[float] = []
        calls: list[float] = []
        for _ in range(arguments.rounds):  # interleaved, so that both meet the same machine
            whole += times(index.ask, 1)
            calls += times(bare, 1)
        print(f"{store.count('chunks')} chunks, {len(whole)} questions")
        for name, values in (("whole question", whole), ("bare LanceDB calls", calls)):
            p50, p99 = statistics.median(values), percentile(values, 0.99)
            print(f"{name:<20} p50 {p50:7.1f} ms   p99 {p99:7.1f} ms")
        ratio = statistics.median(whole) / statistics.median(calls)
        print(f"ratio p50 whole question / bare LanceDB calls: {ratio:.2f}")


if __name__ == "__main__":
    main()
