"""What must hold of the tables, checked whenever an asset is materialised.

A check inside an asset records no partition, so each result speaks for all repositories and names
those that fail; otherwise the next good one would paint a bad one green.
"""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa

from codesearch_resources.store import Store, count_by
from codesearch_resources.summarizers.order import Summarizer, accepted

UNIT_TOLERANCE = 1e-2  # float16 keeps three digits
SCAN_ROWS = 8_192  # vectors held at once

Failing = Mapping[str, int]


def specs(asset: str, **descriptions: str) -> list[dg.AssetCheckSpec]:
    """Check specs of an asset by name and description."""
    return [
        dg.AssetCheckSpec(name, asset=asset, description=text)
        for name, text in descriptions.items()
    ]


def result(name: str, failing: Failing, what: str, *, warn: bool = False) -> dg.AssetCheckResult:
    """A result that names the repositories that fail, with how many rows each."""
    bad = {repo: count for repo, count in sorted(failing.items()) if count}
    named = ", ".join(f"{repo} ({count})" for repo, count in bad.items())
    return dg.AssetCheckResult(
        check_name=name,
        passed=not bad,
        severity=dg.AssetCheckSeverity.WARN if warn else dg.AssetCheckSeverity.ERROR,
        description=f"{what}: {named}" if bad else "holds for every repository",
        metadata={"failing_repositories": len(bad), "failing_rows": sum(bad.values())},
    )


def duplicate_ids(store: Store) -> Counter[str]:
    """Chunk rows whose id stands twice, by repository."""
    rows = store.read("chunks", ["chunk_id", "repo"])
    seen: Counter[str] = Counter(rows["chunk_id"].to_pylist())
    if len(seen) == rows.num_rows:
        return Counter()
    pairs = zip(rows["chunk_id"].to_pylist(), rows["repo"].to_pylist(), strict=True)
    return Counter(repo for chunk_id, repo in pairs if seen[chunk_id] > 1)


def orphans(store: Store, table: str) -> Counter[str]:
    """Rows of a table whose chunk is gone, by repository.

    Between `chunks` and the asset after it a repository has some; only those count where the
    commit of both is the same.
    """
    chunk_ids = set(store.read("chunks", ["chunk_id"])["chunk_id"].to_pylist())
    rows = store.read(table, ["chunk_id", "repo"])
    pairs = zip(rows["chunk_id"].to_pylist(), rows["repo"].to_pylist(), strict=True)
    return Counter(repo for chunk_id, repo in pairs if chunk_id not in chunk_ids)


def without_vector(store: Store, source: str, vectors: str) -> Counter[str]:
    """Rows of `source` without a row in `vectors`, by repository."""
    have = set(store.read(vectors, ["chunk_id"])["chunk_id"].to_pylist())
    rows = store.read(source, ["chunk_id", "repo"])
    pairs = zip(rows["chunk_id"].to_pylist(), rows["repo"].to_pylist(), strict=True)
    return Counter(repo for chunk_id, repo in pairs if chunk_id not in have)


def refused_texts(store: Store, table: str) -> Counter[str]:
    """Rows without a vector, since the embedder refused their text, by repository."""
    return Counter(count_by(store.read(table, ["repo"], "vector IS NULL"), "repo"))


def vectors_are_unit(store: Store, table: str, name: str) -> dg.AssetCheckResult:
    """The check `name`: an error for unsound vectors, else a warning for refused texts."""
    if unsound := unsound_vectors(store, table):
        return result(name, unsound, "vectors that are not of unit length")
    refused = refused_texts(store, table)
    return result(name, refused, "texts that the embedder refused", warn=True)


def unsound_vectors(store: Store, table: str) -> Counter[str]:
    """Vectors that are zero, not finite or not of unit length, by repository."""
    width = store.specs[table].schema.field("vector").type.list_size
    return store.ask(table, partial(_scan, width, store.count(table) or 1))


def _scan(width: int, most: int, table: Any) -> Counter[str]:
    bad: Counter[str] = Counter()
    for batch in table.search().select(["repo", "vector"]).limit(most).to_batches(SCAN_ROWS):
        bad.update(_unsound(batch, width))
    return bad


def _unsound(batch: pa.RecordBatch, width: int) -> list[str]:
    batch = batch.filter(batch.column("vector").is_valid())
    repos = batch.column("repo").to_pylist()
    values: Any = batch.column("vector").flatten().to_numpy(zero_copy_only=False)
    lengths = np.linalg.norm(values.reshape(len(repos), width).astype(np.float32), axis=1)
    return [
        repo
        for repo, length in zip(repos, lengths, strict=True)
        if not abs(length - 1) < UNIT_TOLERANCE
    ]


def uncovered(store: Store, summarizer: Summarizer) -> Counter[str]:
    """Chunks without an accepted summary, by repository."""
    rows = store.read("summaries", ["chunk_id", "grade"])
    pairs = zip(rows["chunk_id"].to_pylist(), rows["grade"].to_pylist(), strict=True)
    grades = dict(pairs)
    wanted = store.read("chunks", ["chunk_id", "repo", "marks"]).to_pylist()
    return Counter(
        row["repo"]
        for row in wanted
        if (grade := grades.get(row["chunk_id"])) is None
        or not accepted(grade, summarizer, row["marks"] or ())
    )


def settled(store: Store, failing: Failing, asset: str) -> dict[str, int]:
    """Only the repositories for which `asset` has caught up with `chunks`.

    One that is being refreshed, or waits for its turn, is behind and not broken.
    """
    rows = store.read("repositories", ["repo", "chunks_commit", f"{asset}_commit"]).to_pylist()
    done = {row["repo"] for row in rows if row["chunks_commit"] == row[f"{asset}_commit"]}
    return {repo: count for repo, count in failing.items() if repo in done}
