"""What a grammar's row says: which node types are definitions, comments, wrappers.

A grammar is a row of tables; what tables cannot say (a JavaScript constant that is a function,
a Go receiver) is a `reader`: a function from one node to the definitions it makes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

# The kind of what qualifies the definitions in it but defines nothing itself (Rust's `impl`).
SCOPE = ""
LAST = "*"  # as a wrapper's field: its last named child


@dataclass(slots=True)
class Definition:
    """A definition as the tree shows it; not frozen, as that takes thrice as long to make.

    name: relative to the scope it stands in. node: what its lines are taken from. body: the node
    with its members or statements, None if there is none. container: its members are definitions.
    open: its members can be used wherever it can (an interface). exported: what the reader knows
    of it; None: by the row's `Visibility`.
    """

    name: str
    kind: str
    node: Node
    body: Node | None = None
    container: bool = False
    open: bool = False
    exported: bool | None = None

    def at(self, node: Node) -> Definition:
        """The same, its lines taken from another node (what is wrapped around it)."""
        return Definition(
            self.name, self.kind, node, self.body, self.container, self.open, self.exported
        )


Reader = Callable[["Node", bool], "list[Definition] | None"]


@dataclass(frozen=True, slots=True)
class Listed:
    """Names of the top level that a file's own list gives out; `only`: and no others."""

    names: frozenset[str]
    only: bool


@dataclass(frozen=True, slots=True)
class Visibility:
    """Regular expressions that tell, of signature and name, whether others can use a definition.

    An empty one says nothing. members: they need the words themselves; else a member can be used
    where its class can, unless hidden.
    """

    exported: str = ""
    hidden: str = ""
    exported_name: str = ""
    hidden_name: str = ""
    members: bool = False


@dataclass(frozen=True, slots=True)
class Grammar:
    """One language's tables; each holds node types.

    loader: "module:function" that returns the language, imported when first needed.
    definitions: type -> kind. containers: definitions whose members are definitions.
    wrappers: type -> fields, one of which holds the definition (decorators, export); see `LAST`.
    transparent: statements whose inner definitions belong to the scope around them.
    inlined: nodes whose children take their place among their siblings.
    guards: the same, but only for one that holds most of a file.
    annotations: siblings that belong to the next definition whatever lies between, if `annotates`
    says so of the node. doc_of: the doc text in one of them, or "".
    name_fields, name_types, body_fields, body_types: the first such field or child is it.
    overloads: neighbours of one name are definitions of their own, not clauses of one.
    separator: between the parts of a qualified name; "" leaves names as they are.
    prepare: rewrites the text before it is parsed; no line may be added, removed or moved.
    reader: asked before the tables for the node types in `reads`, with the node and whether it
    stands in a container; None from it means: ask the tables.
    listed: what the file's list of exports gives out, read from the root of a tree that has the
    word `listing` somewhere; None: there is no list, or not one that can be read.
    """

    loader: str
    definitions: Mapping[str, str]
    containers: frozenset[str] = frozenset()
    wrappers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    transparent: frozenset[str] = frozenset()
    inlined: frozenset[str] = frozenset()
    guards: frozenset[str] = frozenset()
    comments: frozenset[str] = frozenset({"comment"})
    annotations: frozenset[str] = frozenset()
    annotates: Callable[[Node], bool] | None = None
    doc_of: Callable[[Node], str] | None = None
    imports: frozenset[str] = frozenset()
    name_fields: tuple[str, ...] = ("name",)
    name_types: frozenset[str] = frozenset()
    body_fields: tuple[str, ...] = ("body",)
    body_types: frozenset[str] = frozenset()
    overloads: bool = False
    separator: str = "."
    docstrings: bool = False
    visibility: Visibility | None = None
    prepare: Callable[[str], str] | None = None
    reads: frozenset[str] = frozenset()
    reader: Reader | None = None
    listing: bytes = b""
    listed: Callable[[Node], Listed | None] | None = None
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
    text = node.text if node is not None else None
    return text.decode("utf-8", "replace") if text else ""


def first_field(node: Node, names: tuple[str, ...]) -> Node | None:
    """The first of the named fields that the node has."""
    for name in names:
        child = node.child_by_field_name(name)
        if child is not None:
            return child
    return None


def first_of(node: Node, types: frozenset[str]) -> Node | None:
    """The first named child of one of the types."""
    if not types:
        return None
    return next((child for child in node.named_children if child.type in types), None)


def first_named(node: Node) -> Node | None:
    """The first named child (asking for one that is not there raises)."""
    return node.named_child(0) if node.named_child_count else None


def inlined(nodes: Iterable[Node], grammar: Grammar) -> Iterator[Node]:
    """The nodes, those of an inlined type replaced by their children."""
    for node in nodes:
        if node.type in grammar.inlined:
            yield from inlined(node.children, grammar)
        else:
            yield node


def definitions_of(node: Node, kind: str, grammar: Grammar, in_container: bool) -> list[Definition]:
    """The definitions that one statement, of a type that is its kind, makes in its own scope."""
    if kind not in grammar.defining:
        return []
    if kind not in grammar.wrappers:
        return _read(node, kind, grammar, in_container)
    outer = node
    while fields := grammar.wrappers.get(kind):
        inner = _wrapped(node, fields)
        if inner is None:
            break
        node, kind = inner, inner.type
    found = _read(node, kind, grammar, in_container)
    if outer is not node and len(found) == 1:
        return [found[0].at(outer)]
    return found


def _wrapped(node: Node, fields: tuple[str, ...]) -> Node | None:
    if fields == (LAST,):
        return node.named_child(node.named_child_count - 1) if node.named_child_count else None
    return first_field(node, fields)


def _read(node: Node, kind: str, grammar: Grammar, in_container: bool) -> list[Definition]:
    if grammar.reader is not None and kind in grammar.reads:
        special = grammar.reader(node, in_container)
        if special is not None:
            return special
    defined = grammar.definitions.get(kind)
    if defined is None:
        return []
    named = first_field(node, grammar.name_fields) or first_of(node, grammar.name_types)
    name = text_of(named)
    if not name.isidentifier():
        name = " ".join(name.strip("'\"").split()) or "default"
    if defined == "function" and in_container:
        defined = "method"
    body = first_field(node, grammar.body_fields) or first_of(node, grammar.body_types)
    container = kind in grammar.containers
    return [Definition(name, defined, node, body, container, defined == "interface")]


@cache
def _compiled(pattern: str) -> Callable[[str], object]:
    return re.compile(pattern).search


def is_exported(
    one: Definition, grammar: Grammar, around: Definition | None, listed: Listed | None = None,
    code: bytes = b"",
) -> bool:  # fmt: skip
    """Whether a definition can be used outside, as far as it and what is around it can say."""
    if listed is not None and around is None and one.kind != SCOPE:
        if one.name.partition(".")[0] in listed.names:
            return True
        if listed.only:
            return False
    if one.exported is not None:
        return one.exported
    rule = grammar.visibility
    if rule is None or one.kind == SCOPE:
        return True
    name = one.name.rpartition(".")[2]
    if rule.exported_name or rule.hidden_name:
        hidden = bool(rule.hidden_name and _compiled(rule.hidden_name)(name))
        return not hidden and bool(_compiled(rule.exported_name)(name))
    free = around is not None and (around.open or not rule.members)
    if free and not rule.hidden:
        return True
    line = signature(one, code)
    if rule.hidden and _compiled(rule.hidden)(line):
        return False
    return free or bool(_compiled(rule.exported)(line))


_NOT_SIGNATURE = frozenset(
    """decorator comment line_comment block_comment attribute_list attribute_item annotation
    marker_annotation attribute""".split()
)


def signature(one: Definition, code: bytes = b"") -> str:
    """The text of a definition up to its body, on one line, without decorators.

    code: what was parsed, if it is at hand; to ask the node for its text copies all of the body.
    """
    node, body = one.node, one.body
    while node.type == "decorated_definition" and node.named_child_count:
        node = node.named_children[-1]
    start = _signature_start(node)
    stop = body.start_byte if body is not None else 0
    if stop <= start:
        stop = node.end_byte
    begin = 0 if code else node.start_byte
    text = (code or node.text or b"")[start - begin : stop - begin]
    cut = text.decode("utf-8", "replace")
    if body == node:  # a section is its own body: its heading is all that stands for it
        cut = cut.partition("\n")[0]
    return " ".join(cut.split())[:400].rstrip(" {")


def _signature_start(node: Node) -> int:
    for at in range(node.child_count):  # mostly it is the first, and making them all takes long
        child = node.child(at)
        if child is None:
            break
        kind = child.type
        if kind == "modifiers" and child.child_count:
            start = _signature_start(child)
            if start < child.end_byte:
                return start
        elif kind not in _NOT_SIGNATURE:
            return child.start_byte
    return node.end_byte if node.type == "modifiers" else node.start_byte
