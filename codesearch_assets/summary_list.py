"""The work list of summaries: what each chunk has, what it lacks, and in which order it is had.

Computed from keys, never stored: what is accepted depends on the chain as it is now.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from codesearch_resources.results import Results
from codesearch_resources.store import Store, of_repo
from codesearch_resources.summarizers import extractive
from codesearch_resources.summarizers.base import Piece, summary_key
from codesearch_resources.summarizers.order import NEVER_PAID, Summarizer, accepted
from codesearch_resources.text import digest

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Chunk:
    """What decides about a chunk's summary without reading its text."""

    chunk_id: str
    path: str
    language: str
    kind: str
    content_hash: str
    marks: Sequence[str]

    @property
    def key(self) -> str:
        return summary_key(self.content_hash)

    @property
    def digest(self) -> int:
        return digest(self.language, self.kind, self.key)


def wanted(store: Store, repo: str) -> list[Chunk]:
    """Every chunk of a repository; each wants a summary."""
    columns = ["chunk_id", "path", "language", "kind", "content_hash", "marks"]
    rows = store.read("chunks", columns, of_repo(repo)).to_pylist()
    return [Chunk(**{**row, "marks": tuple(row["marks"] or ())}) for row in rows]


def known(store: Store, repo: str) -> dict[str, Row]:
    """The summary rows there are, by chunk id."""
    columns = ["chunk_id", "grade", "prompt_version", "created_at", "digest"]
    rows = store.read("summaries", columns, of_repo(repo)).to_pylist()
    return {row["chunk_id"]: row for row in rows}


def stands(row: Row, chunk: Chunk, replaced: Mapping[str, datetime]) -> bool:
    """Whether a stored row is what would be written now, short of calling a summarizer.

    `replaced`: when an upgrade wrote the text of a key anew, maybe for another repository.
    """
    if row["digest"] != chunk.digest:
        return False
    if row["grade"] != "model":
        return bool(row["prompt_version"] == extractive.VERSION)
    anew = replaced.get(chunk.key)
    return anew is None or bool(row["created_at"] >= anew)


def waiting(
    results: Results,
    summarizer: Summarizer,
    chunks: Sequence[Chunk],
    grades: Mapping[str, str],
) -> dict[str, list[Chunk]]:
    """The chunks that a summarizer is to work on, by content hash: equal content is paid once.

    Without an accepted summary, or put on the list again; and not given up.
    """
    if summarizer.grade == "stand_in":
        return {}
    payable = [chunk for chunk in chunks if NEVER_PAID.isdisjoint(chunk.marks)]
    again = results.reopened(chunk.key for chunk in payable)
    lacking = [
        chunk
        for chunk in payable
        if chunk.key in again
        or not accepted(grades.get(chunk.chunk_id, "stand_in"), summarizer, chunk.marks)
    ]
    hopeless = summarizer.given_up(results, [chunk.key for chunk in lacking])
    found: dict[str, list[Chunk]] = {}
    for chunk in lacking:
        if chunk.key not in hopeless:
            found.setdefault(chunk.content_hash, []).append(chunk)
    return found


def in_order(store: Store, chunks: Sequence[Chunk]) -> list[Chunk]:
    """What people search comes first: source before documents before tests, exported before
    private; beyond that by path, so that a repository is done folder by folder."""
    ids = [chunk.chunk_id for chunk in chunks]
    rows = store.read_keys("chunks", ["chunk_id", "symbols"], "chunk_id", ids).to_pylist()
    exported = {
        row["chunk_id"]
        for row in rows
        if any(symbol["exported"] for symbol in row["symbols"] or ())
    }

    def rank(chunk: Chunk) -> tuple[bool, bool, bool, str, str]:
        private = chunk.chunk_id not in exported
        return "test" in chunk.marks, "docs" in chunk.marks, private, chunk.path, chunk.chunk_id

    return sorted(chunks, key=rank)


def pieces(store: Store, chunks: Iterable[Chunk]) -> dict[str, Piece]:
    """What a summarizer sees of chunks, by chunk id."""
    columns = [
        "chunk_id", "content_hash", "language", "kind", "symbol", "header", "doc", "text"
    ]  # fmt: skip
    ids = [chunk.chunk_id for chunk in chunks]
    rows = store.read_keys("chunks", columns, "chunk_id", ids).to_pylist()
    return {row.pop("chunk_id"): Piece(**row) for row in rows}


def needs_summaries(store: Store, results: Results, repo: str, summarizer: Summarizer) -> bool:
    """Whether a chunk of the repository lacks a summary that is right and may be had."""
    there, chunks = known(store, repo), wanted(store, repo)
    replaced = results.replaced(chunk.key for chunk in chunks)
    for chunk in chunks:
        row = there.get(chunk.chunk_id)
        if row is None or not stands(row, chunk, replaced):
            return True
    if there.keys() - {chunk.chunk_id for chunk in chunks}:
        return True
    grades = {chunk_id: row["grade"] for chunk_id, row in there.items()}
    return bool(waiting(results, summarizer, chunks, grades))
