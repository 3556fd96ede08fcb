"""What a model's words must be to become a summary: one or two whole sentences of plain prose.

Models are given code that anyone may have written, and what they say is later shown to agents. So
their words are checked on the way in: what is harmless is tidied, what is not is `Unusable`.
"""

import re
import unicodedata
from collections.abc import Sequence

from codesearch_resources import secrets
from codesearch_resources.calls import CallError
from codesearch_resources.summarizers.prompt import SYSTEM

LONGEST = 400  # characters of a summary
LONGEST_RAW = 2_000  # what is longer has not kept to its cap
FEWEST_WORDS = 3
MOST_SENTENCES = 2
# So many words in a row of the instruction are no chance.
ECHO_WORDS = 7


class Unusable(CallError):
    """The words are no summary. `reason` is one of the words of `REASONS`, for counting."""

    def __init__(self, reason: str) -> None:
        super().__init__("item", f"the answer is no summary: {REASONS[reason]}")
        self.reason = reason


REASONS = {
    "empty": "it is empty",
    "control": "it holds control characters",
    "long": f"it is longer than {LONGEST} characters",
    "markup": "it holds markup",
    "code": "it is code",
    "language": "it is not English",
    "reader": "it addresses the reader",
    "chat": "it talks about itself",
    "link": "it holds an address or a command",
    "echo": "it repeats what was sent",
    "cut": "it was cut off before its first sentence ended",
    "secret": "it seems to hold a secret",
}

_THOUGHT = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_PREFACE = re.compile(
    r"\A(?:(?:sure|certainly|of course|okay|here(?:'s| is| are))\b[^.:\n]{0,100}:"
    r"|(?:short )?(?:summary|description|answer|entry)\s*:)\s*",
    re.IGNORECASE,
)
_MARKUP = re.compile(
    r"```|~~~|^\s{0,3}#{1,6}\s|^\s*[-*+•]\s+\S|^\s*\d+[.)]\s+\S|^\s*>\s|^\s*\|.*\|"
    r"|\[[^\]\n]+\]\([^)\n]+\)|</?(?:a|b|br|code|div|em|i|img|li|p|pre|script|span|strong|style|svg"
    r"|table|td|think|tr|ul)\b[^>]*>|<!--|<!DOCTYPE|<html|^-{3,}",
    re.MULTILINE | re.IGNORECASE,
)
_CODE = re.compile(
    r"\A(?:def|class|import|from \S+ import|function|func|fn|public|private|static|const|let|var"
    r"|return|#include|package|using|if \(|for \()\b[^.]*[({;=]|[;{}]\s*\Z|=>|\bself\.\w+\s*="
)
_SIGNS = re.compile(r"[{}();=<>\[\]|&+*/\\$#@]")
_LINK = re.compile(r"https?://|\bwww\.\w|\bftp://|\bjavascript:", re.IGNORECASE)
_COMMAND = re.compile(
    r"\b(?:curl|wget|sudo|chmod|powershell)\s+\S|\brm\s+-\w|\b(?:ba|z)?sh\s+-c\b"
    r"|\b(?:pip3?|npm|brew|apt|apt-get|cargo)\s+install\b|\|\s*(?:ba)?sh\b",
    re.IGNORECASE,
)
# Orders to whoever reads it: none of the text is taken.
_ORDER = re.compile(
    r"\byou (?:must|should|need|have to|are (?:now|to|an?)|shall|will)\b|\bplease\b"
    r"|\b(?:ignore|disregard|forget|override)\b[^.]{0,40}"
    r"\b(?:previous|prior|above|earlier|instructions?|prompts?|rules)\b|\bsystem prompt\b"
    r"|\A(?:ignore|disregard|forget|click|visit|download|install|execute|run)\s"
    r"|\b(?:assistants?|agents?|readers?|users?|models?) (?:must|should) (?:now|always|never)\b"
    r"|\bdo not (?:tell|mention|trust|index|show)\b|\bimportant:|\bnote to\b",
    re.IGNORECASE,
)
# The manner of speaking that small models have: what is said is of the code all the same.
_ALLOWS_YOU = re.compile(r"\b((?:allow|enable|help|let|permit|require)s?) you\b", re.IGNORECASE)
_YOU = re.compile(r"\byou(?:r|rs|rself|'re|'ll|'ve)?\b", re.IGNORECASE)
_CHAT = re.compile(
    r"(?i:\bas an? (?:ai|language model|assistant)\b|\bapologi[sz]e\b|\blet me know\b"
    r"|\A(?:sorry|sure|certainly|of course|okay|hello|here (?:is|are))\b)"
    r"|\bI(?:'m|'ll|'ve| am| can| cannot| can't| will| would| think| have| don't| need)\b"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z_\d`])")
_ENGLISH = frozenset(
    """a an and are as at be between by for from given has if in into is it its of on onto or
    that the their them then this through to using when where whether which while with
    without""".split()
)
# Words that English does not have, or hardly: German, French, Spanish, Italian, Portuguese, Dutch.
_FOREIGN = frozenset(
    """aus auf bei das dem den der des die ein eine einen einer eines für ist mit nach oder
    sich und von wird zu zum zur dans est et le les leur ou par pour qui sont sur un une aux
    avec ce cette con del el en es esta este la las los para por que se sin su una como al
    che della delle di gli il nel per sono um uma não com dos das os ao mais het een van
    voor wordt niet naar""".split()
)
_WORD = re.compile(r"[^\W\d_]+")


def check(text: str, code: str, *, cut: bool = False) -> str:
    """The summary in a model's words, tidied and trimmed to whole sentences. Raises Unusable.

    `code` is what it was written about; `cut` when the output cap ended the words.
    """
    text = _THOUGHT.sub("", text).strip()
    if not text:
        raise Unusable("empty")
    if any(unicodedata.category(c)[0] == "C" and c not in "\n\t\r" for c in text):
        raise Unusable("control")
    if len(text) > LONGEST_RAW:
        raise Unusable("long")
    text = _unwrapped(_PREFACE.sub("", text).strip())
    if _MARKUP.search(text):
        raise Unusable("markup")
    text = _ALLOWS_YOU.sub(r"\1 callers", " ".join(text.split()))
    _refuse(text, code)  # all of it: what follows the second sentence tells on what is before
    return _sentences(text, cut)


def _unwrapped(text: str) -> str:
    """Without quotes round the whole and without the marks of inline code and bold."""
    for mark in ('"', "'", "“”"):
        if len(text) > 2 and text[0] == mark[0] and text[-1] == mark[-1]:
            inner = text[1:-1]
            text = text if mark[0] in inner else inner
    text = re.sub(r"(?<!`)`([^`\n]+)`(?!`)", r"\1", text)
    return re.sub(r"\*\*([^*\n]+)\*\*", r"\1", text)


def _sentences(text: str, cut: bool) -> str:
    """The first two whole sentences, one where two are too long or the second turns to the reader.

    Raises Unusable.
    """
    parts = _SENTENCE_END.split(text)
    whole = [part for part in parts if re.search(r"[.!?][\"')\]]*\Z", part)]
    if not whole and cut:
        raise Unusable("cut")
    if not whole:
        whole = [f"{parts[0].rstrip(' ,;:')}."] if re.search(r"\w", parts[0]) else []
    about = next((i for i, sentence in enumerate(whole) if _YOU.search(sentence)), len(whole))
    if whole and not about:
        raise Unusable("reader")
    whole = whole[: min(about, MOST_SENTENCES)]
    kept = " ".join(whole)
    kept = kept if len(kept) <= LONGEST else "".join(whole[:1])
    if len(kept) > LONGEST:
        raise Unusable("long")
    if len(_WORD.findall(kept)) < FEWEST_WORDS:
        raise Unusable("empty")
    return kept


def _refuse(text: str, code: str) -> None:
    """Raise Unusable for prose that must not be shown, and for what is no prose."""
    if _is_code(text):
        raise Unusable("code")
    if _LINK.search(text) or any(m[0] not in code for m in _COMMAND.finditer(text)):
        raise Unusable("link")
    if _CHAT.search(text):
        raise Unusable("chat")
    if _ORDER.search(text):
        raise Unusable("reader")
    if not _is_english(text):
        raise Unusable("language")
    if _is_echo(text, code):
        raise Unusable("echo")
    if secrets.find(text):
        raise Unusable("secret")


def _is_code(text: str) -> bool:
    """Whether it has the build of code: its signs, or the beginning or end of a statement."""
    prose = re.sub(r"\b[\w.]+\([\w\s,.*=\"']*\)|[\w/.]+/[\w/.]+|<\w+>|\[\w*\]", "x", text)
    signs = len(_SIGNS.findall(prose.replace("(", "").replace(")", "")))
    return bool(_CODE.search(text)) or signs > 3 + len(text) / 60


def _is_english(text: str) -> bool:
    words = [word.lower() for word in _WORD.findall(text)]
    letters = sum(map(len, words))
    latin = sum(c.isascii() for word in words for c in word)
    if latin < 0.85 * letters:
        return False
    english = sum(word in _ENGLISH for word in words)
    foreign = sum(word in _FOREIGN for word in words)
    return english >= foreign and (english > 0 or len(words) < 8)


def _is_echo(text: str, code: str) -> bool:
    """Whether it repeats the instruction, the marks, or a stretch of code that is not prose."""
    if re.search(r"-----|[0-9a-f]{16}|\b(?:BEGIN|END)[ _]?[0-9A-Fa-f]{6,}", text):
        return True
    words = _words(text)
    if _shares(words, _words(SYSTEM), ECHO_WORDS):
        return True
    # A doc comment word for word is prose, and its author's own summary.
    spaced = " ".join(_words(code))
    english = sum(word in _ENGLISH for word in words)
    return len(words) >= 4 and " ".join(words) in spaced and english < len(words) / 6


def _shares(words: Sequence[str], others: Sequence[str], length: int) -> bool:
    runs = {tuple(others[i : i + length]) for i in range(len(others) - length + 1)}
    return any(tuple(words[i : i + length]) in runs for i in range(len(words) - length + 1))


def _words(text: str) -> list[str]:
    return [word.lower() for word in re.findall(r"\w+", text)]
