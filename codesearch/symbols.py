"""Which definition inside a chunk a question points at."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from codesearch.definition_names import taken_apart
from codesearch.query import Query
from codesearch_resources.text import words

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


SHOWN = ("text", "start_line", "end_line", "symbols")  # columns of `chunks`


@dataclass(frozen=True, slots=True)
class Shown:
    """What is shown of a chunk: its lines in the file, and the definitions inside."""

    text: str
    start_line: int
    end_line: int
    inside: Sequence[Definition]


def shown(row: Mapping[str, Any]) -> Shown:
    """What is shown of a row of `chunks`."""
    inside = [Definition(s["name"], s["start_line"], s["end_line"]) for s in row["symbols"] or ()]
    return Shown(row["text"], row["start_line"], row["end_line"], inside)


def meant(query: Query, symbol: str, chunk: Shown) -> Definition | None:
    """The definition a question points at in a chunk; None where it is the chunk's own, or none is
    clear.

    One that is asked for by its name; else, of several, the one whose name and text hold at least
    half of the asked words and clearly more than any other's, rare ones first. `symbol` is the
    chunk's own.
    """
    inside = chunk.inside
    names = list(dict.fromkeys(one.name for one in inside))
    if set(names) <= {symbol}:
        return None
    if query.names:
        asked = set(query.names)
        named = next((one for one in inside if asked & _spellings(one.name)), None)
        if named is not None or asked & _spellings(symbol):
            return named
    if len(names) < 2 or len(inside) > MOST_DEFINITIONS or len(chunk.text) > MOST_TEXT:
        return None
    lowered = chunk.text.lower()
    texts = _texts(inside, lowered.split("\n"), chunk.start_line)
    scores, held = _scores(query, inside, texts, lowered)
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
    query: Query, inside: Sequence[Definition], texts: Sequence[str], text: str
) -> tuple[list[float], list[int]]:
    """What each definition holds of a question, by weight and in words; `text` holds `texts`."""
    names = [taken_apart(one.name).own.words for one in inside]
    in_any = frozenset[str]().union(*names)
    scores, held = [0.0] * len(inside), [0] * len(inside)
    together = (first + second for first, second in pairwise(query.stems))  # as in `back off`
    for word in (*query.stems, *together):
        # The stem of `repository` ends in an i.
        root = word.removesuffix("i") if len(word) > SHORTEST else word
        in_text = IN_TEXT if len(root) >= SHORTEST and root in text else 0.0
        if not in_text and word not in in_any:
            continue
        worth = [
            IN_NAME if word in name else in_text if in_text and root in own else 0.0
            for name, own in zip(names, texts, strict=True)
        ]
        rarity = math.log(1 + len(inside) / (1 + sum(map(bool, worth))))
        scores = [score + rarity * one for score, one in zip(scores, worth, strict=True)]
        held = [count + bool(one) for count, one in zip(held, worth, strict=True)]
    return scores, held


def _texts(inside: Sequence[Definition], lines: Sequence[str], first: int) -> list[str]:
    """The lines of each definition with those right above it, which are its comment; a class that
    holds others has what is left. The first of the lines is line `first`."""
    owner: list[int | None] = [None] * len(lines)
    by_size = sorted(range(len(inside)), key=lambda at: -_length(inside[at]))
    for at in by_size:  # what lies inside comes later
        start = max(inside[at].start_line - first, 0)
        end = max(start, min(inside[at].end_line + 1 - first, len(lines)))
        owner[start:end] = [at] * (end - start)
    for at in by_size:
        start = inside[at].start_line - first
        above = owner[start - 1] if 0 < start <= len(lines) else None
        # Its comment is the class's so far, or nobody's.
        while 0 < start <= len(lines) and lines[start - 1].strip() and owner[start - 1] == above:
            if above is not None and not _holds(inside[above], inside[at], start - 1 + first):
                break
            start -= 1
            owner[start] = at
    texts: list[list[str]] = [[] for _ in inside]
    for at_line, line in zip(owner, lines, strict=True):
        if at_line is not None:
            texts[at_line].append(line)
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
