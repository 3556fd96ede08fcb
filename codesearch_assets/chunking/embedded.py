"""Files that hold code of another language: scripts in components, the cells of notebooks."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codesearch_assets.chunking.grammar import Grammar, first_named, parser, text_of
from codesearch_assets.chunking.grammars.data import JSON
from codesearch_assets.chunking.grammars.javascript import JAVASCRIPT, TSX, TYPESCRIPT
from codesearch_assets.chunking.languages import BY_NAME
from codesearch_assets.chunking.source import Source

if TYPE_CHECKING:
    from tree_sitter import Node

COMPONENTS = frozenset({"vue", "svelte", "astro"})
NOTEBOOK = "notebook"
_SCRIPT = re.compile(r"^[ \t]*<script\b([^>]*)>", re.MULTILINE)
_END = re.compile(r"</script\s*>")
_FRONT = re.compile(r"\A---[ \t]*\n(?:.*\n)*?---[ \t]*$", re.MULTILINE)
_WORD_OF_TYPE = {"ts": TYPESCRIPT, "typescript": TYPESCRIPT, "tsx": TSX, "jsx": JAVASCRIPT}
_TYPE = re.compile(r"\b(?:lang|type)=[\"']?(?:text/)?(\w+)")
_HASH_COMMENTS = frozenset("python r julia ruby bash elixir perl".split())
_MAGIC = re.compile(r"^([ \t]*)[%!]", re.MULTILINE)
_HEADING = re.compile(r"(?:#|//) (#{1,6})\s+(\S.*?)\s*#*$")


@dataclass(frozen=True, slots=True)
class Region:
    """Lines [lo, hi) of a file; those in [first, last) are in the grammar's language, if any."""

    lo: int
    hi: int
    first: int = 0
    last: int = 0
    grammar: Grammar | None = None


def regions(source: Source) -> list[Region]:
    """The scripts of a component, with their tags, and what lies between them."""
    text = "\n".join(source.stripped)
    out: list[Region] = []
    at = 0
    front = _FRONT.match(text)
    if front is not None:
        at = front.group().count("\n") + 1
        out.append(Region(0, at, 1, at - 1, TYPESCRIPT))
    for opened in _SCRIPT.finditer(text):
        closed = _END.search(text, opened.end())
        if closed is None:
            break
        lo = text.count("\n", 0, opened.start())
        first = text.count("\n", 0, opened.end()) + 1
        last = text.count("\n", 0, closed.start())
        if lo < at or last <= first:
            continue
        if lo > at:
            out.append(Region(at, lo))
        word = _TYPE.search(opened.group(1))
        grammar = _WORD_OF_TYPE.get(word.group(1) if word else "", JAVASCRIPT)
        out.append(Region(lo, last + 1, first, last, grammar))
        at = last + 1
    if at < len(source.lines):
        out.append(Region(at, len(source.lines)))
    return out


def notebook(source: Source) -> tuple[Source, str] | str:
    """The cells of a notebook in their lines, all else blank, and the language of the code.

    Prose is put in comments. A str is the reason why it cannot be read so.
    """
    root = parser(JSON.loader).parse(source.whole.encode("utf-8", "surrogatepass"))
    top = first_named(root.root_node)
    members = _members(top)
    cells = members.get("cells")
    if root.root_node.has_error or cells is None or cells.type != "array":
        return "not a notebook"
    language = _language(_members(members.get("metadata")))
    comment = "# " if language in _HASH_COMMENTS else "// "
    lines = [""] * len(source.lines)
    for cell in cells.named_children:
        parts = _members(cell)
        prose = text_of(parts.get("cell_type")).strip('"') != "code"
        for node in _strings(parts.get("source")):
            row = node.start_point.row
            text = _unquoted(node)
            if text is None:
                return "not a notebook"
            if "\n" in text or lines[row]:
                return "several lines in one"
            lines[row] = (comment + text if prose else text).rstrip("\r")
    return source.showing(lines), language


def _unquoted(node: Node) -> str | None:
    try:
        return str(json.loads(text_of(node), strict=False)).removesuffix("\n")
    except ValueError:
        return None


def _members(node: Node | None) -> dict[str, Node]:
    if node is None or node.type != "object":
        return {}
    out = {}
    for pair in node.named_children:
        value = pair.child_by_field_name("value") if pair.type == "pair" else None
        if value is not None:
            out[text_of(pair.child_by_field_name("key")).strip('"')] = value
    return out


def _strings(node: Node | None) -> list[Node]:
    if node is None:
        return []
    nodes = node.named_children if node.type == "array" else [node]
    return [one for one in nodes if one.type == "string"]


def _language(metadata: dict[str, Node]) -> str:
    for holder, name in (("language_info", "name"), ("kernelspec", "language")):
        value = text_of(_members(metadata.get(holder)).get(name)).strip('"').lower()
        if value in BY_NAME:
            return value
    return "python"


def without_magic(text: str) -> str:
    """Notebook code without the lines that are meant for the shell, as a parser can read it."""
    return _MAGIC.sub(r"\1#", text)


def headings(source: Source, lo: int, hi: int) -> list[tuple[int, str]]:
    """Line and text of the headings in a notebook's prose."""
    found = ((line, _HEADING.match(source.stripped[line])) for line in range(lo, hi))
    return [(line, match.group(2)) for line, match in found if match]
