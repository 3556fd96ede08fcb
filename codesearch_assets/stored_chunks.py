"""What the table `chunks` holds of one repository, for telling what has to be cut again."""

from collections.abc import Set

import pyarrow.compute as pc

from codesearch_resources.store import Store, of_repo


class StoredChunks:
    """A repository's rows of `chunks`, by path: columns, for dicts of a large one fill memory."""

    def __init__(self, store: Store, repo: str) -> None:
        rows = store.read("chunks", ["chunk_id", "path", "digest"], of_repo(repo))
        rows = rows.sort_by("path").combine_chunks()
        self._ids, self._digests = rows["chunk_id"], rows["digest"].to_numpy()
        self._spans: dict[str, tuple[int, int]] = {}
        at = 0
        counted = pc.value_counts(rows["path"].combine_chunks())  # in the order of the rows
        for path, count in zip(*(part.to_pylist() for part in counted.flatten()), strict=True):
            self._spans[path] = (at, at + count)
            at += count

    @property
    def paths(self) -> Set[str]:
        return self._spans.keys()

    def digests(self, path: str) -> list[int]:
        """The digests of a file's chunks, in no order."""
        lo, hi = self._spans.get(path, (0, 0))
        found: list[int] = self._digests[lo:hi].tolist()
        return found

    def of(self, path: str) -> dict[str, int]:
        """Chunk id to digest of a file's chunks."""
        lo, hi = self._spans.get(path, (0, 0))
        ids = self._ids.slice(lo, hi - lo).to_pylist()
        return dict(zip(ids, self.digests(path), strict=True))
