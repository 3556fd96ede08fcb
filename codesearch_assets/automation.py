"""Jobs, and the three sensors: catalog and upkeep run as installed, the night when switched on."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import dagster as dg

from codesearch_assets import night
from codesearch_assets.freshness import (
    needs_refresh,
    needs_summarise,
    needs_vectors,
    summaries_state,
    tables_state,
)
from codesearch_assets.partitions import (
    COMMIT_TAG,
    NAME,
    missing_partitions,
    repositories_partitions,
)
from codesearch_assets.removal import is_worked_on, removal_request, remove_job
from codesearch_assets.reporting import told
from codesearch_assets.upkeep import wants_upkeep
from codesearch_resources.catalog import Plan, plan, read_catalog, write_catalog
from codesearch_resources.dagster import NO_CONFIGURATION, RepositoriesResource, StoreResource
from codesearch_resources.embedders.base import Embedder
from codesearch_resources.results import Results
from codesearch_resources.settings import RepositorySettings, Settings, SettingsError, load
from codesearch_resources.soundness import check_tables
from codesearch_resources.store import Store
from codesearch_resources.summarizers.order import Summarizer

TICK = 60  # seconds between looks at the settings and at the night
UPKEEP_TICK = 300
# In the queue: what was struck goes first, then upkeep, then what moved, slices last.
UPKEEP_PRIORITY, REFRESH_PRIORITY, SLICE_PRIORITY = "10", "5", "0"

refresh_job = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.assets(*night.ASSETS["refresh"]),
    description="Make a repository searchable at its newest commit.",
)
summarise_job = dg.define_asset_job(
    "summarise",
    selection=dg.AssetSelection.assets(*night.ASSETS["summarise"]),
    description="Give a repository's chunks their summaries, as far as a provider may be used.",
)
upkeep_job = dg.define_asset_job(
    "upkeep",
    selection=dg.AssetSelection.assets(*night.ASSETS["upkeep"]),
    description="Compact and index the tables where it pays.",
)


class Nothing(Exception):
    """A tick has nothing to look at; the message says why."""


def unattended_settings(repositories: RepositoriesResource) -> Settings:
    """The settings for what nobody watches: a folder that is not there stops nothing.

    Raises Nothing, with what to do, when there are none.
    """
    file = repositories.file()
    if file is None:
        raise Nothing(NO_CONFIGURATION)
    try:
        return load(file, absent_ok=True)
    except SettingsError as error:
        raise Nothing(str(error)) from None


@contextmanager
def _skipping(data_dir: Path) -> Iterator[None]:
    """What a person can mend is a reason to skip the tick, in its own words.

    A damaged table is set aside: the next tick makes it anew, and what it held is then behind.
    """
    try:
        with told(data_dir):
            yield
    except dg.Failure as failure:
        raise Nothing(failure.description) from None


@dg.sensor(
    name="catalog",
    # By name: given a job, Dagster copies the sensor and warns of a beta parameter of its own.
    job_name=remove_job.name,
    minimum_interval_seconds=TICK,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Keeps the partitions in step with codesearch.yaml: a new repository gets one, a "
    "struck one loses its rows and then its partition, one that is only not there waits. Ends runs "
    "whose process was killed. Asks no network.",
)
def catalog_sensor(
    context: dg.SensorEvaluationContext, repositories: RepositoriesResource, store: StoreResource
) -> dg.SensorResult | dg.SkipReason:
    try:
        settings = unattended_settings(repositories)
        with _skipping(settings.data_dir):
            return _follow_settings(context.instance, settings, store.data_dir(), context.log)
    except Nothing as nothing:
        return dg.SkipReason(str(nothing))


def _follow_settings(
    instance: dg.DagsterInstance, settings: Settings, data_dir: Path, log: logging.Logger
) -> dg.SensorResult | dg.SkipReason:
    for run_id in night.fail_dead_runs(instance, settings):
        log.warning(f"the process of run {run_id} is gone; the run was marked as failed")
    change = plan(read_catalog(data_dir), settings, night.now())
    write_catalog(data_dir, change.known)
    new = missing_partitions(settings, instance)
    busy = [name for name in change.removed if is_worked_on(instance, settings, name)]
    leaving = [name for name in change.removed if name not in busy]
    waiting = night.waiting_runs(instance, remove_job.name)
    runs = [removal_request(leaving)] if leaving and not waiting else []
    if not new and not runs:
        return dg.SkipReason(_catalog_state(settings, change, busy))
    return dg.SensorResult(
        run_requests=runs,
        dynamic_partitions_requests=[repositories_partitions.build_add_request(new)] if new else [],
    )


def _catalog_state(settings: Settings, change: Plan, busy: Sequence[str]) -> str:
    lines = []
    if change.refused:
        lines.append(
            f"refused to remove {', '.join(change.refused)}: more than half of all. If it is "
            f"meant: codesearch repos remove {' '.join(change.refused)} --yes"
        )
    if change.missing:
        missing = ", ".join(change.missing)
        lines.append(f"not there at present, kept for {settings.grace_days} days: {missing}")
    if busy:
        lines.append(f"to be removed when their runs have ended: {', '.join(busy)}")
    return "; ".join(lines) or f"the partitions are those of {settings.file}"


@dg.sensor(
    name="nightly",
    jobs=[refresh_job, summarise_job],
    minimum_interval_seconds=TICK,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="The night. At the cron of codesearch.yaml it asks every repository for its HEAD "
    "and refreshes those that moved; between, it gives summaries slice after slice. Nothing of "
    "either happens before it is switched on.",
)
def nightly_sensor(
    context: dg.SensorEvaluationContext,
    repositories: RepositoriesResource,
    store: StoreResource,
    embedder: dg.ResourceParam[Embedder],
    summarizer: dg.ResourceParam[Summarizer],
) -> dg.SensorResult:
    cursor = night.Cursor.parse(context.cursor)
    try:
        settings = unattended_settings(repositories)
        with _skipping(settings.data_dir):
            return _tick(context, cursor, settings, store, embedder, summarizer)
    except Nothing as nothing:
        return dg.SensorResult(skip_reason=str(nothing), cursor=cursor.text())


def _tick(
    context: dg.SensorEvaluationContext,
    cursor: night.Cursor,
    settings: Settings,
    store: StoreResource,
    embedder: Embedder,
    summarizer: Summarizer,
) -> dg.SensorResult:
    """Request what the night asks for when it is due, and the next slice of summaries."""
    deadline = time.monotonic() + night.SUMMARIES_DEADLINE
    now, tables = night.now(), store.open(embedder)
    requests: list[dg.RunRequest] = []
    lines: list[str] = []
    if night.is_due(cursor, settings.nightly, now):
        requests, lines = _refresh_requests(context, settings, tables, embedder)
    refreshed = {request.partition_key for request in requests}
    entries = [entry for entry in settings.repositories if entry.name not in refreshed]
    with closing(store.results()) as results:
        chosen, cursor = _next_slice(
            context, settings, entries, tables, results, embedder, summarizer, cursor, now, deadline
        )
    for line in lines:
        context.log.warning(line)
    if chosen is not None:
        tags = {"dagster/priority": SLICE_PRIORITY}
        requests.append(dg.RunRequest(job_name="summarise", partition_key=chosen, tags=tags))
    cursor = cursor.after(night.latest_night(settings.nightly, now))
    if requests:
        return dg.SensorResult(run_requests=requests, cursor=cursor.text())
    quiet = "; ".join(lines) or f"nothing moved; the night last began {cursor.night}"
    return dg.SensorResult(skip_reason=quiet, cursor=cursor.text())


def _refresh_requests(
    context: dg.SensorEvaluationContext, settings: Settings, tables: Store, embedder: Embedder
) -> tuple[list[dg.RunRequest], list[str]]:
    """A run for each repository that is behind; a line for each that could not be asked."""
    check_tables(tables)
    found, silent = night.heads(settings, settings.repositories)
    lines = [f"{name}: {reason}" for name, reason in sorted(silent.items())]
    known = set(context.instance.get_dynamic_partitions(NAME))
    requests = []
    for entry in settings.repositories:
        head = found.get(entry.name)
        if entry.name not in known or not _is_behind(tables, entry, head, embedder):
            continue
        if night.is_busy(context.instance, settings, "refresh", entry.name):
            lines.append(f"{entry.name}: a refresh of it is still under way")
        else:
            requests.append(_refresh_request(entry.name, head))
    return requests, lines


def _is_behind(
    tables: Store, entry: RepositorySettings, head: str | None, embedder: Embedder
) -> bool:
    """Whether a run would change something; of one that gave no HEAD only its vectors can."""
    if head is None:
        return needs_vectors(tables, entry.name, embedder)
    return needs_refresh(tables, entry, head, embedder)


def _refresh_request(name: str, head: str | None) -> dg.RunRequest:
    """A run of `refresh`; without a HEAD it makes the vectors of the chunks that are stored."""
    tags = {"dagster/priority": REFRESH_PRIORITY, **({COMMIT_TAG: head} if head else {})}
    only = None if head else [dg.AssetKey("code_embeddings")]
    return dg.RunRequest(job_name="refresh", partition_key=name, tags=tags, asset_selection=only)


def _next_slice(
    context: dg.SensorEvaluationContext,
    settings: Settings,
    entries: Sequence[RepositorySettings],
    tables: Store,
    results: Results,
    embedder: Embedder,
    summarizer: Summarizer,
    cursor: night.Cursor,
    now: datetime,
    deadline: float,
) -> tuple[str | None, night.Cursor]:
    """The repository whose slice is next; the cursor knows those that lack nothing.

    They are looked at in turn, and no further than to the first that lacks something.
    """
    if night.any_busy(context.instance, settings, "summarise"):
        return None, cursor
    slices, state = results.slices(), tables_state(tables, results, summarizer)
    settled = dict(cursor.settled) if state == cursor.tables else {}
    served = {name: last.served_at for name, last in slices.items()}
    for name in night.in_turn((entry.name for entry in entries), served):
        last = slices.get(name)
        if name in settled or (last is not None and not last.may_follow(now)):
            continue
        if time.monotonic() > deadline:
            context.log.warning(f"summaries of {name} and others: looked at by the next tick")
            return None, replace(cursor, settled={**cursor.settled, **settled})
        own = summaries_state(tables, results, name, summarizer, last)
        if own != cursor.settled.get(name) and tables.repository_row(name).get("chunks_commit"):
            if night.failed_lately(context.instance, "summarise", name):
                continue
            if needs_summarise(tables, results, name, embedder, summarizer):
                return name, replace(cursor, settled={**cursor.settled, **settled})
        settled[name] = own
    return None, replace(cursor, settled=settled, tables=state)


@dg.sensor(
    name="upkeep",
    jobs=[upkeep_job],
    minimum_interval_seconds=UPKEEP_TICK,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Requests upkeep of the tables when enough has changed to make it worth it.",
)
def upkeep_sensor(
    context: dg.SensorEvaluationContext,
    repositories: RepositoriesResource,
    store: StoreResource,
    embedder: dg.ResourceParam[Embedder],
) -> dg.RunRequest | dg.SkipReason:
    try:
        settings = unattended_settings(repositories)
        with _skipping(settings.data_dir):
            tables = store.open(embedder)
            if night.is_busy_job(context.instance, settings, "upkeep"):
                return dg.SkipReason("upkeep is under way, or failed within the last hour")
            reason = wants_upkeep(settings, tables, context.instance, night.now())
    except Nothing as nothing:
        return dg.SkipReason(str(nothing))
    if not reason:
        return dg.SkipReason("nothing to do yet")
    return dg.RunRequest(
        job_name="upkeep",
        tags={"dagster/priority": UPKEEP_PRIORITY, "codesearch/reason": reason},
    )
