"""Which chunk of a file answers best: what the lanes say of it, and what it is named.

A reader judges the chunk that is shown. Inside one file the words of the question are often the
words of every chunk, so what tells chunks apart is the name of the definition: docs/retrieval.md
has the figures.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from codesearch.candidates import LANES, Candidate, Evidence, LaneName
from codesearch.paths import PREFIX_MATCH, PREFIX_WORTH
from codesearch.query import Query
from codesearch_resources.text import stems

# Against at most 1 of each lane.
DEFINES = 2.0  # of an asked identifier, rather than a mention of it
OWN_NAME = 2.0  # times the share of its own name's words that were asked for
ASKED = 2.0  # times the share of the question that its name holds
OUTER_NAME = 1.0  # times the share of the words of what it is defined in


@dataclass(frozen=True, slots=True)
class _Name:
    own: tuple[str, ...]  # stemmed words of `resolve` in `Router.resolve`
    outer: tuple[str, ...]  # and of `Router`


@lru_cache(maxsize=100_000)
def _name(symbol: str) -> _Name:
    outer, _, own = symbol.replace("::", ".").rpartition(".")
    return _Name(tuple(dict.fromkeys(stems(own))), tuple(dict.fromkeys(stems(outer))))


def best_first(
    query: Query, members: Sequence[Candidate], evidence: Evidence
) -> list[tuple[Candidate, float]]:
    """The chunks of one file with their scores; ties by line."""
    lanes = [_lane(lane, members, evidence) for lane in LANES if lane != "symbol"]
    named = _named(query, [_name(chunk.symbol) for chunk in members])
    scored = []
    for place, chunk in enumerate(members):
        found = sum(lane[place] for lane in lanes) + named[place]
        found += DEFINES * sum(name in chunk.names for name in query.names)
        scored.append((chunk, found))
    return sorted(scored, key=lambda pair: (-pair[1], pair[0].start_line, pair[0].chunk_id))


def _lane(lane: LaneName, members: Sequence[Candidate], evidence: Evidence) -> list[float]:
    """What a lane says of each chunk, against the best of the file."""
    said = [evidence.of(lane, chunk.chunk_id) for chunk in members]
    best = max(said, default=0.0)
    return [one / best for one in said] if best > 0 else said


def _named(query: Query, names: Sequence[_Name]) -> list[float]:
    """How much the names were asked for; a word that many of the file's names hold tells little."""
    holding = Counter(word for name in names for word in name.own)
    weights = {word: math.log(1 + len(names) / (1 + holding[word])) for word in query.stems}
    total = sum(weights.values()) or 1.0
    joined = {first + second for first, second in pairwise(query.stems)}
    starts = {word[:PREFIX_MATCH] for word in query.stems if len(word) >= PREFIX_MATCH}

    def asked(word: str) -> float:
        if word in weights or word in joined:
            return 1.0
        return PREFIX_WORTH if len(word) >= PREFIX_MATCH and word[:PREFIX_MATCH] in starts else 0.0

    def share(words: Sequence[str]) -> float:
        return sum(map(asked, words)) / len(words) if words else 0.0

    return [
        OWN_NAME * share(name.own)
        + ASKED * sum(weights.get(word, 0.0) for word in name.own) / total
        + OUTER_NAME * share(name.outer)
        for name in names
    ]
