"""repo_snapshots: what one commit of one repository holds, and what of it is left out and why."""

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
import pyarrow as pa

from codesearch_assets.chunking.files import classify
from codesearch_assets.partitions import COMMIT_TAG, repositories_partitions
from codesearch_assets.reporting import (
    Materialized,
    counts_table,
    data_version,
    exclusively,
    warn_left_out,
)
from codesearch_resources.dagster import RepositoriesResource, StoreResource
from codesearch_resources.embedders.base import Embedder
from codesearch_resources.repositories import Entry, Repository, Snapshot
from codesearch_resources.schemas import REPO_SNAPSHOTS
from codesearch_resources.settings import RepositorySettings
from codesearch_resources.store import Change, Store
from codesearch_resources.text import digest, key
from codesearch_resources.web_pages import page_of

SNAPSHOT_VERSION = 1  # moves when a path would be classified otherwise
IGNORE_FILE = ".codesearchignore"
MOST_IGNORE_BYTES = 100_000
# Left out for what they are, not for their name: worth a warning.
WARNED = ("missing blob", "too large", "large data")


@dataclass(frozen=True, slots=True)
class SnapshotResult:
    """What a snapshot found and wrote."""

    commit: str
    files: int
    skipped: Counter[str]
    languages: Counter[str]  # of the files that are to be indexed
    megabytes: Mapping[str, float]  # of those, by language
    change: Change
    bad_ignore_lines: int = 0


def fingerprint(entry: RepositorySettings) -> str:
    """What decides, besides the commit, which files a snapshot holds."""
    return key([str(SNAPSHOT_VERSION), entry.root, *entry.include, "\n", *entry.exclude])


def take_snapshot(
    store: Store, repository: Repository, entry: RepositorySettings, commit: str
) -> SnapshotResult:
    """Make the repository's partition of `repo_snapshots` hold the tree at `commit`.

    Raises GitError when the commit cannot be read.
    """
    snapshot = repository.snapshot(commit)
    ignore, bad_lines = _ignore_lines(repository, snapshot)
    left_out = path_filter(entry, ignore)
    rows = snapshot_rows(repository.name, snapshot.entries, left_out)
    change = store.replace("repo_snapshots", repository.name, rows)
    store.update_repository(
        repository.name,
        repo_snapshots_commit=snapshot.commit,
        repo_snapshots_fingerprint=fingerprint(entry),
        committed_at=snapshot.committed_at,
        subject=snapshot.subject,
    )
    skipped: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    columns = (rows[name].to_pylist() for name in ("skip_reason", "language", "size"))
    for reason, language, size in zip(*columns, strict=True):
        (skipped if reason else languages)[reason or language or "(none)"] += 1
        if not reason:
            sizes[language or "(none)"] += size
    megabytes = {language: round(size / 1e6, 3) for language, size in sizes.items()}
    return SnapshotResult(
        snapshot.commit, rows.num_rows, skipped, languages, megabytes, change, bad_lines
    )


def snapshot_rows(repo: str, entries: Sequence[Entry], left_out: Callable[[str], str]) -> pa.Table:
    """Rows of `repo_snapshots` for the entries of a tree."""
    columns: dict[str, list[object]] = {name: [] for name in REPO_SNAPSHOTS.schema.names}
    for entry in entries:
        found = classify(entry.path, entry.size)
        reason = _skip_reason(entry) or left_out(entry.path) or found.skip
        row = {
            "file_id": key((repo, entry.path)),
            "repo": repo,
            "path": entry.path,
            "blob_id": entry.blob_id,
            "size": entry.size,
            "language": found.language,
            "marks": list(found.marks),
            "skip_reason": reason,
        }
        for name, value in row.items():
            columns[name].append(value)
        columns["digest"].append(digest(*row.values()))
    return pa.table(columns, schema=REPO_SNAPSHOTS.schema)


def _skip_reason(entry: Entry) -> str:
    if entry.kind in ("submodule", "symlink"):
        return entry.kind
    return "missing blob" if entry.size is None else ""


def _ignore_lines(repository: Repository, snapshot: Snapshot) -> tuple[list[str], int]:
    """The lines of the repository's own .codesearchignore at that commit, and how many are no
    pattern: a committed file must not be able to stop a run, so those are left out, as git does."""
    wanted = [
        entry.blob_id
        for entry in snapshot.entries
        if entry.path == IGNORE_FILE and (entry.size or 0) <= MOST_IGNORE_BYTES
    ]
    texts = [data.decode("utf-8", "replace") for _, data in repository.blobs(wanted) if data]
    lines = [line for text in texts for line in text.splitlines()]
    good = [line for line in lines if _is_pattern(line)]
    return good, len(lines) - len(good)


def _is_pattern(line: str) -> bool:
    import pathspec

    try:
        pathspec.GitIgnoreSpec.from_lines([line])
    except (ValueError, re.error):
        return False
    return True


def path_filter(entry: RepositorySettings, ignore: Sequence[str]) -> Callable[[str], str]:
    """From a path to the reason why it is left out, empty when it is not."""
    import pathspec

    def spec(lines: Sequence[str]) -> pathspec.GitIgnoreSpec:
        return pathspec.GitIgnoreSpec.from_lines(lines)

    included, excluded, ignored = spec(entry.include), spec(entry.exclude), spec(ignore)

    def reason(path: str) -> str:
        if entry.include and not included.match_file(path):
            return "not included by the settings"
        if entry.exclude and excluded.match_file(path):
            return "excluded by the settings"
        if ignore and ignored.match_file(path):
            return f"ignored by {IGNORE_FILE}"
        return ""

    return reason


def pinned_commit(context: dg.AssetExecutionContext, repository: Repository) -> str:
    """The commit this run works on: the one it was requested for, else HEAD now."""
    repository.fetch()
    return context.run.tags.get(COMMIT_TAG) or repository.head()


def _links(repository: Repository, commit: str) -> dict[str, dg.MetadataValue[str]]:
    """Where a person looks at the repository: in a browser, else in its folder."""
    page = page_of(repository)
    if not page:
        return {"repository": dg.MetadataValue.path(repository.display_url)}
    pages = {"repository": page}
    if commit:
        pages["commit_page"] = f"{page}/commit/{commit}"
    return {name: dg.MetadataValue.url(found) for name, found in pages.items()}


@dg.asset(
    partitions_def=repositories_partitions,
    group_name="codesearch",
    kinds={"git"},
    code_version=str(SNAPSHOT_VERSION),
    description="What one commit of one repository holds: paths, blob ids, sizes, languages, and "
    "what is left out with its reason. Read straight from the object database.",
)
def repo_snapshots(
    context: dg.AssetExecutionContext,
    repositories: RepositoriesResource,
    store: StoreResource,
    embedder: dg.ResourceParam[Embedder],
) -> Materialized:
    name, started = context.partition_key, time.monotonic()
    with exclusively(store, name, "refresh"):
        repository, tables = repositories.open(name), store.open(embedder)
        commit = pinned_commit(context, repository)
        result = take_snapshot(tables, repository, repositories.entry(name), commit)
    if result.bad_ignore_lines:
        context.log.warning(
            f"{result.bad_ignore_lines} lines of {IGNORE_FILE} in {name} are no pattern and hold "
            "for nothing."
        )
    return dg.MaterializeResult(
        data_version=data_version(tables, "repo_snapshots", name),
        metadata={
            **warn_left_out(context, name, {reason: result.skipped[reason] for reason in WARNED}),
            "commit": result.commit or "(no commits yet)",
            **_links(repository, result.commit),
            "files": result.files,
            "indexed": result.files - result.skipped.total(),
            "skipped": result.skipped.total(),
            "files_by_language": counts_table(
                "language", files=result.languages, megabytes=result.megabytes
            ),
            "skipped_by_reason": counts_table("reason", files=result.skipped),
            "bad_ignore_lines": result.bad_ignore_lines,
            "rows_written": result.change.written,
            "rows_deleted": result.change.deleted,
            "rows_kept": result.files - result.change.written,
            "seconds": round(time.monotonic() - started, 3),
        },
    )
