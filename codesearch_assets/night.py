"""The night: when it is due, which repositories moved, whose slice of summaries comes next.

Decided from keys in the tables and from locks; Dagster's events and run statuses only show it. A
killed command line stays STARTED there for ever, so whether a run is alive is asked of its lock.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg

from codesearch_resources.dagster import git_repository
from codesearch_resources.data_dir import forget_lock, is_locked, run_lock
from codesearch_resources.repositories import GitError
from codesearch_resources.settings import Nightly, RepositorySettings, Settings

PARTITION_TAG = "dagster/partition"
# The assets of each job. A run of the UI's own job, or of a backfill, does a part of that work.
ASSETS = {
    "refresh": ("repo_snapshots", "chunks", "code_embeddings"),
    "summarise": ("summaries", "summary_embeddings"),
    "upkeep": ("upkeep",),
}
HEAD_TIMEOUT = 10.0  # seconds for one remote
HEADS_DEADLINE = 40.0  # for all of them; a tick must end within 60
SUMMARIES_DEADLINE = 45.0  # since the tick began: who is not looked at by then is by the next
HEADS_AT_ONCE = 16
WAITING = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING]
# A run is made before it is queued. Who was killed between the two leaves one that nobody will
# ever start.
JUST_MADE = timedelta(minutes=10)
BETWEEN_STEPS = 10.0  # seconds without a lock or a word
SILENCE = 60.0  # the same for a run as a whole, which holds its own lock soon after its start
KILLED_TAG = "codesearch/killed"
STARTED_AT_ONCE = 20  # runs looked at, the newest first
# What failed is not asked for again at once: what made it fail is still there.
RETRY_PAUSE = timedelta(hours=1)


def now() -> datetime:
    """The present time in UTC; simulations put another clock in its place."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Cursor:
    """What the nightly sensor remembers between ticks."""

    night: str = ""  # the last night that was begun, ISO 8601 in UTC
    # Repositories that lacked no summary, each with its state that said so, and the state of all
    # tables when that was last looked at.
    settled: Mapping[str, str] = field(default_factory=dict)
    tables: str = ""

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """The cursor in a sensor's own text; an unreadable one starts afresh."""
        try:
            cursor = cls(**json.loads(text or "{}"))
            if cursor.night:
                datetime.fromisoformat(cursor.night)
            return replace(cursor, settled=dict(cursor.settled))
        except (TypeError, ValueError):
            return cls()

    def after(self, latest: datetime) -> "Cursor":
        """The cursor for the next tick; the last night never goes back with a clock."""
        return replace(self, night=max(self.night, latest.astimezone(UTC).isoformat()))

    def text(self) -> str:
        return json.dumps(asdict(self))


def latest_night(nightly: Nightly, now: datetime) -> datetime:
    """The last time at or before `now` that the cron line names, in UTC.

    Read on the wall clock: an hour that comes twice has one night, and one that is left out in
    spring has its night when the clock is past it.
    """
    from croniter import croniter

    zone = ZoneInfo(nightly.timezone)
    # croniter looks strictly backwards: from the end of this second on, `now` itself counts.
    wall = now.astimezone(zone).replace(tzinfo=None, microsecond=999_999)
    latest = croniter(nightly.cron, wall).get_prev(datetime)
    return min(latest.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))


def is_due(cursor: Cursor, nightly: Nightly, now: datetime) -> bool:
    """Whether a night has come since the last one; several missed ones are one.

    A sensor that was just switched on waits for its first.
    """
    if not cursor.night:
        return False
    return latest_night(nightly, now) > datetime.fromisoformat(cursor.night)


def heads(
    settings: Settings, entries: Sequence[RepositorySettings]
) -> tuple[dict[str, str], dict[str, str]]:
    """The newest commit of each repository, and of those that gave none the reason.

    Asked side by side, local ones first, and none is waited for beyond HEADS_DEADLINE.
    """
    found: dict[str, str] = {}
    silent: dict[str, str] = {}
    pool = ThreadPoolExecutor(HEADS_AT_ONCE, thread_name_prefix="head")
    asked = {
        entry.name: pool.submit(git_repository(settings, entry).head, HEAD_TIMEOUT)
        for entry in sorted(entries, key=lambda entry: entry.url is not None)
    }
    wait(asked.values(), timeout=HEADS_DEADLINE)
    pool.shutdown(wait=False, cancel_futures=True)
    for name, answer in asked.items():
        if not answer.done() or answer.cancelled():
            silent[name] = f"no answer within {HEADS_DEADLINE:.0f} seconds"
            continue
        try:
            found[name] = answer.result()
        except GitError as error:
            silent[name] = str(error)
    return found, silent


def is_busy(instance: dg.DagsterInstance, settings: Settings, job: str, repo: str) -> bool:
    """Whether a run that does the work of `job` for a repository waits, or works: then its lock is
    held. Whoever launched it, and as whatever job: the UI has one of its own for assets."""
    held = is_locked(settings.data_dir, f"{repo}.{job}")
    return held or waiting_runs(instance, job, repo) or _between_steps(instance, job, repo)


def fail_dead_runs(instance: dg.DagsterInstance, settings: Settings) -> list[str]:
    """End the runs whose process is gone, and with it their lock; returns their ids.

    Nobody else does: such a run would stay STARTED for ever, and hold its place among the runs at
    work and in its pool, until nothing runs any more.
    """
    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
    silent = datetime.now(UTC).timestamp() - SILENCE
    dead = []
    for run in instance.get_runs(started):
        if not _is_ours(run):
            continue
        last = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
        if (last and last[0].timestamp > silent) or is_locked(
            settings.data_dir, run_lock(run.run_id)
        ):
            continue
        instance.add_run_tags(run.run_id, {KILLED_TAG: "true"})
        instance.report_run_failed(run, "Its process is gone: it was killed. Run it again.")
        forget_lock(settings.data_dir, run_lock(run.run_id))
        dead.append(run.run_id)
    return dead


def failed_lately(instance: dg.DagsterInstance, job: str, repo: str) -> bool:
    """Whether a run of `job` for a repository failed within RETRY_PAUSE, and would again: one that
    was killed once, or never started, says nothing about the next."""
    failed = dg.RunsFilter(
        job_name=job,
        tags={PARTITION_TAG: repo},
        statuses=[dg.DagsterRunStatus.FAILURE],
        created_after=now() - RETRY_PAUSE,
    )
    records = [record for record in instance.get_run_records(failed) if record.start_time]
    killed = [record for record in records if KILLED_TAG in record.dagster_run.tags]
    return len(killed) > 1 or len(killed) < len(records)


def waiting_runs(instance: dg.DagsterInstance, job: str, repo: str = "") -> bool:
    """Whether a run that does the work of `job` waits in the queue or is just starting."""
    waiting = dg.RunsFilter(tags=_tags(repo), statuses=WAITING)
    just_made = dg.RunsFilter(
        tags=_tags(repo),
        statuses=[dg.DagsterRunStatus.NOT_STARTED],
        created_after=datetime.now(UTC) - JUST_MADE,
    )
    runs = [*instance.get_runs(waiting), *instance.get_runs(just_made)]
    return any(_does(run, job) for run in runs)


def _tags(repo: str) -> dict[str, str]:
    return {PARTITION_TAG: repo} if repo else {}


def _is_ours(run: dg.DagsterRun) -> bool:
    """Whether a run is of this project, and so holds a lock; an instance may have others."""
    return run.job_name == "remove_repositories" or any(_does(run, job) for job in ASSETS)


def _does(run: dg.DagsterRun, job: str) -> bool:
    """Whether a run is one of `job`, or materialises an asset of it: clicked, or of a backfill."""
    selected = {key.path[-1] for key in run.asset_selection or ()}
    return run.job_name == job or not selected.isdisjoint(ASSETS.get(job, ()))


def _between_steps(instance: dg.DagsterInstance, job: str, repo: str = "") -> bool:
    """Whether a run with the work of `job` has just begun or goes from one step to the next,
    holding no lock.

    Told by how young its last event is: a killed one says nothing any more.
    """
    started = dg.RunsFilter(tags=_tags(repo), statuses=[dg.DagsterRunStatus.STARTED])
    young = datetime.now(UTC).timestamp() - BETWEEN_STEPS
    for run in instance.get_runs(started, limit=STARTED_AT_ONCE):
        if not _does(run, job):
            continue
        last = instance.get_records_for_run(run.run_id, limit=1, ascending=False).records
        if last and last[0].timestamp > young:
            return True
    return False


def is_busy_job(instance: dg.DagsterInstance, settings: Settings, job: str) -> bool:
    """Whether a run of an unpartitioned job waits or works, or has just failed."""
    if is_locked(settings.data_dir, job) or waiting_runs(instance, job):
        return True
    failed = dg.RunsFilter(
        job_name=job,
        statuses=[dg.DagsterRunStatus.FAILURE],
        created_after=datetime.now(UTC) - RETRY_PAUSE,
    )
    return bool(instance.get_run_records(failed, limit=1))


def any_busy(instance: dg.DagsterInstance, settings: Settings, job: str) -> bool:
    """Whether a run of `job` waits or works for any repository."""
    held = any(is_locked(settings.data_dir, f"{e.name}.{job}") for e in settings.repositories)
    return held or waiting_runs(instance, job) or _between_steps(instance, job)


def in_turn(names: Iterable[str], served: Mapping[str, datetime]) -> list[str]:
    """Whose turn comes first: those never served, then the one served longest ago."""
    never = datetime.min.replace(tzinfo=UTC)
    return sorted(names, key=lambda name: (served.get(name, never), name))
