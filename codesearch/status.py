"""How an index stands: for each repository its commit, files, chunks, summaries and vectors."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from codesearch_resources.data_dir import RESULTS_FILE
from codesearch_resources.settings import Settings
from codesearch_resources.store import Store, count_by


@dataclass(frozen=True, slots=True)
class RepositoryStatus:
    """One repository. The four counts are equal when it is complete."""

    repo: str
    commit: str
    subject: str
    committed_at: datetime | None
    indexed_at: datetime | None
    files: dict[str, int]  # by outcome, what was left out with its reason
    skipped: dict[str, int]  # paths of the snapshot that are not indexed, by reason
    chunks: int
    summaries: int
    grades: dict[str, int]
    code_vectors: int
    summary_vectors: int
    writers: dict[str, int] = field(default_factory=dict)  # summaries by provider and model
    waiting: str = ""  # why the last slice left some, and when the next may be

    @property
    def complete(self) -> bool:
        return self.chunks == self.summaries == self.code_vectors == self.summary_vectors

    def as_dict(self) -> dict[str, Any]:
        """In the form of the JSON output."""
        found = asdict(self)
        for name in ("committed_at", "indexed_at"):
            found[name] = found[name].isoformat() if found[name] else None
        return {**found, "complete": self.complete}


def statuses(settings: Settings, store: Store) -> list[RepositoryStatus]:
    """Every configured repository, in the settings' order; empty figures before its first run."""
    made = set(store.names())

    def read(name: str, columns: list[str]) -> pa.Table | None:
        return store.read(name, columns) if name in made else None

    rows = read("repositories", store.specs["repositories"].schema.names)
    by_repo = {row["repo"]: row for row in rows.to_pylist()} if rows else {}
    skipped = _tally(read("repo_snapshots", ["repo", "skip_reason"]), lambda r: r["skip_reason"])
    files = _tally(read("files", ["repo", "outcome", "reason"]), _outcome)
    columns = ["repo", "grade", "provider", "model"]
    summaries = read("summaries", columns)
    grades, writers = _tally(summaries, lambda r: r["grade"]), _tally(summaries, _writer)
    waiting = _waiting(settings)
    counts = {
        name: count_by(table, "repo") if (table := read(name, ["repo"])) else {}
        for name in ("chunks", store.code_vectors, store.summary_vectors)
    }
    return [
        RepositoryStatus(
            repo=entry.name,
            commit=(row := by_repo.get(entry.name, {})).get("code_embeddings_commit") or "",
            subject=row.get("subject") or "",
            committed_at=row.get("committed_at"),
            indexed_at=row.get("indexed_at"),
            files=dict(files.get(entry.name, {})),
            skipped=dict(skipped.get(entry.name, {})),
            chunks=counts["chunks"].get(entry.name, 0),
            summaries=grades.get(entry.name, Counter()).total(),
            grades=dict(grades.get(entry.name, {})),
            code_vectors=counts[store.code_vectors].get(entry.name, 0),
            summary_vectors=counts[store.summary_vectors].get(entry.name, 0),
            writers=dict(writers.get(entry.name, {})),
            waiting=waiting.get(entry.name, ""),
        )
        for entry in settings.repositories
    ]


def _writer(row: dict[str, Any]) -> str:
    return f"{row['model']} ({row['provider']})" if row["model"] else str(row["provider"])


def _waiting(settings: Settings) -> dict[str, str]:
    """Why the last slice of a repository left chunks without a better summary."""
    if not (settings.data_dir / RESULTS_FILE).exists():
        return {}
    from codesearch_resources.results import Results  # SQLAlchemy

    with closing(Results(settings.data_dir)) as results:
        return {
            repo: f"{last.why}; the next slice may be from {last.next_at:%Y-%m-%d %H:%M} UTC on"
            for repo, last in results.slices().items()
            if last.why
        }


def _outcome(row: dict[str, Any]) -> str:
    return f"{row['outcome']}: {row['reason']}" if row["reason"] else str(row["outcome"])


def _tally(rows: pa.Table | None, what: Callable[[dict[str, Any]], str]) -> dict[str, Counter[str]]:
    """Non-empty values of `what` counted by repository."""
    found: dict[str, Counter[str]] = {}
    for row in rows.to_pylist() if rows else ():
        if value := what(row):
            found.setdefault(row["repo"], Counter())[value] += 1
    return found
