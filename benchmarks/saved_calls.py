"""The calls that a chain with a model need not make, by reason and repository.

    python benchmarks/saved_calls.py --corpus corpus

Reads an index and asks nobody. The baseline is a call for each chunk. A chunk counts for the first
reason that holds: marked (generated or vendored), doc (a sufficient doc comment, a trivial body),
equal (the same content stands in a chunk before it, in this repository or in one above it).
"""

import argparse
from collections import Counter
from pathlib import Path

from codesearch_resources.embedders.make import wanted_embedder
from codesearch_resources.settings import load
from codesearch_resources.store import Store, batched, of_repo
from codesearch_resources.summarizers.base import Piece
from codesearch_resources.summarizers.extractive import Extractive
from codesearch_resources.summarizers.order import NEVER_PAID
from codesearch_resources.summarizers.trivial import is_trivial

COLUMNS = ("content_hash", "language", "kind", "symbol", "header", "doc", "text")
REASONS = ("marked", "doc comment", "trivial", "equal here", "equal elsewhere")
BATCH = 5_000


def reasons(store: Store, repo: str, seen: dict[str, str]) -> Counter[str]:
    """Chunks of a repository by why they need no call, "" for those that do; fills `seen`."""
    found: Counter[str] = Counter()
    extractive = Extractive()
    ids = store.read("chunks", ["chunk_id"], of_repo(repo))["chunk_id"].to_pylist()
    for batch in batched(sorted(ids), BATCH):
        for row in store.read_keys("chunks", [*COLUMNS, "marks"], "chunk_id", batch).to_pylist():
            marks = row.pop("marks") or ()
            piece = Piece(**row)
            first = seen.setdefault(piece.content_hash, repo)
            if not NEVER_PAID.isdisjoint(marks):
                found["marked"] += 1
            elif extractive.extract(piece).grade == "doc":
                found["trivial" if is_trivial(piece) else "doc comment"] += 1
            elif first != repo:
                found["equal elsewhere"] += 1
            elif f"{piece.content_hash} paid" in seen:
                found["equal here"] += 1
            else:
                seen[f"{piece.content_hash} paid"] = repo
                found[""] += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=Path("corpus"))
    settings = load(parser.parse_args().corpus / "codesearch.yaml")
    embedder = wanted_embedder(settings)
    store = Store(settings.data_dir, embedder.id, embedder.dimensions)
    print(
        f"{'repository':>18} {'chunks':>8} " + " ".join(f"{r:>16}" for r in REASONS) + "    calls"
    )
    seen: dict[str, str] = {}
    total: Counter[str] = Counter()
    for entry in settings.repositories:
        found = reasons(store, entry.name, seen)
        total += found
        _line(entry.name, found)
    _line("all", total)


def _line(name: str, found: Counter[str]) -> None:
    chunks = found.total() or 1
    shares = " ".join(f"{found[reason] / chunks:>16.1%}" for reason in REASONS)
    print(f"{name:>18} {found.total():>8} {shares} {found[''] / chunks:>8.1%}")


if __name__ == "__main__":
    main()
