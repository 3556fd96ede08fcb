"""What a grammar's row says: which node types are definitions, comments, wrappers.

A grammar is a row of tables; what tables cannot say (a JavaScript constant that is a function,
a Go receiver) is a `reader`: a function from one node to the definitions it makes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node, Parser


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition as the tree shows it.

    name: relative to the scope it stands in. node: what its lines are taken from. body: the node
    with its members or statements, None if there is none. container: its members are definitions.
    """

    name: str
    kind: str
    node: Node
    body: Node | None = None
    container: bool = False


Reader = Callable[["Node", bool], "list[Definition] | None"]


@dataclass(frozen=True, slots=True)
class Grammar:
    """One language's tables; each holds node types.

    loader: "module:function" that returns the language, imported when first needed.
    definitions: type -> kind. containers: definitions whose members are definitions.
    wrappers: type -> fields, one of which holds the definition (decorators, export).
    transparent: statements whose inner definitions belong to the scope around them.
    annotations: siblings that belong to the next definition whatever lies between.
    reader: asked before the tables for the node types in `reads`, with the node and whether it
    stands in a container; None from it means: ask the tables.
    """

    loader: str
    definitions: Mapping[str, str]
    containers: frozenset[str] = frozenset()
    wrappers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    transparent: frozenset[str] = frozenset()
    comments: frozenset[str] = frozenset({"comment"})
    annotations: frozenset[str] = frozenset()
    imports: frozenset[str] = frozenset()
    name_fields: tuple[str, ...] = ("name",)
    body_fields: tuple[str, ...] = ("body",)
    docstrings: bool = False
    reads: frozenset[str] = frozenset()
    reader: Reader | None = None
    defining: frozenset[str] = field(init=False)  # every type that can hold a definition
    statements: frozenset[str] = field(init=False)  # these, imports and comments

    def __post_init__(self) -> None:
        types = self.definitions.keys() | self.wrappers.keys() | self.transparent | self.reads
        object.__setattr__(self, "defining", types | {"ERROR"})
        object.__setattr__(self, "statements", types | self.imports | self.comments)


@cache
def parser(loader: str) -> Parser:
    """The parser of a grammar, made once. Raises ImportError where the wheel is missing."""
    from tree_sitter import Language, Parser

    module, function = loader.split(":")
    return Parser(Language(getattr(import_module(module), function)()))


def text_of(node: Node | None) -> str:
    """The source text of a node, "" for None."""
    return node.text.decode("utf-8", "replace") if node is not None and node.text else ""


def first_field(node: Node, names: tuple[str, ...]) -> Node | None:
    """The first of the named fields that the node has."""
    for name in names:
        child = node.child_by_field_name(name)
        if child is not None:
            return child
    return None


def first_named(node: Node) -> Node | None:
    """The first named child (asking for one that is not there raises)."""
    return node.named_child(0) if node.named_child_count else None


def definitions_of(node: Node, grammar: Grammar, in_container: bool) -> list[Definition]:
    """The definitions that one statement makes in its own scope; empty for other statements."""
    if node.type not in grammar.defining:
        return []
    outer = node
    while fields := grammar.wrappers.get(node.type):
        inner = first_field(node, fields)
        if inner is None:
            break
        node = inner
    found = _read(node, grammar, in_container)
    if outer is node or not found:
        return found
    if len(found) == 1:
        one = found[0]
        return [Definition(one.name, one.kind, outer, one.body, one.container)]
    return found


def _read(node: Node, grammar: Grammar, in_container: bool) -> list[Definition]:
    if grammar.reader is not None and node.type in grammar.reads:
        special = grammar.reader(node, in_container)
        if special is not None:
            return special
    kind = grammar.definitions.get(node.type)
    if kind is None:
        return []
    name = text_of(first_field(node, grammar.name_fields)).strip("'\"") or "default"
    if kind == "function" and in_container:
        kind = "method"
    body = first_field(node, grammar.body_fields)
    return [Definition(name, kind, node, body, node.type in grammar.containers)]
