"""Removal of a repository: its rows, its mirror, then its partition; what was paid for stays."""

import logging
import shutil
from collections.abc import Sequence
from contextlib import ExitStack

import dagster as dg

from codesearch_assets import night
from codesearch_assets.partitions import NAME
from codesearch_assets.reporting import told
from codesearch_resources.catalog import read_catalog, write_catalog
from codesearch_resources.dagster import MIRRORS, StoreResource
from codesearch_resources.data_dir import Busy, lock
from codesearch_resources.embedders.base import Embedder
from codesearch_resources.settings import Settings
from codesearch_resources.store import Store, of_repo

REMOVE_JOB = "remove_repositories"
JOBS = ("refresh", "summarise")


def is_waited_for(instance: dg.DagsterInstance, name: str) -> bool:
    """Whether a run of a repository waits in the queue."""
    return any(night.waiting_runs(instance, job, name) for job in JOBS)


def is_worked_on(instance: dg.DagsterInstance, settings: Settings, name: str) -> bool:
    """Whether a run of a repository waits or works."""
    return any(night.is_busy(instance, settings, job, name) for job in JOBS)


def remove_repository(settings: Settings, store: Store, name: str) -> dict[str, int]:
    """Delete a repository's rows from every table, of any embedder, and its mirror.

    Returns how many rows each table lost. Raises Busy while a run works on it.
    """
    with ExitStack() as held:
        for job in JOBS:
            held.enter_context(lock(settings.data_dir, f"{name}.{job}"))
        lost: dict[str, int] = {}
        # The row that says what is indexed goes first: a removal that dies half way leaves a
        # repository that counts as never indexed.
        for table in sorted(store.names(), key=lambda name: name != "repositories"):
            if count := store.count(table, of_repo(name)):
                store.delete_where(table, of_repo(name))
                lost[table] = count
        shutil.rmtree(settings.data_dir / MIRRORS / f"{name}.git", ignore_errors=True)
    return lost


def remove(
    settings: Settings,
    store: Store,
    instance: dg.DagsterInstance,
    names: Sequence[str],
    log: logging.Logger,
) -> dict[str, int]:
    """Remove repositories one by one; one that is busy is left for the next time.

    Returns the rows deleted by repository.
    """
    removed: dict[str, int] = {}
    for name in names:
        if is_waited_for(instance, name):
            log.warning(f"{name} is not removed yet: a run of it waits in the queue")
            continue
        try:
            lost = remove_repository(settings, store, name)
        except Busy as busy:
            log.warning(f"{name} is not removed yet: {busy}")
            continue
        if instance.has_dynamic_partition(NAME, name):
            instance.delete_dynamic_partition(NAME, name)
        known = read_catalog(settings.data_dir)
        known.pop(name, None)
        write_catalog(settings.data_dir, known)
        rows = ", ".join(f"{count} rows of {table}" for table, count in lost.items())
        log.info(f"removed {name}: {rows or 'it had no rows'}")
        removed[name] = sum(lost.values())
    return removed


class RemovalConfig(dg.Config):
    """Which repositories lose their rows."""

    names: list[str]


@dg.op(description="Delete the rows of repositories that were struck from the settings.")
def remove_rows(
    context: dg.OpExecutionContext,
    config: RemovalConfig,
    store: StoreResource,
    embedder: dg.ResourceParam[Embedder],
) -> None:
    with told():
        settings = store.settings()
    # Somebody may have put one back while the run waited.
    listed = {entry.name for entry in settings.repositories}
    if kept := sorted(listed.intersection(config.names)):
        context.log.warning(f"not removed, the settings have them: {', '.join(kept)}")
    names = [name for name in config.names if name not in listed]
    with told(settings.data_dir):
        tables = store.open(embedder)
        removed = remove(settings, tables, context.instance, names, context.log)
    context.add_output_metadata(dict(removed))


@dg.job(
    name=REMOVE_JOB,
    description="Take repositories out of the index that the settings no longer have.",
)
def remove_job() -> None:
    remove_rows()


def removal_request(names: Sequence[str]) -> dg.RunRequest:
    """The run that removes these repositories."""
    config = dg.RunConfig(ops={"remove_rows": RemovalConfig(names=list(names))})
    return dg.RunRequest(job_name=REMOVE_JOB, run_config=config, tags={"dagster/priority": "20"})
