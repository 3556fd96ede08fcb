"""Zig."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codesearch_assets.chunking.grammar import (
    Definition,
    Grammar,
    Visibility,
    first_named,
    first_of,
    text_of,
)

if TYPE_CHECKING:
    from tree_sitter import Node

_TYPES = {
    "struct_declaration": "class",
    "union_declaration": "class",
    "opaque_declaration": "class",
    "enum_declaration": "type",
    "error_set_declaration": "type",
}


def _read(node: Node, in_container: bool) -> list[Definition] | None:
    if node.type == "test_declaration":
        name = text_of(first_named(node)).strip('"')
        return [Definition(name, "function", node, first_of(node, frozenset({"block"})))]
    names = [one for one in node.named_children if one.type == "identifier"]
    value = node.named_children[-1] if node.named_child_count else None
    if not names or value is None or text_of(value).startswith("@import"):
        return []
    kind = _TYPES.get(value.type)
    if kind is None:
        return [Definition(text_of(names[0]), "constant", node)]
    return [Definition(text_of(names[0]), kind, node, value, True)]


ZIG = Grammar(
    loader="tree_sitter_zig:language",
    definitions={"function_declaration": "function"},
    visibility=Visibility(exported=r"^(?:pub|export)\b", members=True),
    reads=frozenset({"variable_declaration", "test_declaration"}),
    reader=_read,
)
