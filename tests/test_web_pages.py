"""Links of the UI: the page of a repository, by its remote, without its login."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import WorkTree

from codesearch_resources.repositories import Repository
from codesearch_resources.web_pages import page_of, web_page

PAGE = "https://example.com/team/api"


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("https://example.com/team/api.git", PAGE),
        ("https://user:secret@example.com/team/api.git", PAGE),
        ("https://token@example.com/team/api?key=secret#part", PAGE),
        ("http://example.com:8080/api/", "http://example.com:8080/api"),
        ("ssh://git@example.com:2222/team/api.git", PAGE),
        ("git@example.com:team/api.git", PAGE),
        ("user:secret@example.com:team/api.git", PAGE),
        ("git://example.com/team/api.git", ""),
        ("file:///srv/api.git", ""),
        ("javascript://example.com/alert(1)", ""),
        ("http://[example.com/api", ""),
        ("/srv/api.git", ""),
        ("../api", ""),
        ("", ""),
    ],
)
def test_the_page_of_a_remote_has_no_login(url: str, page: str) -> None:
    assert web_page(url) == page


def test_the_page_of_a_local_repository_is_that_of_its_origin(
    make_tree: Callable[..., WorkTree],
) -> None:
    tree = make_tree("api")
    repository = Repository(name="api", path=tree.path)
    assert page_of(repository) == ""
    tree.git("remote", "add", "origin", "git@example.com:team/api.git")
    assert page_of(repository) == PAGE
    shutil.rmtree(tree.path)
    assert page_of(repository) == ""


def test_the_page_of_a_repository_behind_a_url_asks_nobody(tmp_path: Path) -> None:
    url = "https://user:secret@example.com/team/api.git"
    assert page_of(Repository(name="api", url=url, mirrors=tmp_path)) == PAGE
