"""Bytes and a path -> chunks: what is left out, how the rest is read, and who cuts it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from codesearch_assets.chunking import windows
from codesearch_assets.chunking.chunk import Chunk, FileChunks, Symbol
from codesearch_assets.chunking.cutter import Cutter
from codesearch_assets.chunking.embedded import (
    COMPONENTS,
    NOTEBOOK,
    Region,
    headings,
    notebook,
    regions,
    without_magic,
)
from codesearch_assets.chunking.files import oversize, told_by_name
from codesearch_assets.chunking.grammar import Grammar, inlined, parser
from codesearch_assets.chunking.languages import BY_NAME, of_header, of_shebang
from codesearch_assets.chunking.source import Source, decode, read
from codesearch_assets.chunking.units import rows

if TYPE_CHECKING:
    from tree_sitter import Node

CHUNKER_VERSION = 6  # raised whenever other chunks come out for the same bytes

_LONG_LINE = 5000
_LONG_SHARE = 0.6
_MEAN_LINE = 110  # linguist's bound for minified scripts and styles
_STATEMENT = ("_statement", "_declaration", "_definition")
_GENERATED = re.compile(
    r"^.{0,40}(?:\bcode generated\b.{0,200}\bdo not edit\b|@generated\b(?!\w)|<auto-?generated\b)",
    re.IGNORECASE | re.MULTILINE,
)


def cut(data: bytes, path: str, language: str = "", without_grammar: str = "") -> FileChunks:
    """Cut a file into chunks. Never raises, whatever the bytes are.

    language: a name from `languages`, or "" to decide by the path and the first line.
    without_grammar: the reason why the file is cut into windows even if its language has one.
    """
    told, skip = told_by_name(path, len(data))
    language = language or told or of_shebang(data) or "text"
    if language == "c" and path.endswith(".h"):
        language = of_header(data)
    skip = skip or oversize(language, len(data))
    if skip:
        return _skipped(language, skip)
    decoded = decode(data)
    if isinstance(decoded, str):
        return _skipped(language, decoded)
    source = read(*decoded)
    if source.blank(0, len(source.lines)):
        return _skipped(language, "empty")
    if language == NOTEBOOK and not without_grammar:
        return _notebook(source)
    if _minified(source, language):
        return _skipped(language, "minified")
    generated = _generated("\n".join(source.stripped[:40])[:4000])
    reason, chunks = _cut(source, language, without_grammar)
    outcome = "windows" if reason else "parsed"
    return FileChunks(language, outcome, reason, generated, chunks)


def _cut(source: Source, language: str, without_grammar: str = "") -> tuple[str, tuple[Chunk, ...]]:
    """The chunks of a file and, where it was cut into windows, why."""
    row = BY_NAME.get(language)
    patterns = row.patterns if row else ""
    reason = without_grammar
    if not reason and language in COMPONENTS:
        return _component(source, language, patterns)
    if not reason and row is not None and row.grammar is not None:
        outcome = _parsed(source, language, row.grammar)
        if not isinstance(outcome, str):
            return "", outcome
        reason = outcome
    return reason or "no grammar", windows.cut(source, language, patterns)


def _component(source: Source, language: str, patterns: str) -> tuple[str, tuple[Chunk, ...]]:
    """Scripts by their grammar, the rest in windows."""
    chunks: list[Chunk] = []
    reasons = []
    for region in regions(source):
        if region.grammar is not None:
            outcome = _parsed(source, language, region.grammar, region)
            if not isinstance(outcome, str):
                chunks += outcome
                continue
            reasons.append(outcome)
        chunks += windows.cut(source, language, patterns, region.lo, region.hi)
    return next(iter(reasons), ""), tuple(chunks)


def _notebook(source: Source) -> FileChunks:
    """A notebook's cells as one script in its language, prose as comments, no outputs."""
    try:
        seen = notebook(source)
    except Exception as error:  # see _parsed
        seen = f"cutter failed: {type(error).__name__}"
    if isinstance(seen, str):
        if _minified(source, NOTEBOOK):
            return _skipped(NOTEBOOK, "minified")
        return FileChunks(NOTEBOOK, "windows", seen, False, windows.cut(source, NOTEBOOK, ""))
    shown, language = seen
    if shown.blank(0, len(shown.lines)):
        return _skipped(NOTEBOOK, "empty")
    reason, chunks = _cut(shown, language)
    titled = tuple(_with_headings(chunk, shown) for chunk in chunks)
    return FileChunks(NOTEBOOK, "windows" if reason else "parsed", reason, False, titled)


def _with_headings(chunk: Chunk, source: Source) -> Chunk:
    found = headings(source, chunk.start_line - 1, chunk.end_line)
    sections = [Symbol(text, "section", line + 1, line + 1) for line, text in found]
    symbols = sorted([*chunk.symbols, *sections], key=lambda one: one.start_line)
    return chunk._replace(symbols=tuple(symbols)) if sections else chunk


def _generated(head: str) -> bool:
    return "generated" in head.lower() and bool(_GENERATED.search(head))


def _skipped(language: str, reason: str) -> FileChunks:
    return FileChunks(language, "skipped", reason, False, ())


def _minified(source: Source, language: str) -> bool:
    longest, total = source.middle, source.chars
    if longest >= _LONG_LINE and longest >= total * _LONG_SHARE:
        return True
    dense = total > 1000 and total > _MEAN_LINE * len(source.lines)
    return dense and language in ("javascript", "css")


def _parsed(
    source: Source, language: str, grammar: Grammar, region: Region | None = None
) -> tuple[Chunk, ...] | str:
    """The chunks of a file or region by grammar, or the reason why there are none."""
    text, lo, hi = source.whole, 0, len(source.lines)
    if region is not None:
        lo, hi = region.lo, region.hi
        text = "\n" * region.first + "\n".join(source.lines[region.first : region.last])
    if source.partial:
        text = without_magic(text)
    if grammar.prepare is not None:
        text = grammar.prepare(text)
    try:
        parse = parser(grammar.loader).parse
    except (ImportError, AttributeError, ValueError):
        return "grammar missing"
    try:
        code = text.encode("utf-8", "surrogatepass")
        root = parse(code).root_node
        if _broken(root, grammar):
            return "parse errors"
        return Cutter(source, language, grammar, lo, hi, code=code).chunks(root)
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
    for child in inlined(node.children, grammar):
        if child.type == "ERROR" and depth:
            total += _sound_rows(child, grammar, depth - 1)
        elif child.type in grammar.statements or child.type.endswith(_STATEMENT):
            first, last = rows(child)
            total += last - first + 1
    return total
