"""Vectors in memory, and an exact scan for the nearest that reads a byte for each number.

Every vector is held twice: as the table has it, and rounded to bytes. The rounded ones are compared
first, which takes a quarter of the memory traffic of floats; how far rounding can move a
similarity is known, so only the few that may be among the nearest are compared as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesearch.postings import highest

Vector = NDArray[np.float32]

LEVELS = 127  # a rounded number is -127..127 times its vector's step
SMALL = np.float32(1e-9)
SLACK = 1e-5  # of similarities, for what single precision rounds
AT_ONCE = 4_096  # rows that are compared as they are


@dataclass(frozen=True, slots=True)
class Matrix:
    """Vectors of chunks [rows, dimensions].

    `stored` [rows, dimensions] and their `lengths` [rows]; `rounded` [rows, dimensions] times
    `steps` [rows] are they at unit length, each at most `off` [rows] away.
    """

    ids: Sequence[str]
    stored: NDArray[np.float16]
    lengths: Vector
    rounded: NDArray[np.int8]
    steps: Vector
    off: Vector

    def best(
        self, vector: Vector, depth: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.intp], Vector]:
        """The `depth` rows nearest to a vector and their cosine similarities, nearest first; of
        equally near ones the first. Nothing is near to a vector of length 0.

        With `allowed` [rows] of the rows for which it holds.
        """
        length = float(np.linalg.norm(vector))
        if not length or not len(self.ids):
            return np.empty(0, np.intp), np.empty(0, np.float32)
        unit = vector / np.float32(length)
        likely, wrong = self.estimates(unit)
        rows = np.flatnonzero(allowed) if allowed is not None else np.arange(len(likely))
        if allowed is not None:
            likely, wrong = likely[rows], wrong[rows]
        if depth < len(rows):
            # As near as the farthest of these is the last that is wanted, or nearer.
            likeliest = np.argpartition(likely, -depth)[-depth:]
            least = self._similarities(rows[likeliest], unit).min()
            rows = rows[np.flatnonzero(likely + wrong >= least)]
        near = self._similarities(rows, unit)
        best = highest(near, depth)
        return rows[best], near[best]

    def estimates(self, unit: Vector) -> tuple[Vector, Vector]:
        """The cosine similarity of each row to a vector of unit length by what is rounded, and how
        far it may be from the true one."""
        from simsimd import cdist

        rounded, steps, off = round_off(unit[np.newaxis])
        said = np.asarray(cdist(rounded, self.rounded, metric="inner", out_dtype="float32"))[0]
        likely = said * self.steps
        likely *= steps
        # |a.b - A.B| <= |a - A| |b| + |A| |b - B|
        return likely, self.off * (1 + off) + (off + np.float32(SLACK))

    def _similarities(self, rows: NDArray[np.intp], unit: Vector) -> Vector:
        found = np.empty(len(rows), np.float32)
        for start in range(0, len(rows), AT_ONCE):
            part = rows[start : start + AT_ONCE]
            near = np.vecdot(widened(self.stored[part]), unit)
            found[start : start + AT_ONCE] = near / self.lengths[part]
        return found


def round_off(units: Vector) -> tuple[NDArray[np.int8], Vector, Vector]:
    """Vectors of unit length [rows, dimensions] as bytes, the step of each [rows], and how far each
    is from what it was [rows]."""
    steps = np.maximum(np.abs(units).max(axis=1, initial=0), SMALL) / np.float32(LEVELS)
    rounded = np.rint(units / steps[:, np.newaxis])
    off = np.linalg.norm(units - rounded * steps[:, np.newaxis], axis=1)
    return rounded.astype(np.int8), steps, off


def widened(halves: NDArray[np.float16]) -> Vector:
    """The same numbers, finite ones, in single precision; a seventh of the time of `astype`, which
    widens them one by one."""
    bits = halves.view(np.int16).astype(np.int32)
    bits <<= 13  # the fraction is 10 bits long, not 23
    bits &= np.int32(-0x70002000)  # without the copies of the sign between sign and exponent
    numbers: Vector = bits.view(np.float32)
    numbers *= np.float32(2.0**112)  # exponents count from -127, not -15
    return numbers


class Filling:
    """A matrix that is filled batch by batch."""

    def __init__(self, rows: int, dimensions: int) -> None:
        self._ids: list[str] = []
        self._stored = np.empty((rows, dimensions), np.float16)
        self._lengths = np.empty(rows, np.float32)
        self._rounded = np.empty((rows, dimensions), np.int8)
        self._steps = np.empty(rows, np.float32)
        self._off = np.empty(rows, np.float32)

    def add(self, ids: Sequence[str], vectors: NDArray[np.float16]) -> bool:
        """Take the next vectors [len(ids), dimensions]; False when there is no room for them."""
        start, end = len(self._ids), len(self._ids) + len(ids)
        if end > len(self._lengths):
            return False
        wide = vectors.astype(np.float32)
        lengths = np.maximum(np.linalg.norm(wide, axis=1), SMALL)
        self._stored[start:end], self._lengths[start:end] = vectors, lengths
        rounded, steps, off = round_off(wide / lengths[:, np.newaxis])
        self._rounded[start:end], self._steps[start:end], self._off[start:end] = rounded, steps, off
        self._ids += ids
        return True

    def matrix(self) -> Matrix:
        """What was taken."""
        rows = slice(len(self._ids))
        return Matrix(
            self._ids,
            self._stored[rows],
            self._lengths[rows],
            self._rounded[rows],
            self._steps[rows],
            self._off[rows],
        )
