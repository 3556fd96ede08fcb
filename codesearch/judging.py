"""Summaries for a person to judge, and what it would cost to have some written anew."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from codesearch.errors import BadQuery, NotIndexed
from codesearch_resources.settings import Settings
from codesearch_resources.settings_summarizers import ExtractiveSettings, ModelSettings
from codesearch_resources.store import Store

if TYPE_CHECKING:
    from codesearch_resources.results import Results

WHERE = ("model", "prompt", "repo")
_PIECE = ("content_hash", "language", "kind", "symbol", "header", "doc", "text")


@dataclass(frozen=True, slots=True)
class Sample:
    """A chunk with its summary."""

    repo: str
    path: str
    start_line: int
    end_line: int
    symbol: str
    text: str
    summary: str
    grade: str
    provider: str
    model: str
    prompt_version: str


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What a model would write anew: the keys, by repository, and what that takes.

    Tokens are upper bounds; `dollars` None where the model has no price in the settings.
    """

    keys: frozenset[str]
    repos: Mapping[str, int]
    by: str
    input: int
    output: int
    dollars: float | None


def samples(
    store: Store, *, repo: str | None, provider: str | None, limit: int, seed: int = 0
) -> list[Sample]:
    """Chunks drawn at random, the same ones for the same index, with their summaries."""
    _indexed(store)
    rows = _summaries(store, ["chunk_id", "repo", "provider"])
    chosen = sorted(
        row["chunk_id"]
        for row in rows
        if (repo is None or row["repo"] == repo)
        and (provider is None or row["provider"] == provider)
    )
    chosen = random.Random(seed).sample(chosen, min(limit, len(chosen)))
    said = ["chunk_id", "summary", "grade", "provider", "model", "prompt_version"]
    summaries = _by_id(store, "summaries", said, chosen)
    place = ["chunk_id", "repo", "path", "start_line", "end_line", "symbol", "text"]
    chunks = _by_id(store, "chunks", place, chosen)
    both = [chunks[c] | summaries[c] for c in chosen if c in chunks and c in summaries]
    for row in both:
        del row["chunk_id"]
    found = [Sample(**row) for row in both]
    return sorted(found, key=lambda sample: (sample.repo, sample.path, sample.start_line))


def conditions(where: Sequence[str]) -> dict[str, str]:
    """`model=X`, `prompt=N`, `repo=R` as a mapping. Raises BadQuery for anything else."""
    found: dict[str, str] = {}
    for condition in where:
        name, equals, value = condition.partition("=")
        if name not in WHERE or not equals or not value:
            raise BadQuery(f"--where takes model=X, prompt=N or repo=R, not {condition!r}")
        found[name] = value
    if not found:
        raise BadQuery("say which with --where model=X, --where prompt=N or --where repo=R")
    return found


def plan(settings: Settings, store: Store, results: "Results", where: Mapping[str, str]) -> Upgrade:
    """What an upgrade of the paid summaries that meet all conditions would take.

    Raises BadQuery without a model in the chain, UnknownRepository for a name that nobody has.
    """
    from codesearch_resources.calls import Usage
    from codesearch_resources.quota.metered import price_of
    from codesearch_resources.quota.rates import cost
    from codesearch_resources.summarizers.base import Piece, summary_key
    from codesearch_resources.summarizers.prompt import build

    _indexed(store)
    link = _first_model(settings)
    repo = settings.repository(where["repo"]).name if "repo" in where else None
    written = results.written_by(
        model=where.get("model", ""), prompt_version=where.get("prompt", "")
    )
    ids: dict[str, tuple[str, str]] = {}
    for row in store.read("chunks", ["chunk_id", "repo", "content_hash"]).to_pylist():
        key = summary_key(row["content_hash"])
        if key in written and (repo is None or row["repo"] == repo):
            ids.setdefault(key, (row["chunk_id"], row["repo"]))
    rows = store.read_keys("chunks", list(_PIECE), "chunk_id", [i for i, _ in ids.values()])
    prompts = [build(Piece(**row), link.context_tokens) for row in rows.to_pylist()]
    repos = [name for _, name in ids.values()]
    given, taken = sum(p.input_tokens for p in prompts), sum(p.output_cap for p in prompts)
    rate = price_of(link, settings.meters)
    expected = rate and cost(rate, Usage(input=given, output=taken))
    return Upgrade(
        keys=frozenset(ids),
        repos={name: repos.count(name) for name in sorted(set(repos))},
        by=f"{link.name} ({link.model})",
        input=given,
        output=taken,
        dollars=expected.amount if expected else None,
    )


def _first_model(settings: Settings) -> ModelSettings:
    for link in settings.summarizers:
        if not isinstance(link, ExtractiveSettings):
            return link
    raise BadQuery(f"summarizers of {settings.file} has no model that could write them anew")


def _indexed(store: Store) -> None:
    if "summaries" not in store.names():
        raise NotIndexed("nothing is indexed yet: run `codesearch index` first")


def _summaries(store: Store, columns: list[str]) -> list[dict[str, Any]]:
    return list(store.read("summaries", columns).to_pylist())


def _by_id(store: Store, table: str, columns: list[str], ids: list[str]) -> dict[str, Any]:
    rows = store.read_keys(table, columns, "chunk_id", ids).to_pylist()
    return {row["chunk_id"]: row for row in rows}
