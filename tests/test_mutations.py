"""Every named mistake in the guard and the chain turns its own test red."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from mutations import MUTATIONS, mutated

ROOT = Path(__file__).parent.parent
BEHAVIOURS = {
    *(f"W-{n}" for n in range(1, 17)),
    *(f"R-{n}" for n in range(1, 6)),
    *(f"L-{n}" for n in range(2, 9)),
    *(f"H-{n}" for n in range(1, 11)),
}


def test_every_behaviour_has_its_mistakes() -> None:
    named = {found[0] for m in MUTATIONS if (found := re.match(r"[WRLH]-\d+", m.name))}
    assert named == BEHAVIOURS
    assert len({m.name for m in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_a_mistake_still_fits_its_module(mutation: object) -> None:
    assert mutated(mutation)  # type: ignore[arg-type]


def test_every_mistake_is_found() -> None:
    done = subprocess.run(
        [sys.executable, "tests/mutations.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
