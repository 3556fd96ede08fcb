"""repo_snapshots: the tree of one commit, and why what of it is left out."""

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import WorkTree
from indexes import Line, moved, versions

from codesearch_assets.repo_snapshots import fingerprint, path_filter, take_snapshot
from codesearch_resources.repositories import GitError
from codesearch_resources.settings import RepositorySettings


def entry(**values: object) -> RepositorySettings:
    return RepositorySettings.model_validate({"name": "r", "path": Path("/r"), **values})


def reasons(line: Line) -> dict[str, str]:
    found = line.store.read("repo_snapshots", ["path", "skip_reason"]).to_pylist()
    return {row["path"]: row["skip_reason"] for row in found}


def snap(line: Line, commit: str | None = None):  # type: ignore[no-untyped-def]
    commit = commit or line.repository.head()
    return take_snapshot(line.store, line.repository, line.entry, commit)


def test_every_path_has_a_row_and_what_is_left_out_a_reason(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    tree = make_tree("api", {"src/a.py": "a = 1\n", "logo.png": b"\x89PNG", "uv.lock": "x"})
    (tree.path / "link.py").symlink_to("src/a.py")
    tree.commit({"app.min.js": "x()", ".codesearchignore": "skipped/\n", "skipped/b.py": "b = 1\n"})
    line = Line(tmp_path / "data", tree)
    result = snap(line)
    assert reasons(line) == {
        "src/a.py": "",
        "logo.png": "binary",
        "uv.lock": "lock file",
        "link.py": "symlink",
        "app.min.js": "minified",
        ".codesearchignore": "",
        "skipped/b.py": "ignored by .codesearchignore",
    }
    assert (result.files, result.skipped.total(), result.change.written) == (7, 5, 7)
    row = line.store.repository_row("api")
    assert (row["repo_snapshots_commit"], row["subject"]) == (line.repository.head(), "change")


def test_marks_tell_tests_documentation_and_generated_files(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    files = {"a.py": "", "tests/test_a.py": "", "README.md": "", "vendor/x.go": "", "a_pb2.py": ""}
    line = Line(tmp_path / "data", make_tree("api", dict.fromkeys(files, "x = 1\n")))
    snap(line)
    found = line.store.read("repo_snapshots", ["path", "marks"]).to_pylist()
    assert {row["path"]: row["marks"] for row in found} == {
        "a.py": [],
        "tests/test_a.py": ["test"],
        "README.md": ["docs"],
        "vendor/x.go": ["vendored"],
        "a_pb2.py": ["generated"],
    }


def test_the_same_commit_again_writes_nothing(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    line = Line(tmp_path / "data", make_tree("api", {"a.py": "a = 1\n"}))
    snap(line)
    before = versions(line.store)
    assert snap(line).change.written == 0
    assert moved(before, versions(line.store)) == set()


def test_a_commit_that_cannot_be_read_leaves_the_snapshot_as_it_was(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    line = Line(tmp_path / "data", make_tree("api", {"a.py": "a = 1\n"}))
    snap(line)
    before = versions(line.store)
    with pytest.raises(GitError):
        snap(line, "1" * 40)
    assert moved(before, versions(line.store)) == set()


@pytest.mark.parametrize("bad", ["!", "[z-a]", "a\\", "\\"])
def test_a_bad_line_of_an_ignore_file_holds_for_nothing_and_is_counted(
    make_tree: Callable[..., WorkTree], tmp_path: Path, bad: str
) -> None:
    files = {".codesearchignore": f"# why\n{bad}\n\nold/\n", "a.py": "a = 1\n", "old/b.py": ""}
    line = Line(tmp_path / "data", make_tree("api", files))
    assert snap(line).bad_ignore_lines == 1
    assert reasons(line) == {
        ".codesearchignore": "",
        "a.py": "",
        "old/b.py": "ignored by .codesearchignore",
    }


def test_an_ignore_file_deeper_down_or_without_text_says_nothing(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    files = {"sub/.codesearchignore": "*.py\n", ".codesearchignore": b"\xff\x00\n", "a.py": "x\n"}
    line = Line(tmp_path / "data", make_tree("api", files))
    snap(line)
    assert reasons(line)["a.py"] == ""


def test_include_narrows_exclude_wins_and_both_follow_gitignore() -> None:
    reason = path_filter(entry(include=("src/**", "*.md"), exclude=("**/gen/**", "/top.md")), [])
    assert [reason(path) for path in ("src/a.py", "deep/x.md", "lib/a.py")] == [
        "",
        "",
        "not included by the settings",
    ]
    assert reason("src/gen/a.py") == reason("top.md") == "excluded by the settings"
    assert path_filter(entry(), ["*.py"])("a.py") == "ignored by .codesearchignore"


def test_the_fingerprint_moves_with_what_decides_the_files_and_with_nothing_else() -> None:
    base = fingerprint(entry())
    others = [
        entry(root="src"),
        entry(include=("a",)),
        entry(exclude=("a",)),
        entry(include=("a", "b")),
        entry(include=("a",), exclude=("b",)),
        entry(exclude=("a", "b")),
    ]
    assert len({base, *(fingerprint(other) for other in others)}) == len(others) + 1
    assert fingerprint(entry(branch="dev", local_only=False)) == base
