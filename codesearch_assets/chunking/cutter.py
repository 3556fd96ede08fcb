"""Chunks of a parsed file, anchored at definitions.

The lines of a scope are partitioned into units (`units`). Units that are too large are cut
inside, small ones are grouped, and each draft becomes a chunk, so that every non-blank line is in
exactly one. All sizes are effective lines (`Source.size`).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from codesearch_assets.chunking import windows
from codesearch_assets.chunking.chunk import Chunk, Symbol, content_hash
from codesearch_assets.chunking.grammar import (
    SCOPE,
    Definition,
    Grammar,
    Listed,
    definitions_of,
    is_exported,
    signature,
)
from codesearch_assets.chunking.source import Source
from codesearch_assets.chunking.units import (
    Scope,
    Unit,
    doc_of,
    members_are_methods,
    rows,
    siblings,
    symbols_of,
)

if TYPE_CHECKING:
    from tree_sitter import Node

SMALL = 30  # units below this are grouped with their neighbours,
GROUP = 60  # up to this
WHOLE_CLASS = 80  # these and others on the open benchmark: benchmarks/README.md
WHOLE_FUNCTION = 200
WHOLE_SECTION = 80
PART = 120  # statements inside an over-long definition stay whole up to this
CRUMB = 6  # what is smaller and defines nothing joins a neighbour
_DEPTH = 40  # nested cuts; beyond, by lines
_DOMINANT = 0.8  # a child with this share of a statement's rows is cut in its place


@dataclass(slots=True)
class _Draft:
    """Consecutive units that become one chunk. kind "" means: by what is inside."""

    units: list[Unit]
    scope: Scope
    kind: str = ""

    @property
    def header(self) -> str:
        first = self.units[0]
        return first.scope.outer if first.head else first.scope.header


def _only(unit: Unit) -> Definition | None:
    """The one definition a unit is; of overloads the one with the body.

    None where there are several, or where most of the lines are something else (an `if` with one
    definition in it).
    """
    if len({unit.qualified(one) for one in unit.definitions}) != 1:
        return None
    spans = [last - first + 1 for first, last in (rows(one.node) for one in unit.definitions)]
    if not unit.head and sum(spans) < _DOMINANT * (unit.last + 1 - rows(unit.nodes[0])[0]):
        return None
    return next((one for one in unit.definitions if one.body is not None), unit.definitions[0])


def _field(unit: Unit) -> bool:
    """Whether a member belongs to the beginning of its class."""
    return unit.rank != "definition" or all(one.kind == "constant" for one in unit.definitions)


@dataclass(slots=True)
class Cutter:
    """Cuts the lines [lo, hi) of one file by their tree; code: what was parsed, if at hand."""

    source: Source
    language: str
    grammar: Grammar
    lo: int
    hi: int
    small: float = SMALL
    code: bytes = b""

    def chunks(self, root: Node) -> tuple[Chunk, ...]:
        """The chunks of these lines."""
        return tuple([self._chunk(draft) for draft in self._file(root) if self._filled(draft)])

    def _file(self, root: Node) -> list[_Draft]:
        scope = Scope("module", separator=self.grammar.separator, listed=self._listed(root))
        nodes = self._unguarded(root)
        units = siblings(nodes, self.lo, self.hi, scope, self.grammar, self.source)
        if not units:
            return self._by_lines(Unit(scope, self.lo, self.hi, self.hi - 1, "code"), scope)
        return self._scope(units, scope, 0)

    def _listed(self, root: Node) -> Listed | None:
        """What the file's list of exports gives out, if it has one."""
        listed = self.grammar.listed
        if listed is None or self.grammar.listing not in (self.code or root.text or b""):
            return None
        return listed(root)

    def _unguarded(self, root: Node) -> list[Node]:
        """The nodes of a file, with what is in a guard round nearly all of it."""
        nodes = root.children
        if not self.grammar.guards:
            return nodes
        least = _DOMINANT * (self.hi - self.lo)
        for _ in range(_DEPTH):
            for at, node in enumerate(nodes):
                if node.type not in self.grammar.guards:
                    continue
                first, last = rows(node)
                if last - first > least:
                    nodes = [*nodes[:at], *node.children, *nodes[at + 1 :]]
                    break
            else:
                break
        return nodes

    def _filled(self, draft: _Draft) -> bool:
        """False for a draft of nothing but blank lines."""
        return not self.source.blank(draft.units[0].lo, draft.units[-1].hi)

    def _size(self, units: list[Unit]) -> float:
        return self.source.size(units[0].lo, units[-1].hi)

    def _scope(self, units: list[Unit], scope: Scope, depth: int) -> list[_Draft]:
        """Drafts of one scope: large units cut, small ones grouped, crumbs joined."""
        drafts: list[_Draft] = []
        run: list[Unit] = []
        for unit in self._parted(units, scope):
            size = self.source.size(unit.lo, unit.hi)
            if size < self.small:
                run.append(unit)
                continue
            drafts += self._grouped(run, scope)
            run = []
            if size > WHOLE_FUNCTION and unit.head:  # decorators or a docstring that fill pages
                drafts += self._by_lines(unit, scope)
            elif size > self._limit(unit, scope) and not unit.head:  # its nodes go beyond it
                drafts += self._cut(unit, scope, depth)
            else:
                drafts.append(_Draft([unit], scope))
        drafts += self._grouped(run, scope)
        return self._without_crumbs(drafts)

    def _parted(self, units: list[Unit], scope: Scope) -> list[Unit]:
        """The units, those taken apart again that are too long joined."""
        out: list[Unit] = []
        for unit in units:
            if unit.parts and self._size([unit]) > self._limit(unit, scope):
                out += unit.parts
            else:
                out.append(unit)
        return out

    def _limit(self, unit: Unit, scope: Scope) -> int:
        if any(one.kind == "section" for one in unit.definitions):
            return WHOLE_SECTION
        containers = [one for one in unit.definitions if one.container]
        if containers:
            return GROUP if all(one.kind == "module" for one in containers) else WHOLE_CLASS
        if scope.kind == "function" and not unit.definitions:
            return PART
        return WHOLE_FUNCTION

    def _grouped(self, run: list[Unit], scope: Scope) -> list[_Draft]:
        """Cut a run of small units at the smallest hash of a name, again and again, until fit.

        Bodies do not move the cuts, and a new definition moves only the ones around it.
        """
        if not run or self._size(run) <= GROUP:
            return [_Draft(run, scope)] if run else []
        hashes = [blake2b(unit.name.encode(), digest_size=8).digest() for unit in run]
        out = []
        pending = [(0, len(run))]
        while pending:
            lo, hi = pending.pop()
            total = self._size(run[lo:hi])
            if hi - lo == 1 or total <= GROUP:
                out.append(_Draft(run[lo:hi], scope))
                continue
            first, last = self._cut_range(run, lo, hi)
            at = min(range(first, last), key=hashes.__getitem__)
            pending += [(at, hi), (lo, at)]
        return out

    def _cut_range(self, run: list[Unit], lo: int, hi: int) -> tuple[int, int]:
        """Where run[lo:hi] may be cut: with a quarter of a group on each side, if that can be."""
        least, size = GROUP / 4, self.source.size
        first, last = lo + 1, hi
        while first < hi and size(run[lo].lo, run[first].lo) < least:
            first += 1
        while last > first and size(run[last - 1].lo, run[hi - 1].hi) < least:
            last -= 1
        return (first, last) if first < last else (lo + 1, hi)

    def _without_crumbs(self, drafts: list[_Draft]) -> list[_Draft]:
        if len(drafts) < 2:
            return drafts
        out: list[_Draft] = []
        after_crumb = False  # whether the last of `out` is one
        for draft in drafts:
            crumb = self._crumb(draft)
            if after_crumb and self._joins(out[-1], draft):
                before = out.pop()
                kind = draft.kind if draft.units[0].head else ""
                draft = _Draft(before.units + draft.units, draft.scope, kind)
                crumb = self._crumb(draft)
            elif crumb and out and self._same_place(out[-1], draft):
                out[-1] = _Draft(out[-1].units + draft.units, out[-1].scope, out[-1].kind)
                after_crumb = self._crumb(out[-1])
                continue
            out.append(draft)
            after_crumb = crumb
        return out

    def _joins(self, before: _Draft, draft: _Draft) -> bool:
        """Whether a crumb is taken in by the draft that follows."""
        inside = before.units[-1].head and draft.scope is before.scope
        return draft.kind != "part" and (inside or self._same_place(before, draft))

    def _same_place(self, before: _Draft, draft: _Draft) -> bool:
        joined = self.source.size(before.units[0].lo, draft.units[-1].hi)
        return joined < WHOLE_FUNCTION + CRUMB and before.header == draft.header

    def _crumb(self, draft: _Draft) -> bool:
        if self._size(draft.units) >= CRUMB:
            return False
        return all(
            unit.head or one.kind == "constant" for unit in draft.units for one in unit.definitions
        )

    def _cut(self, unit: Unit, scope: Scope, depth: int) -> list[_Draft]:
        """Cut a unit that is too large: a class at its members, all else at its statements."""
        one = _only(unit)
        nodes = self._inside(unit, one)
        if depth >= _DEPTH or not nodes:
            return self._by_lines(unit, self._inner(unit, one, scope))
        inner = self._inner(unit, one, scope)
        begin = max(rows(nodes[0])[0], unit.lo + 1)
        head = unit.as_head(inner, unit.lo, begin)
        units = siblings(nodes, unit.lo, unit.hi, inner, self.grammar, self.source, head)
        if len(units) < 2:
            return self._by_lines(unit, inner)
        if one is None or not one.container:
            return self._scope(units, inner, depth + 1)
        first = 1
        while first < len(units) and _field(units[first]):
            if first > 1 and self._size(units[: first + 1]) > GROUP:  # 1 is the docstring
                break
            first += 1
        kind = "section" if one.kind == "section" else "header" if inner.owner else "module"
        header = self._fitting(_Draft(units[:first], inner, kind))
        return self._without_crumbs([*header, *self._scope(units[first:], inner, depth + 1)])

    def _fitting(self, draft: _Draft) -> list[_Draft]:
        """A draft as it is, or cut by lines where it is longer than anything may be."""
        if self._size(draft.units) <= WHOLE_FUNCTION:
            return [draft]
        pieces = self._by_lines(draft.units[0], draft.scope, draft.units[-1].hi)
        pieces[0].kind = draft.kind
        return pieces

    def _inside(self, unit: Unit, one: Definition | None) -> list[Node]:
        """The nodes to cut a unit at."""
        if one is None or one.body is None:
            return self._descended([n for node in unit.nodes for n in node.children])
        body = one.body
        above = body.parent.children if body.parent else []
        lead = [
            n for n in above if n.type in self.grammar.comments and n.end_byte <= body.start_byte
        ]
        if one.container:
            return lead + body.children
        return lead + self._descended(body.children)

    def _descended(self, nodes: list[Node]) -> list[Node]:
        """Go down while one node has nearly all the rows and is no definition itself."""
        # Of all there were: each of many `#elif` has nearly all of what the one before it has.
        whole = rows(nodes[-1])[1] - rows(nodes[0])[0] if nodes else 0
        while nodes:
            spans = [last - first for first, last in map(rows, nodes)]
            largest = max(range(len(nodes)), key=spans.__getitem__)
            node = nodes[largest]
            spread = spans[largest] < whole * _DOMINANT or not node.child_count
            if spread or definitions_of(node, node.type, self.grammar, False):
                break
            nodes = node.children
        return nodes

    def _inner(self, unit: Unit, one: Definition | None, scope: Scope) -> Scope:
        """The scope inside a unit that is being cut."""
        exported, listed = scope.exported, scope.listed
        if one is not None:
            name = scope.name(one.name)
            kind = "module" if one.kind == "module" else "function"
            if one.container:
                inside = members_are_methods(one, scope.kind == "container")
                kind = "container" if inside else "module"
            line = signature(one, self.code) if one.name or one.kind != SCOPE else unit.text
            usable = is_exported(one, self.grammar, scope.around, listed, self.code)
            exported = exported and usable
        else:
            through = all(n.type in (*self.grammar.transparent, "ERROR") for n in unit.nodes)
            name, kind = scope.prefix, scope.kind if through else "function"
            line = unit.text[:200]
        header = "\n".join(part for part in (scope.header, line) if part)
        owner = name if one is not None else scope.owner
        around = one or scope.around
        joint = self.grammar.separator
        return Scope(kind, name, owner, header, scope.header, joint, around, exported, listed)

    def _by_lines(self, unit: Unit, scope: Scope, hi: int = 0) -> list[_Draft]:
        """Cut what has no structure at blank and little indented lines."""
        out = []
        for lo, end in windows.bounds(self.source, unit.lo, hi or unit.hi, {}):
            piece = Unit(scope, lo, end, end - 1, "code", text=self.source.stripped[lo].strip())
            head = unit.as_head(scope, lo, end)
            if head.definitions and scope.header != scope.outer:
                piece = head
            out.append(_Draft([piece], scope, "part" if scope.owner else ""))
        return out

    def _chunk(self, draft: _Draft) -> Chunk:
        """The chunk of a draft; blank lines at its ends are left out."""
        source, units = self.source, draft.units
        lo, hi = source.trim(units[0].lo, units[-1].hi)
        kind, symbol = self._kind(draft)
        header = draft.header
        text, hashed = source.texts(lo, hi)
        start, end = source.bytes(lo, hi)
        symbols: list[Symbol] = []
        documented: Unit | None = None
        for unit in units:
            if unit.definitions:
                documented = documented or unit
                symbols += symbols_of(unit, self.grammar, self.code)
        doc = doc_of(documented or units[0], self.grammar, source)
        if not doc and documented is not None and documented is not units[0]:
            doc = doc_of(units[0], self.grammar, source)
        self._trim(symbols, hi)
        hashed = content_hash(self.language, header, hashed)
        return Chunk(
            kind, symbol, tuple(symbols), header, doc, lo + 1, hi, start, end, text, hashed
        )

    def _trim(self, symbols: list[Symbol], hi: int) -> None:
        """Bring symbols within the lines up to `hi`, without the blank ones some grammars count."""
        lines = self.source.stripped
        for at, one in enumerate(symbols):
            end = one.end_line
            if end > hi or not lines[end - 1] or not lines[one.start_line - 1]:
                lo, end = self.source.trim(one.start_line - 1, min(end, hi))
                start = min(lo + 1, end)
                symbols[at] = Symbol(one.name, one.kind, start, end, one.exported)

    def _kind(self, draft: _Draft) -> tuple[str, str]:
        """Kind and symbol of a chunk."""
        scope, units = draft.scope, draft.units
        if draft.kind:
            return draft.kind, scope.owner
        first = units[0]
        if len(units) == 1 and len(first.definitions) == 1 and not first.head:
            (one,) = first.definitions
            return one.kind or "group", first.qualified(one) or scope.owner
        names: dict[str, str] = {}
        named, headed = 0.0, False
        for unit in units:
            if unit.head:
                headed = True
            elif unit.definitions:
                named += self.source.size(unit.lo, unit.hi)
                for one in unit.definitions:
                    names[unit.qualified(one)] = one.kind or "group"
        kinds = set(names.values())
        mostly = len(kinds) == 1 and not headed and named * 2 >= self._size(units)
        if len(names) == 1 and mostly:
            name, kind = next(iter(names.items()))
            return kind, name or scope.owner
        if scope.kind == "function" or (not names and scope.owner):
            return "part", scope.owner
        if kinds == {"section"}:
            return "section", scope.owner
        if kinds <= {"constant"} and not headed:
            return ("constant" if mostly else "module"), scope.owner
        return "group", scope.owner
