"""upkeep: tables compacted and indexed when that pays, and old runs purged."""

import shutil
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg

from codesearch_assets import night
from codesearch_assets.partitions import NAME
from codesearch_assets.reporting import (
    Materialized,
    counts_table,
    told,
)
from codesearch_resources.coverage import drop_expired, stored_hashes
from codesearch_resources.dagster import StoreResource
from codesearch_resources.data_dir import lock
from codesearch_resources.embedders.base import Embedder
from codesearch_resources.results import UNREFERENCED, Results
from codesearch_resources.sets import expired, read_sets
from codesearch_resources.settings import Settings
from codesearch_resources.store import Store
from codesearch_resources.summarizers.base import summary_key
from codesearch_resources.upkeep import due, old_damaged, remove_damaged
from codesearch_resources.upkeep import upkeep as run_upkeep

UPKEEP_VERSION = 1
LOCK = "upkeep"
LOCK_WAIT = 600.0  # seconds; another upkeep does this one's work
# Runs purged at once, and how many old ones make it worth asking for upkeep.
PURGE_BATCH, WORTH_PURGING = 500, 50
FINISHED = (
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
)
PARTITIONED = ("repo_snapshots", "chunks", "code_embeddings", "summaries", "summary_embeddings")


def wants_upkeep(
    settings: Settings, store: Store, instance: dg.DagsterInstance, now: datetime
) -> str:
    """Why upkeep is worth it now, "" when it is not."""
    if tables := due(store):
        return f"tables due: {', '.join(found.name for found in tables)}"
    if is_expired(settings):
        return "vectors of an embedder that was left"
    if old_damaged(store, now - timedelta(days=settings.grace_days)):
        return f"damaged tables were set aside more than {settings.grace_days} days ago"
    old = _old_runs(instance, settings, now, WORTH_PURGING)
    return f"{WORTH_PURGING} old runs or more" if len(old) == WORTH_PURGING else ""


def is_expired(settings: Settings) -> bool:
    """Whether the vectors of an embedder that was left are past their grace."""
    return bool(expired(read_sets(settings.data_dir), _grace(settings), night.now()))


def _grace(settings: Settings) -> timedelta:
    return timedelta(days=settings.grace_days)


def _old_runs(
    instance: dg.DagsterInstance, settings: Settings, now: datetime, most: int
) -> list[str]:
    """At most so many finished runs that nobody needs any more, the oldest first: none that holds
    a partition's latest state."""
    before = now - timedelta(days=settings.keep_runs_days)
    old = dg.RunsFilter(statuses=list(FINISHED), created_before=before)
    if not instance.get_run_records(old, limit=1):
        return []
    needed = _latest_runs(instance)
    records = instance.get_run_records(old, limit=most + len(needed), ascending=True)
    found = [record.dagster_run.run_id for record in records]
    return [run_id for run_id in found if run_id not in needed][:most]


def _latest_runs(instance: dg.DagsterInstance) -> set[str]:
    """The runs that hold a partition's latest materialisation."""
    found: set[str] = set()
    for asset in PARTITIONED:
        for partition in instance.get_dynamic_partitions(NAME):
            wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[partition])
            records = instance.fetch_materializations(wanted, limit=1).records
            found |= {record.run_id for record in records}
    return found


def drop_unwanted(store: Store, results: Results, now: datetime) -> int:
    """Drop paid summaries that no chunk of any repository has wanted for 90 days; how many."""
    hashes = store.read("chunks", ["content_hash"])["content_hash"].unique().to_pylist()
    return results.drop_unreferenced((summary_key(found) for found in hashes), now)


def drop_unwanted_vectors(data_dir: Path, results: Results, now: datetime) -> int:
    """Drop kept vectors of servers that no row of their set has wanted for 90 days; how many."""
    known, dropped = read_sets(data_dir).sets, 0
    for name in results.vectors.counts():
        hashes = stored_hashes(data_dir, known[name]) if name in known else set()
        dropped += results.vectors.drop_unreferenced(name, hashes, UNREFERENCED, now)
    return dropped


def purge_runs(instance: dg.DagsterInstance, settings: Settings, now: datetime) -> int:
    """Delete old runs with their logs; returns how many. Dagster itself keeps them for ever."""
    old = _old_runs(instance, settings, now, PURGE_BATCH)
    for run_id in old:
        instance.delete_run(run_id)
        _remove_files(Path(instance.root_directory), run_id)
    return len(old)


def _remove_files(home: Path, run_id: str) -> None:
    """What Dagster leaves of a deleted run: its emptied event log, and its output."""
    for log in (home / "history" / "runs").glob(f"{run_id}.db*"):
        log.unlink(missing_ok=True)
    shutil.rmtree(home / "storage" / run_id, ignore_errors=True)


# An op of its own name: Dagster takes no op and job of one name into a code location.
@dg.multi_asset(
    name="tables_upkeep",
    specs=[
        dg.AssetSpec(
            "upkeep",
            group_name="codesearch",
            kinds={"lancedb"},
            code_version=str(UPKEEP_VERSION),
            description="Tables compacted, pruned and indexed, where enough has changed to make "
            "it worth it; vectors of an embedder that was left and damaged tables that were set "
            "aside deleted after `grace_days`, runs after `keep_runs_days`, and what was paid for "
            "and no chunk has wanted after 90 days. Nothing to do writes nothing.",
        )
    ],
    pool="upkeep",
)
def upkeep(
    context: dg.AssetExecutionContext, store: StoreResource, embedder: dg.ResourceParam[Embedder]
) -> Materialized:
    with told():
        data_dir = store.data_dir()
    with told(data_dir), lock(data_dir, LOCK, wait=LOCK_WAIT):
        settings, tables, now = store.settings(), store.open(embedder), night.now()
        worked = run_upkeep(tables)
        left = drop_expired(data_dir, _grace(settings), now)
        damaged = remove_damaged(tables, now - timedelta(days=settings.grace_days))
        purged = purge_runs(context.instance, settings, now)
        with closing(store.results()) as results:
            dropped = drop_unwanted(tables, results, now)
            vectors = drop_unwanted_vectors(data_dir, results, now)
    return dg.MaterializeResult(
        metadata={
            "tables": len(worked),
            "runs_purged": purged,
            "sets_dropped": ", ".join(left) or "none",
            "unreferenced_summaries_dropped": dropped,
            "unreferenced_vectors_dropped": vectors,
            "damaged_tables_deleted": damaged,
            "unindexed_rows_folded_in": counts_table(
                "table", rows={found.name: found.unindexed for found in worked}
            ),
        }
    )
