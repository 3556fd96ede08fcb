"""Whether chunks keep whole what belongs together, ours beside the peers', on the same files.

    python benchmarks/chunk_quality.py --clones FOLDER_OF_CLONES [--peers PYTHON_WITH_THE_PEERS]

Functions and definitions are counted by a full walk of the trees with tables of its own, not the
chunker's: named functions and methods that stand in no other function, classes and types. A
function is whole if one chunk has all of it. A definition is separated if the chunk with its first
word lacks the beginning of the comments, decorators or attributes directly above it, or, in
Python, the end of its docstring. Tokens are words and signs. Each peer is given the size that
makes it cut about as many chunks as we do, and is counted on the files whose language it knows.
A peer that is not installed is named as skipped. Install them into an environment of their own:

    pip install semble cocoindex astchunk llama-index-core

with the grammar wheels of this project for the last one. Exit code 1 when in a language fewer than
99 % of our functions are whole, or more than 0.5 % of our definitions are separated.
"""

import argparse
import json
import re
import sys
import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from code_files import (
    PEERS,
    CodeFile,
    PeerCuts,
    Ranges,
    characters,
    code_files,
    percentile,
    with_equal_chunks,
)

from codesearch_assets.chunking.chunker import cut
from codesearch_assets.chunking.grammar import parser

if TYPE_CHECKING:
    from tree_sitter import Node

LONGEST = 200  # lines of a function that has to stay whole
WHOLE, SEPARATED = 0.99, 0.005
_TOKEN = re.compile(r"\w+|[^\w\s]")
_SMALL = 5  # lines


@dataclass(frozen=True)
class Tables:
    """Node types of one language, for counting only."""

    loader: str
    functions: str
    types: str = ""

    @property
    def both(self) -> frozenset[str]:
        return frozenset(self.functions.split()) | frozenset(self.types.split())


_SCRIPT = "function_declaration generator_function_declaration method_definition"
_TYPED = "class_declaration interface_declaration enum_declaration type_alias_declaration"
TABLES = {
    "python": Tables("python:language", "function_definition", "class_definition"),
    "javascript": Tables("javascript:language", _SCRIPT, "class_declaration"),
    "typescript": Tables("typescript:language_typescript", _SCRIPT, _TYPED),
    "tsx": Tables("typescript:language_tsx", _SCRIPT, _TYPED),
    "go": Tables("go:language", "function_declaration method_declaration", "type_declaration"),
    "rust": Tables("rust:language", "function_item", "struct_item enum_item trait_item impl_item"),
    "java": Tables(
        "java:language",
        "method_declaration constructor_declaration",
        "class_declaration interface_declaration enum_declaration record_declaration",
    ),
    "c": Tables("c:language", "function_definition"),
    "cpp": Tables("cpp:language", "function_definition"),
    "csharp": Tables(
        "c_sharp:language",
        "method_declaration constructor_declaration property_declaration",
        "class_declaration interface_declaration enum_declaration struct_declaration",
    ),
    "ruby": Tables("ruby:language", "method singleton_method", "class module"),
    "php": Tables(
        "php:language_php",
        "function_definition method_declaration",
        "class_declaration interface_declaration trait_declaration",
    ),
    "kotlin": Tables("kotlin:language", "function_declaration", "class_declaration"),
    "swift": Tables(
        "swift:language",
        "function_declaration init_declaration",
        "class_declaration protocol_declaration",
    ),
    "scala": Tables(
        "scala:language",
        "function_definition",
        "class_definition trait_definition object_definition",
    ),
    "bash": Tables("bash:language", "function_definition"),
    "lua": Tables("lua:language", "function_declaration"),
}
_WRAPPERS = frozenset(
    "decorated_definition export_statement template_declaration ambient_declaration".split()
)
_ATTRIBUTES = frozenset(
    "decorator attribute_item attribute annotation marker_annotation attribute_list".split()
)


@dataclass(frozen=True)
class Definition:
    """Ranges in characters: the definition without what is above it, and where that begins.

    doc_end: the end of a docstring, else 0. lines: of a function, 0 for a type.
    """

    start: int
    end: int
    lead: int
    doc_end: int
    lines: int


def definitions(file: CodeFile) -> list[Definition]:
    """All that a file defines outside functions."""
    tables = TABLES[file.language]
    data = file.text.encode("utf-8", "surrogatepass")
    offset = characters(file.text)
    functions = frozenset(tables.functions.split())
    found = []
    pending = [parser(f"tree_sitter_{tables.loader}").parse(data).root_node]
    while pending:
        node = pending.pop()
        if node.type in tables.both and not node.has_error:
            found.append(_definition(node, data, offset, node.type in functions))
        if node.type not in functions:
            pending += node.children
    return found


def _definition(node: "Node", data: bytes, offset: Any, is_function: bool) -> Definition:
    first = next(
        (c for c in node.children if c.type not in _ATTRIBUTES and "comment" not in c.type), node
    )
    top = node
    while top.parent is not None and top.parent.type in _WRAPPERS:
        top = top.parent
    end = node.start_byte + len(data[node.start_byte : node.end_byte].rstrip())
    lines = data.count(b"\n", node.start_byte, end) + 1 if is_function else 0
    return Definition(
        offset(first.start_byte), offset(end), offset(_lead(top)), offset(_doc_end(node)), lines
    )


def _lead(top: "Node") -> int:
    """Where the comments and attributes directly above a node begin."""
    start, row = top.start_byte, top.start_point.row
    while (before := top.prev_sibling) is not None:
        if "comment" not in before.type and before.type not in _ATTRIBUTES:
            break
        last = before.end_point.row - (before.end_point.column == 0)
        further = before.prev_sibling
        trailing = further is not None and further.end_point.row == before.start_point.row
        if last + 1 < row or (trailing and further is not None and further.end_point.column):
            break
        top, start, row = before, before.start_byte, before.start_point.row
    return start


def _doc_end(node: "Node") -> int:
    body = node.child_by_field_name("body")
    if body is None or body.type != "block" or not body.named_child_count:
        return 0
    first = body.named_child(0)
    if first is not None and first.type == "expression_statement" and first.named_child_count:
        first = first.named_child(0)
    return first.end_byte if first is not None and first.type == "string" else 0


@dataclass
class Count:
    """What one tool did to some files."""

    files: int = 0
    functions: int = 0
    whole: int = 0
    documented: int = 0
    separated: int = 0
    lines: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    def add(self, file: CodeFile, ranges: Ranges, defined: Sequence[Definition]) -> None:
        ranges = sorted(ranges)
        starts = [start for start, _ in ranges]
        self.files += 1
        for start, end in ranges:
            text = file.text[start:end]
            self.lines.append(text.strip("\n").count("\n") + 1)
            self.tokens.append(len(_TOKEN.findall(text)))
        for one in defined:
            at = bisect_right(starts, one.start) - 1
            start, end = ranges[at] if at >= 0 else (0, 0)
            if 0 < one.lines <= LONGEST:
                self.functions += 1
                self.whole += start <= one.start and one.end <= end
            if one.lead < one.start or one.doc_end:
                self.documented += 1
                self.separated += one.lead < start or one.doc_end > end

    def as_json(self) -> dict[str, float]:
        small = sum(lines < _SMALL for lines in self.lines)
        return {
            "files": self.files,
            "functions": self.functions,
            "whole": round(self.whole / max(1, self.functions), 5),
            "documented": self.documented,
            "separated": round(self.separated / max(1, self.documented), 5),
            "chunks": len(self.lines),
            "lines p5": percentile(self.lines, 0.05),
            "lines p50": percentile(self.lines, 0.5),
            "lines p95": percentile(self.lines, 0.95),
            "tokens p5": percentile(self.tokens, 0.05),
            "tokens p50": percentile(self.tokens, 0.5),
            "tokens p95": percentile(self.tokens, 0.95),
            "below 5 lines": round(small / max(1, len(self.lines)), 4),
        }


def our_ranges(file: CodeFile) -> Ranges:
    offset = characters(file.text)
    found = cut(file.text.encode("utf-8", "surrogatepass"), file.path, file.language)
    return [(offset(c.start_byte), offset(c.end_byte)) for c in found.chunks]


def show(name: str, count: Count) -> None:
    row = count.as_json()
    print(
        f"{name:<20}{row['files']:>7}{row['functions']:>10}{row['whole']:>9.4f}"
        f"{row['documented']:>12}{row['separated']:>10.4f}{row['chunks']:>9}"
        f"{row['lines p5']:>7}{row['lines p50']:>5}{row['lines p95']:>5}"
        f"{row['tokens p5']:>8}{row['tokens p50']:>6}{row['tokens p95']:>6}"
        f"{row['below 5 lines']:>8.3f}"
    )


def compared(
    python: Path, files: Sequence[CodeFile], cuts: Sequence[Ranges], defined: Any
) -> Iterator[tuple[str, Count, Count | str]]:
    """Each peer: its name, our count on the files it knows, its own or why there is none."""
    for peer in PEERS:
        found = with_equal_chunks(python, peer, files, [len(ranges) for ranges in cuts])
        if not isinstance(found, PeerCuts):
            yield peer, Count(), found
            continue
        own, theirs = Count(), Count()
        for file, ranges, peers, known in zip(files, cuts, found.cuts, defined, strict=True):
            if peers:
                own.add(file, ranges, known)
                theirs.add(file, [(lo, hi) for lo, hi in peers], known)
        yield f"{peer} {found.version} ({found.size})", own, theirs


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--clones", type=Path, required=True)
    arguments.add_argument("--peers", type=Path, help="a Python with the peers installed")
    arguments.add_argument("--languages", default=" ".join(TABLES))
    arguments.add_argument("--files", type=int, default=1000, help="of each language, at most")
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as work:
        sys.exit(_run(given, Path(work)))


def _run(given: argparse.Namespace, work: Path) -> str | None:
    by_language = code_files(given.clones, work, given.languages.split(), given.files)
    print(
        f"{'':<20}{'files':>7}{'functions':>10}{'whole':>9}{'documented':>12}{'separated':>10}"
        f"{'chunks':>9}{'lines 5/50/95':>17}{'tokens 5/50/95':>20}{'<5 lines':>8}"
    )
    files: list[CodeFile] = []
    cuts: list[Ranges] = []
    defined: list[list[Definition]] = []
    everything, results, missed = Count(), {}, []
    for language, some in by_language.items():
        count = Count()
        for file in some:
            ranges, known = our_ranges(file), definitions(file)
            count.add(file, ranges, known)
            everything.add(file, ranges, known)
            files.append(file)
            cuts.append(ranges)
            defined.append(known)
        show(language, count)
        results[language] = count.as_json()
        if count.whole < WHOLE * count.functions or count.separated > SEPARATED * count.documented:
            missed.append(language)
    show("all", everything)
    results["all"] = everything.as_json()
    if given.peers is None:
        print("peers skipped: no --peers given")
    else:
        for name, own, theirs in compared(given.peers, files, cuts, defined):
            if isinstance(theirs, str):
                print(f"{name} skipped: {theirs}")
                continue
            show(name, theirs)
            show("  ours, same files", own)
            results[name] = {"peer": theirs.as_json(), "ours": own.as_json()}
    if given.json:
        given.json.write_text(json.dumps(results, indent=1) + "\n")
    return f"goal missed in: {', '.join(missed)}" if missed else None


if __name__ == "__main__":
    main()
