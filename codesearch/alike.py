"""Words that nearly match, since they begin alike."""

from collections.abc import Iterable

PREFIX_MATCH, PREFIX_WORTH = 4, 0.8  # words that share four letters nearly match


def start(word: str) -> str:
    """What a word that nearly matches begins with too."""
    return word[:PREFIX_MATCH]


def with_starts(words: Iterable[str]) -> frozenset[str]:
    """Words and what they begin with: of two such sets with nothing in common, no word of the one
    matches or nearly matches one of the other."""
    held = frozenset(words)
    return held.union(map(start, held))
