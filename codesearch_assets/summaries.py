"""summaries: one or two sentences on what sets each chunk apart, and who wrote them.

A run first projects what is known: paid summaries out of results.db, doc comments, and stand-ins
for the rest, so that every chunk has one within seconds. Then the summarizer works off the
remainder; what it is paid for is kept in results.db before it is shown anywhere.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa

from codesearch_assets import checks, summary_list
from codesearch_assets.chunks import NothingUpstream, chunks
from codesearch_assets.partitions import repositories_partitions
from codesearch_assets.reporting import (
    Materialized,
    counts_table,
    data_version,
    exclusively,
)
from codesearch_assets.summary_list import Chunk
from codesearch_assets.summary_progress import Progress, days_table, providers_table, reported
from codesearch_resources.dagster import StoreResource
from codesearch_resources.embedders.base import Embedder
from codesearch_resources.progress import report
from codesearch_resources.quota.reconcile import Day
from codesearch_resources.results import Ended, Results
from codesearch_resources.results_copy import keep_copy
from codesearch_resources.schemas import SUMMARIES
from codesearch_resources.store import Change, Store, batched, of_repo
from codesearch_resources.summarizers import extractive
from codesearch_resources.summarizers.base import Piece, Summary
from codesearch_resources.summarizers.order import Order, Remainder, Summarizer, accepted
from codesearch_resources.text import tokens

SUMMARIES_VERSION = 2
BATCH = 2_000  # chunks projected at once
# Paid summaries are kept one by one, and shown to search in batches of at most so many or so old.
SHOWN_BATCH, SHOWN_AFTER = 50, 5.0  # seconds

Say = Callable[[str], None]


@dataclass
class SummariesResult:
    """What a run did and how the partition stands; grows batch by batch."""

    projected: int = 0
    summarised: int = 0
    remainder: int = 0
    ended: Ended = "done"
    why: Remainder = field(default_factory=Remainder)
    grades: dict[str, int] = field(default_factory=dict)
    change: Change = field(default_factory=Change)


def refresh_summaries(
    store: Store,
    results: Results,
    repo: str,
    summarizer: Summarizer,
    *,
    seconds: float = math.inf,
    local_only: bool = True,
    providers: tuple[str, ...] = (),
    say: Say | None = None,
) -> SummariesResult:
    """Give every chunk of a repository the best summary that can be had within `seconds`.

    What is known already is projected whatever the time. `providers`: the names of those that may
    be asked, in order; empty: the whole chain. `say` is given a line on how it goes now
    and then. Raises NothingUpstream without chunks.
    """
    result = SummariesResult()
    order = Order(
        results, repo, local_only, providers, time.monotonic() + seconds, remainder=result.why
    )
    if store.repository_row(repo).get("chunks_commit") is None:
        raise NothingUpstream(f"{repo} has no chunks yet: materialise chunks first")
    wanted = summary_list.wanted(store, repo)
    known = summary_list.known(store, repo)
    _project(store, results, repo, wanted, known, result)
    result.change += Change(
        deleted=store.delete("summaries", known.keys() - {chunk.chunk_id for chunk in wanted})
    )
    _summarize_remainder(store, wanted, summarizer, order, result, say)
    _count(store, repo, wanted, summarizer, result)
    return result


def _project(
    store: Store,
    results: Results,
    repo: str,
    wanted: Sequence[Chunk],
    known: Mapping[str, Mapping[str, Any]],
    result: SummariesResult,
) -> None:
    """Write what needs no call: paid summaries, doc comments, stand-ins."""
    stand_in = extractive.Extractive()
    replaced = results.replaced(chunk.key for chunk in wanted)
    standing = {
        chunk.chunk_id: known[chunk.chunk_id]["grade"]
        for chunk in wanted
        if chunk.chunk_id in known and summary_list.stands(known[chunk.chunk_id], chunk, replaced)
    }
    better = results.find(chunk.key for chunk in wanted if standing.get(chunk.chunk_id) != "model")
    todo = [chunk for chunk in wanted if chunk.key in better or chunk.chunk_id not in standing]
    todo = [chunk for chunk in todo if standing.get(chunk.chunk_id) != "model"]
    for batch in batched(todo, BATCH):
        pieces = summary_list.pieces(store, [c for c in batch if c.key not in better])
        written = [
            (chunk, better.get(chunk.key) or stand_in.extract(pieces[chunk.chunk_id]))
            for chunk in batch
        ]
        result.change += Change(written=store.upsert("summaries", _rows(repo, written)))
        result.projected += len(batch)
        report("summaries", result.projected, len(todo))


def _summarize_remainder(
    store: Store,
    wanted: Sequence[Chunk],
    summarizer: Summarizer,
    order: Order,
    result: SummariesResult,
    say: Say | None,
) -> None:
    """Have the summarizer work off the chunks without an accepted summary, equal content once."""
    grades = {i: row["grade"] for i, row in summary_list.known(store, order.repo).items()}
    waiting = summary_list.waiting(order.results, summarizer, wanted, grades)
    first = summary_list.in_order(store, [same[0] for same in waiting.values()])
    progress = Progress(len(waiting), order.results, say)
    for batch in batched(first, BATCH):
        found = summary_list.pieces(store, batch)
        pieces = [found[chunk.chunk_id] for chunk in batch]
        for written in _shown(summarizer, pieces, order):
            rows = [(same, s) for piece, s in written for same in waiting[piece.content_hash]]
            result.change += Change(written=store.upsert("summaries", _rows(order.repo, rows)))
            result.summarised += len(written)
            progress.tell(result.summarised, written[-1][1].provider)
        if order.late:
            break
    if result.summarised < len(waiting):
        result.ended = "time" if order.late else "denied"


def _shown(
    summarizer: Summarizer, pieces: Sequence[Piece], order: Order
) -> Iterator[list[tuple[Piece, Summary]]]:
    """What the summarizer writes, in batches worth a write of the table.

    A stand-in of the chain is dropped: the chunk has one already.
    """
    fresh: list[tuple[Piece, Summary]] = []
    shown = time.monotonic()
    with closing(summarizer.summarize(pieces, order)) as work:
        for piece, summary in work:
            if accepted(summary.grade, summarizer):
                fresh.append((piece, summary))
            full = len(fresh) == SHOWN_BATCH or time.monotonic() - shown > SHOWN_AFTER
            if fresh and (full or order.late):
                yield fresh
                fresh, shown = [], time.monotonic()
    if fresh:
        yield fresh


def _count(
    store: Store,
    repo: str,
    wanted: Sequence[Chunk],
    summarizer: Summarizer,
    result: SummariesResult,
) -> None:
    """How the partition stands: chunks by grade, and those that wait for a better summary."""
    rows = store.read("summaries", ["chunk_id", "grade"], of_repo(repo)).to_pylist()
    grades = {row["chunk_id"]: row["grade"] for row in rows}
    result.grades = dict(Counter(grades.values()))
    result.remainder = sum(
        not accepted(grades.get(chunk.chunk_id, ""), summarizer, chunk.marks) for chunk in wanted
    )


def _rows(repo: str, written: Sequence[tuple[Chunk, Summary]]) -> pa.Table:
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


def _check(
    tables: Store, summarizer: Summarizer, days: Sequence[Day] = ()
) -> list[dg.AssetCheckResult]:
    uncovered = checks.uncovered(tables, summarizer)
    troubles = [day.trouble for day in days if day.trouble]
    gone = checks.orphans(tables, "summaries")
    return [
        checks.result("coverage", uncovered, "chunks wait for their summary", warn=True),
        checks.result("no_orphan_summaries", gone, "summaries outlived their chunk", warn=True),
        dg.AssetCheckResult(
            check_name="ledger_agrees",
            passed=not troubles,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(troubles) or "the ledger agrees with what was reported",
            metadata={"days": len(days), "disagreeing": len(troubles)},
        ),
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
        ledger_agrees="What providers report of the last week is what the ledger has, within 20 %.",
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
    with exclusively(store, name, "summarise"), closing(store.results()) as results:
        tables, settings = store.open(embedder), store.settings()
        try:
            entry = settings.repository(name)
            results.begin_slice(name)
            result = refresh_summaries(
                tables,
                results,
                name,
                summarizer,
                seconds=settings.nightly.slice_minutes * 60,
                local_only=entry.local_only,
                providers=entry.summarizers,
                say=context.log.info,
            )
            why = "; ".join(result.why.lines()) if result.remainder else ""
            results.end_slice(name, result.ended, result.why.next_at, why)
        except NothingUpstream as missing:
            raise dg.Failure(str(missing), allow_retries=False) from None
        providers, days = providers_table(results), reported(results)
        keep_copy(results.path, datetime.now(UTC))
    if why:
        context.log.warning(f"{result.remainder} chunks of {name} wait: {why}")
    total = sum(result.grades.values())
    return dg.MaterializeResult(
        data_version=data_version(tables, "summaries", name),
        check_results=_check(tables, summarizer, days),
        metadata={
            "summaries": total,
            "by_grade": counts_table("grade", summaries=result.grades),
            "summarizer": summarizer.name,
            "summarised_now": result.summarised,
            "projected_now": result.projected,
            "remainder": result.remainder,
            "remainder_why": why or "nothing stands in the way",
            "next_slice_from": str(result.why.next_at or "any time"),
            "providers": providers,
            "ledger_by_day": days_table(days),
            "ended": result.ended,
            "coverage": round((total - result.remainder) / total, 4) if total else 1.0,
            "rows_written": result.change.written,
            "rows_deleted": result.change.deleted,
            "seconds": round(time.monotonic() - started, 3),
        },
    )
