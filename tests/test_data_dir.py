"""The data folder: one configuration each, a format, locks that name their holder."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Workspace, WorkTree
from indexes import contents, store_of

from codesearch_assets.runs import instance_of
from codesearch_resources.data_dir import (
    FORMAT_FILE,
    OWNER_FILE,
    Busy,
    DataDirError,
    lock,
    open_data_dir,
)

ROOT = Path(__file__).parent.parent


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "codesearch.yaml"
    path.write_text("")
    return path


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_folder_is_made_and_opened_again_by_its_configuration(file: Path) -> None:
    data, home = file.parent / "data", file.parent / "home"
    for _ in range(2):
        open_data_dir(data, home, file)
    assert listing(data) == [OWNER_FILE, FORMAT_FILE]
    assert (data / OWNER_FILE).read_text().strip() == str(file)


@pytest.mark.parametrize("shared", ["data", "home"])
def test_a_folder_of_another_configuration_is_refused_and_nothing_touched(
    file: Path, shared: str
) -> None:
    open_data_dir(file.parent / "data", file.parent / "home", file)
    other = file.parent / "other" / "codesearch.yaml"
    other.parent.mkdir()
    other.write_text("")
    folders = {name: file.parent / (name if name == shared else f"other-{name}")
               for name in ("data", "home")}  # fmt: skip
    before = listing(file.parent)
    with pytest.raises(DataDirError, match=f"{shared} belongs to .*codesearch.yaml") as refused:
        open_data_dir(folders["data"], folders["home"], other)
    assert str(file) in str(refused.value)
    assert str(other) in str(refused.value)
    assert listing(file.parent) == before


def test_a_configuration_that_moved_takes_its_folders_along(file: Path) -> None:
    data, home = file.parent / "data", file.parent / "home"
    open_data_dir(data, home, file)
    new = file.rename(file.with_name("renamed.yaml"))
    open_data_dir(data, home, new)
    assert (data / OWNER_FILE).read_text().strip() == str(new)


def test_a_configuration_reached_by_a_link_is_the_same_one(file: Path, tmp_path: Path) -> None:
    open_data_dir(tmp_path / "data", tmp_path / "home", file)
    link = tmp_path / "link"
    link.symlink_to(tmp_path, target_is_directory=True)
    open_data_dir(link / "data", link / "home", link / file.name)
    assert (tmp_path / "data" / OWNER_FILE).read_text().strip() == str(file)


@pytest.mark.parametrize("found", ["2", "99", "", "one"])
def test_another_format_is_refused_with_what_to_do(file: Path, found: str) -> None:
    data = file.parent / "data"
    open_data_dir(data, file.parent / "home", file)
    (data / FORMAT_FILE).write_text(found)
    with pytest.raises(DataDirError, match="Upgrade codesearch"):
        open_data_dir(data, file.parent / "home", file)
    assert (data / FORMAT_FILE).read_text() == found


def test_a_folder_that_cannot_be_made_says_so(file: Path) -> None:
    (file.parent / "data").write_text("a file")
    with pytest.raises(DataDirError, match="data"):
        open_data_dir(file.parent / "data" / "deeper", file.parent / "home", file)


HOLD = """
import sys
from pathlib import Path
from codesearch_resources.data_dir import lock
with lock(Path(sys.argv[1]), "api.refresh"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_lock_names_its_holder_and_ends_with_its_process(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(Busy, match=f"api.refresh.*process {holder.pid}"),
        lock(tmp_path, "api.refresh"),
    ):
        pass
    with lock(tmp_path, "api.summarise"):  # another job, another lock
        pass
    holder.kill()
    holder.communicate()
    with lock(tmp_path, "api.refresh", wait=1):
        pass


def test_two_configurations_in_turn_never_touch_each_others_data(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    one, two = (
        make_tree("one", {"a.py": "def alpha(): pass\n"}),
        make_tree("two", {"b.py": "def bravo(): pass\n"}),
    )
    first, second = make_workspace(one, name="w1"), make_workspace(two, name="w2")
    expected = {}
    for workspace in (first, second):
        assert not any(outcome.error for outcome in workspace.index())
        expected[workspace.file] = contents(store_of(workspace))
    one.commit({"a.py": "def alpha(): return 1\n"})
    assert [outcome.repo for outcome in first.index()] == ["one", "one"]
    assert second.index() == []
    assert contents(store_of(second)) == expected[second.file]
    for workspace, name in ((first, "one"), (second, "two")):
        found = contents(store_of(workspace))
        assert {row[0] for row in found["repositories"]} == {name}
        assert {row[1] for table in ("chunks", "summaries") for row in found[table]} == {name}
        with instance_of(workspace.settings) as instance:
            assert os.environ["DAGSTER_HOME"] == str(workspace.settings.dagster_home)
            assert list(instance.get_dynamic_partitions("repositories")) == [name]
            assert {
                record.dagster_run.tags.get("dagster/partition")
                for record in instance.get_run_records()
            } == {name}


@pytest.mark.parametrize("shared", ["data_dir", "dagster_home"])
def test_an_index_into_another_configurations_folder_is_refused(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace], shared: str
) -> None:
    tree = make_tree("one", {"a.py": "def alpha(): pass\n"})
    folder = tree.path.parent / "shared"
    owner = make_workspace(tree, name="w1", extra=f"{shared}: {folder}\n")
    other = make_workspace(tree, name="w2", extra=f"{shared}: {folder}\n")
    with instance_of(owner.settings):
        pass
    before = listing(folder)
    with pytest.raises(DataDirError, match=str(owner.file)):
        other.index()
    assert listing(folder) == before
