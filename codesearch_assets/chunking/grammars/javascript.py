"""JavaScript, TypeScript and TSX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codesearch_assets.chunking.grammar import (
    Definition,
    Grammar,
    Listed,
    Visibility,
    first_field,
    first_named,
    first_of,
    text_of,
)

if TYPE_CHECKING:
    from tree_sitter import Node


_JS_FUNCTIONS = frozenset(
    {"arrow_function", "function_expression", "generator_function", "function"}
)
_JS_PEELED = frozenset(
    {"parenthesized_expression", "as_expression", "satisfies_expression", "non_null_expression"}
)
_JS_FIELDS = frozenset({"field_definition", "public_field_definition", "pair"})


def _peel(node: Node | None) -> Node | None:
    while node is not None and node.type in _JS_PEELED:
        node = first_named(node)
    return node


def _js_value(name: str, value: Node | None, node: Node, in_container: bool) -> Definition:
    """The definition `name = value` makes."""
    value = _peel(value)
    if value is None:
        return Definition(name, "constant", node)
    if value.type in _JS_FUNCTIONS:
        kind = "method" if in_container else "function"
        return Definition(name, kind, node, value.child_by_field_name("body"))
    if value.type in ("class", "class_expression"):
        return Definition(name, "class", node, value.child_by_field_name("body"), True)
    wrapped = _js_wrapped(value)
    if wrapped is not None:
        return Definition(name, "function", node, wrapped.child_by_field_name("body"))
    return Definition(name, "constant", node, value, value.type == "object")


def _js_wrapped(value: Node) -> Node | None:
    """The function in ``memo(function List() {...})``: a first argument, handed on by a name."""
    if value.type != "call_expression":
        return None
    called = value.child_by_field_name("function")
    arguments = value.child_by_field_name("arguments")
    if called is None or arguments is None or arguments.type != "arguments":
        return None
    if called.type != "identifier" and not text_of(called).startswith("React."):
        return None
    first = first_named(arguments)
    return first if first is not None and first.type in _JS_FUNCTIONS else None


def _js_import(value: Node | None) -> bool:
    return value is not None and text_of(value.child_by_field_name("function")) == "require"


def _js_path(left: Node) -> str:
    """``Foo.prototype.bar`` is Foo.bar, ``module.exports.x`` is x, ``exports`` is ""."""
    parts = [p for p in text_of(left).replace("?.", ".").split(".") if p != "prototype"]
    for prefix in (["module", "exports"], ["exports"]):
        if parts[: len(prefix)] == prefix:
            parts = parts[len(prefix) :]
    return ".".join(parts)


def _js_called_at_once(call: Node) -> Node | None:
    """The body in ``(function () {...})()``: what old scripts use as a module."""
    called = call.child_by_field_name("function")
    if called is not None and called.type == "member_expression":  # .call(this)
        called = called.child_by_field_name("object")
    called = _peel(called)
    if called is None or called.type not in _JS_FUNCTIONS:
        return None
    return called.child_by_field_name("body")


def _js_assignment(node: Node) -> list[Definition]:
    inner = first_named(node)
    if inner is None:
        return []
    if inner.type == "internal_module":
        name = text_of(inner.child_by_field_name("name"))
        return [Definition(name, "module", node, inner.child_by_field_name("body"), True)]
    if inner.type == "call_expression":
        body = _js_called_at_once(inner)
        return [Definition("", "module", node, body, True)] if body is not None else []
    if inner.type != "assignment_expression":
        return []
    left = inner.child_by_field_name("left")
    if left is None or left.type not in ("member_expression", "identifier"):
        return []
    found = _js_value(_js_path(left), inner.child_by_field_name("right"), node, False)
    if found.kind == "constant" and not found.container:
        return []
    if found.kind == "function" and ".prototype." in text_of(left):
        return [Definition(found.name, "method", node, found.body)]
    return [found]


def _read_javascript(node: Node, in_container: bool) -> list[Definition] | None:
    kind = node.type
    if kind in ("lexical_declaration", "variable_declaration"):
        found = []
        declarators = [n for n in node.named_children if n.type == "variable_declarator"]
        for one in declarators:
            name = one.child_by_field_name("name")
            if name is not None and name.type == "identifier":
                where = node if len(declarators) == 1 else one
                value = one.child_by_field_name("value")
                if _js_import(value):
                    continue
                found.append(_js_value(text_of(name), value, where, False))
        return found
    if kind == "expression_statement":
        return _js_assignment(node)
    if kind == "object" or kind in _JS_FUNCTIONS:  # export default ...
        if node.parent is None or node.parent.type != "export_statement":
            return []
        if kind == "object":
            return [Definition("", "constant", node, node, True)]
        return [Definition("default", "function", node, node.child_by_field_name("body"))]
    if kind in _JS_FIELDS:
        name = first_field(node, ("property", "name", "key"))
        found_one = _js_value(
            text_of(name).strip("'\""), node.child_by_field_name("value"), node, in_container
        )
        return [found_one] if found_one.kind in ("method", "class") else []
    return None


_JS_LIST = frozenset({"export_clause"})


def _js_listed(root: Node) -> Listed | None:
    """What is exported by its name: ``export { a, b }``, ``module.exports = { a, b }``."""
    names: set[str] = set()
    for node in root.named_children:
        if node.type == "export_statement" and node.child_by_field_name("source") is None:
            clause = first_of(node, _JS_LIST)
            for one in clause.named_children if clause is not None else ():
                names.add(text_of(one.child_by_field_name("name")))
            names |= _js_names(node.child_by_field_name("value"))
        elif node.type == "expression_statement":
            inner = first_named(node)
            if inner is not None and inner.type == "assignment_expression":
                left = inner.child_by_field_name("left")
                if left is not None and "exports" in text_of(left).split("."):
                    names |= _js_names(inner.child_by_field_name("right"))
    return Listed(frozenset(names), False) if names else None


def _js_names(value: Node | None) -> set[str]:
    """The names that an exported value, or the object that it is, stands for."""
    if value is None:
        return set()
    if value.type == "identifier":
        return {text_of(value)}
    if value.type != "object":
        return set()
    pairs = (one.child_by_field_name("value") or one for one in value.named_children)
    named = ("identifier", "shorthand_property_identifier")
    return {text_of(one) for one in pairs if one.type in named}


_JS_READS = (
    _JS_FUNCTIONS
    | _JS_FIELDS
    | {"lexical_declaration", "variable_declaration", "expression_statement", "object"}
)
_JS_DEFINITIONS = {
    "function_declaration": "function",
    "generator_function_declaration": "function",
    "class_declaration": "class",
    "method_definition": "method",
}
_JS_TRANSPARENT = frozenset(
    {"if_statement", "else_clause", "try_statement", "statement_block", "labeled_statement"}
)
_JS_VISIBILITY = Visibility(
    exported=r"^export\b|\bexports\b", hidden=r"^(?:static )?(?:#|private\b|protected\b)"
)

JAVASCRIPT = Grammar(
    loader="tree_sitter_javascript:language",
    definitions=_JS_DEFINITIONS,
    containers=frozenset({"class_declaration"}),
    wrappers={"export_statement": ("declaration", "value")},
    transparent=_JS_TRANSPARENT,
    comments=frozenset({"comment", "html_comment", "hash_bang_line"}),
    annotations=frozenset({"decorator"}),
    imports=frozenset({"import_statement"}),
    visibility=_JS_VISIBILITY,
    reads=_JS_READS,
    reader=_read_javascript,
    listing=b"export",
    listed=_js_listed,
)


def _typescript(function: str) -> Grammar:
    return Grammar(
        loader=f"tree_sitter_typescript:{function}",
        definitions=_JS_DEFINITIONS
        | {
            "abstract_class_declaration": "class",
            "interface_declaration": "interface",
            "type_alias_declaration": "type",
            "enum_declaration": "type",
            "function_signature": "function",
            "method_signature": "method",
            "abstract_method_signature": "method",
            "module": "module",
            "internal_module": "module",
        },
        containers=frozenset(
            {
                "class_declaration",
                "abstract_class_declaration",
                "interface_declaration",
                "module",
                "internal_module",
            }
        ),
        wrappers={"export_statement": ("declaration", "value")},
        transparent=_JS_TRANSPARENT | {"ambient_declaration", "export_statement"},
        comments=JAVASCRIPT.comments,
        annotations=JAVASCRIPT.annotations,
        imports=frozenset({"import_statement", "import_alias"}),
        body_fields=("body", "value"),
        visibility=_JS_VISIBILITY,
        reads=_JS_READS,
        reader=_read_javascript,
        listing=b"export",
        listed=_js_listed,
    )


TYPESCRIPT = _typescript("language_typescript")
TSX = _typescript("language_tsx")
