"""Do doc comments serve as summaries? The benchmark with them, without, and with stand-ins.

    python benchmarks/doc_summaries.py open.json --work eval [--shown 20]

`eval` is the folder of `codesearch eval`. Its indexes are copied, and in each copy the chunks whose
summary is a doc comment get another one, or none; all other rows stay. The baseline is none.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import mean
from typing import Any

from codesearch.evaluation import Asked, BenchRepository, ask_all, read_bench
from codesearch.search import Index
from codesearch_assets.embeddings import embed_partition, summary_source
from codesearch_resources.data_dir import OWNER_FILE
from codesearch_resources.embedders.make import wanted_embedder
from codesearch_resources.repositories import slug
from codesearch_resources.settings import Settings, load
from codesearch_resources.store import Store
from codesearch_resources.summarizers.base import Piece
from codesearch_resources.summarizers.extractive import Extractive
from codesearch_resources.summarizers.trivial import is_trivial
from codesearch_resources.text import tokens

COLUMNS = ("content_hash", "language", "kind", "symbol", "header", "doc", "text")
Change = Callable[[Store, list[dict[str, Any]]], None]


def as_they_are(store: Store, rows: list[dict[str, Any]]) -> None:
    """Doc comments as summaries."""


def none(store: Store, rows: list[dict[str, Any]]) -> None:
    """The same chunks without a summary."""
    store.delete("summaries", [row["chunk_id"] for row in rows])


def stand_ins(store: Store, rows: list[dict[str, Any]]) -> None:
    """The same chunks with what extraction says of code without a doc comment."""
    ids = [row["chunk_id"] for row in rows]
    found = store.read_keys("chunks", ["chunk_id", *COLUMNS], "chunk_id", ids).to_pylist()
    pieces = {row.pop("chunk_id"): Piece(**{**row, "doc": ""}) for row in found}
    for row in rows:
        row["summary"] = Extractive().extract(pieces[row["chunk_id"]]).text
        row["fts_text"] = " ".join(tokens(row["summary"]))
        row["digest"] += 1
    import pyarrow as pa

    store.upsert("summaries", pa.Table.from_pylist(rows, schema=store.specs["summaries"].schema))


WAYS: dict[str, Change] = {"none": none, "stand-ins": stand_ins, "doc comments": as_they_are}


def ask(work: Path, wanted: BenchRepository, change: Change) -> tuple[list[Asked], int, int]:
    """The answers of a changed copy of an index, the chunks that were changed, and all chunks."""
    own = slug(wanted.name)
    with ExitStack() as stack:
        copy = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "index"
        shutil.copytree(work / "alone" / own, copy)
        for owner in copy.glob(f"*/{OWNER_FILE}"):
            owner.unlink()
        settings = load(copy / "codesearch.yaml", absent_ok=True)
        store = _store(settings)
        rows = _doc_rows(store)
        if rows:
            change(store, rows)
            source = summary_source(store, own)
            embedder = wanted_embedder(settings)
            embed_partition(store, own, store.summary_vectors, source, embedder)
        total = store.count("chunks")
        with Index(settings) as index:
            return ask_all(index, [wanted]), len(rows), total


def _store(settings: Settings) -> Store:
    embedder = wanted_embedder(settings)
    return Store(settings.data_dir, embedder.id, embedder.dimensions)


def _doc_rows(store: Store) -> list[dict[str, Any]]:
    """The summary rows that come of a doc comment, trivial bodies left out."""
    columns = store.specs["summaries"].schema.names
    rows = [r for r in store.read("summaries", columns).to_pylist() if r["grade"] == "doc"]
    ids = [row["chunk_id"] for row in rows]
    found = store.read_keys("chunks", ["chunk_id", *COLUMNS], "chunk_id", ids).to_pylist()
    pieces = {row.pop("chunk_id"): Piece(**row) for row in found}
    return [row for row in rows if not is_trivial(pieces[row["chunk_id"]])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bench", type=Path)
    parser.add_argument("--work", type=Path, default=Path("eval"))
    parser.add_argument("--shown", type=int, default=20)
    arguments = parser.parse_args()
    bench = read_bench(arguments.bench)
    bench = [b for b in bench if (arguments.work / "alone" / slug(b.name) / "data").exists()]
    answers: dict[str, list[Asked]] = {way: [] for way in WAYS}
    changed = chunks = 0
    for wanted in bench:
        for way, change in WAYS.items():
            asked, rows, total = ask(arguments.work, wanted, change)
            answers[way] += asked
        changed, chunks = changed + rows, chunks + total
    print(f"{changed} of {chunks} chunks have a doc comment for a summary")
    base = mean(one.scores.ndcg for one in answers["none"])
    for way, asked in answers.items():
        ndcg = mean(one.scores.ndcg for one in asked)
        print(f"{way:>14}: NDCG@10 {ndcg:.4f}, {len(asked)} queries, ratio {ndcg / base:.4f}")
    _show(answers, arguments.shown)


def _show(answers: dict[str, list[Asked]], most: int) -> None:
    """The questions for which the doc comment changes most, against none."""
    pairs = zip(answers["doc comments"], answers["none"], answers["stand-ins"], strict=True)
    moved = [p for p in pairs if len({round(one.scores.ndcg, 6) for one in p}) > 1]
    moved.sort(key=lambda p: -abs(p[0].scores.ndcg - p[1].scores.ndcg))
    print(f"{len(moved)} queries differ; doc / none / stand-in:")
    for doc, without, stand_in in moved[:most]:
        figures = " ".join(f"{one.scores.ndcg:.2f}" for one in (doc, without, stand_in))
        print(f"  {figures}  {doc.repo}: {doc.query}")


if __name__ == "__main__":
    main()
