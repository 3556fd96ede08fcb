"""How much of a repository leans on each file: how many others mention a name only it defines.

Import graphs need a resolver for each language and say less: a file that everything imports for
one constant looks as central as the one that holds the type all others work on.
"""

from collections.abc import Iterator

import pyarrow as pa

from codesearch_resources.schemas import CENTRALITY
from codesearch_resources.store import Change, Store, of_repo
from codesearch_resources.text import IDENTIFIER, digest, key

SHORTEST = 4  # letters of a name that is looked for; shorter ones stand for anything
BATCH_ROWS = 2_000


def refresh_centrality(store: Store, repo: str) -> Change:
    """Make the rows of `centrality` follow the stored chunks of a repository.

    One row for each row of `files`. Reads the repository's whole text.
    """
    mentions = _mentions(store, repo)
    columns: dict[str, list[object]] = {name: [] for name in CENTRALITY.schema.names}
    for path in store.read("files", ["path"], of_repo(repo))["path"].to_pylist():
        count = mentions.get(path, 0)
        for name, value in zip(
            columns, (key((repo, path)), repo, path, count, digest(count)), strict=True
        ):
            columns[name].append(value)
    return store.replace("centrality", repo, pa.table(columns, schema=CENTRALITY.schema))


def centrality_is_whole(store: Store, repo: str) -> bool:
    """Whether every file of the repository has its row."""
    where = of_repo(repo)
    return store.count("centrality", where) == store.count("files", where)


def _mentions(store: Store, repo: str) -> dict[str, int]:
    owner = _owners(store, repo)
    mentioning: dict[str, set[str]] = {}
    for batch in _batches(store, repo, ["path", "text"]):
        for path, text in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            for name in owner.keys() & IDENTIFIER.findall(text):
                if owner[name] != path:
                    mentioning.setdefault(owner[name], set()).add(path)
    return {path: len(paths) for path, paths in mentioning.items()}


def _owners(store: Store, repo: str) -> dict[str, str]:
    """From each name that one file alone defines to that file; tests define nothing."""
    owner: dict[str, str] = {}
    for batch in _batches(store, repo, ["path", "marks", "symbols"]):
        for path, marks, symbols in zip(*(c.to_pylist() for c in batch.columns), strict=True):
            if "test" in (marks or ()):
                continue
            for symbol in symbols or ():
                name = symbol["name"].replace("::", ".").rpartition(".")[2]
                if symbol["kind"] != "section" and len(name) >= SHORTEST:
                    owner[name] = path if owner.setdefault(name, path) == path else ""
    return {name: path for name, path in owner.items() if path}


def _batches(store: Store, repo: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    # Asked as a whole: a question may be asked again, which a half-read stream may not.
    rows = store.read("chunks", columns, of_repo(repo))
    yield from rows.select(columns).to_batches(max_chunksize=BATCH_ROWS)
