"""From what each lane found to an order of files, and in each file the chunk to show.

Pure functions over candidates; nothing here reads a table. Files are scored first, since most
questions are about a file's job, then the chunk that answers best is taken from each. Every
addend is recorded under its name while it is added, so an explanation cannot drift from a score.

The terms follow a prototype on 23 public repositories; what they reach stands in
docs/retrieval.md.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from codesearch_resources.text import code_names, query_words, stems, words

LaneName = Literal["bm25", "vectors", "summary_bm25", "summary_vectors", "symbol"]
LANES: tuple[LaneName, ...] = ("bm25", "vectors", "summary_bm25", "summary_vectors", "symbol")

# How many of a file's best chunks count, and how fast they fade.
DEEP, DEEP_DECAY = 10, 0.8
SHALLOW, SHALLOW_DECAY = 3, 0.5
# Addends of a file's score; each evidence below lies in 0..1.
WEIGHTS: Mapping[str, float] = {
    "text and meaning": 3.0,  # the product: both lanes must agree
    "text": 2.0,
    "summary": 0.5,
    "file name": 2.0,
    "path": 2.0,
    "definition": 2.0,
    "directory": 1.0,
    "marked": -3.0,
    "other platform": -3.0,
    "header beside source": -3.0,
    "repository named": 2.5,
    "repository fits": 2.0,
}
PREFIX_MATCH, PREFIX_WORTH = 4, 0.8  # words that share four letters nearly match
REPOSITORY_FILES = 3  # a repository fits a question as well as its best files do
# A chunk that defines the asked identifier goes before one that mentions it.
DEFINES = 2.0
MOST_NAMES = 64  # of a question; a pasted file names hundreds
CLEARLY = 0.5  # of a name's words must be asked for before a hit points at that definition

ASKS_FOR_TESTS = re.compile(r"\b(?:tests?|testing|specs?|fixtures?|mocks?)\b", re.IGNORECASE)
ASKS_FOR_DOCS = re.compile(r"\b(?:docs?|documentation|readme|changelog|guide)\b", re.IGNORECASE)
ASIDE = re.compile(
    r"(?:^|/)(?:examples?|samples?|demos?|scripts?|benchmarks?|bench|legacy|deprecated|compat"
    r"|_\w[^/]*)(?:/|$)",
    re.IGNORECASE,
)
PLATFORMS = frozenset(
    "aix android apple arm arm64 bsd cygwin darwin emscripten freebsd haiku ios linux macos mips "
    "msdos netbsd openbsd os390 posix qnx solaris sunos tvos unix vms watchos wasm win win32 "
    "win64 windows".split()
)
HEADER_SUFFIXES = frozenset((".h", ".hpp", ".hh", ".hxx", ".pyi"))
SOURCE_SUFFIXES = frozenset((".c", ".cc", ".cpp", ".cxx", ".m", ".mm", ".py"))


@dataclass(frozen=True, slots=True)
class Query:
    """What was asked, taken apart once."""

    text: str
    stems: tuple[str, ...]  # of its words, each once
    names: tuple[str, ...]  # parts spelled like identifiers, lower case


@dataclass(frozen=True, slots=True)
class Candidate:
    """A chunk that some lane found."""

    chunk_id: str
    repo: str
    path: str
    language: str
    kind: str
    marks: tuple[str, ...]
    symbol: str
    names: tuple[str, ...]
    start_line: int
    end_line: int

    @property
    def file(self) -> tuple[str, str]:
        return (self.repo, self.path)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What each lane says of the candidates: chunk id to score, higher is better, best near 1."""

    lanes: Mapping[LaneName, Mapping[str, float]]

    def of(self, lane: LaneName, chunk_id: str) -> float:
        return self.lanes.get(lane, {}).get(chunk_id, 0.0)


@dataclass
class RankedFile:
    """A file, why it stands where it does, and its chunks, best first."""

    repo: str
    path: str
    rules: dict[str, float] = field(default_factory=dict)
    chunks: list[tuple[Candidate, float]] = field(default_factory=list)

    @property
    def score(self) -> float:
        return sum(self.rules.values())

    def add(self, rule: str, evidence: float) -> None:
        """Add a rule's share: its weight times the evidence for it."""
        if evidence:
            self.rules[rule] = self.rules.get(rule, 0.0) + WEIGHTS[rule] * evidence


def parse(text: str) -> Query:
    """Take a question apart."""
    found = query_words(text)
    return Query(text, tuple(dict.fromkeys(stems(" ".join(found)))), tuple(_identifiers(text)))


def _identifiers(text: str) -> list[str]:
    """Spelled like code, or capitalised so that it may name a type; a lone word counts too."""
    named = code_names(text)
    bare = [word.strip(".,;:!?\"'`()[]{}<>") for word in text.split()]
    named += [word for word in bare if word[:1].isupper() and word.isidentifier()]
    if len(bare) == 1:
        named += bare
    found: dict[str, None] = {}
    for name in named:
        plain = name.removesuffix("()").lstrip("@").replace("::", ".").replace("->", ".")
        for form in (plain, "".join(words(plain.rpartition(".")[2])) if "." not in plain else ""):
            found[form.lower()] = None
    found.pop("", None)
    return list(found)[:MOST_NAMES]


def rank(query: Query, candidates: Mapping[str, Candidate], evidence: Evidence) -> list[RankedFile]:
    """Order the files of the candidates, best first; ties by repository and path."""
    files: dict[tuple[str, str], RankedFile] = {}
    by_file: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in candidates.values():
        by_file.setdefault(candidate.file, []).append(candidate)
    for (repo, path), members in by_file.items():
        files[repo, path] = ranked = RankedFile(repo, path)
        ranked.chunks = _order_chunks(query, members, evidence)
    _score_lanes(files, by_file, evidence)
    _score_paths(query, files)
    _score_definitions(query, files, by_file)
    _score_marks(query, files, by_file)
    _score_repositories(query, files)
    return sorted(files.values(), key=lambda file: (-file.score, file.repo, file.path))


def _order_chunks(
    query: Query, members: Sequence[Candidate], evidence: Evidence
) -> list[tuple[Candidate, float]]:
    def score(chunk: Candidate) -> float:
        found = sum(evidence.of(lane, chunk.chunk_id) for lane in LANES if lane != "symbol")
        return found + DEFINES * sum(name in chunk.names for name in query.names)

    scored = [(chunk, score(chunk)) for chunk in members]
    return sorted(scored, key=lambda pair: (-pair[1], pair[0].start_line, pair[0].chunk_id))


def _score_lanes(
    files: Mapping[tuple[str, str], RankedFile],
    by_file: Mapping[tuple[str, str], Sequence[Candidate]],
    evidence: Evidence,
) -> None:
    """Decaying sums over a file's best chunks, each divided by the best file's."""

    def sums(lane: LaneName, depth: int, decay: float) -> dict[tuple[str, str], float]:
        totals = {
            file: _decaying_sum([evidence.of(lane, c.chunk_id) for c in members], depth, decay)
            for file, members in by_file.items()
        }
        best = max(totals.values(), default=0.0)
        return {file: total / best if best > 0 else 0.0 for file, total in totals.items()}

    text = sums("bm25", DEEP, DEEP_DECAY)
    meaning = sums("vectors", SHALLOW, SHALLOW_DECAY)
    summary_text = sums("summary_bm25", SHALLOW, SHALLOW_DECAY)
    summary_meaning = sums("summary_vectors", SHALLOW, SHALLOW_DECAY)
    for key, file in files.items():
        file.add("text and meaning", text[key] * meaning[key])
        file.add("text", text[key])
        file.add("summary", summary_text[key] * summary_meaning[key])


def _decaying_sum(scores: Sequence[float], depth: int, decay: float) -> float:
    best = sorted(scores, reverse=True)[:depth]
    return sum(score * decay**place for place, score in enumerate(best))


def _score_paths(query: Query, files: Mapping[tuple[str, str], RankedFile]) -> None:
    asked = query.stems
    names = {key: _path_stems(path) for key in files for path in (key[1],)}
    # A word that stands in many of the paths tells none of them apart.
    share = {
        word: sum(word in stem or word in folders for stem, folders in names.values())
        for word in asked
    }
    weight = {word: math.log(1 + len(files) / (1 + count)) for word, count in share.items()}
    total = sum(weight.values())
    for key, file in files.items():
        stem, folders = names[key]
        file.add("file name", _cover(stem, asked))
        if total:
            here = sum(weight[word] for word in asked if word in stem or word in folders)
            file.add("path", here / total)
        file.add("directory", max((_match(word, asked) for word in folders[-1:]), default=0.0))


def meant(query: Query, symbol: str, inside: Sequence[str]) -> str:
    """The definition a question points at in a chunk: one of `inside`, else the chunk's `symbol`.

    One that is asked for by its name, else the one whose name clearly holds more of the asked words
    than any other's does.
    """
    if len(inside) < 2 or len({symbol, *inside}) < 2:
        return symbol
    asked = set(query.names)
    named = next((name for name in (symbol, *inside) if asked & _spellings(name)), None)
    if named is not None:
        return named
    shares = {name: _named_share(name, query.stems) for name in dict.fromkeys((symbol, *inside))}
    best, second = sorted(shares, key=lambda name: -sum(shares[name]))[:2]
    clear = shares[best][1] >= CLEARLY and sum(shares[best]) > sum(shares[second])
    return best if clear else symbol


def _spellings(name: str) -> set[str]:
    """How a question may spell a qualified name, lower case."""
    dotted, last = name.replace("::", "."), _last_name(name)
    member = ".".join(dotted.split(".")[-2:])
    return {form.lower() for form in (dotted, member, last, "".join(words(last))) if form}


def _last_name(name: str) -> str:
    return name.replace("::", ".").rpartition(".")[2]


def _named_share(name: str, asked: Sequence[str]) -> tuple[int, float]:
    """How many of the asked words a definition's own name holds, and their share of the name."""
    own = set(stems(_last_name(name)))
    held = len(own & set(asked))
    return held, held / len(own) if own else 0.0


def _path_stems(path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The stemmed words of a file's name and of its last two folders."""
    pure = PurePosixPath(path)
    stem = pure.name.split(".")[0] or pure.name
    return tuple(stems(stem)), tuple(stems(" ".join(pure.parts[:-1][-2:])))


def _cover(stem: Sequence[str], asked: Sequence[str]) -> float:
    """The share of a file name's words that the question holds."""
    if not stem:
        return 0.0
    joined = 1.0 if "".join(stem) in asked else 0.0
    return max(joined, sum(_match(word, asked) for word in stem) / len(stem))


def _match(word: str, asked: Sequence[str]) -> float:
    if word in asked:
        return 1.0
    near = any(
        len(other) >= PREFIX_MATCH and other[:PREFIX_MATCH] == word[:PREFIX_MATCH]
        for other in asked
    )
    return PREFIX_WORTH if near else 0.0


def _score_definitions(
    query: Query,
    files: Mapping[tuple[str, str], RankedFile],
    by_file: Mapping[tuple[str, str], Sequence[Candidate]],
) -> None:
    """For each identifier asked for, the files that define it share one point."""
    if not query.names:
        return
    for name in query.names:
        defining = [
            key for key, members in by_file.items() if any(name in c.names for c in members)
        ]
        for key in defining:
            files[key].add("definition", 1 / len(defining) / len(query.names))


def _score_marks(
    query: Query,
    files: Mapping[tuple[str, str], RankedFile],
    by_file: Mapping[tuple[str, str], Sequence[Candidate]],
) -> None:
    """Demote what is rarely meant: tests, generated, vendored, asides, other platforms' code."""
    unwanted = {"generated", "vendored"}
    if not ASKS_FOR_TESTS.search(query.text):
        unwanted.add("test")
    if not ASKS_FOR_DOCS.search(query.text):
        unwanted.add("docs")
    asked = set(words(query.text))
    stems_with_source = {
        (key[0], str(PurePosixPath(key[1]).with_suffix("")))
        for key in files
        if PurePosixPath(key[1]).suffix in SOURCE_SUFFIXES
    }
    for key, file in files.items():
        pure = PurePosixPath(key[1])
        marked = unwanted & {mark for c in by_file[key] for mark in c.marks}
        file.add("marked", 1.0 if marked or ASIDE.search(key[1]) else 0.0)
        platforms = PLATFORMS & set(words(" ".join(pure.with_suffix("").parts)))
        file.add("other platform", 1.0 if platforms and not platforms & asked else 0.0)
        beside = (key[0], str(pure.with_suffix(""))) in stems_with_source
        file.add("header beside source", float(pure.suffix in HEADER_SUFFIXES and beside))


def _score_repositories(query: Query, files: Mapping[tuple[str, str], RankedFile]) -> None:
    """With several repositories: prefer one that is named, and one that fits as a whole."""
    scores: dict[str, list[float]] = {}
    for file in files.values():
        scores.setdefault(file.repo, []).append(file.score)
    if len(scores) < 2:
        return
    fit = {
        repo: sum(sorted(found, reverse=True)[:REPOSITORY_FILES]) / REPOSITORY_FILES
        for repo, found in scores.items()
    }
    best = max(fit.values())
    asked = set(query.stems)
    for file in files.values():
        if best > 0:
            file.add("repository fits", max(fit[file.repo], 0.0) / best)
        named = set(stems(file.repo))
        file.add("repository named", 1.0 if named and named <= asked else 0.0)
