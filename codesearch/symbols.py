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
    """The definition a question points at in a chunk that has several; None where none is clear.

    One that is asked for by its name, else the one whose name and text hold at least half of the
    asked words and clearly more than any other's, rare ones first. `text` is the chunk's, whose
    first line is `first_line`; a class that holds others has what is left between them.
    """
    if {one.name for one in inside} <= {symbol}:
        return None
    if query.names:
        asked = set(query.names)
        named = next((one for one in inside if asked & _spellings(one.name)), None)
        if named is not None or asked & _spellings(symbol):
            return named
    if len(inside) > MOST_DEFINITIONS or len(text) > MOST_TEXT:
        return None
    lines = text.lower().split("\n")
    texts = [_own_text(one, inside, lines, first_line) for one in inside]
    names = [set(stems(_last_name(one.name))) for one in inside]
    scores, held = [0.0] * len(inside), [0] * len(inside)
    together = (first + second for first, second in pairwise(query.stems))  # as in `back off`
    for word in (*query.stems, *together):
        root = word.removesuffix("i")  # which is how the stem of `repository` ends
        looked_for = len(root) >= SHORTEST
        worth = [
            IN_NAME if word in name else IN_TEXT * (looked_for and root in own)
            for name, own in zip(names, texts, strict=True)
        ]
        rarity = math.log(1 + len(inside) / (1 + sum(map(bool, worth))))
        scores = [score + rarity * one for score, one in zip(scores, worth, strict=True)]
        held = [count + bool(one) for count, one in zip(held, worth, strict=True)]
    best, second = sorted((*scores, 0.0), reverse=True)[:2]
    at = scores.index(best)
    clear = best > LEAD * second and held[at] >= SHARE * len(query.stems)
    return inside[at] if clear else None


def _own_text(
    one: Definition, inside: Sequence[Definition], lines: Sequence[str], first_line: int
) -> str:
    """The lines of a definition that are in no other inside it."""
    held = set(range(one.start_line, one.end_line + 1))
    for other in inside:
        smaller = other.end_line - other.start_line < one.end_line - one.start_line
        if smaller and other.start_line in held:
            held -= set(range(other.start_line, other.end_line + 1))
    end = first_line + len(lines)
    return "\n".join(lines[at - first_line] for at in sorted(held) if first_line <= at < end)


def _spellings(name: str) -> set[str]:
    """How a question may spell a qualified name, lower case."""
    dotted, last = name.replace("::", "."), _last_name(name)
    member = ".".join(dotted.split(".")[-2:])
    return {form.lower() for form in (dotted, member, last, "".join(words(last))) if form}


def _last_name(name: str) -> str:
    return name.replace("::", ".").rpartition(".")[2]
