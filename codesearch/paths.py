"""What a path says of a file: the words of its name and folders, and whether it stands aside."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import PurePosixPath

from codesearch.alike import PREFIX_MATCH, PREFIX_WORTH, start, with_starts
from codesearch.candidates import File
from codesearch_resources.text import stems

FOLDERS = 2  # whose words count

ASIDE = re.compile(
    r"(?:^|/)(?:examples?|samples?|demos?|scripts?|benchmarks?|bench|legacy|deprecated|compat"
    r"|_\w[^/]*)(?:/|$)",
    re.IGNORECASE,
)
OLD_VERSION = re.compile(r"(^|/)v\d+/")
# Of a file's variants the one for unix is the one that is meant when no platform is named.
PLATFORMS = frozenset(
    "aix android apple arm arm64 bsd cygwin darwin emscripten freebsd haiku ios linux macos mips "
    "msdos netbsd openbsd os390 qnx solaris sunos tvos vms watchos wasm win win32 win64 "
    "windows".split()
)
# `win/tcp.c` and `tcp_win.c` are of a platform; `commonJvmAndroid/` says that it is of several.
PLATFORM_PARTS = re.compile(r"[/_.+-]")
HEADER_SUFFIXES = frozenset((".h", ".hpp", ".hh", ".hxx", ".pyi"))
SOURCE_SUFFIXES = frozenset((".c", ".cc", ".cpp", ".cxx", ".m", ".mm", ".py"))


@dataclass(frozen=True, slots=True, eq=False)  # a key within one question, and quick
class PathFacts:
    """What ranking wants to know of a path; made once for each."""

    stem: tuple[str, ...]  # stemmed words of the file's name
    folders: tuple[str, ...]  # and of its last folders
    words: frozenset[str]  # of both
    may_match: frozenset[str]  # these, how they begin, and the name run together
    last_folder: str  # the last word of them
    aside: bool
    platforms: frozenset[str]
    suffix: str
    without_suffix: str
    newer: str  # the path this is an older version's copy of, if there is such a file
    variant: bool  # whether it may be another's: for a platform, a header, an older copy


@lru_cache(maxsize=200_000)
def path_facts(path: str) -> PathFacts:
    """Take a path apart."""
    pure = PurePosixPath(path)
    bare = pure.with_suffix("")
    folders = tuple(stems(" ".join(pure.parts[:-1][-FOLDERS:])))
    stem = tuple(stems(pure.name.split(".")[0] or pure.name))
    held = frozenset((*stem, *folders))
    platforms = PLATFORMS.intersection(PLATFORM_PARTS.split(str(bare).lower()))
    newer = OLD_VERSION.sub(r"\1", path) if OLD_VERSION.search(path) else ""
    return PathFacts(
        stem,
        folders,
        held,
        with_starts((*stem, *folders, "".join(stem))),
        folders[-1] if folders else "",
        ASIDE.search(path) is not None,
        platforms,
        pure.suffix,
        str(bare),
        newer,
        bool(platforms or newer or pure.suffix in HEADER_SUFFIXES),
    )


class PathWords:
    """How well paths match a question; a word that stands in many of them tells none apart.

    Weights come from the candidates' own paths, so they need no statistics of the whole index and
    mean the same over one repository and over many.
    """

    def __init__(self, asked: Sequence[str], paths: Collection[PathFacts]) -> None:
        self._asked = asked
        # Neighbours run together name files too: "thread pool" is asked of threadpool.c.
        self._joined = {first + second: (first, second) for first, second in pairwise(asked)}
        told = {*asked, *self._joined}
        may_match = with_starts(told)
        held = {
            facts: self._told(facts, told)
            for facts in paths
            if not may_match.isdisjoint(facts.may_match)
        }
        self._held = held
        # Equal paths of several repositories are one key, and count as often as there are.
        counts = Counter(word for facts in paths for word in held.get(facts, ()))
        self._weight: Mapping[str, float] = {
            word: math.log(1 + len(paths) / (1 + counts[word])) for word in asked
        }
        self._total = sum(self._weight.values())
        self._most = max(self._weight.values(), default=0.0) or 1.0
        self._starts: dict[str, float] = {}
        for word, weight in self._weight.items():
            if len(word) >= PREFIX_MATCH:
                begins = start(word)
                self._starts[begins] = max(weight, self._starts.get(begins, 0.0))
        self._near: dict[str, float] = {}

    def __contains__(self, facts: PathFacts) -> bool:
        """Whether a path may match; most have nothing of a question."""
        return facts in self._held

    def _told(self, facts: PathFacts, told: Collection[str]) -> Collection[str]:
        """The words of a path that matter here, and those it holds run together."""
        held = facts.words.intersection(told)
        together = [self._joined[word] for word in held if word in self._joined]
        return held.union(*together) if together else held

    def _match(self, word: str) -> float:
        """The weight of an asked word that `word` is, or begins as, against the heaviest."""
        near = self._near.get(word)
        if near is None:
            near = self._near[word] = self._weigh(word) / self._most
        return near

    def _weigh(self, word: str) -> float:
        if word in self._weight:
            return self._weight[word]
        if word in self._joined:
            return max(self._weight[part] for part in self._joined[word])
        return PREFIX_WORTH * self._starts.get(start(word), 0.0)

    def name(self, facts: PathFacts) -> float:
        """How much of a file's name was asked for, 0..1."""
        if not facts.stem:
            return 0.0
        if "".join(facts.stem) in self._asked:
            return 1.0
        return sum(map(self._match, facts.stem)) / len(facts.stem)

    def path(self, facts: PathFacts) -> float:
        """The weighted share of the question that stands in name or folders, 0..1."""
        held = self._held[facts]
        if not held:
            return 0.0
        here = sum(self._weight[word] for word in self._asked if word in held)
        return here / self._total if self._total else 0.0

    def folder(self, facts: PathFacts) -> float:
        """How well the last folder matches, 0..1."""
        return self._match(facts.last_folder) if facts.last_folder else 0.0


def with_source(files: Iterable[File], facts: Iterable[PathFacts]) -> set[File]:
    """Repository and path without suffix of the source files that a header may stand beside."""
    return {
        (repo, one.without_suffix)
        for (repo, _), one in zip(files, facts, strict=True)
        if one.suffix in SOURCE_SUFFIXES
    }
