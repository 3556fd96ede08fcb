"""The words of definitions' names, and how much of a question they hold."""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from codesearch.candidates import Candidate
from codesearch_resources.text import stems


@dataclass(frozen=True, slots=True)
class DefinitionName:
    """A qualified name taken apart, its words stemmed."""

    own: frozenset[str]  # of `resolve` in `Router.resolve`
    outer: frozenset[str]  # and of `Router`


@lru_cache(maxsize=100_000)
def _taken_apart(symbol: str) -> DefinitionName:
    outer, _, own = symbol.replace("::", ".").rpartition(".")
    return DefinitionName(frozenset(stems(own)), frozenset(stems(outer)))


def names_of(chunk: Candidate) -> tuple[DefinitionName, ...]:
    """The names of a chunk's definitions, each once."""
    return _names(chunk.symbol, chunk.inside)


@lru_cache(maxsize=100_000)
def _names(symbol: str, inside: tuple[str, ...]) -> tuple[DefinitionName, ...]:
    return tuple(_taken_apart(name) for name in dict.fromkeys((symbol, *inside)) if name)


def rarity(asked: Collection[str], holding: Sequence[Collection[str]]) -> dict[str, float]:
    """The weight of each asked word: one that stands in many of the groups tells none apart."""
    counts = Counter(word for words in holding for word in words)
    return {word: math.log(1 + len(holding) / (1 + counts[word])) for word in asked}
