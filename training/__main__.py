"""`python -m training`: fetch the listed packages, mine, learn, judge, and write the table.

python -m training make [--folder FOLDER]       all of it; FOLDER keeps archives and examples
python -m training pin REGISTRY NAME... [...]   add packages to the list
"""

import argparse
import hashlib
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from codesearch_resources.embedders.base import Embedder
from codesearch_resources.embedders.codewords import SHIPPED, CodewordsEmbedder, save
from codesearch_resources.embedders.embedded import EmbeddedEmbedder
from codesearch_resources.embedders.vocabulary import Vocabulary
from training import evaluate, packages
from training.learn import Pair, Recipe, learn
from training.packages import FetchError, Package
from training.pairs import Example, mine
from training.start import as_pair, first_table, known_words

REPORT = Path(__file__).parent / "report.json"


def make(examples: Sequence[Example], recipe: Recipe, target: Path) -> CodewordsEmbedder:
    """Learn a table from examples and write it; the same examples give the same bytes."""
    vocabulary = Vocabulary(known := known_words(examples))
    groups: dict[str, list[Pair]] = {}
    pairs = []
    for example in examples:
        pairs.append(as_pair(example, vocabulary))
        if example.query:
            groups.setdefault(example.package, []).append(pairs[-1])
    start = first_table(pairs, vocabulary.rows, recipe.dimensions, recipe.seed)
    table = learn(start, [group for _, group in sorted(groups.items())], recipe)
    save(target, known, table)
    return CodewordsEmbedder(target)


def judge(embedders: Sequence[Embedder], unseen: Sequence[Example]) -> dict[str, object]:
    """MRR@10 of embedders on packages that were not learnt from, by language too."""
    asked = evaluate.held_out(unseen)
    languages = np.array([example.language for example in asked])
    found: dict[str, object] = {"questions": len(asked)}
    for embedder in embedders:
        code = evaluate.code_score(embedder, asked)
        found[embedder.id] = {
            "code": _mean(code),
            "prose": _mean(evaluate.prose_score(embedder, asked)),
            "by_language": {
                str(name): _mean(code[languages == name]) for name in np.unique(languages)
            },
        }
    return found


def _mean(ranks: "np.ndarray[tuple[int], np.dtype[np.float32]]") -> float:
    return round(float(ranks.mean()), 4)


def _all(folder: Path, target: Path, workers: int) -> None:
    began = time.monotonic()
    listed = packages.listed()
    seen = mine([package for package in listed if not package.held_out], folder, workers)
    unseen = mine([package for package in listed if package.held_out], folder, workers)
    mined = time.monotonic()
    recipe = Recipe()
    embedder = make(seen, recipe, target)
    learnt = time.monotonic()
    report = {
        "list": hashlib.sha256(packages.LIST.read_bytes()).hexdigest(),
        "packages": {"learnt from": _count(seen), "held out": _count(unseen)},
        "recipe": asdict(recipe),
        "mrr@10": judge([embedder, EmbeddedEmbedder()], unseen),
        "seconds": {"fetch and mine": round(mined - began), "learn": round(learnt - mined)},
    }
    REPORT.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(REPORT.read_text(encoding="utf-8"))


def _count(examples: Sequence[Example]) -> dict[str, object]:
    described = [example for example in examples if example.query]
    return {
        "packages": len({example.package for example in examples}),
        "chunks": len(examples),
        "described": len(described),
        "languages": dict(Counter(example.language for example in described).most_common()),
    }


def _pin(registry: str, names: Sequence[str], folder: Path) -> None:
    found: dict[tuple[str, str], Package] = {(p.registry, p.name): p for p in packages.listed()}
    for name in names:
        try:
            package = packages.pin(registry, name, folder)
        except FetchError as error:
            sys.stderr.write(f"{error}\n")
            continue
        if package is None:
            sys.stderr.write(
                f"{registry} {name}: left out, its licence is not clearly permissive\n"
            )
        else:
            found[registry, name] = package
    packages.write(found.values())


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("training-data"))
    parser.add_argument("--target", type=Path, default=SHIPPED)
    parser.add_argument("--workers", type=int, default=2)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("make")
    pin = commands.add_parser("pin")
    pin.add_argument("registry", choices=("pypi", "npm", "debian", "deb"))
    pin.add_argument("names", nargs="+")
    given = parser.parse_args()
    folder = given.folder.absolute()  # the registries' clients run elsewhere
    if given.command == "pin":
        _pin(given.registry, given.names, folder)
    else:
        _all(folder, given.target, given.workers)


if __name__ == "__main__":
    main()
