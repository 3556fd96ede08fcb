"""The pace: up by one a clean round, down on a refusal, and no more of what was refused."""

import random

from hypothesis import given
from hypothesis import strategies as st

from codesearch_resources.summarizers.pace import FORGET_AFTER, Pace


def work(pace: Pace, slots: int, calls: int) -> int:
    """Calls in rounds to a server with so many slots; how many it refused."""
    refused = done = 0
    while done < calls:
        begun = [pace.begin() for _ in range(pace.limit)]
        for number, one in enumerate(begun):
            done += 1
            if number < slots:
                pace.clean()
            else:
                refused += 1
                pace.refused(one)
    return refused


def test_known_slots_are_begun_with_and_never_passed() -> None:
    pace = Pace(10, 10)
    assert pace.limit == 10
    assert work(pace, 10, 500) == 0
    assert Pace(3, 10).limit == 3


def test_slots_are_found_out_within_a_hundred_calls_and_kept() -> None:
    for slots in (1, 3, 10):
        pace = Pace(32)
        assert pace.limit == 1
        work(pace, slots, 100)
        assert max(1, slots - 1) <= pace.limit <= slots + 1
        assert work(pace, slots, 2_000) <= 20  # one in a hundred


def test_a_server_that_has_less_now_gets_half() -> None:
    pace = Pace(32, 8)
    assert pace.refused(pace.begin())
    assert pace.limit == 4


def test_calls_refused_together_count_once() -> None:
    pace = Pace(32, 8)
    together = [pace.begin() for _ in range(8)]
    assert [pace.refused(one) for one in together].count(True) == 1
    assert pace.limit == 4


def test_what_was_refused_is_tried_again_after_a_long_while() -> None:
    pace = Pace(4, 2)
    work(pace, 2, 20)
    assert pace.limit == 2
    work(pace, 4, FORGET_AFTER + 20)
    assert pace.limit == 4


@given(st.integers(1, 64), st.lists(st.booleans(), max_size=300), st.integers(0, 2**32))
def test_the_limit_is_always_between_one_and_the_most(
    most: int, answers: list[bool], seed: int
) -> None:
    pace, drawn = Pace(most), random.Random(seed)
    begun = [pace.begin()]
    for answer in answers:
        if answer:
            pace.clean()
        else:
            pace.refused(drawn.choice(begun))
        begun.append(pace.begin())
        assert 1 <= pace.limit <= most
