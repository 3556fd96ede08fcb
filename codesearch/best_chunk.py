"""Which chunk of a file answers best: what the lanes say of it, and what it is named.

A reader judges the chunk that is shown. Inside one file the words of the question are often the
words of every chunk, so what tells chunks apart is the name of the definition: docs/retrieval.md
has the figures.
"""

from collections.abc import Collection, Sequence
from itertools import pairwise

from codesearch.candidates import LANES, Candidate, Evidence, LaneName
from codesearch.definition_names import DefinitionName, names_of, rarity
from codesearch.paths import PREFIX_MATCH, PREFIX_WORTH
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
        self._worth = dict.fromkeys(query.stems, 1.0)
        for first, second in pairwise(query.stems):
            self._worth.setdefault(first + second, 1.0)
        self._starts = {word[:PREFIX_MATCH] for word in query.stems if len(word) >= PREFIX_MATCH}

    def share(self, words: Collection[str]) -> float:
        """The share of a name's words that was asked for; one that begins alike counts less."""
        return sum(map(self._asked, words)) / len(words) if words else 0.0

    def _asked(self, word: str) -> float:
        worth = self._worth.get(word)
        if worth is None:
            alike = len(word) >= PREFIX_MATCH and word[:PREFIX_MATCH] in self._starts
            worth = self._worth[word] = PREFIX_WORTH if alike else 0.0
        return worth


def best_first(
    asked: AskedNames, members: Sequence[Candidate], evidence: Evidence
) -> list[tuple[Candidate, float]]:
    """The chunks of one file with their scores; ties by line."""
    lanes = [_lane(lane, members, evidence) for lane in LANES if lane != "symbol"]
    named = _named(asked, [names_of(chunk) for chunk in members])
    scored = []
    for place, chunk in enumerate(members):
        found = sum(lane[place] for lane in lanes) + named[place]
        found += DEFINES * sum(name in chunk.names for name in asked.query.names)
        scored.append((chunk, found))
    return sorted(scored, key=lambda pair: (-pair[1], pair[0].start_line, pair[0].chunk_id))


def _lane(lane: LaneName, members: Sequence[Candidate], evidence: Evidence) -> list[float]:
    """What a lane says of each chunk, against the best of the file."""
    scores = evidence.lanes.get(lane, {})
    said = [scores.get(chunk.chunk_id, 0.0) for chunk in members]
    best = max(said, default=0.0)
    return [one / best for one in said] if best > 0 else said


def _named(asked: AskedNames, chunks: Sequence[Sequence[DefinitionName]]) -> list[float]:
    """How much the names were asked for; a word that many chunks of the file hold tells little."""
    held = [{word for name in names for word in name.own} for names in chunks]
    weights = rarity(asked.query.stems, held)
    total = sum(weights.values()) or 1.0
    found = []
    for names, words in zip(chunks, held, strict=True):
        best = max(
            (
                OWN_NAME * asked.share(name.own) + OUTER_NAME * asked.share(name.outer)
                for name in names
            ),
            default=0.0,
        )
        here = sum(weights[word] for word in asked.query.stems if word in words) / total
        found.append(ASKED * here + best * (ONE_OF_SEVERAL if len(names) > 1 else 1.0))
    return found
