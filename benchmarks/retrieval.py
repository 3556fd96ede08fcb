"""How well questions are answered: repositories alone and merged, ablations, peers.

    python benchmarks/retrieval.py --bench BENCH.json --clones FOLDER --merged "NAME NAME" \\
        --peer-python PYTHON --out FILE.json

Everything goes through the real pipeline once; variants of lanes and weights are then made of what
the lanes found (evidence.py). Beside it, on the same files and by the same metric: semble without
its model (PYTHON is one that has it), ripgrep where it is installed, and our BM25 alone. Writes
JSON and, beside it, a plot (SVG).
"""

import argparse
import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from doc_comments import moved
from evidence import (
    RULES,
    Question,
    ask,
    by_lane,
    by_ranks,
    by_sum,
    interval,
    left_out,
    order,
    reranked,
    scores,
    without,
)

from codesearch.candidates import LANES, Floats, LaneName
from codesearch.evaluation import BenchRepository, find_clones, index_bench, read_bench
from codesearch.metrics import Place, score
from codesearch.ranking import WEIGHTS
from codesearch.search import Index
from codesearch_resources.discovery import slug
from codesearch_resources.settings import load
from codesearch_resources.text import STOP_WORDS, words

PEER = Path(__file__).with_name("retrieval_peers.py")
Groups = Sequence[tuple[str, Sequence[BenchRepository]]]


def asked(groups: Groups, work: Path, move: bool) -> list[Question]:
    """Ask the lanes every question of each group of repositories."""
    found: list[Question] = []
    for name, group in groups:
        file = work / name / "codesearch.yaml"
        if move:
            file = moved(file, work / "moved" / name)
        with Index(load(file)) as index:
            found += ask(index, group)
    return found


def variants(questions: Sequence[Question]) -> dict[str, Floats]:
    """NDCG@10 of each question under every ablation."""
    found = {"all": scores(questions, WEIGHTS)}
    for rule in RULES:
        found[f"without rule: {rule}"] = scores(questions, {**WEIGHTS, rule: 0.0})
        found[f"only rule: {rule}"] = scores(questions, {rule: WEIGHTS[rule]})
    for lane in LANES:
        found[f"without lane: {lane}"] = scores(reranked(questions, without(lane)), WEIGHTS)
        found[f"only lane: {lane}, no rules"] = np.array([by_lane(one, lane) for one in questions])
    both: tuple[LaneName, ...] = ("bm25", "vectors")
    found["BM25 and code vectors, reciprocal ranks, no rules"] = np.array(
        [by_ranks(one, both) for one in questions]
    )
    found["BM25 and code vectors, sum, no rules"] = np.array(
        [by_sum(one, both) for one in questions]
    )
    product = {"text and meaning": 1.0}
    found["BM25 and code vectors, product, no rules"] = scores(questions, product)
    found["code vectors only"] = scores(
        questions, {**WEIGHTS, "text and meaning": 3.0, "text and summary": 0.0}
    )
    found["summary vectors only"] = scores(
        questions, {**WEIGHTS, "text and meaning": 0.0, "text and summary": 3.0}
    )
    found["summaries in BM25"] = scores(reranked(questions, _summaries_in_text), WEIGHTS)
    return found


def _summaries_in_text(one: Question) -> Mapping[LaneName, Floats]:
    lanes = one.found.evidence.lanes
    total = lanes["bm25"] + 0.5 * lanes["summary_bm25"]
    return {**lanes, "bm25": total / (total.max(initial=0.0) or 1.0)}


def exported(groups: Groups, clones: Mapping[str, Path], work: Path) -> list[Path]:
    """Each group's files in a folder, repositories side by side under their names."""
    folders = []
    for name, group in groups:
        folders.append(work / "files" / name)
        for one in group:
            target = folders[-1] / slug(one.name)
            if not target.exists():
                target.mkdir(parents=True)
                command = ["git", "-C", str(clones[one.name]), "archive", one.revision]
                tar = subprocess.run(
                    command + ([one.root] if one.root else []), capture_output=True, check=True
                )
                subprocess.run(["tar", "-x", "-C", str(target)], input=tar.stdout, check=True)
    return folders


def semble(python: str, groups: Groups, folders: Sequence[Path]) -> tuple[Floats, list[float]]:
    """The peer's NDCG@10 of each question, and its milliseconds."""
    asking = [
        {"folder": str(folder), "queries": [t.query for one in group for t in one.tasks]}
        for (_, group), folder in zip(groups, folders, strict=True)
    ]
    done = subprocess.run(
        [python, str(PEER)], input=json.dumps(asking), capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout)
    return _judged(groups, said["answers"]), said["milliseconds"]


def ripgrep(groups: Groups, folders: Sequence[Path]) -> Floats:
    """Files by how many of the question's words they hold, then by how often."""
    answers = []
    for (_, group), folder in zip(groups, folders, strict=True):
        found = []
        for query in (task.query for one in group for task in one.tasks):
            counts: dict[str, list[int]] = {}
            for word in dict.fromkeys(w for w in words(query) if w not in STOP_WORDS):
                command = ["rg", "--count-matches", "--ignore-case", "--fixed-strings", word, "."]
                done = subprocess.run(
                    command, cwd=folder, capture_output=True, text=True, check=False
                )
                for line in done.stdout.splitlines():
                    path, _, count = line.removeprefix("./").rpartition(":")
                    counts.setdefault(path, []).append(int(count))
            best = sorted(
                counts, key=lambda p: (-len(counts[p]), -sum(map(math.log1p, counts[p])), p)
            )
            found.append([[path, 1, 10**9] for path in best[:10]])
        answers.append(found)
    return _judged(groups, answers)


def _judged(groups: Groups, answers: Sequence[Any]) -> Floats:
    judged = []
    for (_, group), found in zip(groups, answers, strict=True):
        tasks = [(slug(one.name), task) for one in group for task in one.tasks]
        for (repo, task), hits in zip(tasks, found, strict=True):
            places = []
            for path, start, end in hits:
                of, _, inside = str(path).partition("/")
                places.append(Place(inside, start, end, of != repo))
            judged.append(score(places, task.targets).ndcg)
    return np.array(judged)


def right_repository(questions: Sequence[Question]) -> dict[str, float]:
    """How often the first hit, and what share of the first ten, is from the question's own."""
    own = [[one.files[at][0] == one.repo for at in order(one, WEIGHTS)[:10]] for one in questions]
    return {
        "first hit": float(np.mean([hits[:1] == [True] for hits in own])),
        "share of the first ten": float(np.mean([np.mean(hits) if hits else 0.0 for hits in own])),
    }


def figure(values: Floats, against: Floats | None = None) -> dict[str, Any]:
    """Mean and interval; with a paired interval of the difference where a baseline is given."""
    found: dict[str, Any] = {"ndcg@10": float(values.mean()), "interval": interval(values)}
    if against is not None:
        found["difference"] = float((values - against).mean())
        found["paired interval"] = interval(values - against)
    return found


def plot(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Horizontal bars with their intervals, a panel each for alone and merged."""
    rows = [(way, name, one) for way, found in results.items() for name, one in found.items()]
    height, left, width = 18, 360, 420
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 80}" '
        f'height="{height * (len(rows) + 1)}" font-family="sans-serif" font-size="11">'
    ]
    for at, (way, name, one) in enumerate(rows):
        y = height * at + 6
        low, high = (left + width * end for end in one["interval"])
        colour = "#356" if way == "alone" else "#a63"
        parts.append(
            f'<text x="{left - 6}" y="{y + 10}" text-anchor="end">{way}: {name}</text>'
            f'<rect x="{left}" y="{y}" width="{width * one["ndcg@10"]:.1f}" height="12" '
            f'fill="{colour}" opacity="0.7"/>'
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y + 6}" y2="{y + 6}" stroke="black"/>'
            f'<text x="{left + width + 6}" y="{y + 10}">{one["ndcg@10"]:.3f}</text>'
        )
    return "\n".join([*parts, "</svg>"])


def measured(
    way: str, groups: Groups, clones: Mapping[str, Path], work: Path, peer: str
) -> dict[str, dict[str, Any]]:
    """Every figure of one way of asking."""
    questions = asked(groups, work / way, move=False)
    found = variants(questions)
    base = found["all"]
    found["doc comments in the summaries' place"] = scores(
        asked(groups, work / way, move=True), WEIGHTS
    )
    if way == "alone":
        found["weights fitted from equal ones"], apart = left_out(questions)
        found["the same, own repository left out"] = apart
    folders = exported(groups, clones, work / way)
    if peer:
        found["peer: semble without its model"], _ = semble(peer, groups, folders)
    found["peer: ripgrep, words held"] = ripgrep(groups, folders)
    for kind in sorted({one.task.category for one in questions}):
        found[f"questions: {kind}"] = base[[one.task.category == kind for one in questions]]
    if way == "merged":
        print("from the right repository:", right_repository(questions))
    return {
        name: figure(values, base if len(values) == len(base) and name != "all" else None)
        for name, values in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how well questions are answered.")
    parser.add_argument("--bench", type=Path, required=True)
    parser.add_argument("--clones", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("corpus-retrieval"))
    parser.add_argument("--merged", default="")
    parser.add_argument("--peer-python", default="", help="a Python that has semble")
    parser.add_argument("--only", choices=("alone", "merged"))
    parser.add_argument("--indexed", action="store_true", help="ask what is under --work already")
    parser.add_argument("--out", type=Path, default=Path("retrieval.json"))
    arguments = parser.parse_args()
    bench = read_bench(arguments.bench)
    clones = find_clones(arguments.clones, bench)
    together = [one for one in bench if one.name in arguments.merged.split()]
    ways: dict[str, Groups] = {"alone": [(slug(one.name), [one]) for one in bench]}
    if together:
        ways["merged"] = [("all", together)]
    results = {}
    for way, groups in ways.items():
        if arguments.only and way != arguments.only:
            continue
        for name, group in groups if not arguments.indexed else ():
            index_bench(group, clones, arguments.work / way / name)
        results[way] = measured(way, groups, clones, arguments.work, arguments.peer_python)
        print(f"\n{way}")
        for name, one in results[way].items():
            low, high = one["interval"]
            line = f"{one['ndcg@10']:.4f} [{low:.3f}, {high:.3f}]  {name}"
            if "difference" in one:
                low, high = one["paired interval"]
                line += f"  {one['difference']:+.4f} [{low:+.3f}, {high:+.3f}]"
            print(line, flush=True)
    arguments.out.write_text(json.dumps(results, indent=1))
    arguments.out.with_suffix(".svg").write_text(plot(results))


if __name__ == "__main__":
    main()
