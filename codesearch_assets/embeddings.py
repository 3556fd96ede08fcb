"""code_embeddings and summary_embeddings: one unit vector for each chunk and for its summary.

Work is decided by keys. A row whose source has not changed is left alone; a text that any
repository has embedded before is copied; only the rest goes to the embedder, in batches that are
written as they come, so that a killed run loses one batch at most.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
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
from codesearch_resources.coverage import store_of, switch_when_covered
from codesearch_resources.dagster import StoreResource
from codesearch_resources.data_dir import Busy, lock
from codesearch_resources.embedders.base import Document, Embedder, EmbeddingError, TextsRefused
from codesearch_resources.embedders.make import embedder_of, set_of
from codesearch_resources.log_file import LOGGER
from codesearch_resources.progress import report
from codesearch_resources.sets import read_sets
from codesearch_resources.settings import Settings
from codesearch_resources.store import Change, Store, among, batched, of_repo
from codesearch_resources.text import digest, key

Vector = np.ndarray[tuple[int], np.dtype[np.float16]]

BATCH = 2_000  # texts; what a kill -9 loses at most
EMBEDDINGS_VERSION = 1

said = logging.getLogger(LOGGER)


@dataclass
class EmbeddingsResult:
    """What bringing a vector partition up to date did; grows batch by batch."""

    embedded: int = 0  # texts given to the embedder
    copied: int = 0  # rows whose text already had a vector
    refused: dict[str, str] = field(default_factory=dict)  # chunk id to why it has no vector
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
    """Make the table `vectors` hold one row for each row of `source`, and no other.

    A text that the embedder refuses gets a row without a vector, which no search meets; it is not
    asked for again before `forget_refused`. Raises EmbeddingError when no vector can be had.
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
        try:
            fresh, refused = embedder.embed(list(missing.values()), "document"), {}
        except TextsRefused as some:
            fresh, refused = some.vectors, dict(some.refused)
        found = zip(missing, fresh.astype(np.float16), strict=True)
        by_hash |= {h: None if n in refused else v for n, (h, v) in enumerate(found)}
        reasons = {h: refused[n] for n, h in enumerate(missing) if n in refused}
        ids_of = zip((row["chunk_id"] for row in rows), hashes, strict=True)
        result.refused |= {chunk_id: reasons[h] for chunk_id, h in ids_of if h in reasons}
    result.embedded += len(missing)
    result.copied += len(rows) - len(missing)
    return pa.table(
        {
            "chunk_id": [row["chunk_id"] for row in rows],
            "repo": [repo] * len(rows),
            "path": [row["path"] for row in rows],
            "language": [row["language"] for row in rows],
            "kind": [row["kind"] for row in rows],
            "text_hash": hashes,
            "vector": _column([by_hash[h] for h in hashes], embedder.dimensions),
            "digest": [source.digests[row["chunk_id"]] for row in rows],
        }
    )


def _column(vectors: Sequence[Vector | None], width: int) -> pa.Array:
    """Vectors as a column of fixed-size lists; None is null."""
    none = np.zeros(width, np.float16)
    flat = np.concatenate([none if v is None else v for v in vectors] or [none[:0]])
    nulls = pa.array([vector is None for vector in vectors], pa.bool_())
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), width, mask=nulls)


def forget_refused(store: Store, repos: Sequence[str]) -> None:
    """Let the texts that were refused be asked for again: their rows without a vector go, those of
    other repositories with such a text as well, else it would count as refused still.

    A repository that a run works on keeps its rows.
    """
    for vectors, job in ((store.code_vectors, "refresh"), (store.summary_vectors, "summarise")):
        rows = store.read(vectors, ["repo", "text_hash"], "vector IS NULL").to_pylist()
        again = {row["text_hash"] for row in rows if row["repo"] in repos}
        for repo in sorted({row["repo"] for row in rows if row["text_hash"] in again}):
            refused = f"vector IS NULL AND {of_repo(repo)} AND {among('text_hash', sorted(again))}"
            try:
                with lock(store.data_dir, f"{repo}.{job}"):
                    store.delete_where(vectors, refused)
            except Busy as busy:
                said.warning("%s: its refused texts are not asked for again: %s", repo, busy)


def _known_vectors(store: Store, vectors: str, hashes: Sequence[str]) -> dict[str, Vector | None]:
    """Vectors of texts that were embedded before, in any repository, by text hash; None for one
    that was refused."""
    if not store.count(vectors):
        return {}
    rows = store.read_keys(vectors, ["text_hash", "vector"], "text_hash", sorted(set(hashes)))
    if not rows.num_rows:
        return {}
    column = rows["vector"].combine_chunks()
    known = rows.filter(column.is_valid())
    values = column.drop_null().flatten().to_numpy(zero_copy_only=False)
    found: dict[str, Vector | None] = dict.fromkeys(rows["text_hash"].to_pylist())
    shaped = values.reshape(known.num_rows, -1)
    return found | dict(zip(known["text_hash"].to_pylist(), shaped, strict=True))


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


def refresh_serving(
    tables: Store, repo: str, of: str, settings: Settings, log: logging.Logger
) -> str:
    """While the set of `tables` is being filled: bring the one that serves up to date as well.

    Search goes on with it, for days perhaps. Its embedder may be gone for good, so what it lacks
    then is told, and stops nobody. Returns what was done, "" when `tables` serves itself.
    """
    found = read_sets(tables.data_dir)
    one = found.sets.get(found.serving)
    if one is None or one.name == f"{tables.embedder_id}_{tables.dimensions}":
        return ""
    served = store_of(tables.data_dir, one)
    served.create()
    vectors, source = (
        (served.code_vectors, code_source(served, repo))
        if of == "code"
        else (served.summary_vectors, summary_source(served, repo))
    )
    try:
        result = embed_partition(served, repo, vectors, source, embedder_of(one, settings))
    except EmbeddingError as error:
        log.warning(f"{repo}: {one.name} still serves and could not be brought up to date: {error}")
        return f"{one.name}: {error}"
    return f"{one.name}: {result.change.written} written, {result.change.deleted} deleted"


def switch_to_wanted(store: StoreResource, log: logging.Logger) -> str:
    """Let the wanted set serve when it covers the one that does; its name, "" without a switch."""
    settings = store.settings()
    repos = [entry.name for entry in settings.repositories]
    found = switch_when_covered(settings.data_dir, set_of(settings.embedder).name, repos)
    if found is None:
        return ""
    log.info(f"search now uses the vectors of {found.serving}, no longer those of {found.before}")
    return found.serving


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
            beside = refresh_serving(tables, name, "code", store.settings(), context.log)
            result = refresh_code_embeddings(tables, name, embedder)
        except NothingUpstream as missing:
            raise dg.Failure(str(missing), allow_retries=False) from None
        switched_to = switch_to_wanted(store, context.log)
    found = _check_code_vectors(tables)
    told = {"vectors_of_the_serving_set": beside, "search_switched_to": switched_to}
    return _materialized(tables, tables.code_vectors, name, result, found, started, told)


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
        beside = refresh_serving(tables, name, "summary", store.settings(), context.log)
        result = embed_partition(tables, name, tables.summary_vectors, source, embedder)
        switched_to = switch_to_wanted(store, context.log)
    found = _check_summary_vectors(tables)
    told = {"vectors_of_the_serving_set": beside, "search_switched_to": switched_to}
    return _materialized(tables, tables.summary_vectors, name, result, found, started, told)


def _is_empty(tables: Store, repo: str) -> bool:
    """Whether a repository's chunks were looked for and there are none."""
    looked = tables.repository_row(repo).get("chunks_commit") is not None
    return looked and not tables.count("chunks", of_repo(repo))


def _check_code_vectors(tables: Store) -> list[dg.AssetCheckResult]:
    vectors, asset = tables.code_vectors, "code_embeddings"
    missing = checks.settled(tables, checks.without_vector(tables, "chunks", vectors), asset)
    gone = checks.settled(tables, checks.orphans(tables, vectors), asset)
    return [
        checks.result("code_vectors_complete", missing, "chunks without a vector"),
        checks.result("no_orphan_code_vectors", gone, "vectors outlived their chunk"),
        checks.vectors_are_unit(tables, vectors, "code_vectors_are_unit"),
    ]


def _check_summary_vectors(tables: Store) -> list[dg.AssetCheckResult]:
    vectors = tables.summary_vectors
    missing = checks.without_vector(tables, "summaries", vectors)
    return [
        # A repository that waits for its slice has some; it is behind and not broken.
        checks.result("summary_vectors_complete", missing, "summaries wait for one", warn=True),
        checks.vectors_are_unit(tables, vectors, "summary_vectors_are_unit"),
    ]


def _materialized(
    tables: Store,
    vectors: str,
    name: str,
    result: EmbeddingsResult,
    found: Sequence[dg.AssetCheckResult],
    started: float,
    told: Mapping[str, str],
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
            "refused_texts": len(result.refused),
            "first_refusal": next(iter(result.refused.values()), "none"),
            **{what: text for what, text in told.items() if text},
            "seconds": round(time.monotonic() - started, 3),
        },
    )
