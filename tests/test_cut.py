"""How a file is cut, for a path as people write it."""

from collections.abc import Callable

import pytest
from conftest import Workspace, WorkTree
from sample import sample

from codesearch.cut import cut_of
from codesearch.errors import NotIndexed, SearchError
from codesearch_resources.settings import UnknownRepository

__all__ = ["sample"]


def cut(workspace: Workspace, path: str, repo: str | None = None) -> list[tuple[str, str, int]]:
    with workspace.open() as index:
        found = cut_of(workspace.settings, index.store, path, repo)
    return [(chunk.path, chunk.symbol, chunk.start_line) for chunk in found]


@pytest.mark.parametrize("path", ["src/api/router.py", "router.py", "./src/api/router.py"])
def test_a_path_or_its_end_is_found(sample: Workspace, path: str) -> None:
    assert cut(sample, path) == [("src/api/router.py", "Router", 1)]
    assert cut(sample, path, "api") == [("src/api/router.py", "Router", 1)]


def test_a_file_on_this_machine_is_found_from_inside_its_repository(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sample.file.parent / "api" / "src")
    assert cut(sample, "api/router.py") == [("src/api/router.py", "Router", 1)]
    assert cut(sample, str(sample.file.parent / "web/server/header.go"))[0][0] == "server/header.go"


def test_chunks_come_in_the_order_of_their_lines_with_grade_and_hash(sample: Workspace) -> None:
    with sample.open() as index:
        found = cut_of(sample.settings, index.store, "imports.py", None)
    assert [chunk.symbol for chunk in found] == [
        "import_orders", "import_customers", "import_invoices"
    ]  # fmt: skip
    assert [chunk.start_line for chunk in found] == sorted(chunk.start_line for chunk in found)
    assert {chunk.grade for chunk in found} <= {"doc", "stand_in"}
    assert {len(chunk.content_hash) for chunk in found} == {32}


def test_a_file_that_is_left_out_says_why(sample: Workspace) -> None:
    with pytest.raises(SearchError, match=r"api:logo\.png is not indexed: binary"):
        cut(sample, "logo.png")


@pytest.mark.parametrize("path", ["nope.py", "outer.py", "o'clock\n.py", "", "."])
def test_a_file_that_is_not_there_is_told(sample: Workspace, path: str) -> None:
    with pytest.raises(SearchError, match="no indexed repository has a file"):
        cut(sample, path)


def test_a_file_of_another_repository_is_not_shown(sample: Workspace) -> None:
    with pytest.raises(SearchError, match="no indexed repository"):
        cut(sample, "router.py", "web")
    with pytest.raises(UnknownRepository):
        cut(sample, "router.py", "wob")


def test_before_the_first_index_it_says_to_run_it(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    with pytest.raises(NotIndexed, match="codesearch index"):
        cut(make_workspace(make_tree("api", {"a.py": "x = 1\n"})), "a.py")
