"""Retrieval metrics over ranked hits, where a target is a file or a span of lines in it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

CUTOFF = 10


@dataclass(frozen=True, slots=True)
class Target:
    """A file that answers, or lines of it (1-based, both ends included)."""

    path: str
    start_line: int | None = None
    end_line: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a hit lies. `foreign`: in a repository other than the one the question is about."""

    path: str
    start_line: int
    end_line: int
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Scores:
    """One question's figures, each in 0..1."""

    ndcg: float
    recall: float
    reciprocal_rank: float


def covers(place: Place, target: Target) -> bool:
    """Same path, or one is a suffix of the other at a folder; spans overlap when there are any."""
    if place.foreign:
        return False
    longer, shorter = sorted((place.path, target.path), key=len, reverse=True)
    if longer != shorter and not longer.endswith("/" + shorter):
        return False
    if target.start_line is None or target.end_line is None:
        return True
    return place.start_line <= target.end_line and place.end_line >= target.start_line


def score(places: Sequence[Place], targets: Sequence[Target]) -> Scores:
    """NDCG@10 (binary gains, a target counted once at its first hit), recall@10, MRR@10."""
    ranks = [
        next((at for at, place in enumerate(places[:CUTOFF], 1) if covers(place, target)), 0)
        for target in targets
    ]
    found = sorted(rank for rank in ranks if rank)
    ideal = sum(1 / math.log2(1 + at) for at in range(1, min(CUTOFF, len(targets)) + 1))
    gained = sum(1 / math.log2(1 + rank) for rank in found)
    return Scores(
        gained / ideal if ideal else 0.0,
        len(found) / len(targets) if targets else 0.0,
        1 / found[0] if found else 0.0,
    )
