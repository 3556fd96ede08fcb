"""Go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codesearch_assets.chunking.grammar import (
    Definition,
    Grammar,
    Visibility,
    first_field,
    text_of,
)

if TYPE_CHECKING:
    from tree_sitter import Node


_GO_TYPES = {"struct_type": "class", "interface_type": "interface"}


def _go_receiver(node: Node) -> str:
    """The type name of a method's receiver: Router for ``(r *Router[T])``."""
    receiver = text_of(node.child_by_field_name("receiver")).strip("()").split("[")[0].split()
    return receiver[-1].lstrip("*") if receiver else ""


def _read_go(node: Node, in_container: bool) -> list[Definition] | None:
    if node.type == "method_declaration":
        name = f"{_go_receiver(node)}.{text_of(node.child_by_field_name('name'))}"
        return [Definition(name.lstrip("."), "method", node, node.child_by_field_name("body"))]
    if node.type not in ("type_declaration", "const_declaration", "var_declaration"):
        return None
    specs = [n for n in node.named_children if n.type.endswith(("_spec", "_alias"))]
    for listed in node.named_children:
        if listed.type == "var_spec_list":
            specs += [n for n in listed.named_children if n.type == "var_spec"]
    found = []
    for spec in specs:
        where = node if len(specs) == 1 else spec
        value = first_field(spec, ("type", "value"))
        for named in spec.children_by_field_name("name"):
            if not named.is_named:  # the comma of `a, b = 1, 2`
                continue
            kind = "constant"
            if node.type == "type_declaration":
                kind = _GO_TYPES.get(value.type if value else "", "type")
            found.append(Definition(text_of(named), kind, where, value, kind == "interface"))
    return found


GO = Grammar(
    loader="tree_sitter_go:language",
    definitions={"function_declaration": "function", "method_elem": "method"},
    visibility=Visibility(exported_name=r"^[A-Z]"),
    imports=frozenset({"package_clause", "import_declaration"}),
    reads=frozenset(
        {"method_declaration", "type_declaration", "const_declaration", "var_declaration"}
    ),
    reader=_read_go,
)
