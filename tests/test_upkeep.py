"""Upkeep: done where it pays, beside writers, and nothing written where it does not."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import Workspace, WorkTree
from indexes import moved, store_of, versions

from codesearch_assets.runs import Runner, instance_of
from codesearch_resources import coverage
from codesearch_resources import upkeep as upkeep_module
from codesearch_resources.store import Store
from codesearch_resources.upkeep import TableState, due, state, upkeep

WIDTH = 8


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path, "tiny", WIDTH)
    made.create()
    return made


def add_vectors(store: Store, count: int, first: int = 0) -> None:
    random = np.random.default_rng(first)
    values = random.normal(size=(count, WIDTH)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    names = [f"c{n:06}" for n in range(first, first + count)]
    flat = pa.array(values.astype(np.float16).ravel())
    store.upsert(
        store.code_vectors,
        pa.table(
            {
                "chunk_id": names,
                "repo": ["r"] * count,
                "path": names,
                "language": ["python"] * count,
                "kind": ["function"] * count,
                "text_hash": names,
                "vector": pa.FixedSizeListArray.from_arrays(flat, WIDTH),
                "digest": range(first, first + count),
            }
        ),
    )


def names(states: list[TableState]) -> list[str]:
    return [found.name for found in states]


def test_with_nothing_to_do_no_table_gets_a_version(store: Store) -> None:
    add_vectors(store, 100)
    before = versions(store)
    assert upkeep(store) == []
    assert moved(before, versions(store)) == set()


def test_before_the_first_index_nothing_is_due(tmp_path: Path) -> None:
    nothing = Store(tmp_path, "tiny", WIDTH)
    assert (due(nothing), upkeep(nothing)) == ([], [])
    assert list(tmp_path.iterdir()) == []


def test_unindexed_rows_are_folded_in_once_there_are_enough(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep_module, "UNINDEXED_ROWS", 50)
    add_vectors(store, 49)
    assert due(store) == []
    add_vectors(store, 5, first=49)
    assert names(due(store)) == [store.code_vectors]
    before = versions(store)
    assert names(upkeep(store)) == [store.code_vectors]
    assert moved(before, versions(store)) == {store.code_vectors}
    assert state(store, store.code_vectors).unindexed == 0
    after = versions(store)
    assert upkeep(store) == []
    assert versions(store) == after


def test_many_small_fragments_are_compacted_and_every_row_stays(store: Store) -> None:
    for number in range(upkeep_module.SMALL_FRAGMENTS):
        add_vectors(store, 2, first=2 * number)
    assert names(due(store)) == [store.code_vectors]
    upkeep(store)
    assert state(store, store.code_vectors).small_fragments < upkeep_module.SMALL_FRAGMENTS
    assert store.count(store.code_vectors) == 2 * upkeep_module.SMALL_FRAGMENTS
    assert due(store) == []


def test_vectors_are_indexed_at_size_and_again_when_rows_have_doubled(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep_module, "VECTOR_INDEX_ROWS", 600)
    built: list[int] = []
    own = upkeep_module._index_vectors

    def index_vectors(table: Any, column: str) -> None:
        built.append(table.count_rows())
        own(table, column)

    monkeypatch.setattr(upkeep_module, "_index_vectors", index_vectors)
    add_vectors(store, 599)
    upkeep(store)
    assert built == []
    add_vectors(store, 1, first=599)
    upkeep(store)
    add_vectors(store, 500, first=600)
    upkeep(store)
    assert built == [600]
    add_vectors(store, 100, first=1100)
    upkeep(store)
    assert built == [600, 1200]
    query = np.asarray(store.read(store.code_vectors, ["vector"])["vector"][0].as_py(), np.float32)
    found = (
        store.table(store.code_vectors)
        .search(query, vector_column_name="vector")
        .distance_type("cosine")
        .refine_factor(10)
        .limit(60)  # one bit of 8 dimensions tells 256 vectors apart, so refine most of them
        .to_list()
    )
    assert found[0]["_distance"] == pytest.approx(0, abs=1e-2)


def test_only_strays_older_than_a_day_are_removed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep_module, "UNINDEXED_ROWS", 1)
    add_vectors(store, 5)
    data = store.folder / f"{store.code_vectors}.lance" / "data"
    old, young = data / ".tmpOLD", data / ".tmpYOUNG"
    for stray in (old, young):
        stray.write_bytes(b"half")
    day_ago = time.time() - 25 * 3600
    os.utime(old, (day_ago, day_ago))
    upkeep(store)
    assert (old.exists(), young.exists()) == (False, True)


def test_a_file_that_a_writer_removes_under_the_look_at_it_stops_nothing(store: Store) -> None:
    table = store.folder / f"{store.code_vectors}.lance"
    add_vectors(store, upkeep_module.UNINDEXED_ROWS)
    for folder in ("_versions", "data"):  # listed, and gone when it is looked at
        (table / folder / ".tmpGONE").symlink_to("nowhere")
    assert [found.name for found in upkeep(store)] == [store.code_vectors]
    assert coverage.size(store) > 0


def test_a_commit_conflict_is_tried_again_and_another_error_is_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep_module.time, "sleep", lambda seconds: None)
    table, calls = store.table("chunks"), []

    def preempted_twice(_: object) -> None:
        calls.append("preempted")
        if len(calls) < 3:
            raise RuntimeError("lance error: Retryable commit conflict for version 7")

    upkeep_module._retry(preempted_twice, table)
    assert len(calls) == 3

    def fails(_: object) -> None:
        calls.append("failed")
        raise RuntimeError("no space left on device")

    with pytest.raises(RuntimeError, match="no space"):
        upkeep_module._retry(fails, table)
    assert calls.count("failed") == 1


def test_the_upkeep_job_writes_nothing_when_nothing_is_due(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    workspace = make_workspace(make_tree("api", {"a.py": "def alpha(): pass\n"}))
    workspace.index()
    store = store_of(workspace)
    before = versions(store)
    with instance_of(workspace.settings) as instance:
        assert Runner(workspace.settings, instance).run("upkeep").error == ""
    assert moved(before, versions(store)) == set()


def test_index_ends_with_upkeep_when_it_is_due(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace = make_workspace(make_tree("api", {"a.py": "def alpha(): pass\n"}))
    monkeypatch.setattr(upkeep_module, "UNINDEXED_ROWS", 1)
    assert [(o.job, o.error) for o in workspace.index()][-1] == ("upkeep", "")
    store = store_of(workspace)
    assert state(store, "chunks").unindexed == 0
    with workspace.open() as opened:
        assert opened.search("alpha")[0].symbol == "alpha"
    before = versions(store)
    assert workspace.index() == []
    assert moved(before, versions(store)) == set()
