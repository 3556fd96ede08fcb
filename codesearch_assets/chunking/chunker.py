"""Bytes and a path -> chunks: what is left out, how the rest is read, and who cuts it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from codesearch_assets.chunking import windows
from codesearch_assets.chunking.chunk import Chunk, FileChunks
from codesearch_assets.chunking.cutter import Cutter
from codesearch_assets.chunking.files import classify, oversize
from codesearch_assets.chunking.grammar import Grammar, parser
from codesearch_assets.chunking.languages import BY_NAME, of_shebang
from codesearch_assets.chunking.source import Source, decode, read
from codesearch_assets.chunking.units import rows

if TYPE_CHECKING:
    from tree_sitter import Node

CHUNKER_VERSION = 1  # raised whenever other chunks come out for the same bytes

_LONG_LINE = 5000
_LONG_SHARE = 0.6
_MEAN_LINE = 110  # linguist's bound for minified scripts and styles
_STATEMENT = ("_statement", "_declaration", "_definition")
_GENERATED = re.compile(
    r"^.{0,40}(?:\bcode generated\b.{0,200}\bdo not edit\b|@generated\b(?!\w)|<auto-?generated\b)",
    re.IGNORECASE | re.MULTILINE,
)


def cut(data: bytes, path: str, language: str = "") -> FileChunks:
    """Cut a file into chunks. Never raises, whatever the bytes are.

    language: a name from `languages`, or "" to decide by the path and the first line.
    """
    seen = classify(path, len(data))
    language = language or seen.language or of_shebang(data) or "text"
    skip = seen.skip or oversize(language, len(data))
    if skip:
        return _skipped(language, skip)
    decoded = decode(data)
    if isinstance(decoded, str):
        return _skipped(language, decoded)
    source = read(*decoded)
    if source.blank(0, len(source.lines)):
        return _skipped(language, "empty")
    if _minified(source, language):
        return _skipped(language, "minified")
    generated = _generated("\n".join(source.stripped[:40])[:4000])
    row = BY_NAME.get(language)
    grammar = row.grammar if row else None
    reason = "no grammar"
    if grammar is not None:
        outcome = _parsed(source, language, grammar)
        if not isinstance(outcome, str):
            return FileChunks(language, "parsed", "", generated, outcome)
        reason = outcome
    chunks = windows.cut(source, language, row.patterns if row else "")
    return FileChunks(language, "windows", reason, generated, chunks)


def _generated(head: str) -> bool:
    return "generated" in head.lower() and bool(_GENERATED.search(head))


def _skipped(language: str, reason: str) -> FileChunks:
    return FileChunks(language, "skipped", reason, False, ())


def _minified(source: Source, language: str) -> bool:
    longest, total = len(max(source.stripped, key=len)), source.chars
    if longest >= _LONG_LINE and longest >= total * _LONG_SHARE:
        return True
    dense = total > 1000 and total > _MEAN_LINE * len(source.lines)
    return dense and language in ("javascript", "css")


def _parsed(source: Source, language: str, grammar: Grammar) -> tuple[Chunk, ...] | str:
    """The chunks by grammar, or the reason why there are none."""
    try:
        parse = parser(grammar.loader).parse
    except (ImportError, AttributeError, ValueError):
        return "grammar missing"
    try:
        root = parse("\n".join(source.lines).encode("utf-8", "surrogatepass")).root_node
        if _broken(root, grammar):
            return "parse errors"
        return Cutter(source, language, grammar).chunks(root)
    except RecursionError:
        return "too deep"
    except Exception as error:  # one odd file must not end a run; the reason shows in the counts
        return f"cutter failed: {type(error).__name__}"


def _broken(root: Node, grammar: Grammar) -> bool:
    """True if statements without an error above them make up less than half of the rows."""
    if not root.has_error:
        return False
    first, last = rows(root)
    return _sound_rows(root, grammar) < (last - first + 1) / 2


def _sound_rows(node: Node, grammar: Grammar, depth: int = 4) -> int:
    """Rows of the whole statements below a node, looking into errors."""
    total = 0
    for child in node.children:
        if child.type == "ERROR" and depth:
            total += _sound_rows(child, grammar, depth - 1)
        elif child.type in grammar.statements or child.type.endswith(_STATEMENT):
            first, last = rows(child)
            total += last - first + 1
    return total
