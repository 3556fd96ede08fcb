"""Lanes: what each finds in a real index, and what is asked when one of them cannot answer."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from conftest import Workspace
from numpy.typing import NDArray
from sample import sample

import codesearch.lanes as lanes_module
from codesearch.candidates import LANES
from codesearch.filters import NO_FILTERS, Filters, make_filters
from codesearch.lanes import BELOW, Found, Lanes
from codesearch.query import parse
from codesearch_resources.embedders.base import EmbeddingError
from codesearch_resources.embedders.embedded import EmbeddedEmbedder
from codesearch_resources.store import Store

__all__ = ["sample"]


class Mute(EmbeddedEmbedder):
    """An embedder that does not answer."""

    def embed(self, texts: Sequence[str], kind: object) -> NDArray[np.float32]:
        raise EmbeddingError("the server is away")


def find(
    workspace: Workspace, query: str, filters: Filters = NO_FILTERS, embedder: object = None
) -> Found:
    used = embedder or EmbeddedEmbedder()
    store = Store(workspace.settings.data_dir, used.id, used.dimensions)
    lanes = Lanes(store, used)
    try:
        return lanes.find(parse(query), filters)
    finally:
        lanes.close()


def first(found: Found, lane: str) -> str:
    return found.candidates.all()[found.order[lane][0]].path  # type: ignore[index]


def test_each_lane_finds_the_chunk_in_its_own_way(sample: Workspace) -> None:
    found = find(sample, "wait longer when the quota is used up")
    for lane in ("bm25", "vectors", "summary_bm25", "summary_vectors"):
        assert first(found, lane) == "src/api/client.py", lane
    assert not len(found.order["symbol"])
    assert len(find(sample, "ParseHeader").order["symbol"])


@pytest.mark.parametrize("spelling", ["ParseHeader", "parse_header", "parseheader", "parseHeader"])
def test_a_symbol_is_found_however_it_is_spelled(sample: Workspace, spelling: str) -> None:
    assert first(find(sample, spelling), "symbol") == "server/header.go"


def test_every_lane_keeps_to_the_filter(sample: Workspace) -> None:
    filters = make_filters(["web"], None, None, None)
    found = find(sample, "ParseHeader call_with_backoff drawSalesChart", filters)
    assert {repo for repo, _ in found.candidates.files} == {"web"}
    assert any(map(len, found.order.values()))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"repos": ["web", "api"]},
        {"languages": ["python", "go"]},
        {"kinds": ["function", "class"], "repos": ["api"]},
        {"paths": ["src/**", "*.go"]},
        {"paths": ["client.py"], "languages": ["Python"]},
        {"paths": ["no/such/*"]},
    ],
)
def test_filters_let_through_in_memory_what_they_do_in_a_table(
    sample: Workspace, given: dict[str, list[str]]
) -> None:
    filters = make_filters(*(given.get(name) for name in ("repos", "languages", "paths", "kinds")))
    assert bool(filters) == bool(given)
    with sample.open() as index:
        index.warm()
        chunks = index._serving.lanes._held.chunks()
        assert chunks is not None
        found = index.store.read("chunks", ["chunk_id"], filters.where)["chunk_id"].to_pylist()
        fitting = zip(filters.fitting(chunks.known.chunks), chunks.known.chunks, strict=True)
        assert {chunk.chunk_id for fits, chunk in fitting if fits} == set(found)


def test_a_held_index_keeps_to_the_filter_without_asking_a_table(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sample.open() as index:
        index.warm()
        expected = index.search("ParseHeader call_with_backoff", repos=["api"])
        assert {hit.repo for hit in expected} == {"api"}
        asked: list[str] = []
        ask = index.store.ask

        def noting(name: str, question: Any) -> Any:
            asked.append(name)
            return ask(name, question)

        monkeypatch.setattr(index.store, "ask", noting)
        monkeypatch.setattr(index._serving.lanes._held, "_looked_at", math.inf)
        found = index.search("ParseHeader call_with_backoff", repos=["api"])
        assert [hit.path for hit in found] == [hit.path for hit in expected]
        assert set(asked) <= {"repositories"}


def test_evidence_lies_between_nought_and_one_and_the_best_is_one(sample: Workspace) -> None:
    found = find(sample, "parse a header line")
    for lane in LANES:
        scores = found.evidence.lanes[lane]
        assert len(scores) == len(found.candidates)
        assert ((scores >= 0) & (scores <= 1)).all()
        assert scores.max() == pytest.approx(1 if len(found.order[lane]) else 0)


def test_what_only_words_found_has_a_similarity_below_the_nearest(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes_module, "DEPTHS", dict.fromkeys(LANES, 1))
    found = find(sample, "ParseHeader drawSalesChart call_with_backoff")  # three definitions
    scores, nearest = found.evidence.lanes["vectors"], found.order["vectors"]
    rest = np.delete(scores, nearest)
    assert len(rest)
    assert rest == pytest.approx([BELOW * scores[nearest].min()] * len(rest))


def test_an_embedder_that_does_not_answer_costs_its_lanes_and_a_notice(sample: Workspace) -> None:
    found = find(sample, "quota is used up", embedder=Mute())
    assert first(found, "bm25") == "src/api/client.py"
    assert not len(found.order["vectors"])
    assert not len(found.order["summary_vectors"])
    assert found.notices == ["asked without vectors: the server is away"]


def test_another_embedder_without_tables_yet_leaves_the_words(sample: Workspace) -> None:
    other = EmbeddedEmbedder()
    other.id = "another"  # type: ignore[misc]
    found = find(sample, "quota is used up", embedder=other)
    assert first(found, "bm25") == "src/api/client.py"
    assert found.notices == ["no vectors of this embedder yet: run `codesearch index`"]


def test_a_long_question_is_cut_and_says_so(sample: Workspace) -> None:
    found = find(sample, " ".join(f"w{n}" for n in range(400)))
    assert found.notices == ["the question is long: its first 256 words were used"]
