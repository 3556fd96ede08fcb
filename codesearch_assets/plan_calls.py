"""The calls of a plan: the work list and the prompts of the run itself, counted and not sent."""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from codesearch_assets import summary_list
from codesearch_assets.summary_list import Chunk
from codesearch_resources import secrets
from codesearch_resources.results import Results
from codesearch_resources.settings import RepositorySettings
from codesearch_resources.store import Store, batched
from codesearch_resources.summarizers import extractive
from codesearch_resources.summarizers.adapter import Prompt
from codesearch_resources.summarizers.base import Piece
from codesearch_resources.summarizers.chain import Chain
from codesearch_resources.summarizers.prompt import build

BATCH = 2_000


@dataclass(slots=True)
class RepositoryPlan:
    """One repository: chunks that need a summary, and what was found without a call."""

    repo: str
    chunks: int = 0
    needed: int = 0
    calls: int = 0
    marked: int = 0  # of the calls, those for tests and documents
    indexed: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call that the plan counts."""

    key: str
    repo: str
    local_only: bool
    providers: tuple[str, ...]  # who may write it; empty: the whole chain
    marked: bool
    input_tokens: dict[str, int]  # by provider
    secret: frozenset[str]  # the cloud's providers that it is kept from, whatever else may leave


def counted(
    repositories: list[RepositoryPlan],
    cloud: Set[str],
    store: Store,
    results: Results,
    chain: Chain,
    entries: Sequence[RepositorySettings],
) -> Iterable[Call]:
    """The calls over all repositories: equal content once, short cuts taken.

    `repositories` is filled with what was found of each; `cloud`: the providers that are one.
    """
    seen: set[str] = set()
    for entry in entries:
        found = RepositoryPlan(entry.name)
        repositories.append(found)
        if store.repository_row(entry.name).get("chunks_commit") is None:
            found.indexed = False
            continue
        wanted = summary_list.wanted(store, entry.name)
        grades = _grades(store, results, entry.name, wanted)
        waiting = summary_list.waiting(results, chain, wanted, grades)
        found.chunks = len(wanted)
        found.needed = sum(len(same) for same in waiting.values())
        fresh = [same[0] for text, same in waiting.items() if text not in seen]
        seen |= waiting.keys()
        found.calls = len(fresh)
        for batch in batched(fresh, BATCH):
            pieces = summary_list.pieces(store, batch)
            for chunk in batch:
                marked = bool({"test", "docs"} & set(chunk.marks))
                found.marked += marked
                asked = _prompts(pieces[chunk.chunk_id], chain)
                yield Call(
                    chunk.key,
                    entry.name,
                    entry.local_only,
                    entry.summarizers,
                    marked,
                    {name: prompt.input_tokens for name, prompt in asked.items()},
                    frozenset(name for name in cloud if secrets.find(asked[name].code)),
                )


def _prompts(piece: Piece, chain: Chain) -> dict[str, Prompt]:
    return {
        link.name: build(
            piece,
            link.caller.settings.context_tokens,
            thinking_tokens=link.caller.settings.thinking_tokens,
        )
        for link in chain.links
    }


def _grades(store: Store, results: Results, repo: str, wanted: Sequence[Chunk]) -> dict[str, str]:
    """The grade of each chunk as the run's first step would leave it."""
    known = summary_list.known(store, repo)
    replaced = results.replaced(chunk.key for chunk in wanted)
    grades = {
        chunk.chunk_id: str(known[chunk.chunk_id]["grade"])
        for chunk in wanted
        if chunk.chunk_id in known and summary_list.stands(known[chunk.chunk_id], chunk, replaced)
    }
    paid = results.find(chunk.key for chunk in wanted if grades.get(chunk.chunk_id) != "model")
    for chunk in wanted:
        if chunk.key in paid:
            grades[chunk.chunk_id] = "model"
    stand_in = extractive.Extractive()
    for batch in batched([chunk for chunk in wanted if chunk.chunk_id not in grades], BATCH):
        pieces = summary_list.pieces(store, batch)
        for chunk in batch:
            grades[chunk.chunk_id] = stand_in.extract(pieces[chunk.chunk_id]).grade
    return grades
