"""Metrics against figures worked out by hand."""

import math

import pytest

from codesearch.metrics import Place, Target, covers, score

SECOND = 1 / math.log2(3)  # the gain of a target found at rank 2


def at(path: str, start: int = 1, end: int = 10, *, foreign: bool = False) -> Place:
    return Place(path, start, end, foreign)


def test_the_only_target_first_is_perfect() -> None:
    found = score([at("a.py")], [Target("a.py")])
    assert (found.ndcg, found.recall, found.reciprocal_rank) == (1, 1, 1)


def test_the_only_target_second_gains_less() -> None:
    found = score([at("b.py"), at("a.py")], [Target("a.py")])
    assert found.ndcg == pytest.approx(0.6309, abs=1e-4)
    assert (found.recall, found.reciprocal_rank) == (1, 0.5)


def test_two_targets_at_ranks_one_and_three() -> None:
    found = score([at("a"), at("x"), at("b")], [Target("a"), Target("b")])
    assert found.ndcg == pytest.approx((1 + 0.5) / (1 + SECOND))
    assert (found.recall, found.reciprocal_rank) == (1, 1)


def test_one_of_two_targets_is_half_the_recall() -> None:
    found = score([at("a")], [Target("a"), Target("b")])
    assert found.ndcg == pytest.approx(1 / (1 + SECOND))
    assert found.recall == 0.5


def test_a_target_counts_once_however_often_it_is_hit() -> None:
    found = score([at("a", 1, 5), at("a", 6, 9), at("b")], [Target("a"), Target("b")])
    assert found.ndcg == pytest.approx((1 + 0.5) / (1 + SECOND))


def test_what_comes_after_the_tenth_hit_does_not_count() -> None:
    places = [at(f"{number}") for number in range(10)]
    found = score([*places, at("a")], [Target("a")])
    assert (found.ndcg, found.recall, found.reciprocal_rank) == (0, 0, 0)


def test_the_ideal_is_ten_hits_for_more_than_ten_targets() -> None:
    names = [f"{number}.py" for number in range(12)]
    found = score([at(name) for name in names], [Target(name) for name in names])
    assert found.ndcg == pytest.approx(1)
    assert found.recall == pytest.approx(10 / 12)


def test_no_hits_and_no_targets_are_nought() -> None:
    assert score([], [Target("a")]).ndcg == 0
    assert score([at("a")], []).recall == 0


@pytest.mark.parametrize(
    ("place", "target", "expected"),
    [
        (at("src/a.py"), Target("a.py"), True),
        (at("a.py"), Target("src/a.py"), True),
        (at("src/ba.py"), Target("a.py"), False),
        (at("src/a.py"), Target("lib/a.py"), False),
        (at("a.py", foreign=True), Target("a.py"), False),
        (at("a.py", 1, 10), Target("a.py", 10, 20), True),
        (at("a.py", 1, 9), Target("a.py", 10, 20), False),
        (at("a.py", 12, 13), Target("a.py", 10, 20), True),
        (at("a.py", 21, 30), Target("a.py", 10, 20), False),
    ],
)
def test_a_hit_covers_a_target_by_path_suffix_and_lines(
    place: Place, target: Target, expected: bool
) -> None:
    assert covers(place, target) is expected
