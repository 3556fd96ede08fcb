"""Comments and docstrings as plain text."""

import inspect
import re

_MARKER = re.compile(
    r"^\s*(?:///?!?|//!|/\*[*!]*|\*+/|\*(?!\*)|#+:?(?![\[!a-z])|#!|--+\s?\|?|;+|%+|\{-+\s?\||<!--|\(\*+)\s?"
)
_PLAIN = frozenset({"*", "//", "///", "#"})  # what `_MARKER` finds in most lines
_CLOSING = ("*/", "-}", "-->", "*)")  # what `_END` finds, where no blanks follow
_END = re.compile(r"\s*(?:\*+/|-+\}|-->|\*+\))\s*$")
_DIRECTIVE = re.compile(
    r"^(?:go:|\+build|nolint|eslint|prettier-|tslint|@ts-|jshint|istanbul |c8 |noqa|type:\s*ignore"
    r"|pylint:|mypy:|pragma|clang-format|-\*-|vim:|!/|LANGUAGE "
    r"|region\b|endregion\b|<reference|\{-#)"
)
_RULE = re.compile(r"^[\W_]{3,}$")
_COMMENT_LINE = re.compile(
    r"^\s*(?!#\s*(?:define|if|ifdef|ifndef|else|elif|endif|include|undef|pragma|error)\b)"
    r"(?://|/\*|\*(?:\s|/|$)|#(?:[\s#]|$)|--(?:\s|-|\||$)|;|%%?\s|\{-|<!--|\(\*)"
)
_QUOTES = re.compile(r"^[A-Za-z]{0,2}(\"\"\"|'''|\"|')(.*?)(?:\1)?$", re.DOTALL)
_LICENSE = re.compile(r"copyright|licen[cs]e|spdx-", re.IGNORECASE)


def is_comment(line: str) -> bool:
    """True for a line that looks like a comment in most languages."""
    return bool(_COMMENT_LINE.match(line))


def plain(lines: list[str]) -> str:
    """Comment lines without their markers, rulers and directives of tools; "" for a licence.

    lines: without trailing blanks.
    """
    kept = []
    for line in lines:
        if line.startswith("#!/"):
            continue
        head, blank, text = line.lstrip().partition(" ")
        if not blank or head not in _PLAIN:
            marker = _MARKER.match(line)
            text = line[marker.end() :] if marker is not None else line
        if text.endswith(_CLOSING):
            text = _END.sub("", text)
        text = text.rstrip()
        if not _DIRECTIVE.match(text.lstrip()) and (text[:1].isalnum() or not _RULE.match(text)):
            kept.append(text)
    text = "\n".join(kept).strip()
    return "" if _licence(text[:400]) else text


def _licence(text: str) -> bool:
    lower = text.lower()
    if text.isascii() and not any(word in lower for word in ("copyright", "licen", "spdx-")):
        return False  # a search that ignores case takes long
    return bool(_LICENSE.search(text))


def docstring(literal: str) -> str:
    """The text of a string literal that documents what it stands in."""
    found = _QUOTES.match(literal)
    return inspect.cleandoc(found.group(2)).strip() if found else ""
