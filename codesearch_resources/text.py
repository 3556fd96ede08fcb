"""Words of code and of questions: one splitter for indexing and for asking.

An identifier counts as its parts and, when it has several, as the parts joined:
`parseHttpRequest` gives `pars http request parsehttprequest`. Parts are stemmed, joined names are
not, since nobody inflects an identifier.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any

# A name with its underscores; everything else separates.
IDENTIFIER = re.compile(r"\w+")
# Inside a name: XMLHttp2Request -> XML Http 2 Request.
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
# A name spelled like one: camelCase, snake_case, ALL_CAPS, dotted or with a scope, `Type` alone.
CODE_NAME = re.compile(
    r"^@?[\w$]+(?:(?:\.|::|#|->)[\w$]+)+(?:\(\))?$|^\w*[a-z0-9][A-Z]\w*$|^\w+_\w+$|^_+\w+$|^[\w$]+\(\)$"
)
# Longer runs of word characters are data (hashes, base64), not names; the index would only grow.
LONGEST = 64

STOP_WORDS = frozenset(
    """a about all an and any are as at be been but by can could do does done for from get has have
    how i if in into is it its me my no not of on onto or our out over should show so that the their
    them then there these this those to up use used uses using was way we what when where which
    while who why will with would you your""".split()
)


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    import Stemmer  # a C extension: 20 times the pure-Python Snowball on a fresh vocabulary

    return Stemmer.Stemmer("english", 0)


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    return str(_stemmer().stemWord(word))


@lru_cache(maxsize=50_000)
def parts(name: str) -> tuple[str, ...]:
    """The lower-case parts of one identifier: `HTTPServer_v2` -> (http, server, v, 2)."""
    return tuple(part.lower() for part in PART.findall(name))


@lru_cache(maxsize=50_000)
def _indexed(name: str) -> tuple[str, ...]:
    if len(name) > LONGEST:
        return ()
    pieces = parts(name)
    stems = tuple(_stem(piece) for piece in pieces)
    return (*stems, "".join(pieces)) if len(pieces) > 1 else stems


def tokens(text: str) -> list[str]:
    """What the full-text index holds of `text`, in order, repeats kept."""
    found: list[str] = []
    for name in IDENTIFIER.findall(text):
        found.extend(_indexed(name))
    return found


def words(text: str) -> list[str]:
    """The lower-case words of `text`, identifiers split, not stemmed, repeats kept."""
    return [part for name in IDENTIFIER.findall(text) for part in parts(name)]


def stems(text: str) -> list[str]:
    """The stemmed words of `text`, identifiers split, in order, repeats kept."""
    return [_stem(word) for word in words(text)]


def query_words(query: str) -> list[str]:
    """The words of a question that carry meaning, or all of them when none does."""
    found = words(query)
    return [word for word in found if word not in STOP_WORDS] or found


def code_names(query: str) -> list[str]:
    """The parts of a question that are spelled like identifiers, without trailing `()`."""
    candidates = (word.strip(".,;:!?\"'`()[]{}<>") for word in query.split())
    return [word for word in candidates if CODE_NAME.match(word)]


def readable(text: str) -> str:
    """`text` with every character that has no UTF-8 form (a byte of another encoding) as `?`."""
    return text.encode(errors="replace").decode()


def digest(*values: object) -> int:
    """A signed 64-bit hash of values, for telling whether a row has changed."""
    hashed = blake2b("\0".join(map(str, values)).encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(hashed.digest(), "big", signed=True)


def key(values: Iterable[str]) -> str:
    """A 128-bit hash of strings, in hex: the form of every identity in the tables."""
    hashed = blake2b("\0".join(values).encode("utf-8", "surrogatepass"), digest_size=16)
    return hashed.hexdigest()
