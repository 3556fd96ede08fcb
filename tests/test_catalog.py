"""What a change of the settings means: who is new, who is missing, who loses its rows."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import WorkTree
from hypothesis import given
from hypothesis import strategies as st

from codesearch_resources.catalog import (
    CATALOG_FILE,
    Known,
    Plan,
    plan,
    read_catalog,
    write_catalog,
)
from codesearch_resources.data_dir import DataDirError
from codesearch_resources.settings import RepositorySettings, Settings, load

NOW = datetime(2026, 3, 1, 3, tzinfo=UTC)
NO_FOLDER = "/nowhere/at/all"
LATER = timedelta(days=8)  # past the grace period of seven


def settings_of(file: Path, *names: str, missing_discover: tuple[str, ...] = ()) -> Settings:
    """The settings of an empty file, with these repositories behind URLs."""
    file.write_text("repositories: []\n")
    listed = tuple(RepositorySettings(name=name, url=f"https://x/{name}") for name in names)
    return load(file).model_copy(
        update={"repositories": listed, "missing_discover": missing_discover}
    )


def known(*names: str, discovered: bool = False, folder: str = "") -> dict[str, Known]:
    return {name: Known(name, folder, discovered) for name in names}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "codesearch.yaml"


def test_what_is_listed_for_the_first_time_is_new(file: Path) -> None:
    change = plan({}, settings_of(file, "api", "web"), NOW)
    assert (change.new, change.removed, change.refused) == (("api", "web"), (), ())
    assert set(change.known) == {"api", "web"}


def test_what_was_struck_is_removed_and_stays_known_until_that_is_done(file: Path) -> None:
    change = plan(known("api", "web", "old"), settings_of(file, "api", "web"), NOW)
    assert (change.new, change.removed) == ((), ("old",))
    assert set(change.known) == {"api", "web", "old"}


def test_a_new_name_is_a_new_repository_and_the_old_name_is_struck(file: Path) -> None:
    change = plan(known("a", "b", "c"), settings_of(file, "a", "b", "renamed"), NOW)
    assert (change.new, change.removed) == (("renamed",), ("c",))


def test_a_listed_folder_that_is_not_there_is_not_struck(
    file: Path, make_tree: Callable[..., WorkTree]
) -> None:
    tree = make_tree("api", {"a.py": "A = 1\n"})
    file.write_text(f"repositories:\n  - path: {tree.path}\n")
    before = plan({}, load(file), NOW).known
    tree.path.rename(tree.path.with_name("elsewhere"))
    change = plan(before, load(file, absent_ok=True), NOW + LATER)
    assert (change.removed, change.refused, change.missing) == ((), (), ())


def test_more_than_half_at_once_is_refused(file: Path) -> None:
    four = known("a", "b", "c", "d")
    assert plan(four, settings_of(file, "a", "b"), NOW).removed == ("c", "d")
    change = plan(four, settings_of(file, "a"), NOW)
    assert (change.removed, change.refused) == ((), ("b", "c", "d"))


def test_the_only_repository_is_not_given_up_for_another(file: Path) -> None:
    change = plan(known("a"), settings_of(file, "b"), NOW)
    assert (change.new, change.removed, change.refused) == (("b",), (), ("a",))


def test_what_was_refused_stays_refused_when_others_join(file: Path) -> None:
    """Each tick sees the catalog of the last one: the new ones must not outvote the refusal."""
    catalog = plan(known("a", "b"), settings_of(file, "c", "d", "e", "f"), NOW).known
    for _ in range(3):
        change = plan(catalog, settings_of(file, "c", "d", "e", "f"), NOW)
        assert (change.removed, change.refused) == ((), ("a", "b"))
        catalog = change.known
    # A later strike is judged by itself, and one that comes back is as it was.
    change = plan(catalog, settings_of(file, "b", "c", "d", "e"), NOW)
    assert (change.removed, change.refused) == (("f",), ("a",))
    assert not change.known["b"].refused


def test_the_rest_of_a_removal_is_not_refused_half_way(file: Path) -> None:
    """Twelve known, six struck: as they go one by one, the rest must not become too many."""
    catalog = known(*"abcdefghijkl")
    settings = settings_of(file, *"abcdef")
    for left in (6, 5, 4, 3, 2, 1, 0):
        change = plan(catalog, settings, NOW)
        assert (len(change.removed), change.refused) == (left, ())
        catalog = {
            name: row for name, row in change.known.items() if name not in change.removed[:1]
        }


@pytest.fixture
def disk(file: Path, make_tree: Callable[..., WorkTree]) -> Path:
    """A folder of three discovered repositories, and one that is listed."""
    for name in ("one", "two", "three"):
        make_tree(f"disk/{name}", {"a.py": "A = 1\n"})
    make_tree("own", {"a.py": "A = 1\n"})
    disk = file.parent / "disk"
    file.write_text(f"discover: [{disk}/*]\nrepositories:\n  - path: {file.parent}/own\n")
    return disk


def follow(file: Path, catalog: Plan | None = None, now: datetime = NOW) -> Plan:
    return plan(catalog.known if catalog else {}, load(file, absent_ok=True), now)


def test_an_unmounted_disk_deletes_nothing_and_its_return_forgets_it(
    file: Path, disk: Path
) -> None:
    first = follow(file)
    assert first.new == ("one", "own", "three", "two")
    disk.rename(disk.with_name("unmounted"))
    gone = follow(file, first)
    assert (gone.removed, gone.refused, gone.missing) == ((), (), ("one", "three", "two"))
    disk.with_name("unmounted").rename(disk)
    back = follow(file, gone, NOW + LATER)
    assert (back.removed, back.missing, back.known) == ((), (), first.known)


def test_an_empty_mount_point_is_an_unmounted_disk(file: Path, disk: Path) -> None:
    """The folder of the repository itself is the mount point: it is there, and empty."""
    first = follow(file)
    (disk / "one").rename(disk.with_name("unmounted"))
    (disk / "one").mkdir()
    gone = follow(file, first)
    assert (gone.removed, gone.missing) == ((), ("one",))


def test_one_of_two_disks_renames_what_is_on_the_other_and_deletes_nothing(
    file: Path, make_tree: Callable[..., WorkTree]
) -> None:
    """Two repositories of one name have their parents' in front; alone it has not."""
    for name in ("a/api", "b/api", "a/one", "a/two"):
        make_tree(name, {"a.py": "A = 1\n"})
    file.write_text(f"discover: ['{file.parent}/*/*']\n")
    first = follow(file)
    assert first.new == ("a--api", "b--api", "one", "two")
    (file.parent / "b").rename(file.parent / "unmounted-b")
    (file.parent / "unmounted-b" / "api" / ".git").rename(file.parent / "aside")
    gone = follow(file, first)
    assert gone.removed == gone.refused == ()
    assert gone.missing == ("a--api", "b--api")


def test_a_pattern_that_suddenly_matches_nothing_deletes_nothing(file: Path, disk: Path) -> None:
    first = follow(file)
    file.write_text(file.read_text().replace(f"{disk}/*", f"{disk}/*/typo"))
    change = follow(file, first)
    assert (change.removed, change.refused) == ((), ())
    assert change.missing == ("one", "three", "two")


def test_the_grace_period_ends_from_the_day_it_was_first_missed(file: Path, disk: Path) -> None:
    first = follow(file)
    (disk / "one").rename(disk.with_name("deleted"))
    catalog = follow(file, first)
    for day in (1, 6):
        catalog = follow(file, catalog, NOW + timedelta(days=day))
        assert (catalog.removed, catalog.missing) == ((), ("one",))
    assert follow(file, catalog, NOW + timedelta(days=7)).removed == ("one",)


def test_after_the_grace_period_more_than_half_is_still_refused(file: Path, disk: Path) -> None:
    first = follow(file)
    disk.rename(disk.with_name("unmounted"))
    change = follow(file, follow(file, first), NOW + LATER)
    assert (change.removed, change.refused) == ((), ("one", "three", "two"))


def test_a_discovered_repository_that_is_excluded_now_is_struck(file: Path, disk: Path) -> None:
    first = follow(file)
    file.write_text(file.read_text().replace("/*]", f"/*, '!{disk}/two']"))
    change = follow(file, first)
    assert (change.removed, change.missing) == (("two",), ())


NAMES = st.sets(st.sampled_from([f"r{n}" for n in range(8)]))


@given(
    rows=st.dictionaries(
        st.sampled_from([f"r{n}" for n in range(8)]),
        st.tuples(st.booleans(), st.booleans(), st.integers(0, 20)),
    ),
    listed=NAMES,
    unmounted=st.booleans(),
    ticks=st.integers(1, 4),
)
def test_whatever_changes_nothing_listed_and_never_more_than_half_goes(
    rows: dict[str, tuple[bool, bool, int]],
    listed: set[str],
    unmounted: bool,
    ticks: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    file = tmp_path_factory.getbasetemp() / "invariant.yaml"
    settings = settings_of(file, *sorted(listed), missing_discover=("~/x/*",) if unmounted else ())
    before = {
        name: Known(
            name,
            NO_FOLDER,
            discovered,
            (NOW - timedelta(days=days)).isoformat() if missing else "",
        )
        for name, (discovered, missing, days) in rows.items()
    }
    catalog = before
    for tick in range(ticks):
        change = plan(catalog, settings, NOW + timedelta(minutes=tick))
        gone = {*change.removed, *change.refused, *change.missing}
        assert gone == before.keys() - listed
        assert len(gone) == sum(map(len, (change.removed, change.refused, change.missing)))
        assert len(change.removed) <= len(before) / 2
        assert set(change.known) == before.keys() | listed
        assert set(change.new) == (listed - before.keys() if tick == 0 else set())
        for name in change.missing:
            assert before[name].discovered
        catalog = dict(change.known)


def test_the_catalog_is_what_was_written(tmp_path: Path) -> None:
    assert read_catalog(tmp_path) == {}
    rows = {**known("b", discovered=True, folder="/b"), "a": Known("a", "", False, "x", True)}
    write_catalog(tmp_path, rows)
    assert read_catalog(tmp_path) == rows
    stamp = (tmp_path / CATALOG_FILE).stat().st_mtime_ns
    write_catalog(tmp_path, dict(reversed(rows.items())))
    assert (tmp_path / CATALOG_FILE).stat().st_mtime_ns == stamp
    assert [path.name for path in tmp_path.iterdir()] == [CATALOG_FILE]


def test_a_catalog_from_before_a_column_was_added_is_read(tmp_path: Path) -> None:
    row = {"name": "a", "folder": "", "discovered": False}
    (tmp_path / CATALOG_FILE).write_text(json.dumps([row]))
    assert read_catalog(tmp_path) == known("a")


@pytest.mark.parametrize("text", ["", "[", "{}x", "[1]", '[{"name": "a"}]', '[{"no": 1}]'])
def test_a_damaged_catalog_is_told_and_not_taken_for_an_empty_one(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / CATALOG_FILE).write_text(text)
    with pytest.raises(DataDirError, match=r"catalog\.json cannot be read: .*Delete it"):
        read_catalog(tmp_path)
