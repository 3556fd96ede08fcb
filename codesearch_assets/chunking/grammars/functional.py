"""Elixir and Haskell."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

from codesearch_assets.chunking.grammar import (
    SCOPE,
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

_ELIXIR_CONTAINERS = {"defmodule": "module", "defprotocol": "interface", "describe": "module"}
_ELIXIR_FUNCTIONS = frozenset(
    "def defp defmacro defmacrop defguard defguardp defdelegate defn defnp".split()
)
_ELIXIR_PRIVATE = frozenset("defp defmacrop defguardp defnp".split())
_BELONGING = frozenset("doc spec impl typedoc deprecated since tag dialyzer describetag".split())
_ARGUMENTS = frozenset({"arguments"})
_DO = frozenset({"do_block"})


def _attribute(node: Node) -> tuple[str, Node | None]:
    """Name and first value of ``@name value``."""
    call = node.child_by_field_name("operand")
    if call is None or call.type != "call":
        return "", None
    arguments = first_of(call, _ARGUMENTS)
    value = first_named(arguments) if arguments is not None else None
    return text_of(call.child_by_field_name("target")), value


def _elixir_annotates(node: Node) -> bool:
    return _attribute(node)[0] in _BELONGING


def _elixir_doc(node: Node) -> str:
    name, value = _attribute(node)
    if not name.endswith("doc") or value is None or value.type != "string":
        return ""
    content = "".join(
        text_of(one)
        for one in value.named_children
        if one.type not in ("quoted_start", "quoted_end")
    )
    return inspect.cleandoc(content).strip()


def _called(node: Node | None) -> str:
    """``send_resp`` for ``send_resp(conn, status) when is_integer(status)``."""
    for _ in range(8):
        if node is None:
            return ""
        if node.type == "binary_operator":
            operator = text_of(node.child_by_field_name("operator"))
            if operator not in ("when", "::", "\\\\"):
                return operator
            node = node.child_by_field_name("left")
        elif node.type == "call":
            node = node.child_by_field_name("target")
        else:
            return text_of(node)
    return ""


def _read_elixir(node: Node, in_container: bool) -> list[Definition] | None:
    if node.type == "unary_operator":
        name, value = _attribute(node)
        if name in ("type", "typep", "opaque", "callback", "macrocallback"):
            kind = "method" if name.endswith("callback") else "type"
            return [Definition(_called(value), kind, node, exported=name != "typep")]
        return []
    word = text_of(node.child_by_field_name("target"))
    arguments = first_of(node, _ARGUMENTS)
    first = first_named(arguments) if arguments is not None else None
    body = first_of(node, _DO)
    if first is None or word not in _ELIXIR_WORDS:
        return []
    if word in _ELIXIR_FUNCTIONS:
        kind = "method" if in_container else "function"
        hidden = word in _ELIXIR_PRIVATE
        return [Definition(_called(first), kind, node, body, exported=not hidden)]
    name = text_of(first).strip('"')
    if word == "defimpl":
        return [Definition(name, SCOPE, node, body, True)]
    if word == "test":
        return [Definition(name, "function", node, body)]
    kind = _ELIXIR_CONTAINERS[word]
    return [Definition(name, kind, node, body, True, kind == "interface")]


_ELIXIR_WORDS = _ELIXIR_FUNCTIONS | _ELIXIR_CONTAINERS.keys() | {"defimpl", "test"}

ELIXIR = Grammar(
    loader="tree_sitter_elixir:language",
    definitions={},
    annotations=frozenset({"unary_operator"}),
    annotates=_elixir_annotates,
    doc_of=_elixir_doc,
    reads=frozenset({"call", "unary_operator"}),
    reader=_read_elixir,
)


_TYPE_NAME = re.compile(r"[A-Z][\w.']*")


def _read_haskell(node: Node, in_container: bool) -> list[Definition] | None:
    named = node.child_by_field_name("name")
    if node.type == "instance":
        typed = _TYPE_NAME.search(text_of(node.child_by_field_name("patterns")))
        name = typed.group() if typed else text_of(named)
        return [Definition(name, SCOPE, node, first_field(node, ("declarations",)), True)]
    if named is None:
        infix = first_of(node, frozenset({"infix"}))
        named = infix.child_by_field_name("operator") if infix is not None else None
    if named is None:
        names = node.child_by_field_name("names")
        named = first_named(names) if names is not None else None
    if named is None:
        return []
    name = text_of(named).strip("`()")
    kind = "method" if in_container else "function"
    return [Definition(name, kind, node, node.child_by_field_name("match"))]


def _module_exports(root: Node) -> Listed | None:
    """What ``module M (a, T(..))`` names; None where a module gives out all of itself."""
    header = first_of(root, frozenset({"header"}))
    exports = header.child_by_field_name("exports") if header is not None else None
    if header is None or exports is None:
        return None
    own = text_of(header.child_by_field_name("module"))
    names = set()
    for one in exports.named_children:
        if one.type == "module_export" and text_of(one.child_by_field_name("module")) == own:
            return None
        names.add(text_of(first_field(one, ("variable", "type", "operator"))).strip("()"))
    return Listed(frozenset(names), True)


HASKELL = Grammar(
    loader="tree_sitter_haskell:language",
    definitions={
        "data_type": "type",
        "newtype": "type",
        "type_synonym": "type",
        "type_synomym": "type",
        "type_family": "type",
        "data_family": "type",
        "class": "interface",
        "foreign_import": "function",
        "pattern_synonym": "function",
    },
    containers=frozenset({"class"}),
    inlined=frozenset({"declarations", "imports", "class_declarations", "instance_declarations"}),
    comments=frozenset({"comment", "haddock"}),
    annotations=frozenset({"pragma"}),
    imports=frozenset({"header", "import"}),
    name_types=frozenset({"name"}),
    body_fields=("declarations", "constructors"),
    visibility=Visibility(),
    reads=frozenset({"function", "bind", "signature", "instance"}),
    reader=_read_haskell,
    listing=b"module",
    listed=_module_exports,
)
