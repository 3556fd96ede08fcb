"""Adding an entry to a list in a YAML text, and taking one out, without touching anything else.

The parser only tells where things stand; the text is cut and spliced. Writing the parsed document
anew would keep its comments, but not its indentation, its line ends and its folded lines. Whoever
calls parses the result and compares: odd layouts (aliases, several documents) come out wrong here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from codesearch_resources.settings_document import Document

_NEWLINE = re.compile(r"\r\n|\n|\r")
_REST_OF_ITEM = re.compile(r"[ \t]*,?[ \t]*(#[^\r\n]*)?(?=[\r\n]|\Z)")


class UneditableList(Exception):
    """Raised when the text is laid out in a way that is not understood here."""


def append(document: Document, key: str, entry: Mapping[str, str]) -> str:
    """The text with `entry` (a mapping of strings) as the last item of the list at a top key.

    A key without a list, or one that is not there, gets a list.
    """
    text, node = document.text, document.node((key,))
    if node is None:
        return _append_key(document, key, entry)
    if node.id == "scalar":
        return _append_first(document, key, node, entry)
    if node.flow_style:
        items = node.value
        at = items[-1].end_mark.index if items else text.index("[", node.start_mark.index) + 1
        return text[:at] + (", " if items else "") + flow(entry) + text[at:]
    last = node.value[-1]
    column = _column(text, _dash(text, last))
    on_its_line = last.start_mark.line == text_line(text, _dash(text, last))
    inner = last.start_mark.column if on_its_line and last.id == "mapping" else column + 2
    return _insert(text, _block_span(text, last)[1], block(entry, column, inner, _newline(text)))


def delete(document: Document, key: str, index: int) -> str:
    """The text without the item at `index` of the list at a top key.

    Comments inside the item, behind it on its lines, or directly below it and deeper go with it;
    all others stay. Of the blank lines round it one goes when there would be two.
    """
    text, node = document.text, document.node((key,))
    if node is None or node.id != "sequence":
        raise UneditableList(f"{key} is no list")
    if node.flow_style:
        start, end = _flow_span(text, node.value, index)
        return text[:start] + text[end:]
    start, end = _block_span(text, node.value[index])
    above = _line_start(text, max(start - 1, 0))
    if not text[above:start].strip() and not text[end : _line_end(text, end)].strip():
        start = above
    before = text[:start]
    if end == len(text) and not _NEWLINE.search(text[-1:]):
        # The file had no line end at its end: the line above now ends it in the same way.
        before = re.sub(r"(\r\n|\n|\r)\Z", "", before)
    return before + text[end:]


def flow(entry: Mapping[str, str]) -> str:
    """`{name: api, path: ~/src/api}`."""
    return "{" + ", ".join(f"{key}: {_quoted(value)}" for key, value in entry.items()) + "}"


def text_line(text: str, index: int) -> int:
    """The line of a character, counted from 0."""
    return len(_NEWLINE.findall(text, 0, index))


def _append_key(document: Document, key: str, entry: Mapping[str, str]) -> str:
    text, root = document.text, document.root
    newline = _newline(text)
    column = root.value[0][0].start_mark.column if root is not None and root.value else 0
    if text and not text.endswith(("\n", "\r")):
        text += newline
    if text.strip():
        text += newline
    body = block(entry, column + 2, column + 4, newline)
    return f"{text}{' ' * column}{key}:{newline}{body}{newline}"


def _append_first(document: Document, key: str, node: Any, entry: Mapping[str, str]) -> str:
    """The first item of `key:` with nothing, or a null, behind it; comments below it stay first."""
    text = document.text
    root: Any = document.root
    name = next(name for name, _ in root.value if name.value == key)
    start, end = node.start_mark.index, node.end_mark.index
    if end > start:
        text = text[:start].rstrip(" ") + text[end:]
    column = name.start_mark.column
    at = _after_comments(text, _line_end(text, name.end_mark.index), column)
    return _insert(text, at, block(entry, column + 2, column + 4, _newline(text)))


def _insert(text: str, at: int, block: str) -> str:
    newline = _newline(text)
    if at and text[at - 1] not in "\r\n":  # the last line of a file that has no line end there
        return text[:at] + newline + block + text[at:]
    return text[:at] + block + newline + text[at:]


def block(entry: Mapping[str, str], dash: int, inner: int, newline: str = "\n") -> str:
    """An item of a block list, its dash and its keys in these columns, no line end behind it."""
    lines = [f"{key}: {_quoted(value)}" for key, value in entry.items()]
    first = " " * dash + "-" + " " * (inner - dash - 1)
    return first + (newline + " " * inner).join(lines)


def _block_span(text: str, item: Any) -> tuple[int, int]:
    """From the start of the dash's line to behind the last line that belongs to the item."""
    dash = _dash(text, item)
    end = _line_end(text, max(_content_end(text, item), dash + 1))
    return _line_start(text, dash), _after_comments(text, end, _column(text, dash))


def _dash(text: str, item: Any) -> int:
    """Where the dash of a block item is: before it on its line, or on a line of its own above."""
    at = item.start_mark.index
    start = _line_start(text, at)
    before = text[start:at]
    while not before.strip() or before.lstrip().startswith("#"):
        if not start:
            raise UneditableList("an item without a dash")
        at, start = start, _line_start(text, start - 1)
        before = text[start:at]
    if not re.match(r"[ ]*-(\s|\Z)", before) or before.split("#")[0].strip() != "-":
        raise UneditableList("an item without a dash of its own")
    return start + before.index("-")


def _content_end(text: str, node: Any) -> int:
    """Behind the last character of a node, without the comments and blanks that follow it."""
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    if node.id == "scalar" or node.flow_style:
        return start + len(text[start:end].rstrip())
    ends = [start]
    for child in node.value:
        key, value = child if isinstance(child, tuple) else (None, child)
        key_end = int(key.end_mark.index) if key is not None else start
        # The node of an alias stands where its anchor is: then the key's line has to do.
        aliased = value.start_mark.index < key_end
        nothing = value.start_mark.index == value.end_mark.index
        ends.append(key_end if aliased or nothing else _content_end(text, value))
    return max(ends)


def _flow_span(text: str, items: list[Any], index: int) -> tuple[int, int]:
    start, end = items[index].start_mark.index, items[index].end_mark.index
    line = _line_start(text, start)
    rest = _REST_OF_ITEM.match(text, end)
    if not text[line:start].strip() and rest and rest.end() < len(text):
        return line, _line_end(text, rest.end())
    if index + 1 < len(items):
        return start, items[index + 1].start_mark.index
    if index:
        gap = text[items[index - 1].end_mark.index : start]
        # A comment behind the item before stays, and with it the comma: YAML allows one at the end.
        plain = not re.search(r"[#\r\n]", gap)
        return (items[index - 1].end_mark.index if plain else start), end
    comma = re.compile(r"\s*,").match(text, end)
    return start, comma.end() if comma else end


def _after_comments(text: str, at: int, column: int) -> int:
    """Behind the comment lines that follow directly at `at` and stand deeper than `column`."""
    while (comment := re.compile(r"[ \t]*(?=#)").match(text, at)) and (
        comment.end() - at > column and at == _line_start(text, at)
    ):
        at = _line_end(text, comment.end())
    return at


def _quoted(value: str) -> str:
    """As YAML, plain where that reads back as the same string, a flow list included."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        node = YAML(pure=True).compose(f"[{value}]")
        (only,) = node.value
        if only.value == value and only.tag == "tag:yaml.org,2002:str" and not only.style:
            return value
    except (YAMLError, ValueError, TypeError, AttributeError):
        pass
    return "'" + value.replace("'", "''") + "'"


def _newline(text: str) -> str:
    found = _NEWLINE.search(text)
    return found[0] if found else "\n"


def _line_start(text: str, index: int) -> int:
    if index and text[index - 1 : index + 1] == "\r\n":  # between the two is no line's start
        index -= 1
    return max(text.rfind("\n", 0, index), text.rfind("\r", 0, index)) + 1


def _line_end(text: str, index: int) -> int:
    found = _NEWLINE.search(text, index)
    return found.end() if found else len(text)


def _column(text: str, index: int) -> int:
    return index - _line_start(text, index)
