"""Which definition inside a chunk a question points at."""

from collections.abc import Sequence

from codesearch.query import Query
from codesearch_resources.text import stems, words

CLEARLY = 0.5  # of a name's words must be asked for before a hit points at that definition


def meant(query: Query, symbol: str, inside: Sequence[str]) -> str:
    """The definition a question points at in a chunk: one of `inside`, else the chunk's `symbol`.

    One that is asked for by its name, else the one whose name clearly holds more of the asked words
    than any other's does.
    """
    if len(inside) < 2 or len({symbol, *inside}) < 2:
        return symbol
    asked = set(query.names)
    named = next((name for name in (symbol, *inside) if asked & _spellings(name)), None)
    if named is not None:
        return named
    shares = {name: _named_share(name, query.stems) for name in dict.fromkeys((symbol, *inside))}
    best, second = sorted(shares, key=lambda name: -sum(shares[name]))[:2]
    clear = shares[best][1] >= CLEARLY and sum(shares[best]) > sum(shares[second])
    return best if clear else symbol


def _spellings(name: str) -> set[str]:
    """How a question may spell a qualified name, lower case."""
    dotted, last = name.replace("::", "."), _last_name(name)
    member = ".".join(dotted.split(".")[-2:])
    return {form.lower() for form in (dotted, member, last, "".join(words(last))) if form}


def _last_name(name: str) -> str:
    return name.replace("::", ".").rpartition(".")[2]


def _named_share(name: str, asked: Sequence[str]) -> tuple[int, float]:
    """How many of the asked words a definition's own name holds, and their share of the name."""
    own = set(stems(_last_name(name)))
    held = len(own & set(asked))
    return held, held / len(own) if own else 0.0
