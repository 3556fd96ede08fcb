"""A copy of an index whose doc comments stand in the summaries' place, out of the code.

A stand-in for the summaries of a good model: sentences about the code, written by people, that the
code itself no longer holds. A chunk without a doc comment keeps its extractive summary.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from codesearch_resources.embedders.base import Document, Embedder
from codesearch_resources.embedders.make import wanted_embedder
from codesearch_resources.settings import load
from codesearch_resources.store import Store
from codesearch_resources.text import tokens

MARKERS = " \t/*#-!;\"'{|}<>%()"


def moved(file: Path, folder: Path) -> Path:
    """Copy the index of a configuration into `folder`, doc comments moved; its configuration."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(file.parent, folder, symlinks=True)
    for owner in folder.glob("*/configuration"):
        owner.unlink()  # the copy belongs to a configuration of its own
    settings = load(folder / file.name)
    embedder = wanted_embedder(settings)
    store = Store(settings.data_dir, embedder.id, embedder.dimensions)
    chunks = store.read("chunks", store.specs["chunks"].schema.names).to_pylist()
    documented = [row for row in chunks if row["doc"].strip()]
    if documented:
        _move_code(store, documented, embedder)
        _move_summaries(store, documented, embedder)
    return folder / file.name


def _move_code(store: Store, rows: list[dict[str, Any]], embedder: Embedder) -> None:
    for row in rows:
        kept = without(row["text"], row["doc"])
        gone = tokens(row["text"])
        # What the index holds before the text: where it lies, its names, its header.
        before = row["fts_text"].split()[: -len(gone)] if gone else row["fts_text"].split()
        row["fts_text"] = " ".join([*before, *tokens(kept)])
        row["text"] = kept
    store.upsert("chunks", pa.Table.from_pylist(rows, schema=store.specs["chunks"].schema))
    names = [tuple(s["name"] for s in row["symbols"]) or (row["symbol"],) for row in rows]
    documents = [
        Document(row["path"], row["language"], own, row["header"], row["text"])
        for row, own in zip(rows, names, strict=True)
    ]
    _embed(store, store.code_vectors, rows, documents, embedder)


def _move_summaries(store: Store, rows: list[dict[str, Any]], embedder: Embedder) -> None:
    docs = {row["chunk_id"]: row["doc"] for row in rows}
    schema = store.specs["summaries"].schema
    stored = store.read_keys("summaries", schema.names, "chunk_id", list(docs)).to_pylist()
    for row in stored:
        row["summary"] = docs[row["chunk_id"]]
        row["fts_text"] = " ".join(tokens(row["summary"]))
    store.upsert("summaries", pa.Table.from_pylist(stored, schema=schema))
    documents = [Document(r["path"], r["language"], (), "", r["summary"]) for r in stored]
    _embed(store, store.summary_vectors, stored, documents, embedder)


def _embed(
    store: Store,
    table: str,
    rows: list[dict[str, Any]],
    documents: list[Document],
    embedder: Embedder,
) -> None:
    vectors = embedder.embed([embedder.view(one) for one in documents], "document")
    flat = pa.array(vectors.astype(np.float16).ravel())
    columns = {name: [row[name] for row in rows] for name in ("chunk_id", "repo", "path")}
    columns |= {name: [row[name] for row in rows] for name in ("language", "kind")}
    made = pa.table(
        {
            **columns,
            "text_hash": [""] * len(rows),
            "vector": pa.FixedSizeListArray.from_arrays(flat, embedder.dimensions),
            "digest": [0] * len(rows),
        }
    )
    store.upsert(table, made)


def without(text: str, doc: str) -> str:
    """`text` without the lines that say what `doc` says, comment markers aside."""
    told = {line.strip(MARKERS) for line in doc.split("\n")} - {""}
    return "\n".join(line for line in text.split("\n") if line.strip(MARKERS) not in told)
