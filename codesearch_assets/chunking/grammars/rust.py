"""Rust."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from codesearch_assets.chunking.grammar import (
    SCOPE,
    Definition,
    Grammar,
    Visibility,
    definitions_of,
    is_exported,
    text_of,
)

if TYPE_CHECKING:
    from tree_sitter import Node

# The grammar sees only loose tokens in `cfg_rt! { pub fn spawn() {...} }`, so such a call is
# presented to it as a module, and recognised by this ending.
_WRAPPER = "__macro__"
_CALL = re.compile(r"^([ \t]*)([A-Za-z_]\w*)! \{[ \t]*$")
_ITEM = re.compile(
    r"\s*(?:pub\b|(?:async |unsafe |const )*fn\b|impl\b|struct\b|enum\b|trait\b|mod\b|use\b"
    r"|macro_rules!|type\b|//[/!]|#!?\[)"
)


def _prepare(text: str) -> str:
    if "! {" not in text:
        return text
    lines = text.split("\n")
    for number, line in enumerate(lines[:-1]):
        found = _CALL.match(line)
        if found and found.group(2) != "macro_rules" and _ITEM.match(lines[number + 1]):
            lines[number] = f"{found.group(1)}mod {found.group(2)}{_WRAPPER} {{"
    return "\n".join(lines)


def _bare(node: Node | None) -> str:
    """``fmt::Pool`` for ``&mut fmt::Pool<T>``."""
    text = " ".join(text_of(node).split())
    return re.sub(r"^(?:&|'\w+ |mut |dyn |\()*", "", text).split("<")[0].strip()


def _read(node: Node, in_container: bool) -> list[Definition] | None:
    body = node.child_by_field_name("body")
    if node.type == "impl_item":
        name, trait = _bare(node.child_by_field_name("type")), node.child_by_field_name("trait")
        return [Definition(name, SCOPE, node, body, True, trait is not None)]
    if node.type == "function_item" or body is None:
        return None
    name = text_of(node.child_by_field_name("name"))
    if not name.endswith(_WRAPPER):
        return None
    inside = [
        one
        for child in body.named_children
        for one in definitions_of(child, child.type, RUST, in_container)
    ]
    if len(inside) == 1:
        usable = is_exported(inside[0], RUST, None)
        return [replace(inside[0], node=node, exported=usable)]
    return [Definition("", SCOPE, node, body, True)]


RUST = Grammar(
    loader="tree_sitter_rust:language",
    definitions={
        "function_item": "function",
        "function_signature_item": "function",
        "struct_item": "class",
        "union_item": "class",
        "enum_item": "type",
        "type_item": "type",
        "associated_type": "type",
        "trait_item": "interface",
        "mod_item": "module",
        "macro_definition": "function",
        "const_item": "constant",
        "static_item": "constant",
    },
    containers=frozenset({"trait_item", "mod_item"}),
    transparent=frozenset({"foreign_mod_item", "declaration_list"}),
    comments=frozenset({"line_comment", "block_comment"}),
    annotations=frozenset({"attribute_item"}),
    imports=frozenset({"use_declaration", "extern_crate_declaration"}),
    separator="::",
    visibility=Visibility(exported=r"^pub\b|^macro_rules!", members=True),
    prepare=_prepare,
    reads=frozenset({"impl_item", "mod_item"}),
    reader=_read,
)
