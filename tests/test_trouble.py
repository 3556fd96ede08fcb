"""Trouble that a person must mend: told in one sentence, tables intact, mended by the next run."""

import base64
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from commits import functions, two_commits
from conftest import Workspace, WorkTree
from indexes import CutHere, Line, contents, moved, store_of, unwritable, versions

from codesearch.cli import main
from codesearch_assets import chunks as chunks_module
from codesearch_assets import night
from codesearch_assets.runs import Outcome, Runner, index, instance_of
from codesearch_resources import results_tables
from codesearch_resources import upkeep as upkeep_module
from codesearch_resources.data_dir import FORMAT_FILE, RESULTS_FILE, DataDirError
from codesearch_resources.results import Results
from codesearch_resources.store import LANCE_FOLDER, StoreError

ROOT = Path(__file__).parent.parent
DISK = """
mount -t tmpfs -o size=64m none "$1/disk" && exec "$2" "$3" "$1" "$4"
"""


@pytest.fixture(autouse=True)
def _cut_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "CuttingProcess", CutHere)


# ------------------------------------------------------------------ a full and a read-only disk


def _may_mount() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    tried = 'mkdir -p "$1" && mount -t tmpfs -o size=1m none "$1"'
    with_folder = ["unshare", "-m", "sh", "-c", tried, "sh", "/mnt"]
    return subprocess.run(with_folder, capture_output=True).returncode == 0


@pytest.mark.skipif(not _may_mount(), reason="a mount namespace needs root and the permission")
@pytest.mark.parametrize("how", ["short", pytest.param("everything", marks=pytest.mark.soak)])
def test_a_full_or_read_only_disk_is_told_and_the_next_run_ends_as_an_undisturbed_one(
    make_tree: Callable[..., WorkTree], tmp_path: Path, how: str
) -> None:
    two_commits(make_tree("api"))
    (tmp_path / "disk").mkdir()
    script = Path(__file__).with_name("troubled_disk.py")
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", DISK, "sh", tmp_path, sys.executable, script, how],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert len(found) == (13 if how == "everything" else 8)
    for name, one in found.items():
        told = one["told"]
        assert "\n" not in told, f"{name}: {told}"
        advice = "Remount it writable|writable" if name.startswith("read-only") else "Free space"
        assert re.search(advice, told, re.IGNORECASE), f"{name}: {told!r}"
        assert one["readable"], name
        assert one["completed"], name


# ------------------------------------------------------------------ damaged tables


def _lose_one_data_file(table: Path) -> None:
    # The largest: it holds rows of the newest version, and not only what was written over.
    max((table / "data").iterdir(), key=lambda file: file.stat().st_size).unlink()


def _lose_all_data(table: Path) -> None:
    for file in (table / "data").iterdir():
        file.unlink()


def _lose_newest_manifest(table: Path) -> None:
    # Named by 2**64 - 1 - version: the newest comes first.
    min((table / "_versions").glob("*.manifest")).unlink()


def _lose_manifests(table: Path) -> None:
    shutil.rmtree(table / "_versions")


def _lose_folder(table: Path) -> None:
    shutil.rmtree(table)


def _empty_folder(table: Path) -> None:
    shutil.rmtree(table)
    table.mkdir()


def _lose_indices(table: Path) -> None:
    shutil.rmtree(table / "_indices", ignore_errors=True)


def _cut_data_short(table: Path) -> None:
    for file in (table / "data").iterdir():
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _garble_manifests(table: Path) -> None:
    for file in (table / "_versions").iterdir():
        file.write_bytes(os.urandom(file.stat().st_size))


DAMAGES = (
    _lose_one_data_file,
    _lose_all_data,
    _lose_newest_manifest,
    _lose_manifests,
    _lose_folder,
    _empty_folder,
    _lose_indices,
    _cut_data_short,
    _garble_manifests,
)
TABLES = (
    "chunks", "files", "centrality", "repo_snapshots", "repositories", "summaries", "code",
    "summary",
)  # fmt: skip
SHORT = {
    ("chunks", _lose_one_data_file),
    ("chunks", _lose_newest_manifest),
    ("chunks", _lose_indices),
    ("centrality", _lose_all_data),
    ("summaries", _cut_data_short),
    ("repositories", _lose_folder),
}
CASES = [
    pytest.param(
        table,
        damage,
        id=f"{table}-{damage.__name__.strip('_')}",
        marks=() if (table, damage) in SHORT else pytest.mark.soak,
    )
    for table in TABLES
    for damage in DAMAGES
]


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a repository, moved once, and its index; to be copied."""
    folder = tmp_path_factory.mktemp("indexed")
    tree = WorkTree(folder / "api")
    tree.path.mkdir()
    tree.git("init", "--quiet", "--initial-branch=main")
    (folder / "codesearch.yaml").write_text("repositories:\n  - path: ./api\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks_module, "CuttingProcess", CutHere)
        line = Line(folder / "data", tree)
        for commit in two_commits(tree):
            line.run(commit)
        line.results.close()
    with instance_of(Workspace(folder / "codesearch.yaml").settings) as instance:
        instance.add_dynamic_partitions("repositories", ["api"])
    for owned in ("data", "dagster_home"):
        (folder / owned / "configuration").unlink()
    return folder


@pytest.fixture
def workspace(indexed: Path, tmp_path: Path) -> Workspace:
    shutil.copytree(indexed, tmp_path / "copy", symlinks=True)
    return Workspace(tmp_path / "copy" / "codesearch.yaml")


def _run(workspace: Workspace) -> list[str]:
    """What `codesearch index` says went wrong."""
    try:
        return [outcome.error for outcome in workspace.index() if outcome.error]
    except (StoreError, DataDirError) as error:
        return [str(error)]


def _table(workspace: Workspace, name: str) -> str:
    store = store_of(workspace)
    return {"code": store.code_vectors, "summary": store.summary_vectors}.get(name, name)


@pytest.mark.parametrize(("table", "damage"), CASES)
def test_a_damaged_table_is_told_by_search_and_by_a_run_and_made_anew_by_the_next(
    workspace: Workspace, table: str, damage: Callable[[Path], None]
) -> None:
    expected = contents(store_of(workspace))
    name = _table(workspace, table)
    damage(workspace.settings.data_dir / LANCE_FOLDER / f"{name}.lance")
    asked = CliRunner().invoke(main, ["search", "kestrel", "--config", str(workspace.file)])
    # A table that no question needs may be missing; what is said is a sentence with a command.
    assert asked.exit_code == 0 or re.search("run `codesearch index`", asked.output, re.IGNORECASE)
    assert "Traceback" not in asked.output
    assert "should not happen" not in asked.output
    told = _run(workspace)
    for sentence in told:
        assert f"The table {name} is damaged" in sentence
        assert "Run `codesearch index`" in sentence
        assert "\n" not in sentence
    if told:
        assert _run(workspace) == []
    assert contents(store_of(workspace)) == expected
    assert _run(workspace) == []


def test_damage_that_upkeep_meets_is_told_and_the_next_run_repairs_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = contents(store_of(workspace))
    monkeypatch.setattr(upkeep_module, "SMALL_FRAGMENTS", 1)
    _lose_one_data_file(workspace.settings.data_dir / LANCE_FOLDER / "chunks.lance")
    with instance_of(workspace.settings) as instance:
        outcome = Runner(workspace.settings, instance).run("upkeep")
    assert "The table chunks is damaged" in outcome.error
    assert "It was moved to" in outcome.error
    monkeypatch.undo()
    monkeypatch.setattr(chunks_module, "CuttingProcess", CutHere)
    assert _run(workspace) == []
    assert contents(store_of(workspace)) == expected


def test_a_reader_that_stays_open_goes_on_when_a_damaged_table_was_made_anew(
    workspace: Workspace,
) -> None:
    with workspace.open() as opened:
        before = [(hit.path, hit.text) for hit in opened.search("kestrel")]
        _lose_all_data(workspace.settings.data_dir / LANCE_FOLDER / "chunks.lance")
        assert len(_run(workspace)) == 1
        assert _run(workspace) == []
        assert [(hit.path, hit.text) for hit in opened.search("kestrel")] == before


def test_a_table_that_cannot_be_written_is_one_sentence_and_the_next_run_goes_on_from_there(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    tree = make_tree("api", {"a.py": functions(["lynx"])})
    workspace = make_workspace(tree)
    assert not any(outcome.error for outcome in workspace.index())
    store = store_of(workspace)
    tree.commit({"b.py": functions(["puma"])})
    with unwritable(store, store.code_vectors):
        [outcome] = workspace.index()
    place = store.folder / f"{store.code_vectors}.lance"
    assert outcome.error == (
        f"code_embeddings: The table {store.code_vectors} cannot be read or written: File exists "
        f"(os error 17). Look at its folder {place}, then run again: the next run goes on from "
        "there. If it is past mending, delete the folder: it is made anew, and nothing is paid "
        "for twice."
    )
    before = versions(store)
    assert not any(outcome.error for outcome in workspace.index())
    assert moved(before, versions(store)) & {"chunks", "files", "repo_snapshots"} == set()
    assert store.count("chunks") == store.count(store.code_vectors) == 2


def test_too_many_open_files_are_no_damage(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that cannot be opened for another reason stays where it is."""
    store = store_of(workspace)

    class Exhausted:
        def open_table(self, name: str) -> Any:
            raise RuntimeError("lance error: LanceError(IO): Too many open files (os error 24)")

    monkeypatch.setattr(type(store), "_connection", Exhausted())
    assert any("Too many files are open" in sentence for sentence in _run(workspace))
    assert not list(store.folder.glob("*.damaged-*"))


# ------------------------------------------------------------------ results.db


@contextmanager
def _locked(workspace: Workspace) -> Iterator[None]:
    path = workspace.settings.data_dir / RESULTS_FILE
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def test_a_locked_results_db_is_told_and_the_next_run_goes_on(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results_tables, "LOCK_WAIT", 0.2)
    expected = contents(store_of(workspace))
    _lose_folder(workspace.settings.data_dir / LANCE_FOLDER / "summaries.lance")
    with _locked(workspace):
        told = _run(workspace)
        assert told
        assert all("results.db is locked by another process" in sentence for sentence in told)
        with workspace.open() as opened:
            assert opened.search("kestrel")
    assert _run(workspace) == []
    assert contents(store_of(workspace)) == expected


def _garble(file: Path) -> None:
    file.write_bytes(b"no database " * 1_000)


def _cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5_000])


@pytest.mark.parametrize("damage", [_garble, pytest.param(_cut_short, marks=pytest.mark.soak)])
def test_a_damaged_results_db_is_told_and_a_backup_or_none_goes_on(
    workspace: Workspace, damage: Callable[[Path], None]
) -> None:
    expected = contents(store_of(workspace))
    file = workspace.settings.data_dir / RESULTS_FILE
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    backup = file.read_bytes()
    for side in ("-wal", "-shm"):
        file.with_name(file.name + side).unlink(missing_ok=True)
    damage(file)
    _lose_folder(workspace.settings.data_dir / LANCE_FOLDER / "summaries.lance")
    told = _run(workspace)
    assert told
    assert all("Restore it from a backup, or move it away" in sentence for sentence in told), told
    with workspace.open() as opened:
        assert opened.search("kestrel")
    file.write_bytes(backup)
    assert _run(workspace) == []
    assert contents(store_of(workspace)) == expected
    file.unlink()
    assert _run(workspace) == []
    with closing(Results(workspace.settings.data_dir)) as results:
        assert results.slices() == {}


@pytest.mark.parametrize(
    ("found", "advice"), [("99", "Upgrade codesearch"), ("0", "older format 0.*Move its folder")]
)
def test_a_data_dir_of_another_format_is_told_by_every_surface_and_left_alone(
    workspace: Workspace, found: str, advice: str
) -> None:
    expected = contents(store_of(workspace))
    format_file = workspace.settings.data_dir / FORMAT_FILE
    right = format_file.read_text() if format_file.exists() else "1\n"
    format_file.write_text(found)
    with pytest.raises(DataDirError, match=advice):
        workspace.index()
    for command in (["index"], ["search", "kestrel"], ["status"]):
        asked = CliRunner().invoke(main, [*command, "--config", str(workspace.file)])
        assert asked.exit_code == 1
        assert re.search(advice, asked.output)
        assert "Traceback" not in asked.output
    assert contents(store_of(workspace)) == expected
    format_file.write_text(right)
    assert _run(workspace) == []


# ------------------------------------------------------------------ private and slow remotes

PASSWORD = "hunter2-7f3a"


class GitServer(BaseHTTPRequestHandler):
    """`git http-backend` behind a password; `/garbage` answers what is no git, `/hang` nothing."""

    protocol_version = "HTTP/1.0"
    root: Path
    ended = threading.Event()

    def do_GET(self) -> None:
        if self.path.startswith("/hang"):
            self.ended.wait(60)
            return
        if self.path.startswith("/garbage"):
            self._answer("200 OK", [("Content-Type", "text/plain")], os.urandom(2_000))
            return
        login = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {login}":
            self._answer("401 Unauthorized", [("WWW-Authenticate", 'Basic realm="git"')], b"")
            return
        self._backend()

    do_POST = do_GET

    def _backend(self) -> None:
        path, _, query = self.path.partition("?")
        done = subprocess.run(
            ["git", "http-backend"],
            input=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
            env={
                **os.environ,
                "GIT_PROJECT_ROOT": str(self.root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "REMOTE_USER": "user",
            },
            capture_output=True,
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        lines = [line.partition(": ")[::2] for line in head.decode().splitlines()]
        status = dict(lines).get("Status", "200 OK")
        self._answer(status, [line for line in lines if line[0] != "Status"], body)

    def _answer(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _git_server(root: Path) -> Iterator[str]:
    handler = type("Handler", (GitServer,), {"root": root, "ended": threading.Event()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        handler.ended.set()  # type: ignore[attr-defined]
        server.shutdown()


def test_private_slow_and_broken_remotes_are_named_and_the_others_go_on(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(night, "HEAD_TIMEOUT", 3.0)
    tree = make_tree("work", {"web.py": functions(["heron"]), "old.py": functions(["stork"])})
    first = tree.git("rev-parse", "HEAD")
    for name in ("private", "rewritten", "branchless"):
        tree.git("branch", "-f", "kept")
        tree.git("clone", "--quiet", "--bare", str(tree.path), str(tmp_path / "served" / name))
    helper = tmp_path / "gitconfig"
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(helper))
    with _git_server(tmp_path / "served") as url, _git_server(tmp_path / "served") as other:
        # Each server has its own login with the helper, one of them wrong.
        helper.write_text(
            f'[credential "{url}"]\n'
            f'\thelper = "!f() {{ echo username=user; echo password={PASSWORD}; }}; f"\n'
            f'[credential "{other}"]\n'
            '\thelper = "!f() { echo username=user; echo password=wrong; }; f"\n'
            f"[safe]\n\tdirectory = *\n"
        )
        remotes = {
            "private": f"{url}/private",
            "rewritten": f"{url}/rewritten",
            "wrong": f"{other}/private",
            "hanging": f"{url}/hang",
            "refusing": "http://127.0.0.1:9/refusing",
            "garbage": f"{url}/garbage",
        }
        entries = "".join(f"  - {{name: {n}, url: '{u}'}}\n" for n, u in remotes.items())
        entries += f"  - {{name: branchless, url: '{url}/branchless', branch: kept}}\n"
        workspace = make_workspace(extra=f"repositories:\n{entries}")
        outcomes = workspace.index()
        failed = {outcome.repo: outcome for outcome in outcomes if outcome.error}
        assert set(failed) == {"wrong", "hanging", "refusing", "garbage"}
        for outcome in failed.values():
            assert PASSWORD not in outcome.error
            assert "Traceback" not in outcome.error
        assert "credential" in failed["wrong"].error
        assert _commits(workspace) == dict.fromkeys(("private", "rewritten", "branchless"), first)
        before = contents(store_of(workspace))["chunks"]

        tree.git("commit", "--quiet", "--amend", "--allow-empty", "-m", "rewritten")
        moved = tree.commit({"web.py": functions(["egret"]), "old.py": None})
        tree.git("push", "--quiet", "--force", str(tmp_path / "served" / "rewritten"), "main")
        WorkTree(tmp_path / "served" / "branchless").git("branch", "-D", "kept")
        entries = [workspace.settings.repository(n) for n in ("rewritten", "branchless", "private")]
        outcomes = index(workspace.settings, entries)
        assert [outcome.repo for outcome in outcomes if outcome.error] == ["branchless"]
        assert _commits(workspace) == {
            "private": first, "rewritten": moved, "branchless": first
        }  # fmt: skip
        after = contents(store_of(workspace))["chunks"]
        assert [row for row in after if row[1] != "rewritten"] == [
            row for row in before if row[1] != "rewritten"
        ]
        assert {row[2] for row in after if row[1] == "rewritten"} == {"web.py"}
        _each_run_alone_is_red_in_a_sentence(workspace, {"garbage", "branchless"})


def _each_run_alone_is_red_in_a_sentence(workspace: Workspace, names: set[str]) -> None:
    """By a click in the UI nobody has asked for the HEAD before."""
    with instance_of(workspace.settings) as instance:
        runner = Runner(workspace.settings, instance)
        for name in sorted(names):
            outcome: Outcome = runner.run("refresh", name)
            assert outcome.error.startswith("repo_snapshots: "), name
            assert "\n" not in outcome.error
            assert PASSWORD not in outcome.error


def _commits(workspace: Workspace) -> dict[str, str]:
    rows = store_of(workspace).read("repositories", ["repo", "chunks_commit"]).to_pylist()
    return {row["repo"]: row["chunks_commit"] for row in rows}
