"""From what each lane found to an order of files, and in each file the chunk to show.

Pure functions over candidates; nothing here reads a table. Files are scored first, since most
questions are about a file's job, then the chunk that answers best is taken from each. A score is
the sum of what the rules say, each recorded under its name, so an explanation cannot drift from it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from codesearch.best_chunk import AskedNames, best_first, strengths
from codesearch.candidates import Candidate, Candidates, Evidence, Floats, LaneName
from codesearch.definition_names import names_of, rarity
from codesearch.paths import HEADER_SUFFIXES, PathFacts, PathWords, path_facts, with_source
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


# A rule's name, and the evidence for it in each file.
Said = Iterator[tuple[str, Floats]]


def rank(
    query: Query, candidates: Candidates, evidence: Evidence, most: int | None = None
) -> list[RankedFile]:
    """The best `most` (all when None) files of the candidates, best first, and their chunks; ties
    by repository and path."""
    rules = {
        rule: WEIGHTS[rule] * said
        for rule, said in _rules(query, candidates, evidence)
        if said.any()
    }
    total = sum(rules.values(), np.zeros(len(candidates.files)))
    asked, said = AskedNames(query), strengths(candidates, evidence)
    ranked = []
    for at in np.argsort(-total, kind="stable")[:most].tolist():
        shares = {rule: share for rule, of in rules.items() if (share := float(of[at]))}
        own = slice(candidates.starts[at], candidates.starts[at + 1])
        chunks = best_first(asked, candidates.of(at), said[own].tolist())
        repo, path = candidates.files[at]
        ranked.append(RankedFile(repo, path, shares, chunks))
    return ranked


def rank_near(candidates: Candidates, evidence: Evidence) -> list[RankedFile]:
    """Order the files of what lies near a chunk by their nearest chunk."""
    near = evidence.lanes.get("vectors", np.zeros(len(candidates))).tolist()
    ranked = []
    for file, own in zip(
        candidates.files,
        candidates.split(list(zip(candidates.all(), near, strict=True))),
        strict=True,
    ):
        nearest = sorted(own, key=lambda one: (-one[1], one[0].chunk_id))
        likeness = WEIGHTS["likeness"] * nearest[0][1]
        ranked.append(RankedFile(*file, {"likeness": likeness} if likeness else {}, nearest))
    return sorted(ranked, key=lambda file: -file.score)


def _rules(query: Query, candidates: Candidates, evidence: Evidence) -> Said:
    facts = [path_facts(path) for _, path in candidates.files]
    marked = _marked(query, candidates, facts)
    yield from _lanes(candidates, evidence)
    yield "central", evidence.central
    yield from _paths(query, facts)
    yield "named after", _named_after(query, candidates)
    yield "marked", marked
    yield "definition", _definitions(query, candidates, marked)
    yield from _variants(query, candidates, facts)
    yield "language named", _languages(query, candidates)
    yield "repository named", _repositories(query, candidates)


def _lanes(candidates: Candidates, evidence: Evidence) -> Said:
    """Decaying sums over a file's best chunks, each divided by the best file's."""
    file_of, files = candidates.file_of, len(candidates.files)
    place = np.arange(len(file_of)) - np.array(candidates.starts)[file_of]  # in its file
    none = np.zeros(len(file_of))

    def sums(lane: LaneName, depth: int, decay: float) -> Floats:
        scores = evidence.lanes.get(lane, none)
        best_first = np.lexsort((-scores, file_of))  # in each file
        fading = np.append(decay ** np.arange(depth), 0.0)[np.minimum(place, depth)]
        totals = np.bincount(file_of, scores[best_first] * fading, files).astype(np.float64)
        against: Floats = totals / (totals.max(initial=0.0) or 1.0)
        return against

    text = sums("bm25", TEXT_DEPTH, TEXT_DECAY)
    yield "text and meaning", text * sums("vectors", MEANING_DEPTH, MEANING_DECAY)
    yield "text and summary", text * sums("summary_vectors", MEANING_DEPTH, MEANING_DECAY)
    yield "best chunk", sums("bm25", 1, 1.0)


def _paths(query: Query, facts: Sequence[PathFacts]) -> Said:
    asked = PathWords(query.stems, facts)
    name, path, folder = np.zeros((3, len(facts)))
    for at, one in enumerate(facts):
        if one in asked:
            name[at], path[at], folder[at] = asked.name(one), asked.path(one), asked.folder(one)
    yield "file name", name
    yield "path", path
    yield "directory", folder


def _named_after(query: Query, candidates: Candidates) -> Floats:
    """The share of a file's definitions whose names hold asked words, rare ones first.

    Of the definitions in the chunks that were found. Against the best file. In one repository only:
    like code of several is named alike, and which of them is meant is not in the names.
    """
    shares = np.zeros(len(candidates.files))
    if len({repo for repo, _ in candidates.files}) > 1:
        return shares
    asked = frozenset(query.stems)
    named = [
        [name.own.words for chunk in chunks for name in names_of(chunk).each]
        for chunks in candidates.split(candidates.all())
    ]
    held = [[(held, len(own)) for own in names if (held := own & asked)] for names in named]
    weights = rarity(asked, [frozenset[str]().union(*(words for words, _ in one)) for one in held])
    for at, (names, some) in enumerate(zip(named, held, strict=True)):
        worth = sum(sum(weights[word] for word in sorted(words)) / size for words, size in some)
        shares[at] = worth / (len(names) + NAMES_TO_COUNT)
    return shares / (shares.max(initial=0.0) or 1.0)


def _definitions(query: Query, candidates: Candidates, marked: Floats) -> Floats:
    """For each identifier asked for, the files that define it share one point.

    Where a file that is not marked defines it, tests, examples and the like do not count.
    """
    shares = np.zeros(len(candidates.files))
    chunks = candidates.all() if query.names else ()
    for name in query.names:
        defines = [name in chunk.names for chunk in chunks]
        found = np.array([True in own for own in candidates.split(defines)], bool)
        unmarked = found & (marked == 0)
        defining = unmarked if unmarked.any() else found
        shares[defining] += 1 / max(defining.sum(), 1) / len(query.names)
    return shares


def _marked(query: Query, candidates: Candidates, facts: Sequence[PathFacts]) -> Floats:
    """Demote what is rarely meant: tests, generated, vendored, documents, asides."""
    unwanted = {"generated", "vendored"}
    if not ASKS_FOR_TESTS.search(query.text):
        unwanted.add("test")
    if not ASKS_FOR_DOCS.search(query.text):
        unwanted.add("docs")
    known = candidates.known
    rare = np.array([not unwanted.isdisjoint(marks) for marks in known.marks], bool)
    marked = np.bincount(candidates.file_of, rare[known.marks_of[candidates.places]], len(facts))
    aside = np.array([one.aside for one in facts], bool)
    return np.where((marked > 0) | aside, 1.0, 0.0)


def _variants(query: Query, candidates: Candidates, facts: Sequence[PathFacts]) -> Said:
    """Demote other platforms' files, headers beside their source, older versions' copies."""
    platform, header, older = np.zeros((3, len(facts)))
    variants = [at for at, one in enumerate(facts) if one.variant]
    asked = set(words(query.text)) if variants else ()
    files = set(candidates.files) if variants else ()
    headers = any(facts[at].suffix in HEADER_SUFFIXES for at in variants)
    sources = with_source(candidates.files, facts) if headers else ()
    for at in variants:
        one, repo = facts[at], candidates.files[at][0]
        platform[at] = bool(one.platforms) and one.platforms.isdisjoint(asked)
        header[at] = one.suffix in HEADER_SUFFIXES and (repo, one.without_suffix) in sources
        older[at] = bool(one.newer) and (repo, one.newer) in files
    yield "other platform", platform
    yield "header beside source", header
    yield "older copy", older


def _languages(query: Query, candidates: Candidates) -> Floats:
    """Prefer a language that is named, where there are several."""
    none = np.zeros(len(candidates.files))
    if not query.languages:
        return none
    spoken = [chunks[0].language for chunks in candidates.split(candidates.all())]
    named = np.array([language in query.languages for language in spoken], float)
    return named if len(set(spoken)) > 1 else none


def _repositories(query: Query, candidates: Candidates) -> Floats:
    """With several repositories: prefer one that is named."""
    repos = {repo for repo, _ in candidates.files}
    asked = set(query.stems)
    named = {repo for repo in repos if (own := set(stems(repo))) and own <= asked}
    if len(repos) < 2 or not named:
        return np.zeros(len(candidates.files))
    return np.array([repo in named for repo, _ in candidates.files], float)
