"""Vectors: one for each chunk and summary, each text embedded once, whoever asks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import WorkTree
from indexes import CutHere, Line, moved, versions

from codesearch_assets import chunks as chunks_module
from codesearch_assets import embeddings as embeddings_module
from codesearch_assets.chunks import NothingUpstream
from codesearch_assets.embeddings import (
    code_source,
    embed_partition,
    fingerprint,
    refresh_code_embeddings,
)
from codesearch_resources.embedders.base import EmbeddingError, check
from codesearch_resources.store import of_repo

FILES = {f"f{n}.py": f"def name{n}(value):\n    return other{n}(value)\n" for n in range(7)}


@pytest.fixture(autouse=True)
def _cut_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "CuttingProcess", CutHere)


@pytest.fixture
def line(make_tree: Callable[..., WorkTree], tmp_path: Path) -> Line:
    return Line(tmp_path / "data", make_tree("api", FILES))


def test_every_chunk_and_every_summary_has_one_unit_vector(line: Line) -> None:
    line.run()
    ids = {row["chunk_id"] for row in line.chunks("chunk_id")}
    for table in (line.store.code_vectors, line.store.summary_vectors):
        found = line.store.read(table, ["chunk_id", "vector"])
        assert set(found["chunk_id"].to_pylist()) == ids
        vectors = np.array(found["vector"].to_pylist(), dtype=np.float32)
        assert vectors.shape == (len(ids), line.embedder.dimensions)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-2)


def test_vectors_are_written_batch_by_batch_and_a_batch_is_the_most_that_is_lost(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings_module, "BATCH", 2)
    own, calls = line.embedder.embed, []

    def dies(texts, kind):  # type: ignore[no-untyped-def]
        calls.append(len(texts))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return own(texts, kind)

    monkeypatch.setattr(line.embedder, "embed", dies)
    with pytest.raises(KeyboardInterrupt):
        line.refresh()
    assert line.store.count(line.store.code_vectors) == 4
    line.refresh()
    assert line.store.count(line.store.code_vectors) == 7
    assert sum(calls) == 7 + 2


def test_an_equal_text_is_embedded_once_within_a_batch_and_across_repositories(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    same = {"x/a.py": "def f(): pass\n", "y/x/a.py": "def f():  pass\n"}
    one = Line(tmp_path / "data", make_tree("one", same))
    one.refresh()
    views = one.store.read(one.store.code_vectors, ["text_hash"])["text_hash"].to_pylist()
    assert len(one.embedder.texts) == len(set(views))
    two = Line(tmp_path / "data", make_tree("two", same))
    two.refresh()
    assert two.embedder.texts == []
    vectors = two.store.read(two.store.code_vectors, ["repo", "text_hash", "vector"]).to_pylist()
    by_hash: dict[str, set[tuple[float, ...]]] = {}
    for row in vectors:
        by_hash.setdefault(row["text_hash"], set()).add(tuple(row["vector"]))
    assert {len(different) for different in by_hash.values()} == {1}
    assert {row["repo"] for row in vectors} == {"one", "two"}


def test_up_to_date_vectors_are_left_alone(line: Line) -> None:
    line.run()
    before = versions(line.store)
    result = refresh_code_embeddings(line.store, "api", line.embedder)
    assert (result.embedded, result.copied, result.change.written) == (0, 0, 0)
    assert moved(before, versions(line.store)) == set()


def test_vectors_of_chunks_that_are_gone_are_deleted_and_others_kept(line: Line) -> None:
    line.run()
    gone = line.chunks("chunk_id")[0]["chunk_id"]
    line.store.delete("chunks", [gone])
    vectors = line.store.code_vectors
    result = embed_partition(
        line.store, "api", vectors, code_source(line.store, "api"), line.embedder
    )
    assert (result.change.deleted, result.change.written) == (1, 0)
    assert line.store.count(vectors, f"{of_repo('api')} AND chunk_id = '{gone}'") == 0
    assert line.store.count(vectors) == 6


def test_without_chunks_it_says_what_to_do_first(line: Line) -> None:
    with pytest.raises(NothingUpstream, match="materialise chunks first"):
        refresh_code_embeddings(line.store, "api", line.embedder)


def test_the_fingerprint_moves_with_the_embedder(line: Line) -> None:
    base = fingerprint("cut", line.embedder)
    line.embedder.dimensions = 128
    other = fingerprint("cut", line.embedder)
    line.embedder.id = "another"
    assert (
        len({base, other, fingerprint("cut", line.embedder), fingerprint("x", line.embedder)}) == 4
    )


def test_a_text_without_a_vector_is_an_error_that_names_it() -> None:
    good = np.zeros((2, 3), np.float32)
    good[:, 0] = 1
    check(good, ["a", "b"], 3, "me")
    for row in ([0, 0, 0], [np.nan, 0, 0], [3, 0, 0], [np.inf, 0, 0]):
        bad = good.copy()
        bad[1] = row
        with pytest.raises(EmbeddingError, match="me has no unit vector for 'the second'"):
            check(bad, ["the first", "the second"], 3, "me")
    with pytest.raises(EmbeddingError, match="for 3 texts"):
        check(good, ["a", "b", "c"], 3, "me")
