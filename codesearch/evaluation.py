"""`codesearch eval`: a retrieval benchmark, indexed by the real pipeline and asked for real.

A benchmark is a JSON list of repositories at pinned commits, each with its questions and the files
or spans that answer them. Clones are found in a folder by the commit they hold, and laid out as
small repositories of their own, so that neither their branches nor their work trees matter.
"""

import json
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from codesearch.errors import SearchError
from codesearch.metrics import Place, Scores, Target, score
from codesearch.search import Index
from codesearch_resources.discovery import slug
from codesearch_resources.git import git_dir, local_environment
from codesearch_resources.settings import Settings, load

CLONE_DEPTH = 3  # folders below the clones folder that are looked into
BRANCH = "eval"


@dataclass(frozen=True, slots=True)
class Task:
    """A question, what answers it, and what sort of question it is."""

    query: str
    category: str
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class BenchRepository:
    """A repository of the benchmark at its commit; `root` "" is all of it."""

    name: str
    language: str
    revision: str
    root: str
    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """One question, asked: its figures and the hits' places, for looking at misses."""

    repo: str
    language: str
    category: str
    query: str
    scores: Scores
    hits: tuple[str, ...]
    targets: tuple[str, ...]


def read_bench(file: Path) -> list[BenchRepository]:
    """The benchmark's repositories and tasks. Raises SearchError for a file of another form."""
    try:
        return [_repository(entry) for entry in json.loads(file.read_text())]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SearchError(f"{file} is not a benchmark: {error!r}") from None


def _repository(entry: dict[str, Any]) -> BenchRepository:
    tasks = tuple(
        Task(
            task["query"],
            task["category"],
            tuple(_target(t) for t in (*task["relevant"], *task["secondary"])),
        )
        for task in entry["tasks"]
    )
    root = entry["root"] or ""
    return BenchRepository(entry["repo"], entry["language"], entry["revision"], root, tasks)


def _target(target: str | dict[str, Any]) -> Target:
    if isinstance(target, str):
        return Target(target)
    return Target(target["path"], target.get("start_line"), target.get("end_line"))


def find_clones(folder: Path, bench: Sequence[BenchRepository]) -> dict[str, Path]:
    """From repository name to a clone that holds its commit.

    Raises SearchError naming the repositories that no clone below `folder` holds.
    """
    clones = list(_repositories_below(folder, CLONE_DEPTH))
    found: dict[str, Path] = {}
    for wanted in bench:
        # A folder named after the repository is asked first; asking all is a process each.
        near_first = sorted(clones, key=lambda path: wanted.name not in str(path).lower())
        holding = next((clone for clone in near_first if _holds(clone, wanted.revision)), None)
        if holding is not None:
            found[wanted.name] = holding
    missing = [f"{b.name} ({b.revision[:12]})" for b in bench if b.name not in found]
    if missing:
        raise SearchError(f"no clone below {folder} holds: {', '.join(missing)}")
    return found


def _repositories_below(folder: Path, depth: int) -> Iterable[Path]:
    if git_dir(folder) is not None:
        yield folder
    elif depth:
        for child in sorted(path for path in folder.iterdir() if path.is_dir()):
            yield from _repositories_below(child, depth - 1)


def _holds(clone: Path, revision: str) -> bool:
    return _git("-C", str(clone), "cat-file", "-e", f"{revision}^{{commit}}").returncode == 0


def lay_out(wanted: BenchRepository, clone: Path, folder: Path) -> Path:
    """A bare repository whose only branch is at the commit; objects are shared with the clone."""
    target = folder / f"{slug(wanted.name)}.git"
    if not target.exists():
        _checked("init", "--quiet", "--bare", str(target))
        objects = _checked("-C", str(clone), "rev-parse", "--git-path", "objects").strip()
        (target / "objects/info/alternates").write_text(f"{(clone / objects).resolve()}\n")
    _checked("-C", str(target), "update-ref", f"refs/heads/{BRANCH}", wanted.revision)
    _checked("-C", str(target), "symbolic-ref", "HEAD", f"refs/heads/{BRANCH}")
    return target


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *arguments], env=local_environment(), capture_output=True, text=True, check=False
    )


def _checked(*arguments: str) -> str:
    done = _git(*arguments)
    if done.returncode:
        raise SearchError(f"git {arguments[0]} failed: {done.stderr.strip()}")
    return done.stdout


def index_bench(
    bench: Sequence[BenchRepository],
    clones: dict[str, Path],
    folder: Path,
    like: Settings | None = None,
) -> Path:
    """Index repositories of the benchmark together; returns the configuration they are under.

    Embedder, summarizers and trusted hosts are those of `like`, else the defaults. Raises
    SearchError when a run fails.
    """
    from codesearch_assets.runs import index  # imports Dagster: 1.2 CPU seconds

    folder.mkdir(parents=True, exist_ok=True)
    entries = [
        {
            "name": slug(wanted.name),
            "path": str(lay_out(wanted, clones[wanted.name], folder).resolve()),
            "root": wanted.root or ".",
        }
        for wanted in bench
    ]
    file = folder / "codesearch.yaml"
    content: dict[str, Any] = {"repositories": entries}
    if like is not None:
        content |= like.model_dump(
            mode="json", include={"embedder", "summarizers", "trusted_hosts"}
        )
    file.write_text(json.dumps(content, indent=1), encoding="utf-8")  # JSON is YAML
    settings = load(file)
    failed = [outcome for outcome in index(settings, settings.repositories) if outcome.error]
    if failed:
        raise SearchError(f"{failed[0].repo or failed[0].job} failed: {failed[0].error}")
    return file


def ask_all(index: Index, bench: Sequence[BenchRepository]) -> list[Asked]:
    """Ask every question of these repositories of an index, no repository named."""
    asked: list[Asked] = []
    for wanted in bench:
        own = slug(wanted.name)
        for task in wanted.tasks:
            hits = index.search(task.query)
            places = [Place(h.path, h.start_line, h.end_line, h.repo != own) for h in hits]
            shown = tuple(f"{h.repo}:{h.path}:{h.start_line}-{h.end_line}" for h in hits)
            asked.append(
                Asked(
                    wanted.name,
                    wanted.language,
                    task.category,
                    task.query,
                    score(places, task.targets),
                    shown,
                    tuple(t.path for t in task.targets),
                )
            )
    return asked


def evaluate(
    bench: Sequence[BenchRepository],
    clones: dict[str, Path],
    folder: Path,
    merged: Sequence[str] = (),
    progress: Callable[[str], None] = lambda _: None,
    *,
    like: Settings | None = None,
) -> dict[str, list[Asked]]:
    """`alone`: each repository indexed and asked by itself; `merged`: the named ones as one."""
    results: dict[str, list[Asked]] = {"alone": []}
    for wanted in bench:
        progress(wanted.name)
        file = index_bench([wanted], clones, folder / "alone" / slug(wanted.name), like)
        with Index(load(file)) as index:
            results["alone"] += ask_all(index, [wanted])
    together = [wanted for wanted in bench if wanted.name in merged]
    if together:
        progress("merged")
        file = index_bench(together, clones, folder / "merged", like)
        with Index(load(file)) as index:
            results["merged"] = ask_all(index, together)
    return results


def summary(asked: Sequence[Asked]) -> dict[str, dict[str, dict[str, float]]]:
    """Means over all questions and by category, language and repository."""
    groups: dict[str, dict[str, list[Scores]]] = {
        "all": {}, "category": {}, "language": {}, "repository": {}
    }  # fmt: skip
    for one in asked:
        for group, value in (
            ("all", "all"),
            ("category", one.category),
            ("language", one.language),
            ("repository", one.repo),
        ):
            groups[group].setdefault(value, []).append(one.scores)
    return {
        group: {value: _means(scores) for value, scores in sorted(values.items())}
        for group, values in groups.items()
    }


def _means(scores: Sequence[Scores]) -> dict[str, float]:
    return {
        "queries": len(scores),
        "ndcg@10": round(mean(s.ndcg for s in scores), 4),
        "recall@10": round(mean(s.recall for s in scores), 4),
        "mrr": round(mean(s.reciprocal_rank for s in scores), 4),
    }


def as_json(results: dict[str, list[Asked]]) -> dict[str, Any]:
    """Summaries and every question with its hits, for keeping beside a commit."""
    return {
        way: {"summary": summary(asked), "questions": [asdict(one) for one in asked]}
        for way, asked in results.items()
    }
