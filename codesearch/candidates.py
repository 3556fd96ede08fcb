"""Candidates: the chunks that some lane found, and what the lanes say of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

LaneName = Literal["bm25", "vectors", "summary_bm25", "summary_vectors", "symbol"]
LANES: tuple[LaneName, ...] = ("bm25", "vectors", "summary_bm25", "summary_vectors", "symbol")

File = tuple[str, str]  # repository and path


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk that some lane found."""

    chunk_id: str
    repo: str
    path: str
    language: str
    kind: str
    marks: tuple[str, ...]
    symbol: str
    names: tuple[str, ...]
    start_line: int
    end_line: int
    inside: tuple[str, ...] = ()  # the qualified names of its definitions, as they are spelled

    @property
    def file(self) -> File:
        return (self.repo, self.path)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of the candidates.

    `lanes`: what each lane says, chunk id to score, higher is better, best near 1. `central`: how
    much of its repository leans on a file, 0..1.
    """

    lanes: Mapping[LaneName, Mapping[str, float]]
    central: Mapping[File, float] = field(default_factory=dict)
