"""The night: 70,000 calls against a subscription, whatever they truly cost, on a fake clock."""

from collections.abc import Callable
from functools import cache

import pytest
from the_night import CALLS, FACTORS, LAGS, Cell, Outcome, document, night

from codesearch_resources.quota.rules import PARTS

RESERVE_LINE, CAP = 0.6, 0.02
CELLS = [(factor, visible, lag) for factor in FACTORS for visible in (True, False) for lag in LAGS]


def ended(factor: float, visible: bool, lag: int, person: bool) -> Outcome:
    # What costs what is expected looks the same in the usage and in the meter.
    return _night(Cell(factor, visible or factor == 1, lag, person))


@cache
def _night(cell: Cell) -> Outcome:
    return night(cell)


@pytest.mark.parametrize(("factor", "visible", "lag"), CELLS)
def test_the_subscription_is_left_with_the_persons_share(
    factor: float, visible: bool, lag: int
) -> None:
    found = ended(factor, visible, lag, person=False)
    assert found.calls < CALLS
    if factor == 1:
        assert found.week <= RESERVE_LINE + CAP
        assert found.week >= RESERVE_LINE - CAP  # and the job had what was its own
    else:
        assert found.week <= (0.22 if lag == 30 else 0.20)
    if factor > 1 and visible:
        assert found.calls == 20
    assert found.five <= 0.5 + CAP


@pytest.mark.parametrize(("factor", "visible", "lag"), CELLS)
def test_with_a_person_at_work_their_reserve_holds(factor: float, visible: bool, lag: int) -> None:
    found = ended(factor, visible, lag, person=True)
    assert found.week <= RESERVE_LINE + CAP
    # What a person takes in the half hour that the meter lags cannot be known: 30 credits of 800.
    assert found.five <= 0.5 + CAP + (lag / 60) * 60 / 800


def test_a_single_part_switched_off_shows() -> None:
    """Each part is worth something in some night: else it would not be needed."""
    nights: dict[str, Callable[[frozenset[str]], bool]] = {
        "reserve": lambda off: _ends(1, False, 0, off).calls == CALLS,
        "per_request": lambda off: _ends(6.8, True, 0, off).week > 0.2,
        "meter_check": lambda off: _ends(12.9, False, 0, off).week > 0.2,
        "cap": lambda off: _ends(6.8, False, 30, off).week > 0.2,
        "slow_start": lambda off: _ends(50, False, 30, off).week > 0.2,
    }
    for part, spends_more in nights.items():
        assert spends_more(frozenset({part})), part


def _ends(factor: float, visible: bool, lag: int, off: frozenset[str]) -> Outcome:
    return night(Cell(factor, visible, lag, off=off))  # type: ignore[arg-type]


@pytest.mark.soak
def test_the_tables_of_the_documentation() -> None:
    lines = document()
    assert sum(part.replace("_", " ") in line for part in PARTS for line in lines) >= len(PARTS)
