"""What a commit costs: characters in new chunks per character of the definitions that changed.

    python benchmarks/chunk_stability.py --clones FOLDER_OF_CLONES [--json stability.json]

The last commits of each repository along first parents, every changed file that a grammar
explains. "New" is text, with its header, that no file of the repository has
held since the first of these commits. All designs cut the same files of the same commits, each
parsed once:

ours            as shipped
definitions     every definition, or run of statements between two, by itself: the divisor
greedy          the shipped cutter, but neighbours merged one by one up to the same limit
greedy =        the same, its limit set so that the median chunk is as long as ours
split-merge =   recursion into too large nodes, neighbours merged, sizes in characters without
                white space (the procedure of arXiv 2506.15655, its limit set as above)
windows         60 lines each

Exit code 1 when ours is not 10 % below `greedy`, or not below `split-merge =`.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING

from codesearch_assets.chunking import cutter
from codesearch_assets.chunking.chunker import cut
from codesearch_assets.chunking.files import classify
from codesearch_assets.chunking.grammar import Grammar, parser
from codesearch_assets.chunking.languages import BY_NAME
from codesearch_assets.chunking.source import Source, decode, read
from codesearch_assets.chunking.units import Scope, Unit, siblings
from codesearch_resources.git import git_dir, local_environment
from codesearch_resources.repositories import Repository

if TYPE_CHECKING:
    from tree_sitter import Node

REPOSITORIES = "requests gin tokio gson curl trpc monolog plug"
WINDOW = 60
DEPTH = 12
SAMPLE = 400  # files that the limits are set on
GOALS = {"greedy": 0.90, "split-merge =": 1.0}  # ours over each

Piece = tuple[bytes, int]  # hash, characters


@dataclass
class Parsed:
    """A file as every design sees it."""

    data: bytes
    path: str
    language: str
    source: Source
    grammar: Grammar
    root: "Node"
    text: bytes  # what was parsed: lines joined by newlines


def parsed(data: bytes, path: str) -> Parsed | None:
    """The file, None when it is not cut by one grammar."""
    found = cut(data, path)
    row = BY_NAME.get(found.language)
    if found.outcome != "parsed" or row is None or row.grammar is None:
        return None
    decoded = decode(data)
    assert not isinstance(decoded, str)
    source, grammar = read(*decoded), row.grammar
    text = "\n".join(source.lines)
    if grammar.prepare is not None:
        text = grammar.prepare(text)
    encoded = text.encode("utf-8", "surrogatepass")
    root = parser(grammar.loader).parse(encoded).root_node
    return Parsed(data, path, row.name, source, grammar, root, encoded)


def pieces(file: Parsed, ranges: Sequence[tuple[int, int]]) -> list[Piece]:
    """Ranges of lines as hashes of their text, free of position."""
    found = []
    for lo, hi in ranges:
        lo, hi = file.source.trim(lo, hi)
        text = "\n".join(file.source.stripped[lo:hi])
        if text:
            found.append((_hash(text), len(text)))
    return found


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def ours(file: Parsed) -> list[Piece]:
    found = cut(file.data, file.path)
    return [(bytes.fromhex(c.content_hash), len(c.text)) for c in found.chunks]


def windows(file: Parsed) -> list[Piece]:
    lines = len(file.source.lines)
    return pieces(file, [(lo, min(lo + WINDOW, lines)) for lo in range(0, lines, WINDOW)])


def definitions(file: Parsed) -> list[Piece]:
    lines = len(file.source.lines)
    starts = sorted({0, lines, *_alone(file, file.root.children, 0, lines)})
    return pieces(file, list(pairwise(starts)))


def _alone(
    file: Parsed, nodes: list["Node"], lo: int, hi: int, head: Unit | None = None, depth: int = 0
) -> Iterator[int]:
    """The line where every unit begins, those of containers and of large sections too."""
    scope = Scope("container" if head else "module")
    for unit in siblings(nodes, lo, hi, scope, file.grammar, file.source, head):
        yield unit.lo
        if unit.head or depth > DEPTH:
            continue
        inside = [one.body for one in unit.definitions if one.container and one.body is not None]
        kinds = [one.kind for one in unit.definitions]
        if len(inside) == 1:
            within = inside[0].children
            first = within[0].start_point.row if within else unit.hi
            top = unit.as_head(scope, unit.lo, min(max(first, unit.lo + 1), unit.hi))
            yield from _alone(file, within, unit.lo, unit.hi, top, depth + 1)
        elif unit.hi - unit.lo > WINDOW and (len(kinds) > 1 or kinds in ([], ["section"])):
            within = [child for node in unit.nodes for child in node.children]
            yield from _alone(file, within, unit.lo, unit.hi, None, depth + 1)


class Greedy(cutter.Cutter):
    """The shipped cutter, but a run of units below the limit is filled up from its beginning."""

    def _grouped(self, run: list[Unit], scope: Scope) -> list["cutter._Draft"]:
        groups: list[list[Unit]] = []
        for unit in run:
            if groups and self._size([*groups[-1], unit]) <= self.small:
                groups[-1].append(unit)
            else:
                groups.append([unit])
        return [cutter._Draft(group, scope) for group in groups]


def greedy(file: Parsed, limit: float = cutter.GROUP) -> list[Piece]:
    own = Greedy(file.source, file.language, file.grammar, 0, len(file.source.lines), limit)
    chunks = own.chunks(file.root)
    return [(bytes.fromhex(c.content_hash), len(c.text)) for c in chunks]


def split_merge(file: Parsed, limit: float) -> list[Piece]:
    """Text from the first node of a group to that of the next."""
    starts = [0]
    if _solid(file.text) > limit:
        starts += [at for at in _starts(file.root.children, limit, file.text) if at]
    bounds = [*dict.fromkeys(starts), len(file.text)]
    found = []
    for lo, hi in pairwise(bounds):
        text = file.text[lo:hi].decode("utf-8", "replace").strip()
        if text:
            found.append((_hash(text), len(text)))
    return found


def _starts(nodes: list["Node"], limit: float, text: bytes) -> Iterator[int]:
    """Where groups of nodes begin."""
    size = 0.0
    open_group = False
    for node in nodes:
        own = _solid(text[node.start_byte : node.end_byte])
        if open_group and size + own > limit:
            open_group = False
        if own > limit and node.children:
            open_group = False
            yield from _starts(node.children, limit, text)
        elif open_group:
            size += own
        else:
            yield node.start_byte
            size, open_group = own, own <= limit


def _solid(text: bytes) -> int:
    """Characters that are no white space (bytes, which for code is nearly the same)."""
    return len(text.translate(None, b" \t\n\r\f\v"))


Design = Callable[[Parsed], list[Piece]]


def designs(sample: Sequence[Parsed]) -> dict[str, Design]:
    """The designs by name, limits set on a sample of files to the median length of ours."""
    wanted = median(chars for file in sample for _, chars in ours(file))
    return {
        "ours": ours,
        "definitions": definitions,
        "greedy": greedy,
        "greedy =": partial(greedy, limit=_limit(greedy, sample, wanted, 4, 400)),
        "split-merge =": partial(
            split_merge, limit=_limit(split_merge, sample, wanted, 50, 20_000)
        ),
        "windows": windows,
    }


def _limit(
    design: Callable[..., list[Piece]],
    sample: Sequence[Parsed],
    wanted: float,
    lo: float,
    hi: float,
) -> float:
    """The limit at which the median chunk has the wanted length, by bisection."""
    for _ in range(9):
        middle = (lo * hi) ** 0.5
        found = median(chars for file in sample for _, chars in design(file, limit=middle))
        lo, hi = (middle, hi) if found < wanted else (lo, middle)
    return (lo * hi) ** 0.5


@dataclass
class Cost:
    """What one design has cost in one repository."""

    seen: set[bytes] = field(default_factory=set)
    new: int = 0
    modified: int = 0
    chunks: int = 0
    lengths: list[int] = field(default_factory=list)

    def add(self, found: Sequence[Piece], status: str) -> None:
        """status: of the file in its commit, as git has it; "" for one that was there before."""
        for digest, chars in found:
            if not status:
                self.lengths.append(chars)
            if digest not in self.seen:
                self.seen.add(digest)
                if status:
                    self.new += chars
                    self.chunks += 1
                if status == "M":
                    self.modified += chars


def git(clone: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "core.quotePath=false", "-C", str(clone), *arguments],
        env=local_environment(),
        capture_output=True,
        check=True,
    )
    return done.stdout.decode("utf-8", "replace")


def changes(clone: Path, commits: int) -> tuple[str, list[list[tuple[str, str, str]]]]:
    """The commit before, and for each commit since then the (path, blob, status) it brought."""
    said = git(
        clone, "log", "--first-parent", "--diff-merges=first-parent", "--raw", "--no-abbrev",
        "--no-renames", f"-n{commits}", "--format=commit %H %P",
    )  # fmt: skip
    found: list[list[tuple[str, str, str]]] = []
    before = ""
    for line in said.splitlines():
        if line.startswith("commit "):
            found.append([])
            before = line.split()[2]
        elif line.startswith(":"):
            head, path = line.split("\t", 1)
            _, mode, _, blob, status = head[1:].split()
            if mode.startswith("100"):
                found[-1].append((path, blob, status))
    return before, found[::-1]


def measure(clone: Path, commits: int) -> tuple[dict[str, Cost], Counter[str]]:
    """The cost of each design over the last commits of one clone."""
    before, later = changes(clone, commits)
    if len(later) < commits:
        sys.exit(f"{clone} has {len(later)} commits, {commits} are needed")
    repository = Repository("r", path=clone)
    base = [
        (e.path, e.blob_id, "") for e in repository.snapshot(before).entries if e.kind == "file"
    ]
    files = [file for file, _ in _read(repository, base) if file]
    if not files:
        sys.exit(f"{clone}: no file of a language with a grammar")
    step = max(1, len(files) // SAMPLE)
    chosen = designs(files[::step])
    costs: defaultdict[str, Cost] = defaultdict(Cost)
    for file in files:
        for name, design in chosen.items():
            costs[name].add(design(file), "")
    counts: Counter[str] = Counter(files=len(files), commits=len(later))
    for changed in later:
        for file, status in _read(repository, changed):
            counts["changed files"] += 1
            if file is None:
                counts["of them not parsed"] += 1
                continue
            for name, design in chosen.items():
                costs[name].add(design(file), status)
    return costs, counts


def _read(
    repository: Repository, entries: Sequence[tuple[str, str, str]]
) -> Iterator[tuple[Parsed | None, str]]:
    wanted = [entry for entry in entries if not classify(entry[0], 0).skip]
    contents = repository.blobs([blob for _, blob, _ in wanted])
    for (path, _, status), (_, data) in zip(wanted, contents, strict=True):
        yield (parsed(data, path) if data else None), status


def clones_of(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Clones below a folder whose path names them."""
    below = [p for depth in ("*", "*/*") for p in folder.glob(depth) if p.is_dir() and git_dir(p)]
    found = {}
    for name in names:
        fits = [p for p in below if name in p.relative_to(folder).parts[0].lower().split("+")]
        if not fits:
            sys.exit(f"no clone of {name} below {folder}")
        found[name] = fits[0]
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--clones", type=Path, required=True)
    arguments.add_argument("--repos", default=REPOSITORIES)
    arguments.add_argument("--commits", type=int, default=200)
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()
    rows: list[dict[str, object]] = []
    total: defaultdict[str, int] = defaultdict(int)
    modified: defaultdict[str, int] = defaultdict(int)
    ratios: defaultdict[str, list[float]] = defaultdict(list)
    names: list[str] = []
    for repo, clone in clones_of(given.clones, given.repos.split()).items():
        costs, counts = measure(clone, given.commits)
        names = names or [name for name in costs if name != "definitions"]
        if not rows:
            print(
                f"{'repository':<12}{'commits':>8}{'files':>7}" + "".join(f"{n:>15}" for n in names)
            )
        divisor = costs["definitions"].new or 1
        row: dict[str, object] = {"repository": repo, **counts, "definitions": divisor}
        for name in names:
            ratios[name].append(costs[name].new / divisor)
            total[name] += costs[name].new
            modified[name] += costs[name].modified
            row[name] = {
                "characters": costs[name].new,
                "ratio": round(costs[name].new / divisor, 3),
                "new chunks": costs[name].chunks,
                "median": median(costs[name].lengths),
                "mean": round(mean(costs[name].lengths)),
            }
        total["definitions"] += divisor
        rows.append(row)
        shown = "".join(f"{ratios[name][-1]:>15.2f}" for name in names)
        changed = counts["changed files"] - counts["of them not parsed"]
        print(f"{repo:<12}{counts['commits']:>8}{changed:>7}{shown}")
        lengths = [f"{median(costs[n].lengths):.0f}/{mean(costs[n].lengths):.0f}" for n in names]
        print(f"{'  median/mean characters':<27}" + "".join(f"{one:>15}" for one in lengths))
    print(f"{'mean':<27}" + "".join(f"{mean(ratios[n]):>15.2f}" for n in names))
    print(f"{'all':<27}" + "".join(f"{total[n] / total['definitions']:>15.2f}" for n in names))
    against = {
        name: (
            mean(ratios["ours"]) / mean(ratios[name]),
            total["ours"] / total[name],
            modified["ours"] / modified[name],
        )
        for name in names
    }
    print(f"{'ours / it: mean':<27}" + "".join(f"{against[n][0]:>15.3f}" for n in names))
    print(f"{'ours / it: all':<27}" + "".join(f"{against[n][1]:>15.3f}" for n in names))
    print(f"{'the same, no added files':<27}" + "".join(f"{against[n][2]:>15.3f}" for n in names))
    if given.json:
        given.json.write_text(json.dumps({"rows": rows, "ours over": against}, indent=1) + "\n")
    missed = [n for n, goal in GOALS.items() if against[n][1] > goal]
    if missed:
        sys.exit(f"goal missed against: {', '.join(missed)}")


if __name__ == "__main__":
    main()
