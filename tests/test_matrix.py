"""Vectors in memory: the nearest by an exact scan, whatever rounding does to them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import codesearch.matrix as matrix_module
from codesearch.matrix import Filling, Matrix, widened

Vectors = NDArray[np.float16]
KINDS = ("plain", "spiked", "alike", "sparse", "tiny")
SEEDS = st.integers(0, 2**32 - 1)


def matrix(vectors: Vectors, batch: int = 7) -> Matrix:
    """Read as a table is: batch by batch."""
    filling = Filling(*vectors.shape)
    for start in range(0, len(vectors), batch):
        part = vectors[start : start + batch]
        assert filling.add([f"c{n}" for n in range(start, start + len(part))], part)
    return filling.matrix()


def cosines(vectors: Vectors, asked: NDArray[np.float32]) -> NDArray[np.float64]:
    """As they are, in double precision; of a vector of length 0, 0."""
    wide = vectors.astype(np.float64)
    lengths = np.maximum(np.linalg.norm(wide, axis=1), 1e-9)
    found: NDArray[np.float64] = wide @ (asked / np.linalg.norm(asked.astype(np.float64))) / lengths
    return found


def some_vectors(seed: int, rows: int, kind: str, dimensions: int = 16) -> Vectors:
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((rows, dimensions))
    if kind == "spiked":  # a number that dwarfs the rest costs those their digits
        vectors[:, seed % dimensions] *= 1_000
    elif kind == "alike":  # closer to each other than rounding can tell
        vectors = vectors[:1] + 0.001 * vectors
    elif kind == "sparse":
        vectors *= random.random(vectors.shape) < 0.1
    elif kind == "tiny":
        vectors *= 1e-5
    return vectors.astype(np.float16)


@given(
    SEEDS,
    st.integers(1, 60),
    st.integers(1, 40),
    st.sampled_from(KINDS),
    st.booleans(),
)
def test_the_nearest_are_those_of_a_scan_in_double_precision(
    seed: int, rows: int, depth: int, kind: str, limited: bool
) -> None:
    vectors = some_vectors(seed, rows, kind)
    random = np.random.default_rng(seed + 1)
    asked = (vectors[0] + 0.1 * random.standard_normal(16)).astype(np.float32)
    allowed = random.random(rows) < 0.5 if limited else None
    found, near = matrix(vectors).best(asked, depth, allowed)
    expected = cosines(vectors, asked)
    among = np.flatnonzero(allowed) if allowed is not None else np.arange(rows)
    assert len(set(found.tolist())) == len(found) == min(depth, len(among))
    assert set(found.tolist()) <= set(among.tolist())
    assert near == pytest.approx(expected[found], abs=2e-6)
    assert near == pytest.approx(np.sort(expected[among])[::-1][:depth], abs=2e-6)
    assert (np.diff(near) <= 0).all()


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_a_filter_that_lets_nothing_through_finds_nothing(rows: int) -> None:
    vectors = some_vectors(0, rows, "plain")
    found, near = matrix(vectors).best(np.ones(16, np.float32), 3, np.zeros(rows, np.bool_))
    assert (found.tolist(), near.tolist()) == ([], [])


def test_of_equally_near_rows_the_first_are_found() -> None:
    vectors = np.eye(2, dtype=np.float16)[[0, 1, 1, 1, 1]]
    found, _ = matrix(vectors).best(np.array([2, 1], np.float32), 3)
    assert found.tolist() == [0, 1, 2]


def test_nothing_is_near_to_nothing() -> None:
    found, _ = matrix(np.eye(3, dtype=np.float16)).best(np.zeros(3, np.float32), 2)
    assert not len(found)


def test_rows_are_compared_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = some_vectors(3, 50, "alike")
    asked = vectors[4].astype(np.float32)
    whole, near = matrix(vectors).best(asked, 20)
    monkeypatch.setattr(matrix_module, "AT_ONCE", 3)
    parts, also = matrix(vectors).best(asked, 20)
    assert (whole.tolist(), near.tolist()) == (parts.tolist(), also.tolist())


def test_more_rows_than_there_is_room_for_are_told() -> None:
    filling = Filling(2, 3)
    assert not filling.add(["a", "b", "c"], np.eye(3, dtype=np.float16))


@pytest.mark.parametrize("dimensions", [16, 256, 1_024, 4_096])
@pytest.mark.parametrize("kind", KINDS)
def test_no_similarity_is_farther_from_its_estimate_than_is_said(
    kind: str, dimensions: int
) -> None:
    for seed in range(5):
        vectors = some_vectors(seed, 40, kind, dimensions)
        asked = (vectors[0] + 0.1 * vectors[1]).astype(np.float32)
        unit = asked / np.maximum(np.linalg.norm(asked), np.float32(1e-9))
        likely, wrong = matrix(vectors).estimates(unit)
        true = cosines(vectors, unit) if unit.any() else np.zeros(40)
        assert (np.abs(likely - true) <= wrong).all()


def test_what_rounds_badly_costs_no_other_row_its_comparison() -> None:
    vectors = some_vectors(1, 500, "plain", 256)
    vectors[7, 3] = 100
    asked = vectors[9].astype(np.float32)
    _, wrong = matrix(vectors).estimates(asked / np.linalg.norm(asked))
    assert wrong[7] > 2 * np.median(wrong)
    assert np.delete(wrong, 7).max() < 1.5 * np.median(wrong)


def test_every_half_is_widened_to_itself() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    assert np.array_equal(widened(finite), finite.astype(np.float32))
