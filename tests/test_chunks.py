"""chunks: every file of a snapshot cut or left out with a reason; bad input costs only itself."""

import json
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from conftest import Workspace, WorkTree
from indexes import Line, layers, moved, store_of, versions

from codesearch.cli import main
from codesearch.status import RepositoryStatus, statuses
from codesearch_assets import chunks as chunks_module
from codesearch_assets.chunking.chunk import Chunk, Symbol
from codesearch_assets.chunking.files import FileClass
from codesearch_assets.chunks import (
    NothingUpstream,
    SourceFile,
    _file_batches,
    chunk_text,
    look_up_names,
    path_tokens,
    refresh_chunks,
)
from codesearch_assets.runs import instance_of

GOOD = "def good(value):\n    return value + 1\n"
HUGE = 200_000_000
ODD_PATH = "odd\n'quoted\" name.py"


def damage(tree: WorkTree, path: str, *, from_byte: int) -> Path:
    """Overwrite the object of a committed file; returns the object's file."""
    blob = tree.git("rev-parse", f"HEAD:{path}")
    file = tree.path / ".git" / "objects" / blob[:2] / blob[2:]
    file.chmod(0o644)
    whole = file.read_bytes()
    file.write_bytes(whole[:from_byte] + b"?" * (len(whole) - from_byte))
    return file


def grow(tree: WorkTree, path: str, size: int) -> None:
    """A file of zeros that takes no room on the disk."""
    with (tree.path / path).open("wb") as file:
        file.truncate(size)


@pytest.fixture(scope="module")
def bad_input(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One repository full of bad files, one without its history, one that is none, one good."""
    folder = tmp_path_factory.mktemp("bad")
    trees = {name: WorkTree(folder / name) for name in ("odd", "broken", "good")}
    for tree in trees.values():
        tree.path.mkdir()
        tree.git("init", "--quiet", "--initial-branch=main")
        tree.git("config", "core.compression", "1")
        tree.commit({"good.py": GOOD})
    odd = trees["odd"]
    grow(odd, "huge.py", HUGE)
    odd.commit(
        {
            "one_line.py": b"x = '" + b"a" * 5_000_000 + b"'\n",
            "small_line.py": b"x = [" + b"1, " * 100_000 + b"]\n",
            "latin.py": "def café():\n    return 'é'\n".encode("latin-1"),
            "half.py": b"\xff\xfeh\x00a\x00l",
            "nul.py": b"x = 1\n\x00\x00\x00\n",
            "empty.py": b"\n\n",
            "damaged.py": b"def damaged():\n    return 1\n",
            "damaged_late.py": "".join(f"value_{n} = {n * n}\n" for n in range(500)),
            ODD_PATH: GOOD.replace("good", "odd"),
        }
    )
    damage(odd, "damaged.py", from_byte=0)
    damage(odd, "damaged_late.py", from_byte=600)
    (trees["broken"].path / ".git" / "refs" / "heads" / "main").write_text("0" * 39 + "1\n")
    file = folder / "codesearch.yaml"
    entries = "".join(f"  - path: {tree.path}\n" for tree in trees.values())
    (folder / "nothing").mkdir()
    entries += f"  - {{name: nowhere, url: 'file://{folder}/nothing'}}\n"
    file.write_text(f"repositories:\n{entries}")
    workspace = Workspace(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(folder))
        run = CliRunner().invoke(main, ["index", "--config", str(file)])
        (folder / "output").write_text(run.output)
        (folder / "code").write_text(str(run.exit_code))
    return workspace


def status_of(workspace: Workspace, repo: str) -> RepositoryStatus:
    found = statuses(workspace.settings, store_of(workspace))
    return next(status for status in found if status.repo == repo)


def test_bad_files_are_left_out_with_a_reason_and_the_rest_is_indexed(
    bad_input: Workspace,
) -> None:
    status = status_of(bad_input, "odd")
    assert status.skipped == {"too large": 2, "missing blob": 1}
    left_out = {reason: n for reason, n in status.files.items() if reason.startswith("skipped")}
    assert left_out == {
        "skipped: minified": 1,
        "skipped: undecodable": 1,
        "skipped: binary": 1,
        "skipped: empty": 1,
        "skipped: missing or damaged blob": 1,
    }
    assert status.complete
    store = store_of(bad_input)
    for name in layers(store):
        paths = set(store.read(name, ["path"], "repo = 'odd'")["path"].to_pylist())
        assert paths == {"good.py", "latin.py", ODD_PATH}, name
    with bad_input.open() as opened:
        assert opened.search("café", repos=["odd"])[0].path == "latin.py"
        assert opened.search("odd", repos=["odd"])[0].path == ODD_PATH


def test_one_bad_repository_fails_no_other_and_needs_a_person(bad_input: Workspace) -> None:
    folder = bad_input.file.parent
    output = (folder / "output").read_text()
    assert (folder / "code").read_text() == "1"
    assert "nowhere" in output
    assert "broken" in output
    for name in ("odd", "good"):
        assert status_of(bad_input, name).complete
        assert status_of(bad_input, name).chunks > 0
    for name in ("broken", "nowhere"):
        assert status_of(bad_input, name).commit == ""
    assert "Traceback" not in output


def test_a_person_sees_the_warning_in_the_run_the_status_and_the_metadata(
    bad_input: Workspace,
) -> None:
    with instance_of(bad_input.settings) as instance:
        runs = instance.get_runs(dg.RunsFilter(tags={"dagster/partition": "odd"}))
        assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
        warnings = [
            entry.user_message
            for run in runs
            for entry in instance.all_logs(run.run_id)
            if entry.level == 30
        ]
        found = instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey("chunks"), asset_partitions=["odd"]), limit=1
        )
    assert any("too large (2), missing blob (1)" in text for text in warnings)
    assert any("missing or damaged blob (1)" in text for text in warnings)
    materialization = found.records[0].asset_materialization
    assert materialization is not None
    outcomes = materialization.metadata["files_by_outcome"].value
    assert "skipped: missing or damaged blob" in str(outcomes)
    shown = CliRunner().invoke(main, ["status", "--config", str(bad_input.file)])
    assert "1 skipped: missing or damaged blob" in shown.output
    as_json = CliRunner().invoke(main, ["status", "--json", "--config", str(bad_input.file)])
    assert json.loads(as_json.output)[0]["skipped"] == {"too large": 2, "missing blob": 1}


def test_what_was_left_out_is_not_tried_again(bad_input: Workspace) -> None:
    store = store_of(bad_input)
    before = versions(store)
    errors = [outcome for outcome in bad_input.index() if outcome.error]
    assert sorted(outcome.repo for outcome in errors) == ["broken", "nowhere"]
    assert moved(before, versions(store)) == set()


@pytest.mark.parametrize("from_byte", [0, 600])
def test_a_damaged_object_is_tried_again_by_each_run_and_indexed_once_it_is_mended(
    make_tree: Callable[..., WorkTree], tmp_path: Path, from_byte: int
) -> None:
    long = "".join(f"value_{n} = {n * n}\n" for n in range(500))
    tree = make_tree("api", {"a.py": GOOD, "b.py": long})
    damaged = damage(tree, "b.py", from_byte=from_byte)
    line = Line(tmp_path / "data", tree)
    line.run()
    before = versions(line.store)
    line.run()
    assert moved(before, versions(line.store)) == set()
    assert {row["path"] for row in line.chunks()} == {"a.py"}
    damaged.unlink()
    tree.git("hash-object", "-w", "b.py")
    line.run()
    assert {row["path"] for row in line.chunks()} == {"a.py", "b.py"}


def test_a_path_that_is_marked_otherwise_marks_its_chunks_so(
    make_tree: Callable[..., WorkTree], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line(tmp_path / "data", make_tree("api", {"a.py": GOOD}))
    line.run()
    assert [list(row["marks"]) for row in line.chunks("marks")] == [[]]
    marked = FileClass("python", "", ("vendored",))
    monkeypatch.setattr("codesearch_assets.repo_snapshots.classify", lambda path, size: marked)
    line.run()
    assert [list(row["marks"]) for row in line.chunks("marks")] == [["vendored"]]


def test_without_a_snapshot_it_says_what_to_do_first(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    line = Line(tmp_path / "data", make_tree("api", {"a.py": GOOD}))
    with pytest.raises(NothingUpstream, match="materialise repo_snapshots first"):
        refresh_chunks(line.store, line.repository)


def test_equal_definitions_of_one_file_are_told_apart(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    body = "".join(f"    value = value * {n} + 1\n" for n in range(80))
    same, other = (f"def {name}(value):\n{body}\n\n" for name in ("same", "other"))
    tree = make_tree("api", {"a.py": same + other + same})
    line = Line(tmp_path / "data", tree)
    line.run()
    first, _, last = line.chunks("chunk_id", "content_hash", "end_line")
    assert first["content_hash"] == last["content_hash"]
    assert first["chunk_id"] != last["chunk_id"]
    # The second of them becomes the first: its row moves, and nothing else is new.
    tree.commit({"a.py": other + same})
    line.run()
    after = {row["chunk_id"]: row["start_line"] for row in line.chunks("chunk_id")}
    assert after[first["chunk_id"]] == last["start_line"] - first["end_line"] - 2
    assert last["chunk_id"] not in after


def test_an_empty_repository_has_no_rows_and_no_error(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    line = Line(tmp_path / "data", make_tree("api"))
    line.run()
    assert line.chunks() == []
    before = versions(line.store)
    line.run()
    assert moved(before, versions(line.store)) == set()


def test_batches_are_bound_by_bytes_and_by_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "BATCH_BYTES", 100)
    monkeypatch.setattr(chunks_module, "BATCH_FILES", 3)
    files = [SourceFile(str(n), "", size, "", ()) for n, size in enumerate([60, 60, 900, *[1] * 5])]
    assert [[file.size for file in batch] for batch in _file_batches(files)] == [
        [60],
        [60],
        [900],
        [1, 1, 1],
        [1, 1],
    ]


def a_chunk(symbol: str, *symbols: str, header: str = "", text: str = "") -> Chunk:
    made = tuple(Symbol(name, "function", 1, 1) for name in symbols)
    return Chunk("function", symbol, made, header, "", 1, 1, 0, 0, text, "")


def test_a_symbol_is_looked_up_by_its_full_its_last_and_its_joined_name() -> None:
    assert look_up_names(a_chunk("Client.parse_http", "Client.parse_http")) == [
        "client.parse_http",
        "parse_http",
        "parsehttp",
    ]
    assert look_up_names(a_chunk("")) == []


def test_full_text_names_the_file_twice_and_the_symbol_twice_more() -> None:
    location = path_tokens("src/deep/er/est/http_client.py")
    assert location.count("client") == 2
    assert "src" not in location
    text = chunk_text(location, a_chunk("Pool.close", "Pool.close", text="def close(): pass"))
    assert text.split().count("close") == 3
