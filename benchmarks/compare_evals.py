"""Whether one way retrieves worse than another: a paired bootstrap over a benchmark's questions.

    codesearch eval BENCH.json --clones FOLDER --out before.json      # at the one commit
    codesearch eval BENCH.json --clones FOLDER --out after.json       # at the other
    python benchmarks/compare_evals.py before.json after.json [more.json ...]

Each further file is compared with the first. NDCG@10 of the same questions in both; they are drawn
with replacement, the same ones from both, and the bounds are the 2.5 and 97.5 percentiles of the
mean difference. Exit code 1 when a lower bound is not above -0.01.
"""

import argparse
import json
import sys
from pathlib import Path
from random import Random
from statistics import mean

RESAMPLES = 10_000
SEED = 7
GOAL = -0.01

Question = tuple[str, str]


def scores(file: Path, way: str) -> dict[Question, float]:
    """NDCG@10 by repository and question."""
    asked = json.loads(file.read_text())[way]["questions"]
    return {(one["repo"], one["query"]): one["scores"]["ndcg"] for one in asked}


def bounds(differences: list[float]) -> tuple[float, float]:
    """The 2.5 and 97.5 percentiles of the mean of a resample."""
    chance = Random(SEED)
    count = len(differences)
    means = sorted(mean(chance.choices(differences, k=count)) for _ in range(RESAMPLES))
    return means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES)]


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("before", type=Path)
    arguments.add_argument("after", type=Path, nargs="+")
    arguments.add_argument("--way", default="alone", choices=["alone", "merged"])
    given = arguments.parse_args()
    before = scores(given.before, given.way)
    print(f"{given.before.stem:<16}{mean(before.values()):.4f}  {len(before)} questions")
    missed = []
    for file in given.after:
        after = scores(file, given.way)
        if after.keys() != before.keys():
            sys.exit(f"{file} has other questions than {given.before}")
        differences = [after[one] - before[one] for one in before]
        low, high = bounds(differences)
        print(
            f"{file.stem:<16}{mean(after.values()):.4f}  {mean(differences):+.4f} "
            f"[{low:+.4f}, {high:+.4f}]"
        )
        if low <= GOAL:
            missed.append(file.stem)
    if missed:
        sys.exit(f"goal missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
