"""C#."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codesearch_assets.chunking.grammar import Definition, Grammar, Visibility, first_of, text_of

if TYPE_CHECKING:
    from tree_sitter import Node


def _read(node: Node, in_container: bool) -> list[Definition] | None:
    """Constants, and what has a sign for a name."""
    if node.type == "operator_declaration":
        sign = text_of(node.child_by_field_name("operator"))
        return [Definition(f"operator{sign}", "method", node, node.child_by_field_name("body"))]
    if node.type == "indexer_declaration":
        return [Definition("this", "method", node, node.child_by_field_name("accessors"))]
    words = [text_of(one) for one in node.named_children if one.type == "modifier"]
    if node.type == "field_declaration" and not {"const", "readonly"} & set(words):
        return []
    declared = first_of(node, frozenset({"variable_declaration"}))
    if declared is None:
        return []
    names = [one for one in declared.named_children if one.type == "variable_declarator"]
    return [Definition(text_of(one.child_by_field_name("name")), "constant", node) for one in names]


_CONTAINERS = {
    "class_declaration": "class",
    "struct_declaration": "class",
    "record_declaration": "class",
    "record_struct_declaration": "class",
    "interface_declaration": "interface",
    "namespace_declaration": "module",
}

CSHARP = Grammar(
    loader="tree_sitter_c_sharp:language",
    definitions={
        **_CONTAINERS,
        "enum_declaration": "type",
        "delegate_declaration": "type",
        "method_declaration": "method",
        "constructor_declaration": "method",
        "destructor_declaration": "method",
        "conversion_operator_declaration": "method",
        "local_function_statement": "function",
    },
    containers=frozenset(_CONTAINERS),
    transparent=frozenset(
        {"preproc_if", "preproc_else", "preproc_elif", "declaration_list", "preproc_region"}
    ),
    inlined=frozenset({"global_statement"}),
    imports=frozenset({"using_directive", "file_scoped_namespace_declaration"}),
    name_fields=("name", "type"),
    body_fields=("body", "accessors", "value"),
    overloads=True,
    visibility=Visibility(exported=r"\b(?:public|protected)\b|^namespace\b", members=True),
    reads=frozenset(
        {
            "field_declaration",
            "operator_declaration",
            "indexer_declaration",
        }
    ),
    reader=_read,
)
