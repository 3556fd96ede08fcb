"""Ruby, PHP, Bash and Lua."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from codesearch_assets.chunking.grammar import (
    SCOPE,
    Definition,
    Grammar,
    Visibility,
    first_field,
    first_named,
    first_of,
    text_of,
)

if TYPE_CHECKING:
    from tree_sitter import Node


def _read_ruby(node: Node, in_container: bool) -> list[Definition] | None:
    if node.type == "singleton_class":
        return [Definition("", SCOPE, node, node.child_by_field_name("body"), True)]
    left = node.child_by_field_name("left")
    if left is None or left.type != "constant":
        return []
    return [Definition(text_of(left), "constant", node)]


RUBY = Grammar(
    loader="tree_sitter_ruby:language",
    definitions={
        "module": "module",
        "class": "class",
        "method": "function",
        "singleton_method": "function",
        "alias": "function",
    },
    containers=frozenset({"module", "class"}),
    transparent=frozenset({"if", "unless", "begin", "then", "else"}),
    comments=frozenset({"comment"}),
    separator=".",
    visibility=Visibility(hidden_name=r"^_"),
    reads=frozenset({"assignment", "singleton_class"}),
    reader=_read_ruby,
)


def _read_php(node: Node, in_container: bool) -> list[Definition] | None:
    if node.type == "namespace_definition":
        body = node.child_by_field_name("body")
        name = text_of(node.child_by_field_name("name")).replace("\\", ".")
        return [Definition(name, "module", node, body, True)] if body is not None else []
    elements = [one for one in node.named_children if one.type == "const_element"]
    names = [text_of(first_named(one)) for one in elements]
    return [Definition(name, "constant", node) for name in names]


PHP = Grammar(
    loader="tree_sitter_php:language_php",
    definitions={
        "class_declaration": "class",
        "interface_declaration": "interface",
        "trait_declaration": "interface",
        "enum_declaration": "type",
        "function_definition": "function",
        "method_declaration": "method",
    },
    containers=frozenset(
        {"class_declaration", "interface_declaration", "trait_declaration", "enum_declaration"}
    ),
    transparent=frozenset({"if_statement", "compound_statement", "colon_block"}),
    imports=frozenset(
        {"php_tag", "declare_statement", "namespace_definition", "namespace_use_declaration"}
    ),
    visibility=Visibility(hidden=r"^(?:\w+ )*?(?:private|protected)\b"),
    reads=frozenset({"namespace_definition", "const_declaration"}),
    reader=_read_php,
)

# The grammar does not know `@test "..." {`; it is presented as a function whose name is the text,
# with what no name may hold moved to the private use area.
_BATS = re.compile(r"^([ \t]*)@test[ \t]+([\"'])(.*)\2[ \t]*\{[ \t]*$", re.MULTILINE)
_PRIVATE = 0xE000
_ODD = re.compile(r"[^\w]", re.ASCII)
_MOVED = re.compile("[\ue000-\uf8ff]")


def _prepare_bash(text: str) -> str:
    if "@test" not in text:
        return text

    def renamed(found: re.Match[str]) -> str:
        name = _ODD.sub(lambda c: chr(_PRIVATE + min(ord(c.group()), 0x18FF)), found.group(3))
        return f"{found.group(1)}{name or 'test'}() {{"

    return _BATS.sub(renamed, text)


def _read_bash(node: Node, in_container: bool) -> list[Definition] | None:
    name = text_of(node.child_by_field_name("name"))
    name = _MOVED.sub(lambda c: chr(ord(c.group()) - _PRIVATE), name)
    return [Definition(name, "function", node, node.child_by_field_name("body"))]


BASH = Grammar(
    loader="tree_sitter_bash:language",
    definitions={},
    transparent=frozenset(
        {"if_statement", "elif_clause", "else_clause", "list", "compound_statement", "case_item"}
    ),
    visibility=Visibility(hidden_name=r"^_"),
    prepare=_prepare_bash,
    reads=frozenset({"function_definition"}),
    reader=_read_bash,
)

_LUA_LISTS = frozenset({"variable_list"}), frozenset({"expression_list"})


def _read_lua(node: Node, in_container: bool) -> list[Definition] | None:
    if node.type == "function_declaration":
        name = text_of(node.child_by_field_name("name")).replace(":", ".")
        kind = "method" if "." in name else "function"
        return [Definition(name, kind, node, node.child_by_field_name("body"))]
    inner = node
    if node.type == "variable_declaration":
        inner = first_of(node, frozenset({"assignment_statement"})) or node
    left, right = (first_of(inner, types) for types in _LUA_LISTS)
    if left is None or right is None:
        return []
    name, value = text_of(first_field(left, ("name",))), first_field(right, ("value",))
    if value is None:
        return []
    if value.type == "function_definition":
        kind = "method" if "." in name else "function"
        return [Definition(name, kind, node, value.child_by_field_name("body"))]
    if "require" in text_of(value)[:10] or inner is node:
        return []
    return [Definition(name, "constant", node)]


LUA = Grammar(
    loader="tree_sitter_lua:language",
    definitions={},
    transparent=frozenset({"do_statement", "if_statement", "block"}),
    visibility=Visibility(hidden=r"^local\b"),
    reads=frozenset({"function_declaration", "variable_declaration", "assignment_statement"}),
    reader=_read_lua,
)
