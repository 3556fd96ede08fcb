"""Places in files as people write them, and the chunks there."""

from collections.abc import Sequence

from codesearch.errors import BadQuery
from codesearch_resources.store import Store, of_repo, sql

MOST_FILES = 5  # that a message names


def chunk_at(store: Store, place: str, repo: str = "", prefer: Sequence[str] = ()) -> str:
    """The id of the chunk at PATH:LINE; the last folders of a path are enough. Where several
    repositories have it, one of `prefer` is meant.

    Raises BadQuery when none is there, or when several repositories or files have such a path.
    """
    path, _, line = place.rpartition(":")
    if not path or not line.isdecimal():
        raise BadQuery(f"{place!r} is not PATH:LINE")
    fits = f"(path = {sql(path)} OR ends_with(path, {sql('/' + path)}))"
    where = f"{fits} AND start_line <= {int(line)} AND end_line >= {int(line)}"
    if repo:
        where += f" AND {of_repo(repo)}"
    rows = store.read("chunks", ["chunk_id", "repo", "path"], where).to_pylist()
    exact = [row for row in rows if row["path"] == path] or rows
    if not exact:
        raise BadQuery(f"no chunk of an indexed file is at {place}")
    if len({row["repo"] for row in exact}) > 1:
        exact = [row for row in exact if row["repo"] in prefer] or exact
    files = sorted({f"{row['repo']} {row['path']}" for row in exact})
    if len(files) > 1:
        raise BadQuery(f"{place} may be in: {', '.join(files[:MOST_FILES])}; name one with --repo")
    return str(exact[0]["chunk_id"])
