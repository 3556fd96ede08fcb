"""Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codesearch_assets.chunking.grammar import (
    Definition,
    Grammar,
    Listed,
    Visibility,
    first_named,
    text_of,
)

if TYPE_CHECKING:
    from tree_sitter import Node


def _read_python(node: Node, in_container: bool) -> list[Definition] | None:
    if node.type == "type_alias_statement":
        return [Definition(text_of(node.child_by_field_name("left")), "type", node)]
    if node.type != "expression_statement":
        return None
    assignment = first_named(node)
    if in_container or assignment is None or assignment.type != "assignment":
        return []
    left = assignment.child_by_field_name("left")
    if left is None or left.type != "identifier":
        return []
    value = assignment.child_by_field_name("right")
    return [Definition(text_of(left), "constant", node, value)]


def _all(root: Node) -> Listed | None:
    """What ``__all__`` names; None where it is computed."""
    names: set[str] = set()
    found = False
    for node in root.named_children:
        inner = first_named(node) if node.type == "expression_statement" else None
        if inner is None or inner.type not in ("assignment", "augmented_assignment"):
            continue
        if text_of(inner.child_by_field_name("left")) != "__all__":
            continue
        value = inner.child_by_field_name("right")
        if value is None or value.type not in ("list", "tuple"):
            return None
        names |= {text_of(one).strip("'\"") for one in value.named_children}
        found = True
    return Listed(frozenset(names), True) if found else None


PYTHON = Grammar(
    loader="tree_sitter_python:language",
    definitions={"function_definition": "function", "class_definition": "class"},
    containers=frozenset({"class_definition"}),
    wrappers={"decorated_definition": ("definition",)},
    transparent=frozenset(
        {
            "if_statement",
            "elif_clause",
            "else_clause",
            "try_statement",
            "except_clause",
            "finally_clause",
            "with_statement",
            "block",
        }
    ),
    imports=frozenset({"import_statement", "import_from_statement", "future_import_statement"}),
    docstrings=True,
    visibility=Visibility(hidden_name=r"^_(?!_.*__$)"),
    reads=frozenset({"expression_statement", "type_alias_statement"}),
    reader=_read_python,
    listing=b"__all__",
    listed=_all,
)
