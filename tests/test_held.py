"""What a warm index holds: the same answers from memory, and none of another age."""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from conftest import Workspace, WorkTree
from hypothesis import given
from hypothesis import strategies as st
from sample import sample

from codesearch import held, serving
from codesearch.held import Chunks, Kept, Matrix, Rows
from codesearch.hits import Hit
from codesearch.search import Index

__all__ = ["sample"]

QUESTIONS = ("quota is used up", "ParseHeader", "which handler serves a path", "daily sales chart")
PATIENCE = 20.0  # seconds


@pytest.fixture
def _sees_commits_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "SOON", timedelta(0))


def told(hits: list[Hit]) -> list[tuple[object, ...]]:
    return [(h.repo, h.path, h.start_line, h.end_line, h.symbol, h.summary, h.text) for h in hits]


def chunks_held(index: Index) -> Any:
    return index._serving.lanes._held._chunks._held


def test_a_warm_index_answers_as_one_that_holds_nothing(sample: Workspace) -> None:
    options: tuple[Mapping[str, Any], ...] = ({}, {"repos": ["web"]}, {"per_file": 3})
    for given_options in options:
        with sample.open() as cold, sample.open() as warm:
            warm.warm()
            for question in QUESTIONS:
                expected = cold.search(question, **given_options)
                found = warm.search(question, **given_options)
                assert told(found) == told(expected)
                assert [h.score for h in found] == pytest.approx(
                    [h.score for h in expected], abs=2e-3
                )


def test_a_lone_question_holds_nothing_and_the_second_has_it_read(sample: Workspace) -> None:
    with sample.open() as index:
        index.search(QUESTIONS[0])
        assert chunks_held(index) is None
        index.search(QUESTIONS[1])
        end = time.monotonic() + PATIENCE
        while chunks_held(index) is None and time.monotonic() < end:
            time.sleep(0.01)
        _, chunks = chunks_held(index)
        assert isinstance(chunks, Chunks)
        assert len(chunks.candidates) == index.store.count("chunks")


@pytest.mark.usefixtures("_sees_commits_at_once")
def test_a_warm_index_shows_what_the_last_commit_holds(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    tree = make_tree(files={"a.py": "def lantern():\n    return 1\n", "b.py": "x = 2\n"})
    workspace = make_workspace(tree)
    workspace.index()
    with workspace.open() as index:
        index.warm()
        assert index.search("lantern")[0].path == "a.py"
        tree.commit({"a.py": None, "c.py": "y = 0\n\n\ndef lantern():\n    return 3\n"})
        workspace.index()
        for _ in range(3):
            first = index.search("lantern")[0]
            assert (first.path, "return 3" in first.text) == ("c.py", True)
            assert "a.py" not in {hit.path for hit in index.search("lantern")}


@pytest.mark.usefixtures("_sees_commits_at_once")
def test_addresses_of_rows_that_were_moved_lead_to_no_other_row(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = {f"f{n}.py": f"def number_{n}():\n    return {n}\n" for n in range(6)}
    tree = make_tree(files=files)
    workspace = make_workspace(tree)
    workspace.index()
    with workspace.open() as index:
        index.warm()
        stale = {name: kept._held for name, kept in every_kept(index).items()}
        tree.commit({"f0.py": None, "f1.py": "z = 1\n\n\ndef number_1():\n    return 11\n"})
        workspace.index()
        for name in ("chunks", "summaries", index.store.code_vectors):
            index.store.ask(name, lambda table: table.optimize())

        def as_it_was(kept: Kept[Any], *_: object) -> Any:
            found = next(stale[name] for name, one in every_kept(index).items() if one is kept)
            return found[1] if found and isinstance(found[1], Chunks | Rows) else None

        monkeypatch.setattr(Kept, "now", as_it_was)
        for n in range(1, 6):
            hit = index.search(f"number_{n}")[0]
            assert hit.path == f"f{n}.py"
            assert f"def number_{n}()" in hit.text
            assert ("return 11" in hit.text) == (n == 1)


def every_kept(index: Index) -> dict[str, Kept[Any]]:
    held_now = index._serving.lanes._held
    return {"chunks": held_now._chunks, **held_now._rows, **held_now._vectors}


@pytest.mark.parametrize(("rows", "matrix"), [(0, 0), (300_000, 0)])
def test_an_index_too_large_to_be_held_is_asked_as_ever(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch, rows: int, matrix: int
) -> None:
    with sample.open() as index:
        expected = [told(index.search(question)) for question in QUESTIONS]
    monkeypatch.setattr(held, "ROWS_AT_MOST", rows)
    monkeypatch.setattr(held, "MATRIX_BYTES", matrix)
    with sample.open() as index:
        index.warm()
        values = [kept._held[1] for kept in every_kept(index).values() if kept._held]
        assert not any(isinstance(value, Matrix) for value in values)
        assert any(value is not None for value in values) == bool(rows)
        assert [told(index.search(question)) for question in QUESTIONS] == expected


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
def test_the_nearest_are_the_nearest(seed: int, rows: int, depth: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((rows, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    asked = random.standard_normal(8).astype(np.float32)
    found = Matrix([f"c{n}" for n in range(rows)], vectors).nearest(asked, depth)
    likeness = vectors @ asked / np.linalg.norm(asked)
    assert len(found) == min(rows, depth)
    assert sorted(found.values()) == pytest.approx(sorted(likeness)[-depth:], abs=1e-5)
    assert all(found[key] == pytest.approx(likeness[int(key[1:])], abs=1e-5) for key in found)
