"""What the lanes found for each question of a benchmark, kept, so that variants take seconds.

A question becomes a matrix: a row for each candidate file, a column for each rule, what the rule
says of the file (0..1) in the cells. A variant of the weights is then one product; a variant of the
lanes ranks the kept candidates again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codesearch.candidates import Evidence, Floats, LaneName, some
from codesearch.evaluation import BenchRepository, Task
from codesearch.lanes import Found
from codesearch.metrics import Place, covers
from codesearch.query import Query, parse
from codesearch.ranking import WEIGHTS, RankedFile, rank
from codesearch.search import Index
from codesearch_resources.discovery import slug

RULES = tuple(rule for rule in WEIGHTS if rule != "likeness")
CUTOFF = 10
GRID = (0.0, 0.5, 1.0, 2.0, 3.0)


@dataclass(frozen=True, slots=True)
class Question:
    """A task, what the lanes found for it, and the files they found as a matrix."""

    repo: str
    task: Task
    query: Query
    found: Found
    files: tuple[tuple[str, str], ...]  # by repository and path, so that ties are settled as ever
    rules: Floats  # [files, RULES]
    answers: NDArray[np.bool_]  # [files, targets]: whether the chunk shown answers


def ask(index: Index, bench: Sequence[BenchRepository]) -> list[Question]:
    """Ask the lanes every question of these repositories."""
    return [
        question(slug(one.name), task, index.find(task.query))
        for one in bench
        for task in one.tasks
    ]


def question(repo: str, task: Task, found: Found) -> Question:
    """Make the matrix of a question."""
    query = parse(task.query)
    ranked = sorted(
        rank(query, found.candidates, found.evidence), key=lambda file: (file.repo, file.path)
    )
    rules = [[file.rules.get(rule, 0.0) / WEIGHTS[rule] for rule in RULES] for file in ranked]
    return Question(
        repo, task, query, found,
        tuple((file.repo, file.path) for file in ranked),
        np.array(rules).reshape(len(ranked), len(RULES)),
        np.array([_answers(file, repo, task) for file in ranked]).reshape(len(ranked), -1),
    )  # fmt: skip


def _answers(file: RankedFile, repo: str, task: Task) -> list[bool]:
    chunk = file.chunks[0][0]
    place = Place(file.path, chunk.start_line, chunk.end_line, file.repo != repo)
    return [covers(place, target) for target in task.targets]


def order(one: Question, weights: Mapping[str, float]) -> NDArray[np.intp]:
    """The question's files, best first, under other weights."""
    scores = one.rules @ np.array([weights.get(rule, 0.0) for rule in RULES])
    return np.argsort(-scores, kind="stable")


def ndcg(answers: NDArray[np.bool_]) -> float:
    """NDCG@10 of the answers [hits in order, targets]; a target counts at its first hit."""
    top = answers[:CUTOFF]
    first = [int(np.argmax(top[:, at])) for at in range(top.shape[1]) if top[:, at].any()]
    ideal = sum(1 / np.log2(2 + at) for at in range(min(CUTOFF, answers.shape[1])))
    return float(sum(1 / np.log2(2 + at) for at in first) / ideal)


def scores(questions: Sequence[Question], weights: Mapping[str, float]) -> Floats:
    """NDCG@10 of each question under other weights."""
    return np.array([ndcg(one.answers[order(one, weights)]) for one in questions])


def reranked(
    questions: Sequence[Question], change: Callable[[Question], Mapping[LaneName, Floats]]
) -> list[Question]:
    """The questions with other evidence; a chunk that no lane is left of drops out."""
    made = []
    for one in questions:
        lanes, before = change(one), one.found
        none = np.empty(0, np.intp)
        orders = {lane: before.order.get(lane, none) for lane in lanes}
        left = np.unique(np.concatenate([none, *orders.values()]))
        files = np.unique(before.candidates.file_of[left])
        found = Found(
            some(before.candidates.known, before.candidates.places[left]),
            Evidence(
                {lane: said[left] for lane, said in lanes.items()}, before.evidence.central[files]
            ),
            {lane: np.searchsorted(left, order) for lane, order in orders.items()},
        )
        made.append(question(one.repo, one.task, found))
    return made


def without(lane: LaneName) -> Callable[[Question], Mapping[LaneName, Floats]]:
    """Evidence of all lanes but one."""
    return lambda one: {name: s for name, s in one.found.evidence.lanes.items() if name != lane}


def by_lane(one: Question, lane: LaneName) -> float:
    """NDCG@10 of a lane by itself: files by their best chunk."""
    return by_sum(one, [lane])


def by_ranks(one: Question, lanes: Sequence[LaneName]) -> float:
    """NDCG@10 of reciprocal rank fusion (constant 60) of lanes, without any rule."""
    total = np.zeros(len(one.found.candidates))
    for lane in lanes:
        order = one.found.order[lane]
        total[order] += 1 / (60 + np.arange(1, len(order) + 1))
    return _by_score(one, total)


def by_sum(one: Question, lanes: Sequence[LaneName]) -> float:
    """NDCG@10 of the sum of lanes, each divided by its best, without any rule."""
    none = np.zeros(len(one.found.candidates))
    return _by_score(one, sum((one.found.evidence.lanes.get(lane, none) for lane in lanes), none))


def _by_score(one: Question, chunks: Floats) -> float:
    starts = np.array(one.found.candidates.starts[:-1])
    best = np.maximum.reduceat(chunks, starts) if len(starts) else chunks
    return ndcg(one.answers[np.argsort(-best, kind="stable")])


def interval(values: Floats, seed: int = 0, rounds: int = 2_000) -> tuple[float, float]:
    """A bootstrap interval of 95 % of the mean, over questions."""
    if not len(values):
        return (0.0, 0.0)
    picks = np.random.default_rng(seed).integers(0, len(values), (rounds, len(values)))
    low, high = np.quantile(values[picks].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def fitted(questions: Sequence[Question], rounds: int = 2) -> dict[str, float]:
    """Weights from a grid, rule after rule, from equal ones: what training on these would choose.

    Only sizes are searched; what is a demotion stays one.
    """
    signs = {rule: 1.0 if WEIGHTS[rule] > 0 else -1.0 for rule in RULES}
    weights = dict(signs)
    best = scores(questions, weights).mean()
    for _ in range(rounds):
        for rule in RULES:
            for size in GRID:
                tried = {**weights, rule: signs[rule] * size}
                found = scores(questions, tried).mean()
                if found > best:
                    weights, best = tried, found
    return weights


def left_out(questions: Sequence[Question]) -> tuple[Floats, Floats]:
    """NDCG@10 of each question with weights fitted on all, and without its own repository."""
    together = scores(questions, fitted(questions))
    apart = np.zeros(len(questions))
    for repo in sorted({one.repo for one in questions}):
        own = np.array([one.repo == repo for one in questions])
        weights = fitted([one for one in questions if one.repo != repo])
        apart[own] = scores([one for one in questions if one.repo == repo], weights)
    return together, apart
