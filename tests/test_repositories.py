"""The outcomes of `repositories`, each with a real repository."""

import logging
import os
import pickle
import random
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from codesearch_resources.repositories import (
    Entry,
    GitError,
    Repository,
    Snapshot,
    Unreachable,
    check_git,
    discover,
    is_lfs_pointer,
    redact,
    slug,
    unique_slugs,
)

MISSING = "0" * 40


@pytest.fixture(autouse=True)
def own_git_configuration(tmp_path_factory: pytest.TempPathFactory, monkeypatch) -> None:
    """The machine's git configuration decides nothing here."""
    config = tmp_path_factory.mktemp("home") / "gitconfig"
    config.write_text(
        "[user]\n\tname = Test\n\temail = test@example.org\n"
        '[init]\n\tdefaultBranch = main\n[protocol "file"]\n\tallow = always\n'
    )
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def git(folder: Path, *arguments: str | Path | bytes, stdin: bytes = b"") -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, input=stdin, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


def init(folder: Path, *arguments: str) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", *arguments)
    return folder


def commit(folder: Path, files: dict[str, str | bytes], message: str = "change") -> str:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(folder, "rev-parse", "HEAD")


def made(folder: Path) -> Path:
    commit(init(folder), {"a.py": "a = 1\n", "src/b.py": "b = 2\n"}, "first")
    return folder


def at(path: Path, **settings: str) -> Repository:
    return Repository("api", path=path, **settings)  # type: ignore[arg-type]


def paths_of(repository: Repository) -> list[str]:
    return [entry.path for entry in repository.snapshot(repository.head()).entries]


def contents(repository: Repository, snapshot: Snapshot) -> dict[str, bytes | None]:
    data = repository.blobs(entry.blob_id for entry in snapshot.entries)
    return {entry.path: one for entry, (_, one) in zip(snapshot.entries, data, strict=True)}


def loose(folder: Path, one: str) -> Path:
    path = folder / ".git/objects" / one[:2] / one[2:]
    path.chmod(0o644)
    return path


# What is read, and from where


def test_head_is_the_commit_of_the_checked_out_branch(tmp_path: Path) -> None:
    folder = made(tmp_path / "r")
    second = commit(folder, {"c.py": "c\n"})
    assert at(folder).head() == second


def test_a_snapshot_holds_the_committed_tree_and_not_the_work_tree(tmp_path: Path) -> None:
    folder = made(tmp_path / "r")
    (folder / "a.py").write_text("edited\n")
    (folder / "new.py").write_text("untracked\n")
    git(folder, "rm", "--cached", "--quiet", "src/b.py")

    repository = at(folder)
    snapshot = repository.snapshot(repository.head())

    assert contents(repository, snapshot) == {"a.py": b"a = 1\n", "src/b.py": b"b = 2\n"}
    assert [(e.size, e.kind) for e in snapshot.entries] == [(6, "file"), (6, "file")]


def test_a_snapshot_knows_its_commits_time_in_utc_and_its_subject(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2024-02-03T04:05:06+0530")
    folder = init(tmp_path / "r")
    head = commit(folder, {"a": "1"}, "Grüße an\nalle\n\nbody")

    snapshot = at(folder).snapshot(head)

    assert snapshot.commit == head
    assert snapshot.committed_at == datetime(2024, 2, 2, 22, 35, 6, tzinfo=UTC)
    assert snapshot.subject == "Grüße an alle"


def test_a_subject_in_another_encoding_is_read_in_it(tmp_path: Path) -> None:
    folder = init(tmp_path / "r")
    message = tmp_path / "message"
    message.write_bytes("Größe".encode("latin-1"))
    git(
        folder, "-c", "i18n.commitEncoding=ISO-8859-1",
        "commit", "--quiet", "--allow-empty", "--file", message,
    )  # fmt: skip
    assert at(folder).snapshot(at(folder).head()).subject == "Größe"


def test_a_commit_with_an_impossible_time_has_none(tmp_path: Path) -> None:
    folder = made(tmp_path / "r")
    raw = git(folder, "cat-file", "commit", "HEAD").splitlines()
    raw = ["committer T <t@x> 99999999999999999 +0000" if "committer" in w else w for w in raw]
    odd = git(
        folder, "hash-object", "-t", "commit", "-w", "--stdin", "--literally",
        stdin="\n".join(raw).encode(),
    )  # fmt: skip
    assert at(folder).snapshot(odd).committed_at is None


def test_entries_are_sorted_by_path_and_tell_executables(tmp_path: Path) -> None:
    folder = init(tmp_path / "r")
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o755)
    commit(folder, {"a/z": "1", "a-b": "2", "a.b": "3", "Z": "4", "é": "5"})
    entries = at(folder).snapshot(at(folder).head()).entries
    assert [e.path for e in entries] == ["Z", "a-b", "a.b", "a/z", "run", "é"]
    assert {e.path: e.kind for e in entries}["run"] == "executable"


def test_root_narrows_the_snapshot_and_paths_stay_whole(tmp_path: Path) -> None:
    folder = init(tmp_path / "r")
    commit(folder, {"top": "0", "src/a [x]*/b.py": "1", "src/a [x]*/c/d": "2"})
    assert paths_of(at(folder, root="src/a [x]*")) == ["src/a [x]*/b.py", "src/a [x]*/c/d"]
    assert paths_of(at(folder, root="./src/")) == ["src/a [x]*/b.py", "src/a [x]*/c/d"]
    assert len(paths_of(at(folder, root="."))) == 3


@pytest.mark.parametrize("root", ["nowhere", "a.py", "src/nowhere", "../r", "/etc"])
def test_a_root_that_is_no_folder_at_the_commit_is_an_error_that_names_it(
    tmp_path: Path, root: str
) -> None:
    repository = at(made(tmp_path / "r"), root=root)
    with pytest.raises(GitError, match=root):
        repository.snapshot(repository.head())


# Which commit


def test_a_branch_may_be_a_branch_a_remote_branch_a_tag_or_a_commit(tmp_path: Path) -> None:
    folder = made(tmp_path / "origin")
    first = at(folder).head()
    git(folder, "tag", "--annotate", "v1", "--message", "v1")
    git(folder, "switch", "--quiet", "--create", "dev/x")
    dev = commit(folder, {"dev": "1"})
    git(folder, "switch", "--quiet", "main")
    main = commit(folder, {"main": "1"})
    git(tmp_path, "clone", "--quiet", folder, "clone")
    clone = tmp_path / "clone"

    assert at(folder, branch="dev/x").head() == dev
    assert at(clone, branch="origin/dev/x").head() == dev
    assert at(clone, branch="dev/x").head() == dev, "a branch that was never checked out here"
    assert at(clone, branch="refs/remotes/origin/dev/x").head() == dev
    assert at(clone, branch="v1").head() == first
    assert at(clone, branch=first).head() == first
    assert at(clone).head() == main


def test_a_branch_goes_before_a_tag_of_the_same_name(tmp_path: Path) -> None:
    folder = made(tmp_path / "r")
    git(folder, "tag", "x")
    git(folder, "switch", "--quiet", "--create", "x")
    tip = commit(folder, {"x": "1"})
    assert at(folder, branch="x").head() == tip


@pytest.mark.parametrize(
    "branch", ["gone", "main~0", "main@{0}", "a b", "--help", "HEAD\n", MISSING]
)
def test_a_branch_that_is_not_there_is_an_error_that_names_those_that_are(
    tmp_path: Path, branch: str
) -> None:
    repository = at(made(tmp_path / "r"), branch=branch)
    with pytest.raises(GitError, match="its branches are: main"):
        repository.head()


def test_a_detached_head_is_followed(tmp_path: Path) -> None:
    folder = made(tmp_path / "r")
    first = at(folder).head()
    commit(folder, {"c": "1"})
    git(folder, "checkout", "--quiet", first)
    assert at(folder).head() == first


def test_a_repository_without_commits_has_no_head_and_an_empty_snapshot(tmp_path: Path) -> None:
    folder = init(tmp_path / "r")
    assert at(folder).head() == ""
    assert at(folder, branch="main").head() == ""
    assert at(folder, root="x").snapshot("") == Snapshot("", None, "", ())
    assert list(at(folder).blobs([])) == []


def test_a_head_whose_branch_is_gone_is_an_error_and_not_an_empty_repository(
    tmp_path: Path,
) -> None:
    folder = made(tmp_path / "r")
    git(folder, "symbolic-ref", "HEAD", "refs/heads/gone")
    with pytest.raises(GitError, match=r"set `branch:` \(there are: main\)"):
        at(folder).head()


def test_a_branch_whose_commit_is_lost_is_an_error_that_says_so(tmp_path: Path) -> None:
    folder = made(tmp_path / "r")
    loose(folder, at(folder).head()).unlink()
    for branch in (None, "main"):
        with pytest.raises(GitError, match="git fsck"):
            Repository("api", path=folder, branch=branch).head()


def test_a_submodule_reached_by_a_symlink_is_found(tmp_path: Path) -> None:
    inner, outer = made(tmp_path / "inner"), made(tmp_path / "deep/er/outer")
    git(outer, "submodule", "--quiet", "add", str(inner), "inner")
    (tmp_path / "link").symlink_to(outer / "inner")
    assert at(tmp_path / "link").head() == at(inner).head()


def test_an_unknown_commit_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(GitError, match="commit 000000000000 is not there"):
        at(made(tmp_path / "r")).snapshot(MISSING)


@pytest.mark.parametrize("bad", ["HEAD", "-p", "abc", "a" * 40 + "\n" + "b" * 40])
def test_only_full_ids_are_taken(tmp_path: Path, bad: str) -> None:
    repository = at(made(tmp_path / "r"))
    with pytest.raises(ValueError, match="id"):
        repository.snapshot(bad)
    with pytest.raises(ValueError, match="id"):
        list(repository.blobs([bad]))


# Kinds of repositories


def test_a_bare_repository_is_read(tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--bare", made(tmp_path / "r"), "r.git")
    assert paths_of(at(tmp_path / "r.git")) == ["a.py", "src/b.py"]


def test_a_linked_worktree_has_its_own_head(tmp_path: Path) -> None:
    folder = made(tmp_path / "r")
    git(folder, "worktree", "add", "--quiet", "-b", "side", tmp_path / "side")
    tip = commit(tmp_path / "side", {"side.py": "1"})
    assert at(tmp_path / "side").head() == tip != at(folder).head()
    assert paths_of(at(tmp_path / "side")) == ["a.py", "side.py", "src/b.py"]


def test_a_submodule_is_listed_and_not_entered_and_its_checkout_is_a_repository(
    tmp_path: Path,
) -> None:
    inner, outer = made(tmp_path / "inner"), made(tmp_path / "outer")
    git(outer, "submodule", "--quiet", "add", str(inner), "vendor/inner")
    commit(outer, {})
    snapshot = at(outer).snapshot(at(outer).head())

    assert snapshot.entries[-1] == Entry("vendor/inner", at(inner).head(), 0, "submodule")
    assert [e.path for e in snapshot.entries] == [".gitmodules", "a.py", "src/b.py", "vendor/inner"]
    assert contents(at(outer), snapshot)["vendor/inner"] is None
    assert at(outer / "vendor/inner").head() == at(inner).head()


def test_a_symlink_is_its_target_and_not_what_it_leads_to(tmp_path: Path) -> None:
    folder = init(tmp_path / "r")
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").symlink_to(tmp_path)
    commit(folder, {})
    snapshot = at(folder).snapshot(at(folder).head())
    assert {e.path: e.kind for e in snapshot.entries} == {"folder": "symlink", "link": "symlink"}
    assert contents(at(folder), snapshot)["link"] == os.fsencode(tmp_path / "secret")


def test_an_lfs_pointer_is_a_small_file_and_no_filter_runs(tmp_path: Path) -> None:
    pointer = (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d" * 32 + b"\nsize 12345\n"
    )
    folder = init(tmp_path / "r")
    commit(folder, {"big.bin": pointer})
    commit(folder, {".gitattributes": "*.bin filter=lfs\n"})
    git(folder, "config", "filter.lfs.smudge", f"touch {tmp_path}/ran")
    snapshot = at(folder).snapshot(at(folder).head())
    data = contents(at(folder), snapshot)["big.bin"]

    assert data == pointer
    assert is_lfs_pointer(pointer)
    assert not is_lfs_pointer(b"version https://git-lfs.github.com/spec/v1\nis a quotation")
    assert not is_lfs_pointer(pointer + b"x" * 2000)
    assert not (tmp_path / "ran").exists()


def test_a_shallow_clone_gives_its_tip_and_says_so_for_what_it_lacks(tmp_path: Path) -> None:
    origin = made(tmp_path / "origin")
    first = at(origin).head()
    tip = commit(origin, {"c.py": "c"})
    git(tmp_path, "clone", "--quiet", "--depth=1", origin.as_uri(), "clone")
    assert at(tmp_path / "clone").head() == tip
    assert len(paths_of(at(tmp_path / "clone"))) == 3
    with pytest.raises(GitError, match="shallow"):
        at(tmp_path / "clone").snapshot(first)


def partial_clone(tmp_path: Path, spec: str) -> Path:
    origin = made(tmp_path / "origin")
    git(origin, "config", "uploadpack.allowFilter", "true")
    git(origin, "config", "uploadpack.allowAnySHA1InWant", "true")
    options = ["--quiet", "--no-checkout", f"--filter={spec}"]
    git(tmp_path, "clone", *options, origin.as_uri(), "clone")
    return tmp_path / "clone"


def files_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_a_partial_clone_lacks_blobs_and_none_is_fetched(tmp_path: Path) -> None:
    clone = partial_clone(tmp_path, "blob:none")
    wanted = git(clone, "rev-parse", "HEAD:a.py")
    before = files_below(clone)
    repository = at(clone)
    snapshot = repository.snapshot(repository.head())

    assert [(e.path, e.size) for e in snapshot.entries] == [("a.py", None), ("src/b.py", None)]
    assert contents(repository, snapshot) == {"a.py": None, "src/b.py": None}
    assert files_below(clone) == before

    git(clone, "cat-file", "blob", wanted)  # git by itself does fetch it: the case is real
    assert files_below(clone) != before
    assert contents(repository, snapshot)["a.py"] == b"a = 1\n"


def test_a_clone_without_folders_is_an_error_and_none_is_fetched(tmp_path: Path) -> None:
    clone = partial_clone(tmp_path, "tree:0")
    before = files_below(clone)
    with pytest.raises(GitError, match="a clone that has all folders"):
        at(clone).snapshot(at(clone).head())
    assert files_below(clone) == before


def test_a_sha256_repository_is_read(tmp_path: Path) -> None:
    folder = init(tmp_path / "r", "--object-format=sha256")
    head = commit(folder, {"a.py": "a"})
    snapshot = at(folder).snapshot(head)
    assert at(folder).head() == head
    assert len(head) == len(snapshot.entries[0].blob_id) == 64
    assert contents(at(folder), snapshot) == {"a.py": b"a"}


def test_objects_borrowed_from_another_repository_are_found(tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", "--shared", made(tmp_path / "r"), "clone")
    repository = at(tmp_path / "clone")
    snapshot = repository.snapshot(repository.head())
    assert contents(repository, snapshot)["a.py"] == b"a = 1\n"


def test_replaced_objects_are_read_as_they_were_committed(tmp_path: Path) -> None:
    folder = made(tmp_path / "r")
    first = at(folder).head()
    git(folder, "replace", first, commit(folder, {"c.py": "c"}))
    assert [e.path for e in at(folder).snapshot(first).entries] == ["a.py", "src/b.py"]


def test_a_folder_that_is_no_repository_is_an_error_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(GitError, match=r"api .*not a git repository; .*git init"):
        at(tmp_path / "plain").head()
    with pytest.raises(GitError, match="there is no such folder"):
        at(tmp_path / "nowhere").snapshot(MISSING)
    folder = made(tmp_path / "r")
    with pytest.raises(GitError, match=f"set `path: {folder}` and `root: src`"):
        at(folder / "src").head()


def test_a_repository_has_either_a_path_or_a_url(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="either"):
        Repository("x")
    with pytest.raises(ValueError, match="either"):
        Repository("x", path=tmp_path, url="https://host/x", mirrors=tmp_path)
    with pytest.raises(ValueError, match="mirror"):
        Repository("x", url="https://host/x")


# Owners, and what a repository's configuration may not do


def test_a_repository_of_another_owner_is_read_and_no_configuration_changed(
    tmp_path: Path, monkeypatch
) -> None:
    folder = made(tmp_path / "r")
    config = Path(os.environ["GIT_CONFIG_GLOBAL"]).read_text()
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    refused = subprocess.run(["git", "-C", folder, "status"], capture_output=True, text=True)
    assert "dubious ownership" in refused.stderr

    repository = at(folder)
    snapshot = repository.snapshot(repository.head())
    assert contents(repository, snapshot)["a.py"] == b"a = 1\n"
    assert Path(os.environ["GIT_CONFIG_GLOBAL"]).read_text() == config


def test_fetching_from_another_owners_folder_says_which_command_allows_it(
    tmp_path: Path, monkeypatch
) -> None:
    origin = made(tmp_path / "origin")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    repository = Repository("api", url=origin.as_uri(), mirrors=tmp_path / "m")
    with pytest.raises(GitError, match=r"git config --global --add safe.directory") as caught:
        repository.head()
    assert not isinstance(caught.value, Unreachable)


def test_no_program_that_a_repository_names_is_started(tmp_path: Path) -> None:
    folder = made(tmp_path / "r")
    ran = tmp_path / "ran"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    for key in ("core.fsmonitor", "core.pager", "core.sshCommand", "core.askPass", "diff.external"):
        git(folder, "config", key, str(program))
    git(folder, "config", "pager.cat-file", str(program))
    for hook in ("reference-transaction", "post-index-change", "fsmonitor-watchman"):
        shutil.copy(program, folder / ".git/hooks" / hook)
    ran.unlink(missing_ok=True)

    repository = at(folder)
    contents(repository, repository.snapshot(repository.head()))
    assert not ran.exists()
    git(folder, "status")
    assert ran.exists(), "the case is real"


def test_a_git_hooks_environment_leads_nowhere_else(tmp_path: Path, monkeypatch) -> None:
    folder, other = made(tmp_path / "r"), init(tmp_path / "other")
    commit(other, {"other.py": "1"})
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(other / ".git/objects"))
    monkeypatch.setenv("GIT_TRACE", "1")
    assert paths_of(at(folder)) == ["a.py", "src/b.py"]


def test_reading_works_from_a_folder_that_is_gone_and_by_a_relative_path(
    tmp_path: Path, monkeypatch
) -> None:
    made(tmp_path / "r")
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path)
    assert paths_of(at(Path("r"))) == ["a.py", "src/b.py"]
    monkeypatch.chdir(tmp_path / "cwd")
    (tmp_path / "cwd").rmdir()
    assert paths_of(at(tmp_path / "r")) == ["a.py", "src/b.py"]


# Names


def test_paths_that_are_not_utf8_are_escaped_stay_distinct_and_their_blobs_are_read(
    tmp_path: Path,
) -> None:
    folder = init(tmp_path / "r")
    tree = b""
    for content, name in ((b"1", b"caf\xe9.py"), (b"2", b"caf\\xe9.py"), (b"3", b"caf\xc3\xa9.py")):
        one = git(folder, "hash-object", "-w", "--stdin", stdin=content)
        tree += b"100644 blob " + one.encode() + b"\t" + name + b"\0"
    head = git(folder, "commit-tree", "-m", "x", git(folder, "mktree", "-z", stdin=tree))

    snapshot = at(folder).snapshot(head)
    assert contents(at(folder), snapshot) == {
        "caf\\xe9.py": b"2",
        "caf\\xe9.py~": b"1",
        "café.py": b"3",
    }
    paths = [entry.path for entry in snapshot.entries]
    assert paths == sorted(paths)
    assert all(path.encode() for path in paths)


def test_paths_with_newlines_quotes_tabs_and_spaces_are_read(tmp_path: Path) -> None:
    names = ["new\nline", 'quo"te', "ta\tb", " space ", "-dash", "back\\slash", "*?["]
    folder = init(tmp_path / "r")
    commit(folder, {name: name for name in names})
    snapshot = at(folder).snapshot(at(folder).head())
    assert contents(at(folder), snapshot) == {name: name.encode() for name in sorted(names)}


# Blobs


def test_blobs_come_in_the_order_asked_with_repeats_and_holes(tmp_path: Path) -> None:
    folder = made(tmp_path / "r")
    a, b = (git(folder, "rev-parse", f"HEAD:{p}") for p in ("a.py", "src/b.py"))
    tree = git(folder, "rev-parse", "HEAD^{tree}")
    wanted = [b, MISSING, a, tree, b]
    answers = list(at(folder).blobs(wanted))
    assert answers == list(
        zip(wanted, [b"b = 2\n", None, b"a = 1\n", None, b"b = 2\n"], strict=True)
    )


def test_blobs_of_any_content_and_size_come_back_whole(tmp_path: Path) -> None:
    folder = init(tmp_path / "r")
    files = {
        "empty": b"",
        "newline": b"\n",
        "like-an-answer": f"\n{MISSING} blob 3\nabc\n".encode(),
        "nul": bytes(range(256)) * 3,
        "large": random.Random(1).randbytes(3_000_000),
    }
    commit(folder, files)  # type: ignore[arg-type]
    for _ in ("loose", "packed"):
        assert contents(at(folder), at(folder).snapshot(at(folder).head())) == files
        git(folder, "gc", "--quiet")


def corrupt_middle(data: bytes) -> bytes:
    return data[: len(data) // 2]


def corrupt_all(data: bytes) -> bytes:
    return b""


def corrupt_start(data: bytes) -> bytes:
    return b"garbage" + data[7:]


def corrupt_end(data: bytes) -> bytes:
    return data[:-6] + b"\xff" * 6


@pytest.mark.parametrize("damage", [corrupt_middle, corrupt_all, corrupt_start, corrupt_end])
@pytest.mark.parametrize("size", [50, 200_000])
def test_a_corrupt_object_is_none_and_loses_no_other(tmp_path: Path, damage, size: int) -> None:
    folder = init(tmp_path / "r")
    bodies = {f"{n}.py": random.Random(n).randbytes(size) for n in range(6)}
    commit(folder, bodies)  # type: ignore[arg-type]
    for name in ("1.py", "4.py"):
        path = loose(folder, git(folder, "rev-parse", f"HEAD:{name}"))
        path.write_bytes(damage(path.read_bytes()))
        bodies[name] = None  # type: ignore[assignment]

    snapshot = at(folder).snapshot(at(folder).head())
    assert contents(at(folder), snapshot) == bodies


def test_a_corrupt_pack_loses_what_it_lost_and_no_more(tmp_path: Path) -> None:
    folder = init(tmp_path / "r")
    bodies = {f"{n:02}.py": random.Random(n).randbytes(5000) for n in range(20)}
    commit(folder, bodies)  # type: ignore[arg-type]
    git(folder, "gc", "--quiet")
    snapshot = at(folder).snapshot(at(folder).head())
    pack = next((folder / ".git/objects/pack").glob("*.pack"))
    data = bytearray(pack.read_bytes())
    where = data.find(bodies["07.py"][100:200])
    data[where - 200 : where + 400] = bytes(600)
    pack.chmod(0o644)
    pack.write_bytes(data)

    read = contents(at(folder), snapshot)
    assert None in read.values()
    assert sum(read[name] == body for name, body in bodies.items()) >= 17
    assert all(read[name] in (None, body) for name, body in bodies.items())


def test_a_corrupt_folder_is_an_error(tmp_path: Path) -> None:
    folder = made(tmp_path / "r")
    loose(folder, git(folder, "rev-parse", "HEAD:src")).write_bytes(b"")
    with pytest.raises(GitError, match="git fsck"):
        at(folder).snapshot(at(folder).head())


def test_blobs_left_half_read_leave_no_process_and_no_folder(tmp_path: Path, monkeypatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    folder = init(tmp_path / "r")
    commit(folder, {f"{n}": random.Random(n).randbytes(300_000) for n in range(8)})
    snapshot = at(folder).snapshot(at(folder).head())
    answers = at(folder).blobs([e.blob_id for e in snapshot.entries] * 500)
    next(answers)
    assert list(temporary.iterdir())
    before = time.monotonic()
    answers.close()  # type: ignore[attr-defined]
    assert time.monotonic() - before < 1
    assert not list(temporary.iterdir())
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


# URLs and their mirrors


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return made(tmp_path / "origin")


def by_url(origin: Path, branch: str | None = None, root: str = "") -> Repository:
    return Repository("api", None, origin.as_uri(), branch, root, origin.parent / "mirrors")


def object_files(mirror: Path) -> set[Path]:
    return {p for p in (mirror / "objects").rglob("*") if p.is_file()}


def test_the_head_of_a_url_is_asked_and_nothing_is_fetched(origin: Path) -> None:
    assert by_url(origin).head() == at(origin).head()
    assert not (origin.parent / "mirrors").exists()
    with pytest.raises(GitError, match="has not been fetched yet"):
        by_url(origin).snapshot(by_url(origin).head())


def test_a_mirror_is_made_and_then_brings_only_what_is_new(origin: Path) -> None:
    commit(origin, {f"{n}.bin": random.Random(n).randbytes(1000) for n in range(150)})
    repository = by_url(origin, root="src")
    repository.fetch()
    assert paths_of(repository) == ["src/b.py"]
    mirror = origin.parent / "mirrors/api.git"
    before = object_files(mirror)

    repository.fetch()
    assert object_files(mirror) == before

    commit(origin, {"src/c.py": "c = 3\n"})
    assert repository.head() == at(origin).head()
    repository.fetch()
    assert contents(repository, repository.snapshot(repository.head())) == {
        "src/b.py": b"b = 2\n",
        "src/c.py": b"c = 3\n",
    }
    new = object_files(mirror) - before
    assert before <= object_files(mirror)
    assert len(new) == 4, "a commit, two folders and a blob"


def test_a_forced_push_is_followed(origin: Path) -> None:
    by_url(origin).fetch()
    git(origin, "commit", "--quiet", "--amend", "--message", "rewritten")
    by_url(origin).fetch()
    assert by_url(origin).snapshot(by_url(origin).head()).subject == "rewritten"


def test_a_branch_that_was_deleted_is_an_error_and_its_mirror_stays(origin: Path) -> None:
    git(origin, "branch", "dev")
    repository = by_url(origin, "dev")
    head = repository.head()
    repository.fetch()
    git(origin, "branch", "-D", "dev")
    for ask in (repository.head, repository.fetch):
        with pytest.raises(GitError, match=r"no branch.*'dev'; its branches are: main") as caught:
            ask()
        assert not isinstance(caught.value, Unreachable)
    assert len(repository.snapshot(head).entries) == 2


def test_tags_and_commits_of_a_url_are_fetched(origin: Path) -> None:
    first = at(origin).head()
    git(origin, "tag", "--annotate", "v1", "--message", "v1")
    git(origin, "config", "uploadpack.allowAnySHA1InWant", "true")
    commit(origin, {"c": "1"})
    for branch in ("v1", first):
        repository = by_url(origin, branch)
        assert repository.head() == first
        repository.fetch()
        assert len(paths_of(repository)) == 2
        shutil.rmtree(origin.parent / "mirrors")


def test_a_commit_that_a_remote_does_not_give_is_an_error_with_what_to_do(origin: Path) -> None:
    with pytest.raises(GitError, match="set `branch:` to a branch or tag") as caught:
        by_url(origin, "1" * 40).fetch()
    assert not isinstance(caught.value, Unreachable)


def test_two_processes_take_turns_at_one_mirror(origin: Path) -> None:
    from filelock import FileLock

    (origin.parent / "mirrors").mkdir()
    lock = FileLock(origin.parent / "mirrors/api.lock")
    with lock, pytest.raises(Unreachable, match="another process"):
        by_url(origin).fetch(0.2)
    by_url(origin).fetch()


def test_a_url_without_commits_is_empty_and_filled_later(tmp_path: Path) -> None:
    origin = init(tmp_path / "origin")
    repository = by_url(origin)
    repository.fetch()
    assert repository.head() == ""
    assert repository.snapshot("").entries == ()
    commit(origin, {"a": "1"})
    repository.fetch()
    assert paths_of(repository) == ["a"]


def test_a_mirror_follows_a_remote_made_anew_with_the_other_hash(origin: Path) -> None:
    by_url(origin).fetch()
    shutil.rmtree(origin)
    commit(init(origin, "--object-format=sha256"), {"new": "1"})
    by_url(origin).fetch()
    assert paths_of(by_url(origin)) == ["new"]


def test_what_a_killed_fetch_left_is_swept_up(origin: Path) -> None:
    repository = by_url(origin)
    repository.fetch()
    mirror = origin.parent / "mirrors/api.git"
    left = [
        mirror / "refs/codesearch/tip.lock",
        mirror / "objects/pack/tmp_pack_abc",
        mirror / "packed-refs.lock",
    ]
    for path in left:
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("")
    commit(origin, {"c": "1"})
    repository.fetch()
    assert len(paths_of(repository)) == 3
    assert not any(path.exists() for path in left)


def test_the_users_own_template_and_hooks_do_not_enter_a_mirror(origin: Path, monkeypatch) -> None:
    hooks = origin.parent / "template/hooks"
    hooks.mkdir(parents=True)
    (hooks / "reference-transaction").write_text(f"#!/bin/sh\ntouch {origin.parent}/ran\n")
    (hooks / "reference-transaction").chmod(0o755)
    config = Path(os.environ["GIT_CONFIG_GLOBAL"])
    config.write_text(
        config.read_text() + f"[core]\nhooksPath = {hooks}\n[init]\ntemplateDir = {hooks.parent}\n"
    )
    by_url(origin).fetch()
    assert not (origin.parent / "ran").exists()
    assert not (origin.parent / "mirrors/api.git/hooks").exists()


def test_the_users_own_configuration_of_one_call_still_holds(origin: Path, monkeypatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{origin.parent.as_uri()}/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://nowhere.invalid/")
    url = "https://nowhere.invalid/origin"
    assert Repository("x", url=url, mirrors=origin.parent / "m").head() == at(origin).head()


def test_fetching_a_path_does_nothing(tmp_path: Path) -> None:
    folder = made(tmp_path / "r")
    before = files_below(tmp_path)
    at(folder).fetch()
    assert files_below(tmp_path) == before


def test_a_url_that_is_no_repository_is_unreachable(tmp_path: Path) -> None:
    repository = Repository("gone", url=(tmp_path / "x").as_uri(), mirrors=tmp_path / "m")
    with pytest.raises(Unreachable, match=r"gone .*check the URL"):
        repository.fetch()


# Secrets and silence


@pytest.fixture
def refusing_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def silent_port() -> Iterator[int]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen(8)
        yield one.getsockname()[1]


@pytest.mark.parametrize("rest", ["x", "x?private_token=secret", "x#secret"])
def test_credentials_are_in_no_error_repr_log_or_mirror(
    tmp_path: Path, refusing_port: int, rest: str, caplog, capfd
) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"http://user:secret@127.0.0.1:{refusing_port}/{rest}"
    repository = Repository("api", url=url, mirrors=tmp_path / "mirrors")
    before = time.monotonic()
    for ask in (repository.head, repository.fetch):
        with pytest.raises(Unreachable) as caught:
            ask()
        shown = f"{caught.value!r} {caught.value} {pickle.dumps(caught.value)!r}"
        assert "secret" not in shown
        assert "user" not in str(caught.value)
        assert f"api (http://127.0.0.1:{refusing_port}/x)" in str(caught.value)
        assert caught.value.__cause__ is None
    assert time.monotonic() - before < 5
    out, err = capfd.readouterr()
    assert "secret" not in repr(repository) + repository.display_url + caplog.text + out + err
    written = [p for p in (tmp_path / "mirrors").rglob("*") if p.is_file()]
    assert not any(b"secret" in p.read_bytes() for p in written)


def test_credentials_are_not_among_the_arguments_of_a_process(tmp_path: Path, monkeypatch) -> None:
    seen = tmp_path / "seen"
    real = shutil.which("git")
    fake_git(
        tmp_path / "bin",
        f'case "$1" in version) exec {real} version;; esac\necho "$@" >> {seen}\nexit 1',
    )
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    url = "http://user:secret@127.0.0.1:1/x"
    with pytest.raises(GitError):
        Repository("api", url=url, mirrors=tmp_path / "m").head()
    assert "ls-remote codesearch" in seen.read_text()
    assert "secret" not in seen.read_text()


def test_the_user_of_an_ssh_url_is_no_secret_to_cut_out_of_messages(
    tmp_path: Path, monkeypatch
) -> None:
    says = "fatal: 'x' does not appear to be a git repository"
    fake_git(
        tmp_path / "bin",
        f'test "$1" = version && exec echo git version 2.39; echo "{says}" >&2; exit 128',
    )
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    with pytest.raises(Unreachable, match="to be a git repository; check the URL, and that"):
        Repository("api", url="ssh://git@host/x", mirrors=tmp_path / "m").head()


def test_a_git_that_was_removed_meanwhile_is_an_error(tmp_path: Path, monkeypatch) -> None:
    folder = made(tmp_path / "r")
    fake_git(tmp_path / "bin", "echo git version 2.39")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    check_git()
    (tmp_path / "bin/git").unlink()
    with pytest.raises(GitError, match="git does not start"):
        at(folder).head()


def test_a_message_of_git_that_quotes_secrets_is_shown_without_them(
    tmp_path: Path, monkeypatch
) -> None:
    url = "https://user:se cret'x@host/x?key=tok"
    says = "fatal: $GIT_CONFIG_VALUE_0 (password se cret'x) https://other:hidden@host2/y?k=hidden"
    fake_git(
        tmp_path / "bin",
        f'test "$1" = version && exec echo git version 2.39; echo "{says}" >&2; exit 128',
    )
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    with pytest.raises(Unreachable) as caught:
        Repository("api", url=url, mirrors=tmp_path / "m").head()
    assert "https://host/x (password ***) https://host2/y" in str(caught.value)
    assert not any(word in str(caught.value) for word in ("cret", "user", "tok", "other", "hidden"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:secret@host/x.git", "https://host/x.git"),
        ("https://secret@host:8443/x", "https://host:8443/x"),
        ("https://host/x?token=secret", "https://host/x"),
        ("https://host/x#secret", "https://host/x"),
        ("https://user:se/cret@host/x", "https://host/x"),
        ("https://user:se@cret@host/x", "https://host/x"),
        ("https://user:se?cret@host/x", "https://host/x"),
        ("https://user:secret@host/x?a=b@c", "https://host/x"),
        ("https://host/x?token=a@b", "https://host/x"),
        ("https://host?token=secret", "https://host"),
        ("https://host/@scope/x", "https://host/@scope/x"),
        ("https://host:8443/@scope/x", "https://host:8443/@scope/x"),
        ("ssh://git@host:22/x", "ssh://host:22/x"),
        ("git@host:team/x.git", "git@host:team/x.git"),
        ("user:secret@host:x", "host:x"),
        ("/srv/git/x.git", "/srv/git/x.git"),
        ("file:///srv/x", "file:///srv/x"),
    ],
)
def test_a_shown_url_has_no_secret_and_still_says_where(url: str, shown: str) -> None:
    assert redact(url) == shown


def test_a_silent_remote_is_unreachable_within_its_time(tmp_path: Path, silent_port: int) -> None:
    repository = Repository("api", url=f"git://127.0.0.1:{silent_port}/x", mirrors=tmp_path / "m")
    for ask in (repository.head, repository.fetch):
        before = time.monotonic()
        with pytest.raises(Unreachable, match=r"no answer within 0\.[345]"):
            ask(0.5)
        assert time.monotonic() - before < 2
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_all_a_hanging_fetch_has_started_is_killed(tmp_path: Path, monkeypatch) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(
        f"#!/bin/sh\ntrap '' TERM\necho $$ > {tmp_path}/pid\nsleep 60 &\nwait\nsleep 60\n"
    )
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    repository = Repository("api", url="ssh://host.invalid/x", mirrors=tmp_path / "m")
    with pytest.raises(Unreachable):
        repository.head(0.7)
    group = (tmp_path / "pid").read_text().strip()
    for _ in range(50):
        listed = subprocess.run(["ps", "-eo", "pid,stat"], capture_output=True, text=True).stdout
        state = dict(line.split()[:2] for line in listed.splitlines()[1:])
        if state.get(group, "Z").startswith("Z"):
            break
        time.sleep(0.05)
    assert state.get(group, "Z").startswith("Z")


@pytest.mark.parametrize(
    ("environment", "configured", "expected"),
    [
        ({}, "", "-o BatchMode=yes"),
        ({"GIT_SSH_COMMAND": "{ssh} -i key"}, "", "-i key -o BatchMode=yes"),
        ({}, "{ssh} -i conf", "-i conf -o BatchMode=yes"),
        ({"GIT_SSH_COMMAND": "{other} -x"}, "", "-x"),
        ({"GIT_SSH": "{other}"}, "", ""),
    ],
)
def test_ssh_never_asks_and_the_users_own_command_is_kept(
    tmp_path: Path, monkeypatch, environment: dict[str, str], configured: str, expected: str
) -> None:
    programs = {}
    for name in ("ssh", "other"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho "{name} $@" >> {tmp_path}/seen\nexit 255\n')
        program.chmod(0o755)
        programs[name] = str(program)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("GIT_SSH_VARIANT", "ssh")
    for key, value in environment.items():
        monkeypatch.setenv(key, value.format(**programs))
    if configured:
        config = Path(os.environ["GIT_CONFIG_GLOBAL"])
        config.write_text(
            config.read_text() + f"[core]\nsshCommand = {configured.format(**programs)}\n"
        )
    with pytest.raises(Unreachable):
        Repository("api", url="git@host.invalid:x", mirrors=tmp_path / "m").head()
    called = (tmp_path / "seen").read_text().splitlines()[0]
    assert expected in called
    assert ("BatchMode" in called) == ("BatchMode" in expected)


def test_a_login_that_is_asked_for_is_an_error_and_no_question(tmp_path: Path, monkeypatch) -> None:
    asked = tmp_path / "asked"
    askpass = tmp_path / "askpass"
    askpass.write_text(f"#!/bin/sh\ntouch {asked}\necho x\n")
    askpass.chmod(0o755)
    monkeypatch.setenv("GIT_ASKPASS", str(askpass))
    monkeypatch.setenv("SSH_ASKPASS", str(askpass))
    monkeypatch.setenv("no_proxy", "*")
    server = subprocess.Popen(
        [sys.executable, "-c", LOGIN_SERVER], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/x"
        with pytest.raises(Unreachable, match="credential helper"):
            Repository("api", url=url, mirrors=tmp_path / "m").head()
    finally:
        server.kill()
        server.communicate()
    assert not asked.exists()


LOGIN_SERVER = """
import http.server
class Asks(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(401)
        self.send_header("WWW-Authenticate", "Basic realm=x")
        self.end_headers()
    def log_message(self, *args):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Asks)
print(server.server_port, flush=True)
server.serve_forever()
"""


# The git that is there


def fake_git(folder: Path, script: str) -> None:
    folder.mkdir(parents=True)
    path = folder / "git"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(
    "answer",
    [
        "echo git version 2.39.5",
        "echo 'git version 2.39.5 (Apple Git-154)'",
        "echo git version 3.0",
    ],
)
def test_a_new_enough_git_will_do(tmp_path: Path, monkeypatch, answer: str) -> None:
    fake_git(tmp_path / "bin", answer)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    check_git()


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("echo git version 2.30.9", "too old"),
        ("echo git version 1.8.3.1", "too old"),
        ("echo 'xcode-select: no developer tools' >&2; exit 1", "no developer tools"),
        (None, "not installed"),
    ],
)
def test_a_git_that_will_not_do_is_an_error_with_the_version_needed(
    tmp_path: Path, monkeypatch, answer: str | None, problem: str
) -> None:
    folder = made(tmp_path / "r")
    if answer:
        fake_git(tmp_path / "bin", answer)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for ask in (check_git, at(folder).head):
        with pytest.raises(GitError, match=rf"{problem}.*2\.31"):
            ask()


# Discovery and names


def test_discovery_finds_every_kind_of_repository_and_nothing_else(
    tmp_path: Path, monkeypatch
) -> None:
    source = tmp_path / "src"
    work = made(source / "work")
    git(source, "clone", "--quiet", "--bare", work, "bare.git")
    git(work, "worktree", "add", "--quiet", source / "linked")
    init(source / "empty")
    (source / "plain").mkdir()
    (source / "broken").mkdir()
    (source / "broken/.git").write_text("gitdir: /nowhere\n")
    (source / "zz-again").symlink_to(work)
    (source / "file").write_text("")
    (source / "dangling").symlink_to(tmp_path / "nowhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = [source / name for name in ("bare.git", "empty", "linked", "work")]
    assert discover("~/src/*") == expected
    assert discover(f"{source}/w*") == [work]
    assert discover(f"{source}/nothing*") == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("api", "api"),
        ("My.Project, v2", "my-project-v2"),
        ("api.git", "api"),
        ("Größe", "grosse"),
        ("snake_case-x", "snake_case-x"),
        ("--x--", "x"),
    ],
)
def test_a_slug_is_plain(name: str, expected: str) -> None:
    assert slug(name) == expected


def test_a_slug_is_never_empty_and_differs_where_nothing_is_left() -> None:
    assert slug("проект") != slug("другой")
    assert slug("...").startswith("repository-")
    assert len(slug("x" * 300)) == 100


def test_folders_that_share_a_name_get_their_parents_and_then_a_number() -> None:
    paths = [Path(p) for p in ("/a/x/api", "/b/x/api", "/c/y/api", "/d/web", "/e/y--api", "/f/db")]
    expected = dict(
        zip(paths, ["x--api-2", "x--api-3", "y--api-2", "web", "y--api", "f--db"], strict=True)
    )
    for seed in range(10):
        shuffled = random.Random(seed).sample(paths, len(paths))
        assert unique_slugs(shuffled, {"db"}) == expected


def test_slugs_are_unique_when_all_is_taken() -> None:
    named = unique_slugs([Path("/a/x"), Path("/b/x")], ["x", "a--x", "a--x-2", "b--x"])
    assert named == {Path("/a/x"): "a--x-3", Path("/b/x"): "b--x-2"}
