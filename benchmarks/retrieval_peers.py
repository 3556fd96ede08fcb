"""A peer's answers to the questions of a benchmark: run by the Python that has the peer.

In: [{"folder": of files, "queries": [...]}, ...] as JSON on standard input; out, in that order:
[[[path, start line, end line], ...] for each query, and {"milliseconds": [...]} of the queries].
One hit a file. semble runs with its model absent: BM25 and its ranking rules.

With "times": true it does the work of its defaults instead, over random vectors of the length of
its own model's, for ten hits (of which ten to twelve fill ten files) and for as many as it is asked
for where its answers are judged; answered is {"10 hits": [milliseconds], "50 hits": [...]}, and
nothing about what was found.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

HITS, FILES = 50, 10


class NoModel:
    """In place of the model, which is not in the package: every text is the same."""

    dim = 8

    def encode(self, texts: list[str], **_: Any) -> Any:
        import numpy

        return numpy.ones((len(texts), 8), dtype=numpy.float32)


class RandomModel:
    """Vectors that mean nothing, as many numbers as its own model's."""

    dim = 256

    def __init__(self) -> None:
        import numpy

        self._random = numpy.random.default_rng(0)

    def encode(self, texts: list[str], **_: Any) -> Any:
        return self._random.standard_normal((len(texts), self.dim), dtype="float32")


def build(folder: str, model: NoModel | RandomModel) -> Any:
    from semble.index import index as module
    from semble.types import ContentType

    return module._build(Path(folder), model, "none", (ContentType.CODE,), False, None)


def times_of(one: dict[str, Any]) -> dict[str, list[float]]:
    built = build(one["folder"], RandomModel())
    found: dict[str, list[float]] = {}
    for hits in (FILES, HITS):
        for query in one["queries"]:
            started = time.perf_counter()
            built.search(query, top_k=hits)
            found.setdefault(f"{hits} hits", []).append((time.perf_counter() - started) * 1000)
    return found


def main() -> None:
    asked = json.load(sys.stdin)
    if "times" in asked[0]:
        json.dump([times_of(one) for one in asked], sys.stdout)
        return
    answers: list[Any] = []
    times: list[float] = []
    for one in asked:
        built = build(one["folder"], NoModel())
        found = []
        for query in one["queries"]:
            started = time.perf_counter()
            hits = built.search(query, top_k=HITS, alpha=0.0)
            times.append((time.perf_counter() - started) * 1000)
            files: dict[str, Any] = {}
            for hit in hits:
                chunk = hit.chunk
                files.setdefault(
                    chunk.file_path, [chunk.file_path, chunk.start_line, chunk.end_line]
                )
            found.append(list(files.values())[:FILES])
        answers.append(found)
    json.dump({"answers": answers, "milliseconds": times}, sys.stdout)


if __name__ == "__main__":
    main()
