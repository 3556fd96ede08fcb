"""How a file is cut: what `codesearch chunks PATH` prints."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from codesearch.errors import NotIndexed, SearchError
from codesearch_resources.settings import RepositorySettings, Settings
from codesearch_resources.store import Store, among, sql


@dataclass(frozen=True, slots=True)
class CutChunk:
    """One chunk of a file."""

    repo: str
    path: str
    start_line: int
    end_line: int
    kind: str
    symbol: str
    grade: str
    content_hash: str


def cut_of(settings: Settings, store: Store, path: str, repo: str | None) -> list[CutChunk]:
    """The chunks of the files that `path` means, by repository, path and line.

    `path` is a path in a repository, the end of one, or a file on this machine. Raises SearchError
    that says why when there are none.
    """
    if "chunks" not in store.names():
        raise NotIndexed("nothing is indexed yet: run `codesearch index` first")
    where = _where(settings, path, repo)
    columns = ["chunk_id", "repo", "path", "start_line", "end_line", "kind", "symbol"]
    rows = store.read("chunks", [*columns, "content_hash"], where).to_pylist()
    if not rows:
        raise SearchError(_why_not(store, path, where))
    grades = _grades(store, [row["chunk_id"] for row in rows])
    found = [CutChunk(grade=grades.get(row.pop("chunk_id"), ""), **row) for row in rows]
    return sorted(found, key=lambda c: (c.repo, c.path, c.start_line))


def _grades(store: Store, ids: Sequence[str]) -> dict[str, str]:
    rows = store.read_keys("summaries", ["chunk_id", "grade"], "chunk_id", ids)
    return dict(zip(rows["chunk_id"].to_pylist(), rows["grade"].to_pylist(), strict=True))


def _where(settings: Settings, path: str, repo: str | None) -> str:
    entries = [settings.repository(repo)] if repo else list(settings.repositories)
    on_disk = Path(path).expanduser().absolute()
    for entry in entries:
        if entry.path and on_disk.is_relative_to(entry.path) and on_disk.exists():
            return _at(entry, on_disk.relative_to(entry.path).as_posix())
    ending = path.removeprefix("./")
    fits = f"(path = {sql(ending)} OR ends_with(path, {sql('/' + ending)}))"
    return f"{fits} AND {among('repo', [entry.name for entry in entries])}" if entries else fits


def _at(entry: RepositorySettings, path: str) -> str:
    return f"repo = {sql(entry.name)} AND path = {sql(path)}"


def _why_not(store: Store, path: str, where: str) -> str:
    reasons = [
        f"{row['repo']}:{row['path']} is not indexed: {row['skip_reason']}"
        for row in store.read("repo_snapshots", ["repo", "path", "skip_reason"], where).to_pylist()
        if row["skip_reason"]
    ] + [
        f"{row['repo']}:{row['path']} has no chunks: {row['outcome']} ({row['reason']})"
        for row in store.read("files", ["repo", "path", "outcome", "reason"], where).to_pylist()
        if row["outcome"] == "skipped"
    ]
    return "\n".join(reasons) or f"no indexed repository has a file {path!r} at its indexed commit"
