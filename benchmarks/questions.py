"""Twenty questions over seven repositories as one index, and the first three hits of each.

    python benchmarks/questions.py --clones FOLDER_OF_CLONES --out docs/questions.md

The questions and their answers stand in questions.toml.
"""

import argparse
import tomllib
from collections.abc import Sequence
from pathlib import Path

from codesearch.evaluation import (
    BenchRepository,
    Task,
    find_clones,
    index_bench,
)
from codesearch.hits import Hit
from codesearch.metrics import Place, Target, covers
from codesearch.search import Index
from codesearch_resources.settings import load

LIST = Path(__file__).with_name("questions.toml")
SHOWN = 3


def wanted() -> list[BenchRepository]:
    """The repositories of questions.toml with their questions."""
    return [
        BenchRepository(
            row["name"],
            row["language"],
            row["commit"],
            row.get("root", ""),
            tuple(
                Task(question["query"], "question", tuple(map(Target, question["answers"])))
                for question in row["question"]
            ),
        )
        for row in tomllib.loads(LIST.read_text())["repository"]
    ]


def place_of_answer(hits: Sequence[Hit], repo: str, task: Task) -> int:
    """The rank of the first hit that answers, 0 when none of them does."""
    for rank, hit in enumerate(hits, 1):
        place = Place(hit.path, hit.start_line, hit.end_line, hit.repo != repo)
        if any(covers(place, target) for target in task.targets):
            return rank
    return 0


def report(index: Index, repositories: Sequence[BenchRepository]) -> str:
    """A Markdown page: each question, where its answer came, and its first hits."""
    ranks: list[int] = []
    parts: list[str] = []
    for repository in repositories:
        for task in repository.tasks:
            hits = index.search(task.query)
            ranks.append(place_of_answer(hits, repository.name, task))
            found = f"answer at {ranks[-1]}" if ranks[-1] else "**answer not among the first ten**"
            expected = ", ".join(f"`{target.path}`" for target in task.targets)
            parts.append(f"\n### {task.query}\n\n{repository.name}: {expected}; {found}\n")
            parts += [
                f"{at}. {hit.repo} `{hit.path}:{hit.line}` {hit.symbol}".rstrip()
                for at, hit in enumerate(hits[:SHOWN], 1)
            ]
    first, third = sum(rank == 1 for rank in ranks), sum(0 < rank <= SHOWN for rank in ranks)
    head = (
        "# Twenty questions\n\n"
        "Asked over seven repositories as one index, none of them named; written down, with the "
        "files that answer,\nbefore the ranking was worked on. Made by `python "
        "benchmarks/questions.py`.\n\n"
        f"The answer is the first hit of {first} of {len(ranks)} questions, among the first "
        f"{SHOWN} of {third}, among the first ten of {sum(map(bool, ranks))}."
    )
    return "\n".join([head, *parts, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description="Ask the twenty questions.")
    parser.add_argument("--clones", type=Path, required=True, help="a folder of clones")
    parser.add_argument("--work", type=Path, default=Path("corpus-questions"))
    parser.add_argument("--out", type=Path, help="the page to write, else it is printed")
    arguments = parser.parse_args()
    repositories = wanted()
    file = index_bench(repositories, find_clones(arguments.clones, repositories), arguments.work)
    with Index(load(file)) as index:
        page = report(index, repositories)
    if arguments.out:
        arguments.out.write_text(page)
    else:
        print(page)


if __name__ == "__main__":
    main()
