"""From what each lane found to an order of files, and in each file the chunk to show.

Pure functions over candidates; nothing here reads a table. Files are scored first, since most
questions are about a file's job, then the chunk that answers best is taken from each. Every
addend is recorded under its name while it is added, so an explanation cannot drift from a score.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from codesearch.best_chunk import AskedNames, best_first
from codesearch.candidates import Candidate, Evidence, File, LaneName
from codesearch.definition_names import names_of, rarity
from codesearch.paths import HEADER_SUFFIXES, PathWords, path_facts, with_source
from codesearch.query import Query
from codesearch_resources.text import stems, words

# How many of a file's best chunks count, and how fast they fade.
TEXT_DEPTH, TEXT_DECAY = 5, 0.6
MEANING_DEPTH, MEANING_DECAY = 3, 0.5
# Addends of a file's score; each evidence lies in 0..1. Rounded; what each is worth, left out or
# changed, stands in docs/retrieval.md.
WEIGHTS: Mapping[str, float] = {
    "text and meaning": 2.0,  # the product: both lanes must agree
    "text and summary": 1.0,  # the same with what the summaries mean
    "best chunk": 3.0,
    "file name": 2.0,
    "path": 2.0,
    "definition": 3.0,
    "directory": 1.0,
    "named after": 1.0,  # the question, its definitions are: a hub holds many named otherwise
    "central": 1.0,
    "marked": -3.0,
    "other platform": -3.0,
    "header beside source": -3.0,
    "older copy": -3.0,
    "language named": 1.0,
    "repository named": 2.0,
    "likeness": 1.0,  # of what lies near a given chunk; the only rule there
}
NAMES_TO_COUNT = 3  # added to a file's definitions: one that fits by chance is no pattern

ASKS_FOR_TESTS = re.compile(r"\b(?:tests?|testing|specs?|fixtures?|mocks?)\b", re.IGNORECASE)
ASKS_FOR_DOCS = re.compile(r"\b(?:docs?|documentation|readme|changelog|guide)\b", re.IGNORECASE)


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


Floats = NDArray[np.float64]
Files = Mapping[File, RankedFile]
Members = Mapping[File, Sequence[Candidate]]


def rank(
    query: Query, candidates: Mapping[str, Candidate], evidence: Evidence, most: int | None = None
) -> list[RankedFile]:
    """Order the files of the candidates, best first; ties by repository and path.

    The chunks of the best `most` (all when None) are ordered too, the other files have none.
    """
    members: dict[File, list[Candidate]] = {}
    for candidate in candidates.values():
        members.setdefault(candidate.file, []).append(candidate)
    files = {file: RankedFile(*file) for file in members}
    _score_lanes(files, members, evidence)
    _score_paths(query, files)
    _score_names(query, files, members)
    _score_marks(query, files, members)
    _score_definitions(query, files, members)
    _score_variants(query, files)
    _score_languages(query, files, members)
    _score_repositories(query, files)
    ordered = sorted((-ranked.score, *file) for file, ranked in files.items())
    found = [files[repo, path] for _, repo, path in ordered]
    asked = AskedNames(query)
    for file in found[:most]:
        file.chunks = best_first(asked, members[file.repo, file.path], evidence)
    return found


def rank_near(candidates: Mapping[str, Candidate], evidence: Evidence) -> list[RankedFile]:
    """Order the files of what lies near a chunk by their nearest chunk."""
    files: dict[File, RankedFile] = {}
    near = evidence.lanes.get("vectors", {})
    for chunk in sorted(candidates.values(), key=lambda c: (-near.get(c.chunk_id, 0), c.chunk_id)):
        file = files.setdefault(chunk.file, RankedFile(*chunk.file))
        if not file.chunks:
            file.add("likeness", near.get(chunk.chunk_id, 0.0))
        file.chunks.append((chunk, near.get(chunk.chunk_id, 0.0)))
    return sorted(files.values(), key=lambda file: (-file.score, file.repo, file.path))


def _score_lanes(files: Files, members: Members, evidence: Evidence) -> None:
    """Decaying sums over a file's best chunks, each divided by the best file's."""
    ids = [chunk.chunk_id for chunks in members.values() for chunk in chunks]
    sizes = [len(chunks) for chunks in members.values()]
    file_of = np.repeat(np.arange(len(sizes)), sizes)
    place = np.arange(len(ids)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # in its file

    def scores_of(lane: LaneName) -> Floats:
        said = evidence.lanes.get(lane, {})
        return np.array([said.get(chunk_id, 0.0) for chunk_id in ids])

    def sums(scores: Floats, depth: int, decay: float) -> Floats:
        best_first = np.lexsort((-scores, file_of))  # in each file
        fading = np.where(place < depth, decay**place, 0.0)
        faded = scores[best_first] * fading
        totals: Floats = np.bincount(file_of, faded, len(sizes)).astype(np.float64)
        best = totals.max(initial=0.0)
        return totals / (best if best > 0 else 1.0)

    words = scores_of("bm25")
    text = sums(words, TEXT_DEPTH, TEXT_DECAY)
    meaning = sums(scores_of("vectors"), MEANING_DEPTH, MEANING_DECAY)
    summary = sums(scores_of("summary_vectors"), MEANING_DEPTH, MEANING_DECAY)
    shares = {
        "text and meaning": text * meaning,
        "text and summary": text * summary,
        "best chunk": sums(words, 1, 1.0),
    }
    for rule, values in shares.items():
        for key, value in zip(members, values.tolist(), strict=True):
            files[key].add(rule, value)
    for key, file in files.items():
        file.add("central", evidence.central.get(key, 0.0))


def _score_paths(query: Query, files: Files) -> None:
    facts = {file: path_facts(file[1]) for file in files}
    asked = PathWords(query.stems, facts.values())
    for key, file in files.items():
        file.add("file name", asked.name(facts[key]))
        file.add("path", asked.path(facts[key]))
        file.add("directory", asked.folder(facts[key]))


def _score_names(query: Query, files: Files, members: Members) -> None:
    """The share of a file's definitions whose names hold asked words, rare ones first.

    Of the definitions in the chunks that were found. Against the best file. In one repository only:
    like code of several is named alike, and which of them is meant is not in the names.
    """
    if len({repo for repo, _ in files}) > 1:
        return
    asked = frozenset(query.stems)
    named: dict[File, list[tuple[frozenset[str], int]]] = {}
    definitions: dict[File, int] = {}
    for key, chunks in members.items():
        names = [name.own for chunk in chunks for name in names_of(chunk)]
        definitions[key] = len(names)
        named[key] = [(held, len(own)) for own in names if (held := own & asked)]
    held_by_file = [frozenset[str]().union(*(held for held, _ in one)) for one in named.values()]
    weights = rarity(asked, held_by_file)
    shares = {
        key: sum(sum(weights[word] for word in sorted(held)) / size for held, size in one)
        / (definitions[key] + NAMES_TO_COUNT)
        for key, one in named.items()
    }
    if best := max(shares.values(), default=0.0):
        for key, file in files.items():
            file.add("named after", shares[key] / best)


def _score_definitions(query: Query, files: Files, members: Members) -> None:
    """For each identifier asked for, the files that define it share one point.

    Where a file that is not marked defines it, tests, examples and the like do not count.
    """
    for name in query.names:
        found = [file for file, chunks in members.items() if any(name in c.names for c in chunks)]
        defining = [file for file in found if "marked" not in files[file].rules] or found
        for file in defining:
            files[file].add("definition", 1 / len(defining) / len(query.names))


def _score_marks(query: Query, files: Files, members: Members) -> None:
    """Demote what is rarely meant: tests, generated, vendored, documents, asides."""
    unwanted = {"generated", "vendored"}
    if not ASKS_FOR_TESTS.search(query.text):
        unwanted.add("test")
    if not ASKS_FOR_DOCS.search(query.text):
        unwanted.add("docs")
    for key, file in files.items():
        marked = any(chunk.marks and unwanted.intersection(chunk.marks) for chunk in members[key])
        if marked or path_facts(file.path).aside:
            file.add("marked", 1.0)


def _score_variants(query: Query, files: Files) -> None:
    """Demote other platforms' files, headers beside their source, older versions' copies."""
    asked = set(words(query.text))
    sources = with_source(files)
    for file in files.values():
        facts = path_facts(file.path)
        if facts.platforms and not facts.platforms & asked:
            file.add("other platform", 1.0)
        if facts.suffix in HEADER_SUFFIXES and (file.repo, facts.without_suffix) in sources:
            file.add("header beside source", 1.0)
        if facts.newer and (file.repo, facts.newer) in files:
            file.add("older copy", 1.0)


def _score_languages(query: Query, files: Files, members: Members) -> None:
    """Prefer a language that is named, where there are several."""
    spoken = {key: chunks[0].language for key, chunks in members.items()}
    if not query.languages or len(set(spoken.values())) < 2:
        return
    for key, file in files.items():
        file.add("language named", float(spoken[key] in query.languages))


def _score_repositories(query: Query, files: Files) -> None:
    """With several repositories: prefer one that is named."""
    repos = {repo for repo, _ in files}
    if len(repos) < 2:
        return
    asked = set(query.stems)
    named = {repo for repo in repos if (own := set(stems(repo))) and own <= asked}
    for file in files.values():
        file.add("repository named", float(file.repo in named))
