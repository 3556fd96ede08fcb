"""A peer's answers to the questions of a benchmark: run by the Python that has the peer.

In: [{"folder": of files, "queries": [...]}, ...] as JSON on standard input; out, in that order:
[[[path, start line, end line], ...] for each query, and {"milliseconds": [...]} of the queries].
One hit a file. semble runs with its model absent: BM25 and its ranking rules.
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


def main() -> None:
    from semble.index import index as module
    from semble.types import ContentType

    answers: list[Any] = []
    times: list[float] = []
    for one in json.load(sys.stdin):
        root = Path(one["folder"])
        built = module._build(root, NoModel(), "none", (ContentType.CODE,), False, None)
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
