"""The approximate index of vectors against the exact scan: build, size, memory, recall, latency.

    python benchmarks/vector_index.py --sources FOLDER             # 70,000 rows x 256 and x 1,024
    python benchmarks/vector_index.py --sources FOLDER --rows 70000 --widths 4096
    python benchmarks/vector_index.py --sources FOLDER --rows 1000000 --widths 256

Real vectors: FOLDER's source files, cut into windows of lines, by the embedder that ships. A row of
256 numbers is the vector of a window; a wider one those of its parts side by side (1,024: four,
4,096: sixteen), made unit length: real features with their real dependence, no random projection.
Questions are windows that are not in the table. Index, search depth and probing are the product's
own (`upkeep`, `lanes`). Baselines
in the same run: LanceDB's exact scan of the same table, and numpy's in memory.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codesearch.candidates import Placed
from codesearch.lanes import DEPTHS, Lanes, Limit
from codesearch_resources.coverage import size
from codesearch_resources.embedders.base import Document
from codesearch_resources.embedders.embedded import EmbeddedEmbedder
from codesearch_resources.store import Store, sql
from codesearch_resources.upkeep import upkeep

SUFFIXES = (
    ".py .go .rs .ts .tsx .js .java .c .h .cc .cpp .hpp .cs .rb .php .swift .kt .scala .ex .hs .lua"
).split()
QUESTIONS = 200
LINES = (40, 30, 24, 18, 12, 9, 7, 5)  # of a window; the largest that gives enough of them
BATCH = 20_000
DEPTH = DEPTHS["vectors"]
MOST_BYTES = 400_000  # of a file

Vectors = NDArray[np.float32]


def windows(folder: Path, lines: int) -> Iterator[tuple[str, str]]:
    """(path, text) of each run of so many lines, every half of it anew; none twice."""
    seen: set[int] = set()
    for file in sorted(folder.rglob("*")):
        if file.suffix not in SUFFIXES or not file.is_file() or file.stat().st_size > MOST_BYTES:
            continue
        text = file.read_text("utf-8", "replace").split("\n")
        for start in range(0, len(text), max(1, lines // 2)):
            part = "\n".join(text[start : start + lines])
            if len(part.strip()) > 40 and hash(part) not in seen:
                seen.add(hash(part))
                yield str(file.relative_to(folder)), part


def enough(folder: Path, rows: int) -> list[tuple[str, str]]:
    """As many windows as rows and questions, spread over all files."""
    wanted = rows + QUESTIONS
    for lines in LINES:
        found = list(windows(folder, lines))
        if len(found) >= wanted:
            print(f"{len(found):,} windows of {lines} lines, {wanted:,} taken")
            chosen = np.random.default_rng(8).permutation(len(found))[:wanted]
            return [found[at] for at in chosen]
    raise SystemExit(f"{folder} gives {len(found):,} windows, {wanted:,} are wanted")


def vectors_of(texts: Sequence[tuple[str, str]], width: int) -> Vectors:
    """Unit vectors [len(texts), width]."""
    parts, embedder = width // 256, EmbeddedEmbedder()
    blocks = [
        _embedded(embedder, [(path, _part(text, at, parts)) for path, text in texts])
        for at in range(parts)
    ]
    whole = np.hstack(blocks)
    return whole / np.linalg.norm(whole, axis=1, keepdims=True)


def _part(text: str, at: int, parts: int) -> str:
    lines = text.split("\n")
    size_of = -(-len(lines) // parts)
    return "\n".join(lines[at * size_of : (at + 1) * size_of]) or text


def _embedded(embedder: Any, texts: Sequence[tuple[str, str]]) -> Vectors:
    found = []
    for start in range(0, len(texts), BATCH):
        documents = [Document(p, "text", (), "", t) for p, t in texts[start : start + BATCH]]
        found.append(embedder.embed([embedder.view(one) for one in documents], "document"))
    return np.vstack(found)


def fill(store: Store, vectors: Vectors) -> None:
    """Write the vectors as code vectors of forty repositories."""
    for start in range(0, len(vectors), BATCH):
        part = vectors[start : start + BATCH].astype(np.float16)
        numbers = range(start, start + len(part))
        flat = pa.array(part.reshape(-1))
        rows = {
            "chunk_id": [f"{n:08d}" for n in numbers],
            "repo": [f"r{n % 40:02d}" for n in numbers],
            "path": [f"src/{n % 997}.py" for n in numbers],
            "language": ["python"] * len(part),
            "kind": ["function"] * len(part),
            "text_hash": [f"{n:08d}" for n in numbers],
            "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
            "digest": [0] * len(part),
        }
        store.upsert(store.code_vectors, pa.table(rows))


def timed(ask: Any, questions: Vectors) -> tuple[list[list[str]], NDArray[np.float64], float]:
    """What each question finds, milliseconds of each, CPU milliseconds of one."""
    found, took = [], []
    cpu = time.process_time()
    for question in questions:
        began = time.perf_counter()
        found.append(ask(question))
        took.append((time.perf_counter() - began) * 1000)
    return found, np.array(took), (time.process_time() - cpu) * 1000 / len(questions)


def recall(found: list[list[str]], exact: list[list[str]], most: int) -> float:
    shares = [len(set(f[:most]) & set(e[:most])) / most for f, e in zip(found, exact, strict=True)]
    return float(np.mean(shares))


def _nearest(lanes: Lanes, name: str, question: Any, limit: Limit) -> list[str]:
    """The ids of the nearest chunks, nearest first."""
    found = lanes._nearest(name, question, limit, DEPTH)()
    scores = found.by_id() if isinstance(found, Placed) else found
    return sorted(scores, key=lambda key: -scores[key])


def measure(vectors: Vectors, questions: Vectors, folder: Path) -> None:
    width = vectors.shape[1]
    store = Store(folder, "bench", width)
    store.create()
    fill(store, vectors)
    name, before = store.code_vectors, size(store)
    peak, cpu, began = _peak(), time.process_time(), time.perf_counter()
    upkeep(store)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(
        f"\n{len(vectors):,} x {width}: vectors {before / 1e6:,.0f} MB; index built in "
        f"{cpu:.1f} CPU s ({wall:.1f} s), {(size(store) - before) / 1e6:,.0f} MB more on disk, "
        f"peak memory {peak:,.0f} -> {_peak():,.0f} MB"
    )
    lanes = Lanes(store, EmbeddedEmbedder())
    half = vectors.astype(np.float16)

    def approximate(question: Any) -> list[str]:
        return _nearest(lanes, name, question, Limit(""))

    def in_one(question: Any) -> list[str]:
        return _nearest(lanes, name, question, Limit(f"repo = {sql('r07')}"))

    def scanned(question: Any) -> list[str]:
        query = store.table(name).search(question, vector_column_name="vector")
        query = query.distance_type("cosine").bypass_vector_index().select(["chunk_id"])
        return list(query.limit(DEPTH).to_arrow()["chunk_id"].to_pylist())

    def in_memory(question: Any) -> list[str]:
        cosines = half.astype(np.float32) @ question if len(half) <= 100_000 else half @ question
        best = np.argpartition(-cosines, DEPTH)[:DEPTH]
        return [f"{n:08d}" for n in best[np.argsort(-cosines[best], kind="stable")]]

    approximate(questions[0])
    found, took, cpu_own = timed(approximate, questions)
    exact, scan, cpu_scan = timed(scanned, questions)
    few = questions[:20]
    _, filtered, _ = timed(in_one, few)
    _, memory, cpu_memory = timed(in_memory, few)
    print(
        f"  recall@10 {recall(found, exact, 10):.4f}, recall@{DEPTH} "
        f"{recall(found, exact, DEPTH):.4f} against the exact scan, {len(questions)} questions"
    )
    for what, ms, used in (
        ("approximate", took, cpu_own),
        ("one repository of forty", filtered, float("nan")),
        ("LanceDB's exact scan", scan, cpu_scan),
        ("numpy in memory", memory, cpu_memory),
    ):
        p50, p99 = np.percentile(ms, [50, 99])
        print(f"  {what:<24} p50 {p50:8.1f} ms  p99 {p99:8.1f} ms  CPU {used:8.1f} ms")
    print(f"  exact scan / approximate: {cpu_scan / cpu_own:.1f} times the CPU")
    lanes.close()


def _peak() -> float:
    """Megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sources", type=Path, required=True, help="a folder of source files")
    parser.add_argument("--rows", type=int, default=70_000)
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 1024])
    given = parser.parse_args()
    texts = enough(given.sources, given.rows)
    for width in given.widths:
        vectors = vectors_of(texts, width)
        with tempfile.TemporaryDirectory(prefix="vectors-") as folder:
            questions = vectors[given.rows :][: given.questions]
            measure(vectors[: given.rows], questions, Path(folder))


if __name__ == "__main__":
    main()
