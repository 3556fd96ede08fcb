"""The summarizer without a model: one honest sentence out of the code itself.

A sufficient doc comment is the author's own summary and is taken as it is (grade `doc`). Anything
else gets a stand-in: what kind of thing it is, its name, what it takes, what it calls and raises.
"""

import re
from collections.abc import Iterator, Sequence

from codesearch_resources.summarizers.base import Grade, Piece, Summary
from codesearch_resources.text import words

VERSION = "extractive-1"
# A doc comment says enough from this many words on; below, it repeats the name.
SUFFICIENT_WORDS = 5
LONGEST = 320  # characters of a summary
MOST_CALLS = 8
MOST_NAMES = 8

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"'(])|\n\s*\n|\n(?=\s*[:@\\-])")
_CALL = re.compile(r"([A-Za-z_]\w*)(?:::<[^<>]*>|!)?\s*\(")
_RAISE = re.compile(r"\b(?:raise|throw|throws|panic!|Err)\b[\s(]*(?:new\s+)?([A-Z]\w+)")
_PARAMETERS = re.compile(r"\(([^()]*)\)")
_PARAMETER = re.compile(r"[A-Za-z_]\w*")
_NOT_CALLS = frozenset(
    """and assert await case catch catch def defined defer do elif else except fn for foreach func
    function go if in lambda match new not or print return select sizeof super switch throw try
    typeof unless until when while with yield""".split()
)
_NOT_NAMES = frozenset(
    """any bool boolean byte char const double false final float fn func in int int32 int64 let list
    long mut none null out ref self static str string struct this true uint var void""".split()
)


class Extractive:
    """Grade `doc` where the author wrote enough, else `stand_in`; never leaves a remainder."""

    grade: Grade = "stand_in"

    def __init__(self, name: str = "extractive") -> None:
        self.name = name

    def summarize(self, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, Summary]]:
        """Yield every piece with its summary, in order."""
        for piece in pieces:
            yield piece, self.extract(piece)

    def extract(self, piece: Piece) -> Summary:
        """The summary of one piece."""
        doc = _first_sentences(piece.doc)
        enough = len(words(doc)) >= SUFFICIENT_WORDS
        text = doc if enough else _describe(piece, doc)
        return Summary(text, "doc" if enough else "stand_in", self.name, "", VERSION)


def _first_sentences(doc: str) -> str:
    """The first sentence of a doc comment, and the second where both are short."""
    sentences = [" ".join(part.split()) for part in _SENTENCE_END.split(doc.strip())]
    sentences = [sentence for sentence in sentences if sentence]
    if not sentences:
        return ""
    both = " ".join(sentences[:2])
    return _bounded(both if len(both) <= LONGEST else sentences[0])


def _describe(piece: Piece, doc: str) -> str:
    """`Method Router.resolve takes path; calls split, match; raises NotFound.`"""
    subject = f"{piece.kind.capitalize()} {piece.symbol}".strip()
    if piece.header:
        subject += f" in {' '.join(piece.header.split())[:80].rstrip(' {:')}"
    facts = [doc.rstrip(".")] if doc else []
    facts += _fact("takes", _parameters(piece))
    own = {piece.symbol.rpartition(".")[2]}
    facts += _fact("calls", [name for name in _calls(piece.text) if name not in own])
    facts += _fact("raises", list(dict.fromkeys(_RAISE.findall(piece.text)))[:MOST_NAMES])
    if not facts:
        facts = _fact("mentions", _mentioned(piece.text))
    return _bounded(f"{subject}: {'; '.join(facts)}." if facts else f"{subject}.")


def _fact(verb: str, names: Sequence[str]) -> list[str]:
    return [f"{verb} {', '.join(names)}"] if names else []


def _parameters(piece: Piece) -> list[str]:
    if piece.kind not in ("function", "method"):
        return []
    found = _PARAMETERS.search(piece.text)
    if not found:
        return []
    names = (_PARAMETER.search(part) for part in found.group(1).split(","))
    return [name.group() for name in names if name and name.group().lower() not in _NOT_NAMES][
        :MOST_NAMES
    ]


def _calls(text: str) -> list[str]:
    found = dict.fromkeys(_CALL.findall(text))
    return [name for name in found if name.lower() not in _NOT_CALLS][:MOST_CALLS]


def _mentioned(text: str) -> list[str]:
    found = dict.fromkeys(_PARAMETER.findall(text))
    return [name for name in found if len(name) > 3][:MOST_CALLS]


def _bounded(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rsplit(" ", 1)[0] + "…"
