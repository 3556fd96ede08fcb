"""Which chunk of a file answers best: what the lanes say of it, and what it is named.

A reader judges the chunk that is shown. Inside one file the words of the question are often the
words of every chunk, so what tells chunks apart is the name of the definition: docs/retrieval.md
has the figures.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from codesearch.alike import PREFIX_MATCH, PREFIX_WORTH, start, with_starts
from codesearch.candidates import LANES, Candidate, Candidates, Evidence, Floats
from codesearch.definition_names import DefinitionNames, NameWords, names_of, rarity
from codesearch.query import Query

# Against at most 1 of each of four lanes.
DEFINES = 2.0  # of an asked identifier, rather than a mention of it
ASKED = 3.0  # times the share of the question that the names of its definitions hold
OWN_NAME = 1.0  # times the share of a name that was asked for
OUTER_NAME = 1.0  # and of the name of what that is defined in
ONE_OF_SEVERAL = 0.5  # of the last two, where several definitions had a chance


class AskedNames:
    """How much of definitions' names a question asks for; made once for a question."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self._worth = _Worth(query)
        self._may_match = with_starts(self._worth)
        self._shares: dict[NameWords, float] = {}

    def may_match(self, names: NameWords | DefinitionNames) -> bool:
        """Whether any was asked for; most were not."""
        return not self._may_match.isdisjoint(names.may_match)

    def share(self, name: NameWords) -> float:
        """The share of a name's words that was asked for; one that begins alike counts less."""
        share = self._shares.get(name)
        if share is None:
            asked = sum(map(self._worth.__getitem__, name.words)) if self.may_match(name) else 0.0
            share = self._shares[name] = asked / max(len(name.words), 1)
        return share


class _Worth(dict[str, float]):
    """What a word is worth: 1 where it was asked for, or is two asked ones run together."""

    def __init__(self, query: Query) -> None:
        together = (first + second for first, second in pairwise(query.stems))
        super().__init__(dict.fromkeys((*query.stems, *together), 1.0))
        self._starts = {start(word) for word in query.stems if len(word) >= PREFIX_MATCH}

    def __missing__(self, word: str) -> float:
        alike = len(word) >= PREFIX_MATCH and start(word) in self._starts
        worth = self[word] = PREFIX_WORTH if alike else 0.0
        return worth


def strengths(candidates: Candidates, evidence: Evidence) -> Floats:
    """What the lanes say of each candidate, each against the best of its file [candidates]."""
    total = np.zeros(len(candidates))
    starts = np.array(candidates.starts[:-1])
    for lane in LANES:
        said = evidence.lanes.get(lane)
        if said is not None and len(said) and lane != "symbol":
            best = np.maximum.reduceat(said, starts)
            total += said / np.where(best > 0, best, 1.0)[candidates.file_of]
    return total


def best_first(
    asked: AskedNames, members: Sequence[Candidate], said: Sequence[float]
) -> list[tuple[Candidate, float]]:
    """The chunks of one file with their scores, by their strengths and names; ties by line."""
    found = [
        score + named
        for score, named in zip(said, _named(asked, [names_of(c) for c in members]), strict=True)
    ]
    if names := asked.query.names:
        defines = [sum(name in chunk.names for name in names) for chunk in members]
        found = [score + DEFINES * count for score, count in zip(found, defines, strict=True)]
    scored = zip(members, found, strict=True)
    return sorted(scored, key=lambda pair: (-pair[1], pair[0].start_line, pair[0].chunk_id))


def _named(asked: AskedNames, chunks: Sequence[DefinitionNames]) -> list[float]:
    """How much the names were asked for; a word that many chunks of the file hold tells little."""
    weights = rarity(asked.query.stems, [names.own for names in chunks])
    total = sum(weights.values()) or 1.0
    share = asked.share
    found = []
    for names in chunks:
        if not asked.may_match(names):
            found.append(0.0)
            continue
        shares = [OWN_NAME * share(one.own) + OUTER_NAME * share(one.outer) for one in names.each]
        here = sum([weight for word, weight in weights.items() if word in names.own]) / total
        best = max(shares) * (ONE_OF_SEVERAL if len(shares) > 1 else 1.0)
        found.append(ASKED * here + best)
    return found
