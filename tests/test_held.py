"""What a warm index holds: the same answers from memory, and none of another age."""

import logging
import shutil
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from conftest import Workspace, WorkTree
from sample import sample

from codesearch import held, in_memory, search, serving
from codesearch.candidates import Candidate, known, some
from codesearch.centrality import Centrality
from codesearch.held import Held, Kept
from codesearch.hits import Hit
from codesearch.in_memory import Chunks, Ended, Going, Words
from codesearch.matrix import Matrix
from codesearch.search import Index
from codesearch_resources.log_file import LOGGER
from codesearch_resources.store import SOON, Store, set_aside

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


@contextmanager
def holding_nothing(workspace: Workspace) -> Iterator[Index]:
    """An index that asks the tables for everything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_memory, "ROWS_AT_MOST", 0)
        patch.setattr(in_memory, "BYTES_AT_MOST", 0)
        with workspace.open() as index:
            index.warm()
            yield index
            assert [kept._held[1] for kept in made(index) if kept._held] == [None] * 4


def made(index: Index) -> list[Kept[Any]]:
    return [kept for kept in every_kept(index).values() if kept._held]


def until(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not holds() and time.monotonic() < end:
        time.sleep(0.01)
    return holds()


def test_a_warm_index_answers_as_one_that_holds_nothing(sample: Workspace) -> None:
    options: tuple[Mapping[str, Any], ...] = ({}, {"repos": ["web"]}, {"per_file": 3})
    for given_options in options:
        with holding_nothing(sample) as cold:
            answers = [cold.search(question, **given_options) for question in QUESTIONS]
        with sample.open() as warm:
            warm.warm()
            assert len(made(warm)) == 4
            for question, expected in zip(QUESTIONS, answers, strict=True):
                found = warm.search(question, **given_options)
                assert told(found) == told(expected)
                assert [h.score for h in found] == pytest.approx(
                    [h.score for h in expected], abs=2e-3
                )


@pytest.mark.usefixtures("_sees_commits_at_once")
def test_a_script_of_some_questions_holds_nothing_and_a_later_one_has_it_read(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "AFTER", 1e6)
    with sample.open() as index:
        for question in QUESTIONS:
            index.search(question)
        assert index._serving.lanes._held._making is None
        monkeypatch.setattr(held, "AFTER", 0.0)
        index.search(QUESTIONS[0])
        assert until(lambda: chunks_held(index) is not None)
        _, chunks = chunks_held(index)
        assert isinstance(chunks, Chunks)
        assert len(chunks.known.chunks) == index.store.count("chunks")


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
    monkeypatch.setattr(in_memory, "BYTES_AT_MOST", 0)  # so that texts are read by address
    with workspace.open() as index:
        index.warm()
        stale = {name: kept._held for name, kept in every_kept(index).items()}
        tree.commit({"f0.py": None, "f1.py": "z = 1\n\n\ndef number_1():\n    return 11\n"})
        workspace.index()
        for name in ("chunks", "summaries", index.store.code_vectors):
            index.store.ask(name, lambda table: table.optimize())

        def as_it_was(kept: Kept[Any], *_: object) -> Any:
            found = next(stale[name] for name, one in every_kept(index).items() if one is kept)
            return found[1] if found and isinstance(found[1], Chunks | Words) else None

        monkeypatch.setattr(Kept, "now", as_it_was)
        for n in range(1, 6):
            hit = index.search(f"number_{n}")[0]
            assert hit.path == f"f{n}.py"
            assert f"def number_{n}()" in hit.text
            assert ("return 11" in hit.text) == (n == 1)


def every_kept(index: Index) -> dict[str, Kept[Any]]:
    held_now = index._serving.lanes._held
    return {"chunks": held_now._chunks, "summaries": held_now._summaries, **held_now._vectors}


@pytest.mark.parametrize(("rows", "matrix"), [(0, 0), (300_000, 0)])
def test_an_index_too_large_to_be_held_is_asked_as_ever(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch, rows: int, matrix: int
) -> None:
    with holding_nothing(sample) as index:
        expected = [told(index.search(question)) for question in QUESTIONS]
    monkeypatch.setattr(in_memory, "ROWS_AT_MOST", rows)
    monkeypatch.setattr(in_memory, "BYTES_AT_MOST", matrix)
    with sample.open() as index:
        index.warm()
        values = [kept._held[1] for kept in every_kept(index).values() if kept._held]
        assert not any(isinstance(value, Matrix) for value in values)
        assert any(value is not None for value in values) == bool(rows)
        assert [told(index.search(question)) for question in QUESTIONS] == expected


@pytest.mark.usefixtures("_sees_commits_at_once")
@pytest.mark.parametrize("lost", ["tables", "folder"])
def test_a_table_that_was_made_anew_is_not_answered_for_by_the_one_before(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace], lost: str
) -> None:
    tree = make_tree(files={f"f{n}.py": f"def number_{n}():\n    return {n}\n" for n in range(4)})
    workspace = make_workspace(tree)
    assert {outcome.error for outcome in workspace.index()} == {""}
    with workspace.open() as index:
        index.warm()
        assert index.search("number_2")[0].path == "f2.py"
        before = {name: index.store.table(name).version for name in every_kept(index)}
        tree.commit({"f2.py": None, "f0.py": None, "new.py": "import os\n\n\ndef number_2(): 0\n"})
        tree.commit({"aaa.py": "def lantern():\n    return 5\n"})
        for name in [name for name in index.store.names() if lost == "tables"]:
            set_aside(workspace.settings.data_dir, name)
        if lost == "folder":
            shutil.rmtree(index.store.folder)
        workspace.index()
        fresh = Store(index.store.data_dir, index.store.embedder_id, index.store.dimensions)
        assert {name: fresh.table(name).version for name in before} == before  # the trap is set
        assert index.search("number_2")[0].path == "new.py"
        assert index.search("lantern")[0].path == "aaa.py"


def test_the_numbers_of_a_central_table_that_was_made_anew_are_read_again(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    base = "class KestrelBase:\n    pass\n"
    user = "from {0} import KestrelBase\n\n\nclass User(KestrelBase):\n    pass\n"
    tree = make_tree(files={"one.py": base, "user.py": user.format("one")})
    workspace = make_workspace(tree)
    workspace.index()
    name = workspace.settings.repositories[0].name
    store = workspace.open().store
    central = Centrality(store)
    files = [
        Candidate(path, name, path, "python", "class", (), "", (), 1, 2)
        for path in ("one.py", "two.py")
    ]
    both = some(known(files), np.arange(2))
    assert central.of(both, 1).tolist() == [1.0, 0.0]
    before = store.table("centrality").version
    tree.commit({"one.py": None, "two.py": base, "user.py": user.format("two")})
    shutil.rmtree(store.folder)
    workspace.index()
    assert Store(store.data_dir, "x", 8).table("centrality").version == before
    assert central.of(both, 2).tolist() == [0.0, 1.0]


class Endless:
    """A store of one table that can be made for ever."""

    dimensions, code_vectors, summary_vectors = 8, "code", "summary"
    sees_commits = timedelta(0)

    def state(self, name: str) -> tuple[int, int, int]:
        return 1, 1, 1

    def ask(self, name: str, question: Callable[[Any], Any]) -> Any:
        return question(None)


def endlessly(_: object, going: Going) -> None:
    while going():
        time.sleep(0.01)
    raise Ended


def making(make: Callable[[Any, Going], Any]) -> Held:
    """What is being made for somebody who asks often."""
    holder = Held(Endless())  # type: ignore[arg-type]
    holder._chunks = Kept(holder._store, "chunks", make)
    for _ in range(2):
        holder.look()
        holder.chunks()
    return holder


def test_tables_are_looked_at_as_often_as_their_store_sees_commits() -> None:
    store = Endless()
    store.sees_commits = timedelta(hours=1)
    holder = Held(store)  # type: ignore[arg-type]
    first = holder.look()
    assert holder.look() == first
    holder._looked_at -= 3_601
    assert holder.look() == first + 1
    assert timedelta(seconds=2) >= 2 * SOON  # what a store sees is as old again


def test_a_table_without_rows_is_held_too() -> None:
    class Nothing:
        def count_rows(self) -> int:
            return 0

        def __getattr__(self, _: str) -> Any:
            return lambda *_, **__: self

        def to_batches(self, batch_size: int) -> list[pa.RecordBatch]:
            return []

    words = in_memory.words_of(Nothing(), lambda: True)
    assert words is not None
    assert words.texts is not None
    assert words.read(words.texts, ["c1"]) == {}
    assert words.postings is not None
    assert not len(words.postings.best(["row"], 5)[0])


def test_closing_waits_for_no_making_and_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "AFTER", 0.0)
    holder = making(endlessly)
    thread = holder._making
    assert thread is not None
    assert thread.is_alive()
    holder.close()
    assert until(lambda: not thread.is_alive())


def test_the_end_of_a_program_waits_for_no_making() -> None:
    program = "import test_held as t; t.held.AFTER = 0.0; t.making(t.endlessly); print('asked')"
    found = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert found.stdout == "asked\n"


def test_a_making_that_fails_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(held, "AFTER", 0.0)
    monkeypatch.setattr(held, "PAUSE", 0.0)
    tries: list[int] = []

    def fail(_: object, going: Going) -> None:
        tries.append(1)
        raise OSError("the disk is tired")

    with caplog.at_level(logging.WARNING, LOGGER):
        holder = making(fail)

        def again() -> bool:
            holder.look()
            holder.chunks()
            return len(tries) > 3

        assert until(again)
    assert [record.getMessage() for record in caplog.records] == [
        "the table chunks is not held in memory: the disk is tired"
    ]


def test_a_look_never_shows_what_is_of_another_age() -> None:
    """A thread that stands still within a look, while the table moves and is made anew."""
    store = Endless()
    kept: Kept[object] = Kept(store, "chunks", lambda *_: object())  # type: ignore[arg-type]
    kept.make(lambda: True)
    old = kept.now(1)
    reading, moved = threading.Event(), threading.Event()
    states = [(1, 1, 1)]

    def slowly(name: str) -> tuple[int, int, int]:
        if threading.current_thread() is not threading.main_thread():
            reading.set()
            moved.wait(PATIENCE)
        return states[-1]

    store.state = slowly  # type: ignore[method-assign]
    shown: list[object] = []
    thread = threading.Thread(target=lambda: shown.append(kept.now(2)))
    thread.start()
    reading.wait(PATIENCE)
    states.append((2, 1, 1))
    kept.make(lambda: True)
    new = kept.now(2)
    moved.set()
    thread.join()
    assert new is not None
    assert new is not old
    assert shown == [new]


def test_what_is_gone_from_its_address_is_read_by_its_key_alone(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_memory, "BYTES_AT_MOST", 0)  # so that texts are read by address
    with sample.open() as index:
        lanes = index._serving.lanes
        index.warm()
        chunks = lanes._held.chunks()
        assert chunks is not None
        ids = sorted(chunks.known.places)[:3]
        expected = lanes.shown(ids)[0]
        asked: list[str] = []
        read_keys = lanes._store.read_keys

        def noting(name: str, columns: Any, column: str, keys: Any) -> Any:
            asked.extend(keys)
            return read_keys(name, columns, column, keys)

        lanes._store.read_keys = noting  # type: ignore[method-assign]
        assert lanes.shown(ids)[0] == expected
        assert asked == []
        rows = chunks.words.rows
        rows.addresses[rows.places[ids[1]]] = 2**60
        assert lanes.shown(ids)[0] == expected
        assert asked == [ids[1]]


def test_an_edit_that_lanes_do_not_read_leaves_what_is_held(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "SETTLED", 0.0)
    workspace = make_workspace(make_tree(files={"a.py": "def lantern():\n    return 1\n"}))
    workspace.index()
    with workspace.open() as index:
        index.search("lantern")
        lanes, text = index._serving.lanes, workspace.file.read_text()
        workspace.file.write_text(f"{text}# a comment\ngrace_days: 9\n")
        index.search("lantern")
        assert index.settings.grace_days == 9
        assert index._serving.lanes is lanes
        workspace.file.write_text(f"{text}trusted_hosts: [models.example.com]\n")
        index.search("lantern")
        assert index._serving.lanes is not lanes


def test_vectors_take_little_more_memory_than_they_are() -> None:
    class Table:
        """Rows as LanceDB gives them: batch by batch."""

        def __init__(self, rows: pa.Table) -> None:
            self._rows = rows

        def count_rows(self) -> int:
            return int(self._rows.num_rows)

        def __getattr__(self, _: str) -> Any:
            return lambda *_, **__: self

        def to_batches(self, batch_size: int) -> list[pa.RecordBatch]:
            return self._rows.to_batches(max_chunksize=batch_size)  # type: ignore[no-any-return]

    rows, wide = 20_000, 256
    flat = np.random.default_rng(0).standard_normal(rows * wide).astype(np.float16)
    mask = np.arange(rows) % 7 == 3
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(flat), wide, mask=pa.array(mask))
    table = Table(pa.table({"chunk_id": [f"c{n}" for n in range(rows)], "vector": vectors}))
    tracemalloc.start()
    found = in_memory.vectors_of(table, lambda: True, wide)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(found, Matrix)
    assert list(found.ids) == [f"c{n}" for n in range(rows) if n % 7 != 3]
    assert np.array_equal(found.stored, flat.reshape(rows, wide)[~mask])
    batch = in_memory.BATCH_ROWS * wide * np.dtype(np.float32).itemsize
    # Two bytes a number as it is stored, one rounded; a batch as floats, some times over.
    assert peak < 1.1 * 1.5 * flat.nbytes + 6 * batch
