"""The summarizer without a model: one honest sentence out of the code itself.

A sufficient doc comment is the author's own summary and is taken as it is (grade `doc`). Anything
else is described: what kind of thing it is, its name, what it takes, defines, calls and raises.
That is all there is to say of a trivial body (grade `doc` too), and stands in for better elsewhere.
What stands in comments and strings is not said of the code; in prose and data nothing is called.
"""

import re
from collections.abc import Sequence

from codesearch_resources.summarizers.base import Grade, Piece, Summary
from codesearch_resources.summarizers.trivial import is_trivial
from codesearch_resources.text import words

VERSION = "extractive-2"
# A doc comment says enough from this many words on; below, it repeats the name.
SUFFICIENT_WORDS = 5
LONGEST = 320  # characters of a summary
MOST_CALLS = 8
MOST_NAMES = 8

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"'(])|\n\s*\n|\n(?=\s*[:@\\-])")
_CALL = re.compile(r"([A-Za-z_]\w*)(?:::<[^<>]*>|!)?\s*\(")
_DEFINITION = re.compile(
    r"\b(?:class|def|enum|fn|fun|func|function|interface|struct|trait|type)\s+"
    r"(?:\([^()]*\)\s*)?([A-Za-z_]\w*)"
)
# `name(…) {` of a method; in some languages also a call with a block, so it is neither.
_BRACED = re.compile(r"([A-Za-z_]\w*)\s*\([^()]*\)[^(){};=]*\{")
_RAISE = re.compile(r"\b(?:raise|throw|throws|panic!|Err)\b[\s(]*(?:new\s+)?([A-Z]\w+)")
_NAME = re.compile(r"[A-Za-z_]\w*")
_COMMENT_OR_STRING = re.compile(
    r'''"""[\s\S]*?(?:"""|\Z)|\'\'\'[\s\S]*?(?:\'\'\'|\Z)|/\*[\s\S]*?(?:\*/|\Z)'''
    r"""|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|`(?:\\.|[^`\\])*`"""
    r"|//.*|(?:^|(?<=\s))(?:#|--)(?:\s.*)?$",
    re.MULTILINE,
)
_NOT_CALLS = frozenset(
    """and assert async await case catch constructor def defined defer do elif else except fn for
    foreach func function go if in lambda match new not or print return select sizeof super switch
    throw try typeof unless until when while with yield""".split()
)
_NOT_NAMES = frozenset(
    """any bool boolean byte char const double false final float fn func in int int32 int64 let list
    long mut none null out private protected public readonly ref self static str string struct this
    true uint var void""".split()
)
_TYPE_FIRST = frozenset("c cpp csharp dart groovy java objective-c php".split())
_NOT_CODE = frozenset(
    """asciidoc css csv diff html ini json jsonl markdown notebook org properties restructuredtext
    scss svg tex text toml xml yaml""".split()
)


class Extractive:
    """Grade `doc` where the author wrote enough, else `stand_in`; never leaves a remainder."""

    def __init__(self, name: str = "extractive") -> None:
        self.name = name

    def extract(self, piece: Piece) -> Summary:
        """The summary of one piece."""
        doc = _first_sentences(piece.doc)
        enough = len(words(doc)) >= SUFFICIENT_WORDS
        text = doc if enough else _describe(piece, doc)
        grade: Grade = "doc" if enough or is_trivial(piece) else "stand_in"
        return Summary(text, grade, self.name, "", VERSION)


def _first_sentences(doc: str) -> str:
    """The first sentence of a doc comment, and the second where both are short."""
    sentences = [" ".join(part.split()) for part in _SENTENCE_END.split(doc.strip())]
    sentences = [sentence for sentence in sentences if sentence]
    if not sentences:
        return ""
    both = " ".join(sentences[:2])
    return _bounded(both if len(both) <= LONGEST else sentences[0])


def _describe(piece: Piece, doc: str) -> str:
    """`Method Router.resolve: takes path; calls split, match; raises NotFound.`"""
    subject = f"{piece.kind.capitalize()} {piece.symbol}".strip()
    if piece.header:
        subject += f" in {' '.join(piece.header.split())[:80].rstrip(' {:')}"
    facts = [doc.rstrip(".")] if doc else []
    if piece.language not in _NOT_CODE:
        facts += _code_facts(piece)
    if not facts:
        facts = _fact("mentions", _mentioned(piece.text))
    return _bounded(f"{subject}: {'; '.join(facts)}." if facts else f"{subject}.")


def _code_facts(piece: Piece) -> list[str]:
    code = _COMMENT_OR_STRING.sub(" ", piece.text)
    own = piece.symbol.replace("::", ".").rpartition(".")[2]
    defined = [name for name in dict.fromkeys(_DEFINITION.findall(code)) if name != own]
    raised = list(dict.fromkeys(_RAISE.findall(code)))
    not_called = {own, *defined, *raised, *_BRACED.findall(code)}
    called = dict.fromkeys(_CALL.findall(code))
    return [
        *_fact("takes", _parameters(code, own, piece)),
        *_fact("defines", defined[:MOST_NAMES]),
        *_fact("calls", [n for n in called if n not in not_called | _NOT_CALLS][:MOST_CALLS]),
        *_fact("raises", raised[:MOST_NAMES]),
    ]


def _fact(verb: str, names: Sequence[str]) -> list[str]:
    return [f"{verb} {', '.join(names)}"] if names else []


def _parameters(code: str, own: str, piece: Piece) -> list[str]:
    """The names of what a function takes, out of the brackets after its own name."""
    if piece.kind not in ("function", "method") or not own:
        return []
    found = re.search(rf"\b{re.escape(own)}\b[^()\n]*\(", code)
    names = []
    for part in _arguments(code[found.end() :]) if found else ():
        declared = part.partition("=")[0].partition(":")[0]
        words_of = [n for n in _NAME.findall(declared) if n.lower() not in _NOT_NAMES]
        if words_of:
            names.append(words_of[-1 if piece.language in _TYPE_FIRST else 0])
    return names[:MOST_NAMES]


def _arguments(code: str) -> list[str]:
    """`a: T, b = f(x)) {…` -> [`a: T`, ` b = f(x)`]; nothing when the bracket never closes."""
    parts: list[str] = []
    depth = start = 0
    for at, character in enumerate(code):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        if depth < 0:
            return [*parts, code[start:at]]
        if character == "," and not depth:
            parts.append(code[start:at])
            start = at + 1
    return []


def _mentioned(text: str) -> list[str]:
    found = dict.fromkeys(_NAME.findall(text))
    return [name for name in found if len(name) > 3][:MOST_CALLS]


def _bounded(text: str) -> str:
    text = " ".join(text.split())  # a name may hold any character, line separators too
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rsplit(" ", 1)[0] + "…"
