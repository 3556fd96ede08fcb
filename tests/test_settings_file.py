"""Edits of codesearch.yaml: what changes, and that nothing else does."""

import os
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codesearch_resources.settings import SettingsError, UnknownRepository, load
from codesearch_resources.settings_file import add_repository, remove_repositories
from codesearch_resources.starter import starter

COMMENTED = """\
# mine
data_dir: "./data"      # quoted on purpose

repositories:
  # the first one
  - name: one           # its name
    path: ./one
    # branch: dev

  # the second one
  - name:   two
    path: './two'

# the night
nightly: {cron: '0 4 * * *',   timezone: UTC}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("edits")
    for name in ("one", "two", "three", "more/one"):
        subprocess.run(["git", "init", "-q", str(folder / name)], check=True)
    return folder


def written(folder: Path, text: str) -> Path:
    file = folder / "codesearch.yaml"
    file.write_bytes(text.encode())
    return file


def content(file: Path) -> str:
    return file.read_bytes().decode()


def names(file: Path) -> list[str]:
    return [repository.name for repository in load(file).repositories]


def test_the_starter_is_valid_without_repositories(folder: Path) -> None:
    loaded = load(written(folder, starter([])))
    assert loaded.repositories == ()
    assert loaded.data_dir == folder / "data"
    assert loaded.dagster_home == folder / "dagster_home"


def test_the_starter_lists_repositories_under_unique_names(folder: Path) -> None:
    file = written(folder, starter([folder / "one", folder / "two", folder / "more" / "one"]))
    loaded = load(file)
    assert {r.path for r in loaded.repositories} == {
        folder / "one",
        folder / "two",
        folder / "more" / "one",
    }
    assert len({r.name for r in loaded.repositories}) == 3


def test_the_starter_writes_the_home_folder_as_a_tilde(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    text = starter([folder / "one"])
    assert "path: ~/one\n" in text
    assert load(written(folder, text)).repository("one").path == folder / "one"


def test_the_first_repository_follows_the_starters_commented_example(folder: Path) -> None:
    file = written(folder, starter([]))
    before = content(file)
    add_repository(file, path=str(folder / "one"))
    lines = content(file).splitlines()
    at = lines.index("  - name: one")
    assert lines[at - 1].startswith("  #   root:")
    assert lines[at + 2] == ""
    remove_repositories(file, ["one"])
    assert content(file) == before


def test_an_added_repository_comes_last_and_everything_else_stays(folder: Path) -> None:
    file = written(folder, COMMENTED)
    name = add_repository(file, path=str(folder / "three"), branch="main", root="src")
    assert name == "three"
    new = f"  - name:   two\n    path: './two'\n  - name: three\n    path: {folder}/three\n"
    assert content(file) == COMMENTED.replace(
        "  - name:   two\n    path: './two'\n", new + "    branch: main\n    root: src\n"
    )
    added = load(file).repository("three")
    assert (added.path, added.branch, added.root) == (folder / "three", "main", "src")


def test_a_removed_repository_takes_its_own_comments_along(folder: Path) -> None:
    file = written(folder, COMMENTED)
    remove_repositories(file, ["one"])
    own = "  - name: one           # its name\n    path: ./one\n    # branch: dev\n"
    assert content(file) == COMMENTED.replace(own, "")


def test_removing_every_repository_leaves_a_valid_file(folder: Path) -> None:
    file = written(folder, COMMENTED)
    remove_repositories(file, ["two", "one"])
    assert names(file) == []
    assert "# the first one" in content(file)
    assert load(file).nightly.cron == "0 4 * * *"


def test_of_two_blank_lines_left_by_a_removal_one_goes(folder: Path) -> None:
    text = "repositories:\n  - path: one\n\n  - path: two\n\n  - path: three\n"
    file = written(folder, text)
    remove_repositories(file, ["two"])
    assert content(file) == "repositories:\n  - path: one\n\n  - path: three\n"


def test_line_ends_and_byte_order_mark_stay(folder: Path) -> None:
    before = "\ufeff" + COMMENTED.replace("\n", "\r\n")
    file = written(folder, before)
    add_repository(file, path=str(folder / "three"))
    assert b"\n" not in file.read_bytes().replace(b"\r\n", b"")
    assert content(file).startswith("\ufeff# mine\r\n")
    remove_repositories(file, ["three"])
    assert content(file) == before


@pytest.mark.parametrize(
    "text",
    [
        "repositories:\n",
        "repositories:   # none yet\n  # - name: x\n\nnightly: {}\n",
        "repositories: []  # none yet\n",
        "repositories: [ ]",
        "repositories:",
        "repositories:\n- path: one\n- path: two",
        "repositories:\n    -   path: one\n\n\n# end",
        "repositories: [{path: one}, {path: two}]  # both\n",
        "repositories: [\n  {path: one},  # first\n  {path: two},  # second\n]\n",
        "repositories: [\n  {path: one},  # first\n  {path: two}]\n",
        "repositories:\n  -\n    # inside\n    path: one\n    branch:\n\nnightly: {}\n",
        "repositories:\n  - path: >-\n      one\n\n  # tail\n",
        "---\nrepositories:\n  - &a {path: one}\n  # tail\n...\n",
        "repositories:\n  - path: &p one\n  - {name: z, path: *p}\n\n\n",
        "repositories:\n  - name: z\n    branch: &b main\n    path: one\n"
        "  - path: two\n    branch: *b\n    # deeper\n  # same\n",
    ],
)
def test_adding_and_removing_gives_the_same_bytes(folder: Path, text: str) -> None:
    file = written(folder, text)
    before = names(file)
    assert add_repository(file, path=str(folder / "three"), root="a b") == "three"
    assert names(file) == [*before, "three"]
    assert load(file).repository("three").root == "a b"
    remove_repositories(file, ["three"])
    assert content(file) == text


def test_a_file_without_the_list_gets_one_at_its_end(folder: Path) -> None:
    file = written(folder, "# mine\ndata_dir: ./d")
    add_repository(file, path=str(folder / "one"))
    assert content(file) == (
        f"# mine\ndata_dir: ./d\n\nrepositories:\n  - name: one\n    path: {folder}/one\n"
    )


def test_an_empty_file_and_an_explicit_null_get_a_list(folder: Path) -> None:
    for text in ("", "repositories: null  # none\n", "# only this\n"):
        file = written(folder, text)
        add_repository(file, path=str(folder / "one"))
        assert names(file) == ["one"]


@pytest.mark.parametrize(
    ("text", "gone", "left"),
    [
        ("repositories: [{path: one}, {path: two}]\n", "one", "repositories: [{path: two}]\n"),
        ("repositories: [{path: one}, {path: two}]\n", "two", "repositories: [{path: one}]\n"),
        ("repositories: [{path: one}, ]\n", "one", "repositories: [ ]\n"),
        (
            "repositories: [\n  {path: one},  # 1\n  {path: two}  # 2\n]\n",
            "two",
            "repositories: [\n  {path: one},  # 1\n]\n",
        ),
        (
            "repositories: [{path: one},  # 1\n  {path: two}]\n",
            "two",
            "repositories: [{path: one},  # 1\n  ]\n",
        ),
        ("repositories:\n- path: one\n- path: two", "two", "repositories:\n- path: one"),
    ],
)
def test_removing_from_every_kind_of_list(folder: Path, text: str, gone: str, left: str) -> None:
    file = written(folder, text)
    remove_repositories(file, [gone])
    assert content(file) == left


BLANKS = st.sampled_from(["", "\n", "\n\n"])
COMMENT = st.sampled_from(["", "# note", "# - name: x: [", "#"])


@st.composite
def commented_files(draw: st.DrawFn) -> str:
    """Files with a list of one or two entries and comments wherever one may stand."""
    dash, pad = draw(st.integers(0, 4)), draw(st.integers(1, 3))
    lines = [draw(COMMENT), draw(BLANKS), f"repositories:  {draw(COMMENT)}"]
    inner = " " * (dash + pad + 1)
    for name in draw(st.sampled_from([["one"], ["one", "two"]])):
        lines.append(" " * draw(st.integers(0, 6)) + draw(COMMENT))
        lines.append(f"{' ' * dash}-{' ' * pad}path: './{name}' {draw(COMMENT)}")
        lines += [inner + draw(COMMENT)] * draw(st.integers(0, 1))
        lines += [f"{inner}branch: main  {draw(COMMENT)}"] * draw(st.integers(0, 1))
        lines.append(" " * draw(st.integers(0, 6)) + draw(COMMENT))
        lines.append(draw(BLANKS))
    lines += ["nightly: {timezone: UTC}  # end"] * draw(st.integers(0, 1))
    text = "\n".join(lines).rstrip("\n") + draw(st.sampled_from(["", "\n", "\n\n", "\n# last"]))
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=commented_files())
def test_add_then_remove_is_the_identity_on_commented_files(folder: Path, text: str) -> None:
    file = written(folder, text)
    before = names(file)
    add_repository(file, path=str(folder / "three"), branch="v1.0")
    assert names(file) == [*before, "three"]
    remove_repositories(file, ["three"])
    assert content(file) == text


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    root=st.text(
        st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="\\\ufeff"),
        min_size=1,
    ).filter(lambda s: s.strip() and "/" not in s and "~" not in s and s not in (".", ".."))
)
def test_any_folder_name_reads_back_as_it_was_given(folder: Path, root: str) -> None:
    file = written(folder, "repositories: []\n")
    add_repository(file, path=str(folder / "one"), root=root)
    assert load(file).repository("one").root == root


def test_removing_works_although_folders_are_missing(folder: Path) -> None:
    file = written(folder, "repositories:\n  - path: ./gone\n  - path: ./one\n")
    remove_repositories(file, ["gone"])
    assert names(file) == ["one"]


def test_an_unknown_name_changes_nothing_and_is_answered_with_near_ones(folder: Path) -> None:
    file = written(folder, COMMENTED)
    with pytest.raises(UnknownRepository, match="did you mean two") as caught:
        remove_repositories(file, ["one", "twoo"])
    assert caught.value.near == ("two",)
    assert content(file) == COMMENTED


def test_a_discovered_repository_is_not_removed_from_the_list(folder: Path) -> None:
    file = written(folder, "repositories:\n  - path: one\n\ndiscover: [./t*]\n")
    with pytest.raises(SettingsError) as caught:
        remove_repositories(file, ["two"])
    (problem,) = caught.value.problems
    assert (problem.line, problem.key) == (4, "discover")
    assert f'"!{folder}/two"' in problem.message
    file.write_text(f'discover: [./t*, "!{folder}/two"]\n')
    assert names(file) == ["three"]


def test_a_discovered_repository_keeps_its_name_when_it_is_listed(folder: Path) -> None:
    text = "discover: ['*', more/*]\n"
    file = written(folder, text)
    before = {r.path: r.name for r in load(file).repositories}
    name = add_repository(file, path=str(folder / "more" / "one"))
    assert name == before[folder / "more" / "one"]
    assert {r.path: r.name for r in load(file).repositories} == before
    assert not load(file).repository(name).discovered


def test_a_removal_that_would_rename_another_entry_is_refused(folder: Path) -> None:
    text = "repositories:\n  - path: one\n  - path: more/one\n"
    file = written(folder, text)
    second = names(file)[1]
    with pytest.raises(SettingsError, match=f"add `name: {second}` first") as caught:
        remove_repositories(file, ["one"])
    assert caught.value.problems[0].line == 3
    assert content(file) == text


def test_two_entries_of_one_name_are_not_removed_by_it(folder: Path) -> None:
    text = "repositories:\n  - {name: a, path: one}\n  - {name: a, path: two}\n"
    file = written(folder, text)
    with pytest.raises(SettingsError, match="two are named a, the other on line 2"):
        remove_repositories(file, ["a"])
    assert content(file) == text


@pytest.mark.parametrize(
    ("arguments", "key", "message"),
    [
        ({"path": "nowhere"}, "path", "no such folder"),
        ({"path": "one"}, "", "already listed, as one"),
        ({"path": "three", "name": "two"}, "name", "another repository named two"),
        ({"path": "three", "name": "A.b"}, "name", "try a-b"),
        ({"path": "three", "url": "https://h/x"}, "", "both path and url"),
        ({"path": "three", "root": "../x"}, "root", "inside the repository"),
        ({"path": "three", "branch": "-x"}, "branch", "name of a branch"),
        ({"path": "three", "branch": "a\nb"}, "branch", "control characters"),
        ({"path": ""}, "path", "must not be empty"),
        ({"url": "three"}, "url", "URL git can clone"),
    ],
)
def test_a_wrong_entry_is_refused_and_not_written(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, str],
    key: str,
    message: str,
) -> None:
    monkeypatch.chdir(folder)
    file = written(folder, COMMENTED)
    with pytest.raises(SettingsError) as caught:
        add_repository(file, **arguments)
    (problem,) = caught.value.problems
    assert (problem.line, problem.key) == (0, key)
    assert message in problem.message
    assert content(file) == COMMENTED


def test_a_url_is_added_under_its_last_part_and_may_have_a_second_root(folder: Path) -> None:
    file = written(folder, COMMENTED)
    assert add_repository(file, url="https://me:secret@host/team/web.git") == "web"
    assert add_repository(file, url="https://me:secret@host/team/web.git", root="docs") != "web"
    with pytest.raises(SettingsError) as caught:
        add_repository(file, url="https://me:secret@host/team/web.git", root="docs/")
    assert "secret" not in str(caught.value)


def test_a_file_with_problems_is_not_added_to(folder: Path) -> None:
    file = written(folder, "repository: []\n")
    with pytest.raises(SettingsError, match="did you mean repositories") as caught:
        add_repository(file, path=str(folder / "one"))
    assert caught.value.problems[0].line == 1


@pytest.mark.parametrize(
    "text",
    ["{data_dir: ./d}\n", "x: &r []\nrepositories: *r\n", "data_dir: ./d\n...\n", "{}\n", "~\n"],
)
def test_a_layout_that_is_not_understood_is_left_alone(folder: Path, text: str) -> None:
    file = written(folder, text)
    with pytest.raises(SettingsError):
        add_repository(file, path=str(folder / "one"))
    assert content(file) == text


def test_mode_and_link_of_the_file_stay(folder: Path, tmp_path: Path) -> None:
    file = written(folder, COMMENTED)
    file.chmod(0o640)
    link = folder / "linked.yaml"
    link.symlink_to(file)
    add_repository(link, path=str(folder / "three"))
    assert link.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert names(file) == ["one", "two", "three"]
    link.unlink()
    assert not [p for p in folder.iterdir() if p.name.startswith(".codesearch.yaml")]


def test_a_failed_write_leaves_the_old_file_and_no_other(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(folder, COMMENTED)
    there = set(folder.iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingsError, match="cannot be written: No space left"):
        add_repository(file, path=str(folder / "three"))
    assert content(file) == COMMENTED
    assert set(folder.iterdir()) == there


def test_edits_at_the_same_time_are_all_kept(folder: Path) -> None:
    file = written(folder, COMMENTED)
    urls = [f"https://host/r{number}.git" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda url: add_repository(file, url=url), urls))
    assert set(names(file)) == {"one", "two", *(f"r{number}" for number in range(8))}
