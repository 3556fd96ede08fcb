"""Dagster at work over a workspace, asked through GraphQL as its UI does."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from browser import Webserver

T = TypeVar("T")

PATIENCE = 240.0  # seconds for what Dagster does in its own time, on a busy machine
RUN_PATIENCE = 60.0  # more for each run of a backfill
PAUSE = 0.3
ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
REPOSITORY = {
    "repositoryName": "__repository__",
    "repositoryLocationName": "codesearch_assets.definitions",
}

PARTITIONS = "{ assetNodes { assetKey { path } partitionKeys } }"
RUNS = """{ runsOrError { ... on Runs { results { runId jobName status creationTime
    tags { key value }
    assetSelection { path } assetMaterializations { assetKey { path } partition
        metadataEntries { label ... on IntMetadataEntry { intValue } } } } } } }"""
FAILURES = """query($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events {
    __typename ... on ExecutionStepFailureEvent { stepKey error { message } } } } } }"""
BACKFILL = """mutation($assets: [AssetKeyInput!]!, $partitions: [String!]!) {
    launchPartitionBackfill(backfillParams: { assetSelection: $assets,
        partitionNames: $partitions }) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
AGAIN = """mutation($run: String!) { launchRunReexecution(reexecutionParams: {
    parentRunId: $run, strategy: FROM_FAILURE }) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
LAUNCH = """mutation($job: JobOrPipelineSelector!, $tags: [ExecutionTag!]!) {
    launchRun(executionParams: { mode: "default", runConfigData: {}, selector: $job,
        executionMetadata: { tags: $tags } }) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
SENSOR = """query($sensor: SensorSelector!) { sensorOrError(sensorSelector: $sensor) {
    ... on Sensor { sensorState { status ticks(limit: 50) { timestamp endTimestamp status skipReason
        runIds error { message } logEvents { events { message } } } } } } }"""


@dataclass(frozen=True)
class Run:
    """A run of the instance: its job, its partition, what it wrote."""

    id: str
    job: str
    partition: str
    status: str
    created: float
    backfill: str
    selected: frozenset[str]
    wrote: dict[str, dict[str, int | None]]  # asset to its whole numbers of metadata


@dataclass(frozen=True)
class Live:
    """A webserver with its daemon."""

    server: Webserver

    def partitions(self) -> list[str]:
        """The partitions of the five assets, sorted; they share one set."""
        found = {tuple(n["partitionKeys"]) for n in self.server.ask(PARTITIONS)["assetNodes"]}
        return sorted(max(found))

    def runs(self, since: float = 0) -> list[Run]:
        """Runs made after a time, the newest first."""
        found = map(_run, self.server.ask(RUNS)["runsOrError"]["results"])
        return [run for run in found if run.created >= since]

    def run(self, run_id: str) -> Run:
        return next(run for run in self.runs() if run.id.startswith(run_id))

    def ended(self, run_id: str) -> Run:
        """A run once it has ended; the first characters of its id will do."""
        return eventually(lambda: self.run(run_id), lambda run: run.status in ENDED)

    def failures(self, run_id: str) -> dict[str, str]:
        """The failed steps of a run, with the sentence that each failed with."""
        events = self.server.ask(FAILURES, run=run_id)["logsForRun"]["events"]
        return {
            event["stepKey"]: event["error"]["message"].partition("Failure: ")[2].strip()
            for event in events
            if event["__typename"] == "ExecutionStepFailureEvent"
        }

    def backfill(self, assets: Sequence[str], partitions: Sequence[str]) -> list[Run]:
        """Backfill through GraphQL; the runs, once all of them have ended."""
        keys = [{"path": [name]} for name in assets]
        asked = self.server.ask(BACKFILL, assets=keys, partitions=list(partitions))
        launched = asked["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return self.of_backfill(launched["backfillId"], len(partitions))

    def of_backfill(self, backfill: str, count: int) -> list[Run]:
        """The runs of a backfill, once so many have ended."""
        return eventually(
            lambda: [run for run in self.runs() if run.backfill == backfill],
            lambda runs: len(runs) == count and all(run.status in ENDED for run in runs),
            # One after the other where they write summaries: their pool has one slot.
            PATIENCE + RUN_PATIENCE * count,
        )

    def job(self, name: str, partition: str = "") -> Run:
        """Run a job, of one partition where it has any; the run, ended."""
        tags = [{"key": "dagster/partition", "value": partition}] if partition else []
        asked = self.server.ask(LAUNCH, job={**REPOSITORY, "jobName": name}, tags=tags)["launchRun"]
        assert asked["__typename"] == "LaunchRunSuccess", asked
        return self.ended(asked["run"]["runId"])

    def from_failure(self, run_id: str) -> Run:
        """Execute a run again from where it failed; the new one, ended."""
        launched = self.server.ask(AGAIN, run=run_id)["launchRunReexecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return self.ended(launched["run"]["runId"])

    def sensor(self, name: str) -> Any:
        """Status and ticks of a sensor, the newest tick first."""
        answer = self.server.ask(SENSOR, sensor={**REPOSITORY, "sensorName": name})
        return answer["sensorOrError"]["sensorState"]

    def said(self, sensor: str, since: float = 0) -> str:
        """What a sensor's ticks said after a time: reasons to skip, warnings, errors."""
        lines = []
        for tick in self.sensor(sensor)["ticks"]:
            if tick["timestamp"] >= since:
                lines += [event["message"] for event in tick["logEvents"]["events"]]
                lines += [tick["skipReason"] or "", (tick["error"] or {"message": ""})["message"]]
        return "\n".join(filter(None, lines))


def _run(found: Any) -> Run:
    tags = {tag["key"]: tag["value"] for tag in found["tags"]}
    wrote = {
        event["assetKey"]["path"][0]: {
            entry["label"]: entry.get("intValue") for entry in event["metadataEntries"]
        }
        for event in found["assetMaterializations"]
    }
    return Run(
        found["runId"],
        found["jobName"],
        tags.get("dagster/partition", ""),
        found["status"],
        found["creationTime"],
        tags.get("dagster/backfill", ""),
        frozenset(key["path"][0] for key in found["assetSelection"] or ()),
        wrote,
    )


def eventually(
    question: Callable[[], T], holds: Callable[[T], bool], patience: float = PATIENCE
) -> T:
    """The first answer that holds; fails with the last one when none does in time."""
    deadline = time.monotonic() + patience
    while not holds(answer := question()):
        assert time.monotonic() < deadline, f"still {answer}"
        time.sleep(PAUSE)
    return answer
