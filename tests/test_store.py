"""The tables: made once, replaced by difference, read without gaps."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from indexes import moved, rows, versions

from codesearch_resources import store as store_module
from codesearch_resources.store import Change, MissingTable, Store, among, batched, of_repo, sql

ROOT = Path(__file__).parent.parent


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path, "tiny", 4)
    made.create()
    return made


def paths(store: Store, repo: str, **blobs: str) -> pa.Table:
    """Rows of `repo_snapshots`: a path and what blob it holds."""
    found = [
        {
            "file_id": f"{repo}:{path}",
            "repo": repo,
            "path": path,
            "blob_id": blob,
            "skip_reason": "",
            "digest": hash(blob) % 1000,
        }
        for path, blob in blobs.items()
    ]
    return pa.Table.from_pylist(found, schema=store.specs["repo_snapshots"].schema)


def blobs(store: Store, repo: str) -> dict[str, str]:
    found = store.read("repo_snapshots", ["path", "blob_id"], of_repo(repo)).to_pylist()
    return {row["path"]: row["blob_id"] for row in found}


def test_only_the_difference_is_written_and_nothing_when_there_is_none(store: Store) -> None:
    replace = store.replace
    assert replace("repo_snapshots", "r", paths(store, "r", a="1", b="2")) == Change(2, 0)
    assert replace("repo_snapshots", "r", paths(store, "r", a="1", b="3", c="4")) == Change(2, 0)
    assert replace("repo_snapshots", "r", paths(store, "r", b="3", c="4")) == Change(0, 1)
    before = versions(store)
    assert replace("repo_snapshots", "r", paths(store, "r", c="4", b="3")) == Change(0, 0)
    assert moved(before, versions(store)) == set()
    assert blobs(store, "r") == {"b": "3", "c": "4"}


def test_replacing_one_repository_leaves_the_others(store: Store) -> None:
    store.replace("repo_snapshots", "r", paths(store, "r", a="1"))
    store.replace("repo_snapshots", "s", paths(store, "s", a="2"))
    store.replace("repo_snapshots", "r", paths(store, "r"))
    assert (blobs(store, "r"), blobs(store, "s")) == ({}, {"a": "2"})


def test_names_with_quotes_and_operators_are_names(store: Store) -> None:
    for repo in ("o'reilly", "a' OR '1'='1", 'say "x"', "50%_", "line\nbreak", "--", "\\"):
        store.replace("repo_snapshots", repo, paths(store, repo, **{repo: "1"}))
        assert blobs(store, repo) == {repo: "1"}
        assert store.read_keys("repo_snapshots", ["repo"], "path", [repo]).num_rows == 1
        store.replace("repo_snapshots", repo, paths(store, repo))
        assert store.count("repo_snapshots") == 0
    assert (sql("o'r"), among("a", ["x", "y'z"])) == ("'o''r'", "a IN ('x', 'y''z')")


def test_a_reader_never_meets_a_gap(store: Store, tmp_path: Path) -> None:
    """The path `kept` is there in every state, so a reader finds it at every moment."""
    store.replace("repo_snapshots", "r", paths(store, "r", kept="0", other="0"))
    ended, seen = threading.Event(), []

    def read() -> None:
        reader = Store(tmp_path, "tiny", 4)
        while not ended.is_set():
            seen.append(blobs(reader, "r").get("kept"))

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(1, 16):
        changed = {"kept": str(number), f"only{number}": "1"}
        store.replace("repo_snapshots", "r", paths(store, "r", **changed))
    ended.set()
    thread.join()
    assert len(seen) > 5
    assert None not in seen


def test_rows_are_written_in_slices_of_bounded_size(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = paths(store, "r", **{f"p{n}": "1" for n in range(50)})
    monkeypatch.setattr(store_module, "SLICE_BYTES", written.nbytes // 5)
    before = store.table("repo_snapshots").version
    assert store.upsert("repo_snapshots", written) == 50
    assert store.table("repo_snapshots").version - before >= 5
    assert store.count("repo_snapshots") == 50


def test_more_keys_than_one_statement_takes_are_deleted_and_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "DELETE_BATCH", 7)
    names = [f"p{n}" for n in range(20)]
    store.upsert("repo_snapshots", paths(store, "r", **dict.fromkeys(names, "1")))
    assert store.read_keys("repo_snapshots", ["path"], "path", names).num_rows == 20
    assert store.delete("repo_snapshots", [f"r:{name}" for name in names[:15]]) == 15
    assert sorted(blobs(store, "r")) == sorted(names[15:])


def test_reading_no_keys_gives_no_rows_of_the_right_types(store: Store) -> None:
    found = store.read_keys("chunks", ["chunk_id", "symbols", "start_line"], "chunk_id", [])
    assert (found.num_rows, found.schema.field("start_line").type) == (0, pa.int32())


def test_deleting_nothing_and_writing_nothing_make_no_version(store: Store) -> None:
    before = versions(store)
    assert store.delete("chunks", []) == 0
    assert store.upsert("repo_snapshots", paths(store, "r")) == 0
    assert versions(store) == before


def test_all_rows_are_read_and_not_the_first_few(store: Store) -> None:
    names = {f"p{n}": "1" for n in range(300)}
    store.upsert("repo_snapshots", paths(store, "r", **names))
    assert store.read("repo_snapshots", ["path"]).num_rows == 300


def test_a_repositorys_row_is_written_when_a_value_moves_and_only_then(store: Store) -> None:
    assert store.repository_row("r") == {}
    store.update_repository("r", chunks_commit="c1", subject="it's")
    first = store.repository_row("r")
    version = store.table("repositories").version
    store.update_repository("r", chunks_commit="c1")
    assert store.table("repositories").version == version
    store.update_repository("r", chunks_commit="c2")
    second = store.repository_row("r")
    assert (second["chunks_commit"], second["subject"]) == ("c2", "it's")
    assert second["indexed_at"] > first["indexed_at"]


def test_a_table_that_was_not_made_is_named(tmp_path: Path) -> None:
    nothing = Store(tmp_path, "tiny", 4)
    assert nothing.names() == []
    with pytest.raises(MissingTable, match="chunks"):
        nothing.read("chunks", ["chunk_id"])
    assert list(tmp_path.iterdir()) == []


def test_tables_are_made_with_their_key_and_indices_and_then_left_alone(store: Store) -> None:
    for name, spec in store.specs.items():
        indexed = {column for index in store.table(name).list_indices() for column in index.columns}
        wanted = {*spec.btree, *spec.bitmap, *spec.label_list, *spec.full_text}
        assert indexed == wanted, name
        assert b"1" in (store.table(name).schema.field(spec.key).metadata or {}).values(), name
    before = versions(store)
    store.create()
    assert versions(store) == before


def test_a_second_embedder_gets_tables_of_its_own_and_shares_the_rest(store: Store) -> None:
    store.upsert("repo_snapshots", paths(store, "r", a="1"))
    other = Store(store.folder.parent, "wide", 8)
    other.create()
    assert blobs(other, "r") == {"a": "1"}
    assert {store.code_vectors, other.code_vectors} <= set(other.names())
    assert store.code_vectors != other.code_vectors


def test_a_table_half_made_by_a_killed_process_is_made_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die() -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(store_module, "full_text_index", die)
    with pytest.raises(KeyboardInterrupt):
        Store(tmp_path, "tiny", 4).create()
    assert "chunks" not in Store(tmp_path, "tiny", 4).names()
    monkeypatch.undo()
    store = Store(tmp_path, "tiny", 4)
    store.create()
    assert "fts_text_idx" in {index.name for index in store.table("chunks").list_indices()}
    assert set(store.names()) == set(store.specs)
    assert {path.suffix for path in store.folder.iterdir()} <= {".lance", ".lock"}


MAKE_AND_ADD = """
import sys
from pathlib import Path
import pyarrow as pa
from codesearch_resources.store import Store

folder, name = sys.argv[1:]
import lancedb
print("ready", flush=True)
sys.stdin.readline()
store = Store(Path(folder), "tiny", 4)
store.create()
store.update_repository(name, chunks_commit=name)
"""


def test_processes_that_make_the_tables_at_once_lose_no_row(tmp_path: Path) -> None:
    names = [f"r{n}" for n in range(4)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MAKE_AND_ADD, str(tmp_path), name],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    store = Store(tmp_path, "tiny", 4)
    assert [row[0] for row in rows(store, "repositories")] == names


def test_batches_hold_everything_once() -> None:
    assert [list(part) for part in batched(range(5), 2)] == [[0, 1], [2, 3], [4]]
