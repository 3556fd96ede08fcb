"""The words of definitions' names, and how much of a question they hold."""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

from codesearch.alike import with_starts
from codesearch.candidates import Candidate
from codesearch_resources.text import stems


@dataclass(frozen=True, slots=True, eq=False)  # one object for each name, so a quick key
class NameWords:
    """The words of a name, stemmed."""

    words: frozenset[str]
    may_match: frozenset[str]  # and how they begin


@dataclass(frozen=True, slots=True)
class DefinitionName:
    """A qualified name taken apart."""

    own: NameWords  # of `resolve` in `Router.resolve`
    outer: NameWords  # and of `Router`


@dataclass(frozen=True, slots=True)
class DefinitionNames:
    """The names of a chunk's definitions, each once."""

    each: tuple[DefinitionName, ...]
    own: frozenset[str]  # of all of them
    may_match: frozenset[str]  # and of what those are defined in, and how they begin


def names_of(chunk: Candidate) -> DefinitionNames:
    """The names of a chunk's definitions."""
    return _names(chunk.symbol, chunk.inside)


@lru_cache(maxsize=100_000)
def _names(symbol: str, inside: tuple[str, ...]) -> DefinitionNames:
    each = tuple(taken_apart(name) for name in dict.fromkeys((symbol, *inside)) if name)
    none = frozenset[str]()
    parts = [part for name in each for part in (name.own, name.outer)]
    return DefinitionNames(
        each,
        none.union(*(name.own.words for name in each)),
        none.union(*(part.may_match for part in parts)),
    )


@lru_cache(maxsize=100_000)
def taken_apart(symbol: str) -> DefinitionName:
    """The words of a qualified name."""
    outer, _, own = symbol.replace("::", ".").rpartition(".")
    return DefinitionName(_words(own), _words(outer))


@lru_cache(maxsize=100_000)
def _words(name: str) -> NameWords:
    words = frozenset(stems(name))
    return NameWords(words, with_starts(words))


def rarity(asked: Collection[str], holding: Sequence[frozenset[str]]) -> dict[str, float]:
    """The weight of each asked word: one that stands in many of the groups tells none apart."""
    wanted = frozenset(asked)
    counts = Counter(word for words in holding for word in words & wanted)
    return {word: math.log(1 + len(holding) / (1 + counts[word])) for word in asked}
