"""Java, Kotlin and Scala."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from codesearch_assets.chunking.grammar import (
    SCOPE,
    Definition,
    Grammar,
    Visibility,
    first_field,
    first_of,
    text_of,
)

if TYPE_CHECKING:
    from tree_sitter import Node

_COMMENTS = frozenset({"line_comment", "block_comment", "multiline_comment", "comment"})


def _read_java(node: Node, in_container: bool) -> list[Definition] | None:
    """Fields that are constants."""
    words = text_of(first_of(node, frozenset({"modifiers"})))
    if not ("static" in words and "final" in words) and node.type == "field_declaration":
        return []
    names = [one.child_by_field_name("name") for one in node.children_by_field_name("declarator")]
    return [Definition(text_of(name), "constant", node) for name in names]


JAVA = Grammar(
    loader="tree_sitter_java:language",
    definitions={
        "class_declaration": "class",
        "record_declaration": "class",
        "interface_declaration": "interface",
        "annotation_type_declaration": "interface",
        "enum_declaration": "type",
        "method_declaration": "method",
        "constructor_declaration": "method",
        "compact_constructor_declaration": "method",
        "annotation_type_element_declaration": "method",
    },
    containers=frozenset(
        {
            "class_declaration",
            "record_declaration",
            "interface_declaration",
            "annotation_type_declaration",
            "enum_declaration",
        }
    ),
    transparent=frozenset({"enum_body_declarations"}),
    comments=_COMMENTS,
    imports=frozenset({"package_declaration", "import_declaration"}),
    overloads=True,
    visibility=Visibility(exported=r"\b(?:public|protected)\b", members=True),
    reads=frozenset({"field_declaration", "constant_declaration"}),
    reader=_read_java,
)

_KOTLIN_RECEIVERS = frozenset({"user_type", "nullable_type", "parenthesized_type"})


def _receiver(node: Node, name: Node) -> str:
    """``List`` for ``fun <T> List<T>.second()``: the type before the name."""
    for child in node.named_children:
        if child.start_byte >= name.start_byte:
            break
        if child.type in _KOTLIN_RECEIVERS:
            return re.sub(r"<.*>|[?()\s]", "", text_of(child), flags=re.DOTALL)
    return ""


def _read_kotlin(node: Node, in_container: bool) -> list[Definition] | None:
    body = first_of(node, _KOTLIN_BODIES)
    if node.type == "companion_object":
        named = node.child_by_field_name("name")
        return [Definition(text_of(named), SCOPE if named is None else "class", node, body, True)]
    if node.type == "property_declaration":
        declared = first_of(node, frozenset({"variable_declaration"}))
        if in_container or declared is None:
            return []
        names = text_of(first_of(declared, frozenset({"identifier"})))
        owner = _receiver(node, declared)
        return [Definition(f"{owner}.{names}".lstrip("."), "constant", node)]
    if node.type == "secondary_constructor":
        return [Definition("constructor", "method", node, body)]
    if node.type == "function_declaration":
        named = node.child_by_field_name("name")
        if named is None:
            return None
        owner = _receiver(node, named)
        kind = "method" if owner or in_container else "function"
        return [Definition(f"{owner}.{text_of(named)}".lstrip("."), kind, node, body)]
    words = _words_before_name(node, body)
    kind = "interface" if "interface" in words else "type" if "enum" in words else "class"
    name = text_of(node.child_by_field_name("name"))
    return [Definition(name, kind, node, body, True, kind == "interface")]


def _words_before_name(node: Node, body: Node | None) -> list[str]:
    """The words of a declaration before its name."""
    named = node.child_by_field_name("name")
    stop = named or body
    text = node.text or b""
    end = stop.start_byte - node.start_byte if stop is not None else len(text)
    return text[:end].decode("utf-8", "replace").split()


_KOTLIN_BODIES = frozenset({"class_body", "enum_class_body", "function_body", "block"})

KOTLIN = Grammar(
    loader="tree_sitter_kotlin:language",
    definitions={"object_declaration": "class", "type_alias": "type"},
    containers=frozenset({"object_declaration"}),
    comments=_COMMENTS,
    imports=frozenset({"package_header", "import"}),
    name_fields=("name", "type"),
    body_types=_KOTLIN_BODIES,
    overloads=True,
    visibility=Visibility(hidden=r"\b(?:private|internal)\b"),
    reads=frozenset(
        {
            "class_declaration",
            "companion_object",
            "function_declaration",
            "property_declaration",
            "secondary_constructor",
        }
    ),
    reader=_read_kotlin,
)


def _read_scala(node: Node, in_container: bool) -> list[Definition] | None:
    if node.type == "extension_definition":
        parameters = node.child_by_field_name("parameters")
        of = re.sub(r"\[.*|[()\s]", "", text_of(parameters).rpartition(":")[2])
        return [Definition(of, SCOPE, node, node, True)]
    if node.type == "given_definition":
        named = text_of(first_field(node, ("name", "return_type")))
        return [Definition(named, "constant", node, node.child_by_field_name("body"), True)]
    if in_container:
        return []
    name = node.child_by_field_name("pattern")
    if name is None or name.type != "identifier":
        return []
    return [Definition(text_of(name), "constant", node)]


SCALA = Grammar(
    loader="tree_sitter_scala:language",
    definitions={
        "class_definition": "class",
        "object_definition": "class",
        "package_object": "class",
        "trait_definition": "interface",
        "enum_definition": "type",
        "function_definition": "function",
        "function_declaration": "function",
        "type_definition": "type",
    },
    containers=frozenset(
        {
            "class_definition",
            "object_definition",
            "package_object",
            "trait_definition",
            "enum_definition",
        }
    ),
    comments=_COMMENTS,
    imports=frozenset({"package_clause", "import_declaration", "export_declaration"}),
    overloads=True,
    visibility=Visibility(hidden=r"\bprivate\b"),
    reads=frozenset({"extension_definition", "given_definition", "val_definition"}),
    reader=_read_scala,
)
