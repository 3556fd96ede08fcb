"""Units: a scope's siblings as a partition of its lines, definitions with what belongs to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from codesearch_assets.chunking import comments
from codesearch_assets.chunking.chunk import Symbol
from codesearch_assets.chunking.grammar import (
    SCOPE,
    Definition,
    Grammar,
    Listed,
    definitions_of,
    first_named,
    inlined,
    is_exported,
    text_of,
)
from codesearch_assets.chunking.source import Source

if TYPE_CHECKING:
    from tree_sitter import Node

_TRANSPARENT_DEPTH = 6
_MEMBER_DEPTH = 12
_JOINED = ("definition", "import")  # ranks of units that can belong together


@dataclass(slots=True, eq=False)
class Scope:
    """What siblings stand in.

    kind: "module", "container" (members are definitions) or "function" (statements).
    prefix: qualifies names. owner: the qualified name of the definition that is being cut.
    header: signatures of a piece inside; outer: the same without the innermost.
    around: the definition that it is the inside of; exported: whether others can use that one.
    listed: what the file's list of exports gives out.
    """

    kind: str
    prefix: str = ""
    owner: str = ""
    header: str = ""
    outer: str = ""
    separator: str = "."
    around: Definition | None = None
    exported: bool = True
    listed: Listed | None = None

    def name(self, relative: str) -> str:
        """The qualified name of a definition in this scope."""
        return qualified(self.prefix, relative, self.separator)


def qualified(prefix: str, name: str, separator: str) -> str:
    """``Router.resolve``; the name as it is where the separator is empty."""
    if not prefix or (name and not separator):
        return name
    return f"{prefix}{separator}{name}" if name else prefix


@dataclass(slots=True)
class Unit:
    """Lines [lo, hi) of one statement or definition with its comments; `last` is its last row.

    head: the signature of the definition that the scope is the inside of.
    lead: rows of comments directly above, as (first, last); attributes: nodes in between.
    parts: the units that were joined into this one, if any.
    """

    scope: Scope
    lo: int
    hi: int
    last: int
    rank: str  # "definition", "import", "comment" or "code"
    nodes: list[Node] = field(default_factory=list)
    definitions: list[Definition] = field(default_factory=list)
    lead: Sequence[tuple[int, int]] = ()
    text: str = ""
    head: bool = False
    attributes: Sequence[Node] = ()
    parts: Sequence[Unit] = ()

    @property
    def name(self) -> str:
        """What the cuts are chosen by: a name, never a body."""
        if not self.definitions:
            return self.text
        return self.qualified(self.definitions[0]) or self.text

    def qualified(self, one: Definition) -> str:
        """The qualified name of one of the unit's definitions; a head's are qualified already."""
        scope = self.scope
        return one.name if self.head else qualified(scope.prefix, one.name, scope.separator)

    def as_head(self, scope: Scope, lo: int, hi: int) -> Unit:
        """The beginning of this unit, as the head of the scope inside it."""
        named = [
            replace(one, name=self.qualified(one))
            for one in self.definitions
            if lo <= rows(one.node)[0] < hi
        ]
        last = max(lo, hi - 1)
        return Unit(scope, lo, hi, last, "code", self.nodes[:1], named, self.lead, self.text, True)


def rows(node: Node) -> tuple[int, int]:
    """First and last row of a node, both inclusive."""
    first = node.start_point[0]
    last, column = node.end_point
    return first, last - 1 if column == 0 and last > first else last


def siblings(
    nodes: Iterable[Node], lo: int, hi: int, scope: Scope, grammar: Grammar, source: Source,
    head: Unit | None = None,
) -> list[Unit]:  # fmt: skip
    """The nodes of one scope as units that cover the lines [lo, hi) exactly."""
    builder = _Builder(scope, grammar, source, [head] if head else [])
    builder.add(inlined(nodes, grammar) if grammar.inlined else nodes)
    builder.flush()
    units = builder.units
    for one, following in pairwise(units):
        one.hi = following.lo
    if units:
        units[0].lo, units[-1].hi = lo, hi
    return _glued(units, grammar)


@dataclass(slots=True)
class _Builder:
    """Makes units of nodes in their order.

    lead: comments and annotations that wait for a unit, each with its type and rows.
    """

    scope: Scope
    grammar: Grammar
    source: Source
    units: list[Unit]
    lead: list[tuple[Node, str, int, int]] = field(default_factory=list)
    sticky: bool = False

    def add(self, nodes: Iterable[Node]) -> None:
        units, grammar = self.units, self.grammar
        comment_types, annotations = grammar.comments, grammar.annotations
        for node in nodes:
            kind = node.type
            first = node.start_point[0]  # `rows`, without the call: this is the hottest place
            last, column = node.end_point
            if not column and last > first:
                last -= 1
            if units and not node.is_named and not kind.isalnum():
                if self.lead:
                    self.flush()
                self._extend(node, kind, last)
            elif units and not self.lead and first <= units[-1].last:
                self._extend(node, kind, last)
            elif kind in comment_types:
                if self.lead and self._apart(first):
                    self.flush()
                self.lead.append((node, kind, first, last))
            elif kind in annotations and self._annotates(node):
                self.lead.append((node, kind, first, last))
                self.sticky = True
            else:
                self._statement(node, kind, first, last)

    def _annotates(self, node: Node) -> bool:
        return self.grammar.annotates is None or self.grammar.annotates(node)

    def _apart(self, first: int) -> bool:
        """Whether a blank line lies between the comments and what begins in this row."""
        return not self.sticky and first > self.lead[-1][3] + 1

    def flush(self) -> None:
        """Comments that precede nothing become a unit of their own."""
        if self.lead:
            nodes = [node for node, _, _, _ in self.lead]
            lead = [(first, last) for _, _, first, last in self.lead]
            first, last = lead[0][0], lead[-1][1]
            text = self.source.stripped[first].strip()
            unit = Unit(self.scope, first, last + 1, last, "comment", nodes, [], lead, text)
            self.units.append(unit)
            self.lead, self.sticky = [], False

    def _extend(self, node: Node, kind: str, last: int) -> None:
        unit = self.units[-1]
        if last > unit.last:
            unit.last = last
        unit.nodes.append(node)
        if kind in self.grammar.defining and not unit.head:
            unit.definitions += self._definitions(node, kind)

    def _statement(self, node: Node, kind: str, first: int, last: int) -> None:
        lead = self.lead
        if lead and self._apart(first):
            self.flush()
            lead = self.lead
        grammar = self.grammar
        definitions = self._definitions(node, kind) if kind in grammar.defining else []
        rank = "code"
        if definitions:
            rank = "definition"
        elif kind in grammar.imports:
            rank = "import"
        text = self.source.stripped[first].strip()
        unit = Unit(self.scope, first, last + 1, last, rank, [node], definitions, (), text)
        self.units.append(unit)
        if lead:
            unit.lo = lead[0][2]
            unit.lead = [(lo, hi) for _, kind, lo, hi in lead if kind in grammar.comments]
            if grammar.annotations:
                unit.attributes = [one for one, kind, _, _ in lead if kind in grammar.annotations]
            self.lead, self.sticky = [], False

    def _definitions(self, node: Node, kind: str) -> list[Definition]:
        scope = self.scope.kind
        found = found_in(node, kind, self.grammar, scope == "container")
        if found and scope == "function":  # its variables are nobody else's business
            return [one for one in found if one.kind not in ("constant", "section")]
        return found


def found_in(
    node: Node, kind: str, grammar: Grammar, in_container: bool, depth: int = _TRANSPARENT_DEPTH
) -> list[Definition]:
    """Definitions of a statement (kind: its type), looking through `if`, `try` and errors."""
    found = definitions_of(node, kind, grammar, in_container)
    if found or depth == 0 or (kind not in grammar.transparent and kind != "ERROR"):
        return found
    return [
        one
        for child in node.named_children
        for one in found_in(child, child.type, grammar, in_container, depth - 1)
    ]


def _glued(units: list[Unit], grammar: Grammar) -> list[Unit]:
    """Join clauses and announced overloads, getters with setters, and runs of imports."""
    out: list[Unit] = []
    before: Unit | None = None
    for unit in units:
        same = before is not None and before.rank == unit.rank and unit.rank in _JOINED
        if before is None or not same or before.head or not _belongs(before, unit, grammar):
            out.append(unit)
            before = unit
            continue
        before.parts = [*(before.parts or [replace(before)]), unit]
        before.last, before.hi = unit.last, unit.hi
        before.nodes = before.nodes + unit.nodes
        before.definitions = before.definitions + unit.definitions
        before.lead = before.lead or unit.lead
    return out


def _belongs(before: Unit, unit: Unit, grammar: Grammar) -> bool:
    if unit.rank == "import":
        return True
    if before.definitions[0].name != unit.definitions[0].name:
        return False
    if not unit.definitions[0].name and before.name != unit.name:
        return False
    if grammar.overloads and before.definitions[-1].body is not None:
        return False
    return not any(one.container for one in before.definitions + unit.definitions)


def symbols_of(unit: Unit, grammar: Grammar, code: bytes) -> list[Symbol]:
    """The definitions of a unit and the members of its containers, by lines; code: as parsed."""
    out: list[Symbol] = []
    last_body: Node | None = None
    scope = unit.scope
    around, exported, inside = scope.around, scope.exported, scope.kind == "container"
    prefix = "" if unit.head else scope.prefix
    pending = [(prefix, one, around, exported, inside, 0) for one in reversed(unit.definitions)]
    while pending:
        prefix, one, around, exported, inside, depth = pending.pop()
        name = qualified(prefix, one.name, grammar.separator)
        exported = exported and is_exported(one, grammar, around, scope.listed, code)
        if one.name and one.kind != SCOPE:
            first, last = rows(one.node)
            clause = out and out[-1].name == name and not one.container
            if clause and (not grammar.overloads or last_body is None):
                first = out.pop().start_line - 1
            last_body = one.body
            out.append(Symbol(name, one.kind, first + 1, last + 1, exported))
        if one.container and one.body is not None and depth < _MEMBER_DEPTH and not unit.head:
            inside = members_are_methods(one, inside)
            members = _members(one.body, grammar, inside)
            members.reverse()
            pending += [(name, member, one, exported, inside, depth + 1) for member in members]
    return out


def members_are_methods(one: Definition, inside: bool) -> bool:
    """Whether what stands in a container is its members; a nameless one is like what it is in."""
    if one.kind == SCOPE and not one.name:
        return inside
    return one.kind != "module"


def _members(body: Node, grammar: Grammar, inside: bool) -> list[Definition]:
    nodes: Iterable[Node] = body.named_children
    if grammar.inlined:
        nodes = inlined(nodes, grammar)
    defining, out = grammar.defining, []
    for node in nodes:
        kind = node.type
        if kind in defining:
            out += found_in(node, kind, grammar, inside)
    return out


def doc_of(unit: Unit, grammar: Grammar, source: Source) -> str:
    """The docstring, else the comment above, of the unit's first definition."""
    if grammar.docstrings:
        body = unit.definitions[0].body if unit.definitions else None
        first = first_named(body) if body is not None else unit.nodes[0] if unit.nodes else None
        if first is not None and first.type == "expression_statement":
            first = first_named(first)
            if first is not None and first.type == "string":
                return comments.docstring(text_of(first))
    if unit.rank == "import":
        return ""
    if grammar.doc_of is not None:
        said = next(filter(None, map(grammar.doc_of, unit.attributes)), "")
        if said:
            return said
    if not unit.lead:
        return ""
    lines = [line for lo, hi in unit.lead for line in source.stripped[lo : hi + 1]]
    return comments.plain(lines)
