"""Hits: what an answer is made of, and which chunks of the ranked files become one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from codesearch.candidates import Candidate
from codesearch.ranking import RankedFile
from codesearch.symbols import Shown

MOST_MORE = 5  # other chunks of a file folded under its hit


@dataclass(frozen=True, slots=True)
class More:
    """Another chunk of a hit's file worth a look."""

    start_line: int
    end_line: int
    symbol: str
    score: float


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer: a chunk, where it lies, and why it is here.

    `path` is the path in the repository, lines count from 1 and include both ends, and `text` is
    those lines at `commit`. `symbol` is the definition that was meant where the chunk holds
    several, and begins at `line`; `kind` is the chunk's own. `lanes` gives the chunk's rank in each
    lane that found it, `rules` what each rule added to the score.
    """

    repo: str
    path: str
    start_line: int
    end_line: int
    symbol: str
    line: int
    kind: str
    language: str
    summary: str
    text: str
    score: float
    lanes: Mapping[str, int]
    more: tuple[More, ...]
    commit: str
    indexed_at: datetime | None
    rules: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self, *, explain: bool = False) -> dict[str, Any]:
        """The hit in the form of the JSON output; with `line` and `rules` when asked to explain."""
        found = asdict(self)
        found["indexed_at"] = self.indexed_at.isoformat() if self.indexed_at else None
        if not explain:
            del found["line"], found["rules"]
        return found


@dataclass(frozen=True, slots=True)
class Expected:
    """A file somebody expected, and why it is not higher.

    `place` counts files from 1, 0 when no lane found it; `why` says it in a sentence. `lanes` gives
    its best rank in each lane, `rules` its shares, `behind` what each rule gave the first file more
    than this one (less, where negative).
    """

    repo: str
    path: str
    place: int
    why: str
    lanes: Mapping[str, int] = field(default_factory=dict)
    rules: Mapping[str, float] = field(default_factory=dict)
    behind: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """The hits of one question, what a person should know about them, and how long it took."""

    query: str
    hits: tuple[Hit, ...]
    notices: tuple[str, ...]
    took_ms: float
    expected: tuple[Expected, ...] = ()

    def as_dict(self, *, explain: bool = False) -> dict[str, Any]:
        """The answer in the form of the JSON output."""
        answer = {
            "query": self.query,
            "took_ms": round(self.took_ms, 1),
            "notices": list(self.notices),
            "hits": [hit.as_dict(explain=explain) for hit in self.hits],
        }
        return answer | ({"expected": [asdict(e) for e in self.expected]} if explain else {})


Chosen = tuple[RankedFile, Candidate, tuple[More, ...]]


def choose(ranked: Iterable[RankedFile], per_file: int, limit: int) -> list[Chosen]:
    """Each file's best chunks as hits, its next ones folded under the first; none overlap."""
    chosen: list[Chosen] = []
    for file in ranked:
        apart = _without_overlap(file.chunks, per_file + MOST_MORE)
        rest = tuple(
            More(c.start_line, c.end_line, c.symbol, round(score, 4))
            for c, score in apart[per_file:]
        )
        for place, (chunk, _) in enumerate(apart[:per_file]):
            chosen.append((file, chunk, rest if place == 0 else ()))
            if len(chosen) == limit:
                return chosen
    return chosen


def apart(chosen: Sequence[Chosen], shown: Mapping[str, Shown]) -> dict[str, Shown]:
    """What is shown of chosen chunks, best first, without those that overlap a better one."""
    kept: dict[str, Shown] = {}
    taken: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for _, chunk, _ in chosen:
        row = shown.get(chunk.chunk_id)
        if row is None:
            continue
        start, end = row.start_line, row.end_line
        lines = taken.setdefault((chunk.repo, chunk.path), [])
        if all(end < first or start > last for first, last in lines):
            kept[chunk.chunk_id] = row
            lines.append((start, end))
    return kept


def _without_overlap(
    chunks: Sequence[tuple[Candidate, float]], most: int
) -> list[tuple[Candidate, float]]:
    """Best first; a reader can meet old and new text of one edited definition for an instant."""
    kept: list[tuple[Candidate, float]] = []
    for chunk, score in chunks:
        if all(chunk.end_line < k.start_line or chunk.start_line > k.end_line for k, _ in kept):
            kept.append((chunk, score))
            if len(kept) == most:
                break
    return kept
