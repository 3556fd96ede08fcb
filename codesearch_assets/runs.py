"""Running the jobs in this process: what `codesearch index` does, on the instance the UI shows."""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import dagster as dg

from codesearch_assets import night
from codesearch_assets.definitions import build
from codesearch_assets.embeddings import forget_refused
from codesearch_assets.freshness import needs_refresh, needs_summarise, needs_vectors
from codesearch_assets.partitions import COMMIT_TAG, add_partitions
from codesearch_assets.plan import Plan, make_plan
from codesearch_assets.removal import remove
from codesearch_assets.reporting import mendable
from codesearch_assets.upkeep import is_expired
from codesearch_resources.catalog import plan, read_catalog, write_catalog
from codesearch_resources.coverage import switch_when_covered
from codesearch_resources.dagster import EmbedderResource, SummarizerResource, configured
from codesearch_resources.data_dir import open_data_dir
from codesearch_resources.embedders.base import Embedder
from codesearch_resources.embedders.make import set_of, wanted_embedder
from codesearch_resources.progress import report
from codesearch_resources.quota.base import one_run
from codesearch_resources.results import Results
from codesearch_resources.sets import follow
from codesearch_resources.settings import RepositorySettings, Settings
from codesearch_resources.shipped import shipped
from codesearch_resources.soundness import check_tables
from codesearch_resources.store import Store
from codesearch_resources.summarizers.chain import make_chain
from codesearch_resources.summarizers.order import Summarizer
from codesearch_resources.upkeep import due

REFUSED = (
    "{name} is no longer in the settings, but removing it and the others struck at once would take "
    "more than half of all. If it is meant: codesearch repos remove {name} --yes"
)
INSTANCE_FILE = "dagster.yaml"
# What Dagster's pages of a job find its runs by: the code location as workspace.yaml names it.
LOCATION = {".dagster/repository": "__repository__@codesearch_assets.definitions"}
# Dagster's own console log would bury the progress bars; failures are told by the outcome.
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one job went for one repository (or for all, when `repo` is empty)."""

    repo: str
    job: str
    error: str = ""
    seconds: float = 0.0
    step: str = ""  # the asset that failed


def prepare_home(settings: Settings) -> Path:
    """The configuration's own Dagster home, made from the shipped template when it is missing."""
    open_data_dir(settings.data_dir, settings.dagster_home, settings.file)
    target = settings.dagster_home / INSTANCE_FILE
    if not target.exists():
        # Copied aside first: half a file left by a kill would be taken for the user's own.
        copied = target.with_suffix(f".{os.getpid()}")
        shutil.copyfile(shipped(INSTANCE_FILE), copied)
        copied.replace(target)
    return settings.dagster_home


@contextmanager
def instance_of(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance in the configuration's own home."""
    os.environ["DAGSTER_HOME"] = str(prepare_home(settings))
    with dg.DagsterInstance.get() as instance:
        yield instance


def index(
    settings: Settings,
    entries: Sequence[RepositorySettings],
    *,
    everything: bool = False,
    resources: Mapping[str, object] | None = None,
    agrees: Callable[[Plan], bool] | None = None,
    beyond_limits: bool = False,
) -> list[Outcome]:
    """Bring repositories up to date: refresh all, then summarise all, then upkeep if it is due.

    Only what is behind is run, unless `everything`. One repository's failure costs no other one.
    `resources` replace the configured ones by name, in the runs and in the decision what to run.
    `agrees` is asked about summaries beyond the limits of a run; where it says no, or is None, the
    run keeps to the limits and leaves a remainder. `beyond_limits`: vectors may go beyond them
    from the start, before it is known how many summaries there will be.
    Raises StoreError and DataDirError for what stands in the way of all.
    """
    with mendable(settings.data_dir), one_run():
        used = {**configured(str(settings.file)), **(resources or {})}
        if beyond_limits:
            _lift_vectors(settings, used)
        return _index(settings, entries, everything, used, agrees)


def _index(
    settings: Settings,
    entries: Sequence[RepositorySettings],
    everything: bool,
    used: dict[str, object],
    agrees: Callable[[Plan], bool] | None,
) -> list[Outcome]:
    embedder, summarizer = cast(Embedder, used["embedder"]), cast(Summarizer, used["summarizer"])
    configured_set = set_of(settings.embedder)
    store = Store(settings.data_dir, embedder.id, embedder.dimensions)
    with instance_of(settings) as instance:
        follow(settings.data_dir, configured_set)
        store.create()
        check_tables(store)
        if everything:
            forget_refused(store, [entry.name for entry in entries])
        outcomes = follow_settings(settings, store, instance)
        runner = Runner(settings, instance, used)
        heads, silent = night.heads(settings, entries)
        outcomes += [Outcome(name, "refresh", reason) for name, reason in silent.items()]
        behind = [
            entry
            for entry in entries
            if entry.name in heads
            and (everything or needs_refresh(store, entry, heads[entry.name], embedder))
        ]
        for number, entry in enumerate(behind):
            report("refresh", number, len(behind))
            outcomes.append(runner.run("refresh", entry.name, {COMMIT_TAG: heads[entry.name]}))
        if behind:
            report("refresh", len(behind), len(behind))
        # Vectors and summaries are made of the chunks that are stored: a repository that cannot be
        # read now must not keep a new embedder's set from ever covering all.
        outcomes += [
            runner.run("refresh", outcome.repo, assets=("code_embeddings",))
            for outcome in filter(_unread, outcomes)
            if needs_vectors(store, outcome.repo, embedder)
        ]
        failed = {outcome.repo for outcome in outcomes if outcome.error and not _unread(outcome)}
        ready = [entry.name for entry in entries if entry.name not in failed]
        if agrees is not None and _agreed(settings, store, ready, used, agrees):
            runner = Runner(settings, instance, used)
        outcomes += _summarise(runner, settings, store, embedder, summarizer, ready, everything)
        repos = [entry.name for entry in settings.repositories]
        switch_when_covered(settings.data_dir, configured_set.name, repos)
        if due(store) or is_expired(settings):
            outcomes.append(runner.run("upkeep"))
    return outcomes


def _unread(outcome: Outcome) -> bool:
    """Whether it failed before anything of the repository was read: what is stored is whole."""
    early = outcome.job == "refresh" and outcome.step in ("", "repo_snapshots")
    return early and bool(outcome.error)


def _agreed(
    settings: Settings,
    store: Store,
    ready: Sequence[str],
    used: dict[str, object],
    agrees: Callable[[Plan], bool],
) -> bool:
    """Whether a person agreed to summaries beyond the limits of a run: lifts them in `used`, for
    the vectors of those summaries as well."""
    configured_one = used["summarizer"]
    if not isinstance(configured_one, SummarizerResource):
        return False
    entries = [settings.repository(name) for name in ready]
    chain = make_chain(settings, beyond_limits=True)
    with closing(Results(settings.data_dir)) as results, closing(chain):
        found = make_plan(settings, store, results, chain, entries, time.time())
    if not found.beyond or not agrees(found):
        return False
    used["summarizer"] = SummarizerResource(configuration=str(settings.file), beyond_limits=True)
    _lift_vectors(settings, used)
    return True


def _lift_vectors(settings: Settings, used: dict[str, object]) -> None:
    if isinstance(used["embedder"], EmbedderResource):
        used["embedder"] = EmbedderResource(configuration=str(settings.file), beyond_limits=True)


def remove_now(settings: Settings, names: Sequence[str]) -> dict[str, int]:
    """Delete the rows of repositories a person has struck; rows deleted by repository.

    One that a run works on is left out, and goes with the next `index`; one that the settings
    still have, since `discover` finds it, is left alone.
    """
    present = {entry.name for entry in settings.repositories}
    names = [name for name in names if name not in present]
    embedder = wanted_embedder(settings)
    store = Store(settings.data_dir, embedder.id, embedder.dimensions)
    with instance_of(settings) as instance:
        return remove(settings, store, instance, names, logging.getLogger("codesearch"))


def follow_settings(
    settings: Settings, store: Store, instance: dg.DagsterInstance
) -> list[Outcome]:
    """Add partitions of new repositories, remove struck ones, as the catalog sensor does."""
    add_partitions(settings, instance)
    change = plan(read_catalog(settings.data_dir), settings, night.now())
    write_catalog(settings.data_dir, change.known)
    removed = remove(settings, store, instance, change.removed, logging.getLogger("codesearch"))
    refused = [Outcome(name, "remove", REFUSED.format(name=name)) for name in change.refused]
    return [*(Outcome(name, "remove") for name in removed), *refused]


def _summarise(
    runner: "Runner",
    settings: Settings,
    store: Store,
    embedder: Embedder,
    summarizer: Summarizer,
    names: Sequence[str],
    everything: bool,
) -> list[Outcome]:
    """Slice after slice, each repository in turn, until nothing is left or nobody may go on."""
    outcomes: list[Outcome] = []
    with closing(Results(settings.data_dir)) as results:
        results.breakers.let_try()  # whoever runs this has done what a provider waited for
        turn = [
            name
            for name in names
            if store.repository_row(name).get("chunks_commit") is not None
            and (everything or needs_summarise(store, results, name, embedder, summarizer))
        ]
        total = len(turn)
        while turn:
            report("summarise", total - len(turn), total)
            outcomes += [runner.run("summarise", name) for name in turn]
            failed = {outcome.repo for outcome in outcomes if outcome.error}
            ended = {name: last.ended for name, last in results.slices().items()}
            turn = [name for name in turn if ended.get(name) == "time" and name not in failed]
    report("summarise", total, total)
    return outcomes


class Runner:
    """Executes the code location's jobs in this process."""

    def __init__(
        self,
        settings: Settings,
        instance: dg.DagsterInstance,
        resources: Mapping[str, object] | None = None,
    ) -> None:
        self._instance = instance
        self._definitions = build(str(settings.file), resources)

    def run(
        self,
        job: str,
        partition: str | None = None,
        tags: Mapping[str, str] | None = None,
        assets: Sequence[str] = (),
    ) -> Outcome:
        """Run one job, of one partition where it has any; a failure is told, not raised.

        `assets` are those of the job to run, all when empty.
        """
        started = time.monotonic()
        result = self._definitions.resolve_job_def(job).execute_in_process(
            run_config=QUIET,
            instance=self._instance,
            partition_key=partition,
            tags={**LOCATION, **(tags or {})},
            asset_selection=[dg.AssetKey(asset) for asset in assets] or None,
            raise_on_error=False,
        )
        error, step = ("", "") if result.success else _failure(result)
        return Outcome(partition or "", job, error, time.monotonic() - started, step)


def _failure(result: dg.ExecuteInProcessResult) -> tuple[str, str]:
    """The first failed step's own words, and its name."""
    for event in result.all_node_events:
        if event.is_step_failure:
            step, data = str(event.step_key), cast(Any, event.step_failure_data)
            if data.user_failure_data is not None and data.user_failure_data.description:
                return f"{step}: {data.user_failure_data.description}", step
            error = data.error.cause or data.error
            return f"{step}: {error.message.strip()}", step
    return "the run failed before its first step; see the log in the Dagster UI", ""
