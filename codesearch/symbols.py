"""Which definition inside a chunk a question points at."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from codesearch.query import Query
from codesearch_resources.text import stems, words

IN_NAME, IN_TEXT = 2.0, 1.0  # what an asked word is worth in a definition
# Before a hit points at a definition: its lead over the second, and the share of the asked words it
# holds. One of six words happens to be in many a definition.
LEAD, SHARE = 1.25, 0.5
# A chunk with more definitions, or more characters, is data or was made by a machine.
MOST_DEFINITIONS, MOST_TEXT = 100, 50_000
SHORTEST = 3  # letters of a word that is looked for in text; shorter ones are inside of others


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition in a chunk: qualified name and lines in the file."""

    name: str
    start_line: int
    end_line: int


def definitions(symbols: Sequence[Mapping[str, Any]] | None) -> list[Definition]:
    """The definitions of a row of `chunks`."""
    return [Definition(s["name"], s["start_line"], s["end_line"]) for s in symbols or ()]


def meant(
    query: Query, symbol: str, inside: Sequence[Definition], text: str, first_line: int
) -> Definition | None:
    """The definition a question points at in a chunk; None where it is the chunk's own, or none is
    clear.

    One that is asked for by its name; else, of several, the one whose name and text hold at least
    half of the asked words and clearly more than any other's, rare ones first. `text` is the
    chunk's, whose first line is `first_line`.
    """
    names = list(dict.fromkeys(one.name for one in inside))
    if set(names) <= {symbol}:
        return None
    if query.names:
        asked = set(query.names)
        named = next((one for one in inside if asked & _spellings(one.name)), None)
        if named is not None or asked & _spellings(symbol):
            return named
    if len(names) < 2 or len(inside) > MOST_DEFINITIONS or len(text) > MOST_TEXT:
        return None
    lines = text.lower().split("\n")
    texts = _texts(inside, dict(enumerate(lines, first_line)))
    scores, held = _scores(query, inside, texts)
    # Overloads, or a property and its setter, are no rivals of each other.
    best_of = {
        name: max(s for s, one in zip(scores, inside, strict=True) if one.name == name)
        for name in names
    }
    best, second = sorted(best_of.values(), reverse=True)[:2]
    at = scores.index(best)
    clear = best > LEAD * second and held[at] >= SHARE * len(query.stems)
    return inside[at] if clear else None


def _scores(
    query: Query, inside: Sequence[Definition], texts: Sequence[str]
) -> tuple[list[float], list[int]]:
    """What each definition holds of a question, by weight and in words."""
    names = [set(stems(_last_name(one.name))) for one in inside]
    scores, held = [0.0] * len(inside), [0] * len(inside)
    together = (first + second for first, second in pairwise(query.stems))  # as in `back off`
    for word in (*query.stems, *together):
        # The stem of `repository` ends in an i.
        root = word.removesuffix("i") if len(word) > SHORTEST else word
        looked_for = len(root) >= SHORTEST
        worth = [
            IN_NAME if word in name else IN_TEXT * (looked_for and root in own)
            for name, own in zip(names, texts, strict=True)
        ]
        rarity = math.log(1 + len(inside) / (1 + sum(map(bool, worth))))
        scores = [score + rarity * one for score, one in zip(scores, worth, strict=True)]
        held = [count + bool(one) for count, one in zip(held, worth, strict=True)]
    return scores, held


def _texts(inside: Sequence[Definition], lines: Mapping[int, str]) -> list[str]:
    """The lines of each definition with those right above it, which are its comment; a class that
    holds others has what is left."""
    owner: dict[int, int] = {}
    by_size = sorted(range(len(inside)), key=lambda at: -_length(inside[at]))
    for at in by_size:  # what lies inside comes later
        owner.update(dict.fromkeys(range(inside[at].start_line, inside[at].end_line + 1), at))
    for at in by_size:
        start = inside[at].start_line
        above = owner.get(start - 1)
        # Its comment is the class's so far, or nobody's.
        while lines.get(start - 1, "").strip() and owner.get(start - 1) == above:
            if above is not None and not _holds(inside[above], inside[at], start - 1):
                break
            start -= 1
            owner[start] = at
    texts: list[list[str]] = [[] for _ in inside]
    for line in sorted(owner):
        texts[owner[line]].append(lines.get(line, ""))
    return ["\n".join(own) for own in texts]


def _length(one: Definition) -> int:
    return one.end_line - one.start_line


def _holds(outer: Definition, inner: Definition, line: int) -> bool:
    """Whether a line above `inner` is in `outer`, around it, and not where that begins."""
    return outer.start_line < line and inner.end_line <= outer.end_line


def _spellings(name: str) -> set[str]:
    """How a question may spell a qualified name, lower case."""
    dotted, last = name.replace("::", "."), _last_name(name)
    member = ".".join(dotted.split(".")[-2:])
    return {form.lower() for form in (dotted, member, last, "".join(words(last))) if form}


def _last_name(name: str) -> str:
    return name.replace("::", ".").rpartition(".")[2]
