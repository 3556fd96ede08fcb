"""code_embeddings and summary_embeddings: one unit vector for each chunk and for its summary.

Work is decided by keys. A row whose source has not changed is left alone; a text that any
repository has embedded before is copied; only the rest goes to the embedder, in batches that are
written as they come, so that a killed run loses one batch at most.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import dagster as dg
import numpy as np
import pyarrow as pa

from codesearch_assets import checks
from codesearch_assets.chunks import NothingUpstream, chunks
from codesearch_assets.partitions import repositories_partitions
from codesearch_assets.reporting import (
    Materialized,
    data_version,
    exclusively,
)
from codesearch_assets.summaries import summaries
from codesearch_resources.dagster import StoreResource
from codesearch_resources.embedders.base import Document, Embedder
from codesearch_resources.progress import report
from codesearch_resources.store import Change, Store, batched, of_repo
from codesearch_resources.text import digest, key

BATCH = 2_000  # texts; what a kill -9 loses at most
EMBEDDINGS_VERSION = 1


@dataclass
class EmbeddingsResult:
    """What bringing a vector partition up to date did; grows batch by batch."""

    embedded: int = 0  # texts given to the embedder
    copied: int = 0  # rows whose text already had a vector
    change: Change = field(default_factory=Change)


@dataclass(frozen=True, slots=True)
class Source:
    """The chunk rows that vectors are made of: ids to digests, and ids to documents."""

    table: str
    digests: dict[str, int]
    columns: Sequence[str]
    document: Callable[[dict[str, object]], Document]


def code_source(store: Store, repo: str) -> Source:
    """The code of a repository. A chunk's id covers its path and text; the rest is digested."""
    columns = ["chunk_id", "language", "kind", "names"]
    rows = store.read("chunks", columns, of_repo(repo)).to_pylist()
    return Source(
        "chunks",
        {row["chunk_id"]: digest(row["language"], row["kind"], *row["names"]) for row in rows},
        ["chunk_id", "path", "language", "kind", "symbol", "symbols", "header", "text"],
        _code_document,
    )


def _code_document(row: dict[str, object]) -> Document:
    symbols: list[dict[str, str]] = row["symbols"] or []  # type: ignore[assignment]
    names = tuple(symbol["name"] for symbol in symbols) or (str(row["symbol"]),)
    return Document(
        str(row["path"]), str(row["language"]), names, str(row["header"]), str(row["text"])
    )


def summary_source(store: Store, repo: str) -> Source:
    """The summaries of a repository."""
    columns = ["chunk_id", "language", "kind", "summary"]
    rows = store.read("summaries", columns, of_repo(repo)).to_pylist()
    return Source(
        "summaries",
        {row["chunk_id"]: digest(row["language"], row["kind"], row["summary"]) for row in rows},
        ["chunk_id", "path", "language", "kind", "summary"],
        _summary_document,
    )


def _summary_document(row: dict[str, object]) -> Document:
    return Document(str(row["path"]), str(row["language"]), (), "", str(row["summary"]))


def embed_partition(
    store: Store, repo: str, vectors: str, source: Source, embedder: Embedder
) -> EmbeddingsResult:
    """Make the table `vectors` hold one vector for each row of `source`, and no other.

    Raises EmbeddingError when the embedder has no vector for a text.
    """
    known = store.digests(vectors, repo)
    todo = sorted(row for row, value in source.digests.items() if known.get(row) != value)
    result = EmbeddingsResult()
    for batch in batched(todo, BATCH):
        rows = _vector_rows(store, repo, vectors, source, batch, embedder, result)
        result.change += Change(written=store.upsert(vectors, rows))
        report(vectors.partition("__")[0], result.change.written, len(todo))
    result.change += Change(deleted=store.delete(vectors, known.keys() - source.digests.keys()))
    return result


def _vector_rows(
    store: Store,
    repo: str,
    vectors: str,
    source: Source,
    ids: Sequence[str],
    embedder: Embedder,
    result: EmbeddingsResult,
) -> pa.Table:
    rows = store.read_keys(source.table, source.columns, "chunk_id", ids).to_pylist()
    texts = [embedder.view(source.document(row)) for row in rows]
    hashes = [key((text,)) for text in texts]
    by_hash = _known_vectors(store, vectors, hashes)
    missing = {h: text for h, text in zip(hashes, texts, strict=True) if h not in by_hash}
    if missing:
        fresh = embedder.embed(list(missing.values()), "document").astype(np.float16)
        by_hash |= dict(zip(missing, fresh, strict=True))
    result.embedded += len(missing)
    result.copied += len(rows) - len(missing)
    flat = np.concatenate([by_hash[h] for h in hashes]) if rows else np.zeros(0, np.float16)
    return pa.table(
        {
            "chunk_id": [row["chunk_id"] for row in rows],
            "repo": [repo] * len(rows),
            "path": [row["path"] for row in rows],
            "language": [row["language"] for row in rows],
            "kind": [row["kind"] for row in rows],
            "text_hash": hashes,
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(flat), embedder.dimensions),
            "digest": [source.digests[row["chunk_id"]] for row in rows],
        }
    )


def _known_vectors(
    store: Store, vectors: str, hashes: Sequence[str]
) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float16]]]:
    """Vectors of texts that were embedded before, in any repository, by text hash."""
    if not store.count(vectors):
        return {}
    rows = store.read_keys(vectors, ["text_hash", "vector"], "text_hash", sorted(set(hashes)))
    if not rows.num_rows:
        return {}
    flat = rows["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    values = flat.reshape(rows.num_rows, -1)
    return dict(zip(rows["text_hash"].to_pylist(), values, strict=True))


def refresh_code_embeddings(store: Store, repo: str, embedder: Embedder) -> EmbeddingsResult:
    """Bring a repository's code vectors up to its chunks and note the commit they stand for.

    Raises NothingUpstream without chunks, EmbeddingError when a text has no vector.
    """
    row = store.repository_row(repo)
    if row.get("chunks_commit") is None:
        raise NothingUpstream(f"{repo} has no chunks yet: materialise chunks first")
    result = embed_partition(store, repo, store.code_vectors, code_source(store, repo), embedder)
    store.update_repository(
        repo,
        code_embeddings_commit=row["chunks_commit"],
        code_embeddings_fingerprint=fingerprint(row["chunks_fingerprint"], embedder),
    )
    return result


def fingerprint(chunks_fingerprint: str, embedder: Embedder) -> str:
    """What decides, besides the commit, which code vectors there are."""
    return key([chunks_fingerprint, str(EMBEDDINGS_VERSION), embedder.id, str(embedder.dimensions)])


@dg.asset(
    deps=[chunks],
    partitions_def=repositories_partitions,
    group_name="codesearch",
    kinds={"lancedb"},
    code_version=str(EMBEDDINGS_VERSION),
    check_specs=checks.specs(
        "code_embeddings",
        code_vectors_complete="As many code vectors as chunks, of the same chunks.",
        no_orphan_code_vectors="No code vector whose chunk is gone.",
        code_vectors_are_unit="No null, zero, infinite or shortened code vector.",
    ),
    # With both in one run, a repository is searchable before its summaries are begun.
    op_tags={"dagster/priority": "1"},
    description="A unit vector of each chunk's code, by the configured embedder.",
)
def code_embeddings(
    context: dg.AssetExecutionContext, store: StoreResource, embedder: dg.ResourceParam[Embedder]
) -> Materialized:
    name, started = context.partition_key, time.monotonic()
    with exclusively(store, name, "refresh"):
        tables = store.open(embedder)
        try:
            result = refresh_code_embeddings(tables, name, embedder)
        except NothingUpstream as missing:
            raise dg.Failure(str(missing), allow_retries=False) from None
    found = _check_code_vectors(tables)
    return _materialized(tables, tables.code_vectors, name, result, found, started)


@dg.asset(
    deps=[summaries],
    partitions_def=repositories_partitions,
    group_name="codesearch",
    kinds={"lancedb"},
    code_version=str(EMBEDDINGS_VERSION),
    check_specs=checks.specs(
        "summary_embeddings",
        summary_vectors_complete="As many summary vectors as summaries, of the same chunks.",
        summary_vectors_are_unit="No null, zero, infinite or shortened summary vector.",
    ),
    description="A unit vector of each chunk's summary, by the configured embedder.",
)
def summary_embeddings(
    context: dg.AssetExecutionContext, store: StoreResource, embedder: dg.ResourceParam[Embedder]
) -> Materialized:
    name, started = context.partition_key, time.monotonic()
    with exclusively(store, name, "summarise"):
        tables = store.open(embedder)
        source = summary_source(tables, name)
        if not source.digests and not _is_empty(tables, name):
            raise dg.Failure(
                f"{name} has no summaries yet: materialise summaries first", allow_retries=False
            )
        result = embed_partition(tables, name, tables.summary_vectors, source, embedder)
    found = _check_summary_vectors(tables)
    return _materialized(tables, tables.summary_vectors, name, result, found, started)


def _is_empty(tables: Store, repo: str) -> bool:
    """Whether a repository's chunks were looked for and there are none."""
    looked = tables.repository_row(repo).get("chunks_commit") is not None
    return looked and not tables.count("chunks", of_repo(repo))


def _check_code_vectors(tables: Store) -> list[dg.AssetCheckResult]:
    vectors, asset = tables.code_vectors, "code_embeddings"
    missing = checks.settled(tables, checks.without_vector(tables, "chunks", vectors), asset)
    gone = checks.settled(tables, checks.orphans(tables, vectors), asset)
    unsound = checks.unsound_vectors(tables, vectors)
    return [
        checks.result("code_vectors_complete", missing, "chunks without a vector"),
        checks.result("no_orphan_code_vectors", gone, "vectors outlived their chunk"),
        checks.result("code_vectors_are_unit", unsound, "vectors that are not of unit length"),
    ]


def _check_summary_vectors(tables: Store) -> list[dg.AssetCheckResult]:
    vectors = tables.summary_vectors
    missing = checks.without_vector(tables, "summaries", vectors)
    unsound = checks.unsound_vectors(tables, vectors)
    return [
        # A repository that waits for its slice has some; it is behind and not broken.
        checks.result("summary_vectors_complete", missing, "summaries wait for one", warn=True),
        checks.result("summary_vectors_are_unit", unsound, "vectors that are not of unit length"),
    ]


def _materialized(
    tables: Store,
    vectors: str,
    name: str,
    result: EmbeddingsResult,
    found: Sequence[dg.AssetCheckResult],
    started: float,
) -> Materialized:
    total = tables.count(vectors, of_repo(name))
    return dg.MaterializeResult(
        data_version=data_version(tables, vectors, name),
        check_results=found,
        metadata={
            "table": vectors,
            "vectors": total,
            "embedded_now": result.embedded,
            "copied_now": result.copied,
            "rows_written": result.change.written,
            "rows_deleted": result.change.deleted,
            "rows_kept": total - result.change.written,
            "seconds": round(time.monotonic() - started, 3),
        },
    )
