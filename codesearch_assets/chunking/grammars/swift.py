"""Swift."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from codesearch_assets.chunking.grammar import SCOPE, Definition, Grammar, Visibility, text_of

if TYPE_CHECKING:
    from tree_sitter import Node

_KINDS = {"enum": "type", "extension": SCOPE}


def _read(node: Node, in_container: bool) -> list[Definition] | None:
    body = node.child_by_field_name("body")
    if node.type == "class_declaration":
        word = text_of(node.child_by_field_name("declaration_kind"))
        name = re.sub(r"<.*>|\s", "", text_of(node.child_by_field_name("name")), flags=re.DOTALL)
        return [Definition(name, _KINDS.get(word, "class"), node, body, True)]
    if node.type == "property_declaration":
        name = text_of(node.child_by_field_name("name"))
        return [] if in_container else [Definition(name, "constant", node)]
    name = node.type.removesuffix("_declaration")  # init, deinit, subscript
    return [Definition(name, "method", node, body)]


SWIFT = Grammar(
    loader="tree_sitter_swift:language",
    definitions={
        "function_declaration": "function",
        "protocol_function_declaration": "method",
        "protocol_declaration": "interface",
        "typealias_declaration": "type",
        "macro_declaration": "function",
    },
    containers=frozenset({"protocol_declaration"}),
    comments=frozenset({"comment", "multiline_comment"}),
    imports=frozenset({"import_declaration"}),
    overloads=True,
    visibility=Visibility(hidden=r"\b(?:private|fileprivate)\b"),
    reads=frozenset(
        {
            "class_declaration",
            "property_declaration",
            "init_declaration",
            "deinit_declaration",
            "subscript_declaration",
        }
    ),
    reader=_read,
)
