"""summaries: one or two sentences on what sets each chunk apart, and who wrote them.

A run first projects what is known: paid summaries out of results.db, doc comments, and stand-ins
for the rest, so that every chunk has one within seconds. Then the summarizer works off the
remainder; what it is paid for is kept in results.db before it is shown anywhere.
"""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa

from codesearch_assets import checks
from codesearch_assets.chunks import NothingUpstream, chunks
from codesearch_assets.partitions import repositories_partitions
from codesearch_assets.reporting import (
    Materialized,
    counts_table,
    data_version,
    exclusively,
)
from codesearch_resources.dagster import StoreResource
from codesearch_resources.embedders.base import Embedder
from codesearch_resources.progress import report
from codesearch_resources.results import Ended, Results
from codesearch_resources.schemas import SUMMARIES
from codesearch_resources.store import Change, Store, batched, count_by, of_repo
from codesearch_resources.summarizers import extractive
from codesearch_resources.summarizers.base import (
    Piece,
    Summarizer,
    Summary,
    accepted,
    summary_key,
)
from codesearch_resources.text import digest, tokens

SUMMARIES_VERSION = 1
BATCH = 2_000  # chunks projected at once
# Paid summaries are kept one by one, and shown to search in batches of at most so many or so old.
SHOWN_BATCH, SHOWN_AFTER = 50, 5.0  # seconds


@dataclass
class SummariesResult:
    """What a run did and how the partition stands; grows batch by batch."""

    projected: int = 0
    summarised: int = 0
    remainder: int = 0
    ended: Ended = "done"
    grades: dict[str, int] = field(default_factory=dict)
    change: Change = field(default_factory=Change)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """What decides about a chunk's summary without reading its text."""

    chunk_id: str
    path: str
    language: str
    kind: str
    content_hash: str

    @property
    def key(self) -> str:
        return summary_key(self.content_hash)

    @property
    def digest(self) -> int:
        return digest(self.language, self.kind, self.key)


def refresh_summaries(
    store: Store,
    results: Results,
    repo: str,
    summarizer: Summarizer,
    *,
    seconds: float = math.inf,
) -> SummariesResult:
    """Give every chunk of a repository the best summary that can be had within `seconds`.

    What is known already is projected whatever the time. Raises NothingUpstream without chunks.
    """
    deadline = time.monotonic() + seconds
    if store.repository_row(repo).get("chunks_commit") is None:
        raise NothingUpstream(f"{repo} has no chunks yet: materialise chunks first")
    wanted = _wanted(store, repo)
    result = SummariesResult()
    known = _known(store, repo)
    _project(store, results, repo, wanted, known, result)
    result.change += Change(
        deleted=store.delete("summaries", known.keys() - {chunk.chunk_id for chunk in wanted})
    )
    _summarize_remainder(store, results, repo, wanted, summarizer, deadline, result)
    result.grades = count_by(store.read("summaries", ["grade"], of_repo(repo)), "grade")
    result.remainder = sum(
        n for grade, n in result.grades.items() if not accepted(grade, summarizer)
    )
    return result


def needs_summaries(store: Store, repo: str, summarizer: Summarizer) -> bool:
    """Whether a chunk of the repository lacks an accepted summary that is still right."""
    known = _known(store, repo)
    for chunk in _wanted(store, repo):
        row = known.pop(chunk.chunk_id, None)
        if row is None or not _stands(row, chunk) or not accepted(row["grade"], summarizer):
            return True
    return bool(known)


def _wanted(store: Store, repo: str) -> list[_Chunk]:
    columns = ["chunk_id", "path", "language", "kind", "content_hash"]
    return [_Chunk(**row) for row in store.read("chunks", columns, of_repo(repo)).to_pylist()]


def _known(store: Store, repo: str) -> dict[str, dict[str, Any]]:
    columns = ["chunk_id", "grade", "prompt_version", "digest"]
    rows = store.read("summaries", columns, of_repo(repo)).to_pylist()
    return {row["chunk_id"]: row for row in rows}


def _stands(row: Mapping[str, Any], chunk: _Chunk) -> bool:
    """Whether a stored row is what would be written now, short of calling a summarizer."""
    free = row["grade"] != "model"
    return row["digest"] == chunk.digest and not (
        free and row["prompt_version"] != extractive.VERSION
    )


def _project(
    store: Store,
    results: Results,
    repo: str,
    wanted: Sequence[_Chunk],
    known: Mapping[str, Mapping[str, Any]],
    result: SummariesResult,
) -> None:
    """Write what needs no call: paid summaries, doc comments, stand-ins."""
    stand_in = extractive.Extractive()
    standing = {
        chunk.chunk_id: known[chunk.chunk_id]["grade"]
        for chunk in wanted
        if chunk.chunk_id in known and _stands(known[chunk.chunk_id], chunk)
    }
    better = results.find(chunk.key for chunk in wanted if standing.get(chunk.chunk_id) != "model")
    todo = [chunk for chunk in wanted if chunk.key in better or chunk.chunk_id not in standing]
    for batch in batched(todo, BATCH):
        pieces = _pieces(store, [chunk for chunk in batch if chunk.key not in better])
        written = [
            (chunk, better.get(chunk.key) or stand_in.extract(pieces[chunk.chunk_id]))
            for chunk in batch
        ]
        result.change += Change(written=store.upsert("summaries", _rows(repo, written)))
        result.projected += len(batch)
        report("summaries", result.projected, len(todo))


def _summarize_remainder(
    store: Store,
    results: Results,
    repo: str,
    wanted: Sequence[_Chunk],
    summarizer: Summarizer,
    deadline: float,
    result: SummariesResult,
) -> None:
    """Have the summarizer work off the chunks without an accepted summary, equal content once."""
    grades = {chunk_id: row["grade"] for chunk_id, row in _known(store, repo).items()}
    waiting: dict[str, list[_Chunk]] = {}
    for chunk in wanted:
        if not accepted(grades[chunk.chunk_id], summarizer):
            waiting.setdefault(chunk.content_hash, []).append(chunk)
    for batch in batched([same[0] for same in waiting.values()], BATCH):
        pieces = list(_pieces(store, batch).values())
        for written in _paid(summarizer, pieces, results, deadline):
            rows = [(same, s) for piece, s in written for same in waiting[piece.content_hash]]
            result.change += Change(written=store.upsert("summaries", _rows(repo, rows)))
            result.summarised += len(written)
            report("summaries", result.summarised, len(waiting))
        if time.monotonic() >= deadline:
            break
    if result.summarised < len(waiting):
        result.ended = "time" if time.monotonic() >= deadline else "denied"


def _paid(
    summarizer: Summarizer, pieces: Sequence[Piece], results: Results, deadline: float
) -> Iterator[list[tuple[Piece, Summary]]]:
    """What the summarizer writes until the deadline, kept as it comes, handed on in batches.

    A stand-in of the chain is dropped: the chunk has one already.
    """
    fresh: list[tuple[Piece, Summary]] = []
    shown = time.monotonic()
    for piece, summary in summarizer.summarize(pieces):
        if accepted(summary.grade, summarizer):
            if summary.grade == "model":
                results.keep({summary_key(piece.content_hash): summary})
            fresh.append((piece, summary))
        late = time.monotonic() >= deadline
        if fresh and (late or len(fresh) == SHOWN_BATCH or time.monotonic() - shown > SHOWN_AFTER):
            yield fresh
            fresh, shown = [], time.monotonic()
        if late:
            return
    if fresh:
        yield fresh


def _pieces(store: Store, wanted: Iterable[_Chunk]) -> dict[str, Piece]:
    columns = [
        "chunk_id", "content_hash", "language", "kind", "symbol", "header", "doc", "text"
    ]  # fmt: skip
    ids = [chunk.chunk_id for chunk in wanted]
    rows = store.read_keys("chunks", columns, "chunk_id", ids).to_pylist()
    return {row.pop("chunk_id"): Piece(**row) for row in rows}


def _rows(repo: str, written: Sequence[tuple[_Chunk, Summary]]) -> pa.Table:
    now = datetime.now(UTC)
    rows = [
        {
            "chunk_id": chunk.chunk_id,
            "repo": repo,
            "path": chunk.path,
            "language": chunk.language,
            "kind": chunk.kind,
            "summary_key": chunk.key,
            "summary": summary.text,
            "fts_text": " ".join(tokens(summary.text)),
            "grade": summary.grade,
            "provider": summary.provider,
            "model": summary.model,
            "prompt_version": summary.prompt_version,
            "created_at": now,
            "digest": chunk.digest,
        }
        for chunk, summary in written
    ]
    return pa.Table.from_pylist(rows, schema=SUMMARIES.schema)


def _check(tables: Store, summarizer: Summarizer) -> list[dg.AssetCheckResult]:
    uncovered = checks.uncovered(tables, summarizer)
    gone = checks.orphans(tables, "summaries")
    return [
        checks.result("coverage", uncovered, "chunks wait for their summary", warn=True),
        checks.result("no_orphan_summaries", gone, "summaries outlived their chunk", warn=True),
    ]


@dg.asset(
    deps=[chunks],
    partitions_def=repositories_partitions,
    group_name="codesearch",
    kinds={"lancedb"},
    code_version=str(SUMMARIES_VERSION),
    check_specs=checks.specs(
        "summaries",
        coverage="Every chunk has an accepted summary; a remainder is a warning.",
        no_orphan_summaries="No summary whose chunk is gone.",
    ),
    pool="summarizer",
    description="One or two sentences on what sets each chunk apart, each with its grade and who "
    "wrote it. What was paid for is never paid for again.",
)
def summaries(
    context: dg.AssetExecutionContext,
    store: StoreResource,
    embedder: dg.ResourceParam[Embedder],
    summarizer: dg.ResourceParam[Summarizer],
) -> Materialized:
    name, started = context.partition_key, time.monotonic()
    with exclusively(store, name, "summarise"):
        tables, results = store.open(embedder), store.results()
        try:
            results.begin_slice(name)
            seconds = store.settings().nightly.slice_minutes * 60
            result = refresh_summaries(tables, results, name, summarizer, seconds=seconds)
            results.end_slice(name, result.ended)
        except NothingUpstream as missing:
            raise dg.Failure(str(missing), allow_retries=False) from None
        finally:
            results.close()
    total = sum(result.grades.values())
    return dg.MaterializeResult(
        data_version=data_version(tables, "summaries", name),
        check_results=_check(tables, summarizer),
        metadata={
            "summaries": total,
            "by_grade": counts_table("grade", summaries=result.grades),
            "summarizer": summarizer.name,
            "summarised_now": result.summarised,
            "projected_now": result.projected,
            "remainder": result.remainder,
            "ended": result.ended,
            "coverage": round((total - result.remainder) / total, 4) if total else 1.0,
            "rows_written": result.change.written,
            "rows_deleted": result.change.deleted,
            "seconds": round(time.monotonic() - started, 3),
        },
    )
