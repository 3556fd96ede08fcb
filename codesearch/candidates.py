"""Candidates: the chunks that some lane found, and what the lanes say of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

LaneName = Literal["bm25", "vectors", "summary_bm25", "summary_vectors", "symbol"]
LANES: tuple[LaneName, ...] = ("bm25", "vectors", "summary_bm25", "summary_vectors", "symbol")

T = TypeVar("T")
File = tuple[str, str]  # repository and path
Floats = NDArray[np.float64]
Places = NDArray[np.intp]  # of chunks among known ones


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
    inside: tuple[str, ...] = ()  # the qualified names of its definitions, as they are spelled

    @property
    def file(self) -> File:
        return (self.repo, self.path)


@dataclass(frozen=True, slots=True)
class Known:
    """Chunks that a place stands for, by repository, path and id; files and marks by number."""

    chunks: Sequence[Candidate]
    places: Mapping[str, int]  # by chunk id
    files: Sequence[File]
    file_of: NDArray[np.int32]  # [chunks]
    marks: Sequence[tuple[str, ...]]
    marks_of: NDArray[np.int32]  # [chunks]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Known chunks at `places`, which ascend; those of `files[n]` are at
    `places[starts[n]:starts[n + 1]]`."""

    known: Known
    places: Places
    numbers: NDArray[np.int32]  # of the files among the known ones
    files: Sequence[File]
    file_of: Places  # of each candidate among `files`
    starts: Sequence[int]

    def __len__(self) -> int:
        return len(self.places)

    def of(self, file: int) -> list[Candidate]:
        """The candidates of a file."""
        places = self.places[self.starts[file] : self.starts[file + 1]]
        return [self.known.chunks[place] for place in places.tolist()]

    def split(self, values: Sequence[T]) -> list[Sequence[T]]:
        """What is said of each candidate, by file."""
        return [values[start:end] for start, end in pairwise(self.starts)]

    def all(self) -> list[Candidate]:
        """All of them."""
        return [self.known.chunks[place] for place in self.places.tolist()]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of candidates.

    `lanes` [candidates]: what each lane says, higher is better, best near 1. `central` [files]: how
    much of its repository leans on a file, 0..1.
    """

    lanes: Mapping[LaneName, Floats]
    central: Floats


def known(chunks: Iterable[Candidate]) -> Known:
    """These chunks, ordered."""
    ordered = sorted(chunks, key=lambda chunk: (chunk.repo, chunk.path, chunk.chunk_id))
    files: dict[File, int] = {}
    marks: dict[tuple[str, ...], int] = {}
    file_of = [files.setdefault(chunk.file, len(files)) for chunk in ordered]
    marks_of = [marks.setdefault(chunk.marks, len(marks)) for chunk in ordered]
    return Known(
        ordered,
        {chunk.chunk_id: place for place, chunk in enumerate(ordered)},
        list(files),
        np.array(file_of, np.int32),
        list(marks),
        np.array(marks_of, np.int32),
    )


def some(known: Known, places: Places) -> Candidates:
    """The known chunks at these places, which ascend."""
    files = known.file_of[places]
    first = np.diff(files, prepend=-1) > 0
    starts = np.flatnonzero(first)
    numbers = files[starts]
    named = [known.files[number] for number in numbers.tolist()]
    file_of = np.cumsum(first) - 1
    return Candidates(known, places, numbers, named, file_of, [*starts.tolist(), len(files)])


@dataclass(frozen=True, slots=True)
class Placed:
    """What a lane found among known chunks, in no order."""

    known: Known
    places: Places
    scores: Floats

    def by_id(self) -> dict[str, float]:
        """The same by chunk id."""
        ids = [self.known.chunks[place].chunk_id for place in self.places.tolist()]
        return dict(zip(ids, self.scores.tolist(), strict=True))


def placed(among: Known, scores: Mapping[str, float]) -> Placed:
    """Scores by chunk id as those of places, without chunks that are not known."""
    found = {place: s for key, s in scores.items() if (place := among.places.get(key)) is not None}
    return Placed(
        among,
        np.fromiter(found.keys(), np.intp, len(found)),
        np.fromiter(found.values(), np.float64, len(found)),
    )
