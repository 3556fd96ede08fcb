"""Search over a real index: filters, folding, explanations, and questions that are no questions."""

from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
from conftest import Workspace, WorkTree
from hypothesis import given, settings
from hypothesis import strategies as st
from sample import sample

import codesearch
from codesearch import in_memory, search
from codesearch.candidates import Candidate
from codesearch.errors import BadQuery, NoConfiguration, NotIndexed, SearchError
from codesearch.filters import glob_regex
from codesearch.hits import Hit, More, choose
from codesearch.lanes import Found, Lanes
from codesearch.query import Query
from codesearch.ranking import RankedFile
from codesearch.search import Index
from codesearch_resources.data_dir import DataDirError
from codesearch_resources.settings import UnknownRepository

__all__ = ["sample"]


@pytest.fixture(scope="module", params=["held in memory", "asked of the tables"])
def opened(sample: Workspace, request: pytest.FixtureRequest) -> Iterator[Index]:
    with pytest.MonkeyPatch.context() as patch, sample.open() as index:
        if request.param == "asked of the tables":
            patch.setattr(in_memory, "ROWS_AT_MOST", 0)
            patch.setattr(in_memory, "BYTES_AT_MOST", 0)
        index.warm()  # else it is done after a while, and the last digit of a score may move
        yield index


def test_open_finds_the_index_of_a_configuration(sample: Workspace) -> None:
    for config in (sample.file, str(sample.file)):
        with codesearch.open(config) as index:
            assert index.search("quota is used up")[0].symbol == "call_with_backoff"


def test_a_hit_says_where_it_lies_and_shows_the_lines_of_its_commit(
    opened: Index, sample: Workspace
) -> None:
    hit = opened.search("quota is used up")[0]
    tree = WorkTree(sample.file.parent / "api")
    assert (hit.repo, hit.path, hit.language, hit.kind) == (
        "api", "src/api/client.py", "python", "function"
    )  # fmt: skip
    assert hit.commit == tree.git("rev-parse", "HEAD")
    lines = tree.git("show", f"{hit.commit}:{hit.path}").split("\n")
    assert hit.text == "\n".join(lines[hit.start_line - 1 : hit.end_line])
    assert hit.summary.startswith("Send again, waiting longer")
    assert hit.indexed_at is not None
    assert hit.lanes["bm25"] == 1


@pytest.mark.parametrize(
    ("filters", "paths"),
    [
        ({"repos": ["web"]}, {"server/header.go", "page/chart.js"}),
        ({"languages": ["go"]}, {"server/header.go"}),
        ({"languages": ["Go", "javascript"]}, {"server/header.go", "page/chart.js"}),
        ({"paths": ["*.go"]}, {"server/header.go"}),
        ({"paths": ["src/**"]}, {"src/api/client.py", "src/api/router.py", "src/api/imports.py"}),
        ({"paths": ["tests"]}, {"tests/test_client.py"}),
        ({"paths": ["*.go", "./page/"]}, {"server/header.go", "page/chart.js"}),
        ({"kinds": ["class"]}, {"src/api/router.py"}),
        ({"repos": ["web"], "languages": ["python"]}, set()),
        ({"paths": ["no'such\n[thing"]}, set()),
    ],
)
def test_hits_keep_to_every_filter(
    opened: Index, filters: dict[str, list[str]], paths: set[str]
) -> None:
    hits = opened.search("where is a row of orders or a line read", limit=50, **filters)
    assert {hit.path for hit in hits} == paths


@pytest.mark.parametrize(
    ("glob", "path", "fits"),
    [
        ("*.py", "a/b.py", True),
        ("*.py", "a/b.pyc", False),
        ("src/*.py", "src/a.py", True),
        ("src/*.py", "src/b/a.py", False),
        ("src/**/*.py", "src/a.py", True),
        ("src/**/*.py", "src/b/c/a.py", True),
        ("src", "src/a.py", True),
        ("src", "lib/src/a.py", True),
        ("src/", "lib/src/a.py", True),
        ("/src", "lib/src/a.py", False),
        ("src", "srcs/a.py", False),
        ("a?.py", "ab.py", True),
        ("a?.py", "a/.py", False),
        ("a+(b).py", "a+(b).py", True),
        ("**", "a/b", True),
    ],
)
def test_globs_fit_as_people_write_them(glob: str, path: str, fits: bool) -> None:
    import re

    assert bool(re.search(glob_regex(glob), path)) is fits


def test_one_hit_a_file_with_its_other_chunks_folded_under_it(opened: Index) -> None:
    hits = opened.search("import the rows of orders", paths=["imports.py"])
    assert [hit.symbol for hit in hits] == ["import_orders"]
    assert {more.symbol for more in hits[0].more} == {"import_customers", "import_invoices"}
    assert all(isinstance(more, More) and more.score > 0 for more in hits[0].more)


def test_per_file_unfolds_a_file(opened: Index) -> None:
    hits = opened.search("import the rows of orders", paths=["imports.py"], per_file=2)
    assert [hit.path for hit in hits] == ["src/api/imports.py"] * 2
    assert [len(hit.more) for hit in hits] == [1, 0]


def test_limit_bounds_the_hits_whatever_per_file_is(opened: Index) -> None:
    for limit in (1, 2, 3):
        assert len(opened.search("import the rows", per_file=9, limit=limit)) == limit


def test_the_rules_of_a_hit_sum_to_its_score(opened: Index) -> None:
    for hit in opened.search("how does the client call the server"):
        assert sum(hit.rules.values()) == pytest.approx(hit.score, abs=0.001)


@pytest.mark.parametrize(
    ("query", "symbol"),
    [("Router.resolve", "Router.resolve"), ("resolve", "Router.resolve"), ("Router", "Router")],
)
def test_a_whole_class_points_at_the_method_that_was_asked_for(
    opened: Index, query: str, symbol: str
) -> None:
    hit = opened.search(query)[0]
    assert (hit.path, hit.symbol, hit.kind) == ("src/api/router.py", symbol, "class")
    assert hit.text.startswith("class Router")


def test_tests_go_behind_what_they_test(opened: Index) -> None:
    paths = [hit.path for hit in opened.search("call with backoff")]
    assert paths.index("src/api/client.py") < paths.index("tests/test_client.py")


def test_a_table_is_a_data_frame(opened: Index) -> None:
    chunks = opened.table("chunks")
    assert type(chunks).__name__ == "DataFrame"
    assert len(chunks) == len(opened.table("summaries")) > 5
    assert {"repo", "path", "symbol", "text"} <= set(chunks.columns)
    with pytest.raises(
        SearchError, match=r"no table 'chunk'; there are: centrality, chunks, code_emb"
    ):
        opened.table("chunk")


@pytest.mark.parametrize("query", ["", " \n\t", "?!…", "___", "'", '""', "🎉"])
def test_a_question_without_words_is_refused(opened: Index, query: str) -> None:
    with pytest.raises(BadQuery, match="holds no words"):
        opened.search(query)


@pytest.mark.parametrize(
    "query",
    [
        "a",
        "x" * 10_000,
        "aA" * 5_000,
        "a_b " * 2_500,
        "quota " * 1_700,
        "where is it",
        '"a AND (b OR',
        "foo:bar* +retry -quota ~x^2",
        "'; DROP TABLE chunks; --",
        'O\'Reilly "quoted" `name`',
        "中文 搜索 код ищи",
        "nul\0byte and caf\udce9",
        "[a-z]+ \\d {3}",
    ],
)
def test_odd_questions_are_answered(opened: Index, query: str) -> None:
    assert isinstance(opened.search(query), list)
    assert len(opened.table("chunks")) > 5


def test_limits_below_one_are_refused(opened: Index) -> None:
    for wrong in ({"limit": 0}, {"per_file": 0}, {"limit": -1}):
        with pytest.raises(BadQuery, match="at least 1"):
            opened.search("retry", **wrong)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"languages": [""]}, r"no language ''; there are: go, "),
        ({"languages": ["pyhton"]}, r"no language 'pyhton'; did you mean python\? there are: go, "),
        ({"kinds": ["functions"]}, r"no kind 'functions'; did you mean function\? there are: "),
        ({"kinds": ["zzz"]}, r"no kind 'zzz'; there are: function, method"),
    ],
)
def test_an_unknown_language_or_kind_says_what_there_is(
    opened: Index, filters: dict[str, list[str]], message: str
) -> None:
    with pytest.raises(BadQuery, match=message):
        opened.search("retry", **filters)


def test_an_unknown_repository_names_the_near_ones(opened: Index) -> None:
    with pytest.raises(UnknownRepository, match=r"no repository named 'apj'; did you mean api\?"):
        opened.search("retry", repos=["apj"])


QUERIES = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from("quota header Router chart AND \" ( * - : import_orders é 行".split()))
    .map(" ".join),
)  # fmt: skip
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "repos": st.lists(st.sampled_from(["api", "web"]), max_size=2),
        "languages": st.lists(st.sampled_from(["python", "go"]), max_size=2),
        "paths": st.lists(st.sampled_from(["*.py", "src/**", "*"]), max_size=2),
        "per_file": st.integers(1, 3),
        "limit": st.integers(1, 20),
    },
)


@pytest.mark.parametrize("count", [200, pytest.param(5_000, marks=pytest.mark.soak)])
def test_any_question_is_answered_or_refused(opened: Index, count: int) -> None:
    @settings(max_examples=count, deadline=None)
    @given(query=QUERIES, filters=FILTERS)
    def ask(query: str, filters: dict[str, object]) -> None:
        answered_or_refused(opened, query, filters)

    ask()


def answered_or_refused(opened: Index, query: str, filters: dict[str, object]) -> None:
    try:
        hits = opened.search(query, **filters)  # type: ignore[arg-type]
    except BadQuery:
        return
    assert hits == opened.search(query, **filters)  # type: ignore[arg-type]
    scores = [hit.score for hit in hits]
    assert all(map(isfinite, scores))
    assert scores == sorted(scores, reverse=True)
    assert len(hits) <= int(str(filters.get("limit", 10)))
    for hit in hits:
        assert not filters.get("repos") or hit.repo in filters["repos"]  # type: ignore[operator]
        assert not filters.get("languages") or hit.language in filters["languages"]  # type: ignore[operator]
        globs = filters.get("paths")
        assert not globs or any(fnmatch(hit.path, glob) for glob in globs)  # type: ignore[attr-defined]
    assert not overlapping(hits)


def overlapping(hits: list[Hit]) -> list[tuple[str, int, int]]:
    """Lines that two hits of one file, or a hit and what is folded under one, share."""
    spans = sorted(
        (hit.repo, hit.path, piece.start_line, piece.end_line)
        for hit in hits
        for piece in (hit, *hit.more)
    )
    return [
        (one[1], other[2], one[3])
        for one, other in pairwise(spans)
        if one[:2] == other[:2] and other[2] <= one[3]
    ]


def test_of_chunks_that_overlap_only_the_better_is_chosen() -> None:
    def chunk(start: int, end: int) -> Candidate:
        return Candidate(str(start), "api", "a.py", "python", "function", (), "", (), start, end)

    file = RankedFile("api", "a.py", {"text": 1.0})
    file.chunks = [(chunk(10, 20), 3.0), (chunk(15, 30), 2.0), (chunk(21, 25), 1.0)]
    chosen = choose([file], per_file=3, limit=10)
    assert [c.start_line for _, c, _ in chosen] == [10, 21]


def test_the_lanes_are_asked_once_and_twice_where_a_chosen_chunk_cannot_be_shown_for_good(
    opened: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    find = Lanes.find

    def counted(lanes: Lanes, query: Query, where: str) -> Found:
        asked.append(query.text)
        return find(lanes, query, where)

    monkeypatch.setattr(Lanes, "find", counted)
    whole = opened.search("quota is used up")
    assert len(asked) == 1

    def without_the_first(chosen: Any, shown: Any) -> Any:
        return {key: row for key, row in shown.items() if key != chosen[0][1].chunk_id}

    monkeypatch.setattr(search, "apart", without_the_first)
    assert opened.search("quota is used up") == whole[1:]
    assert len(asked) == 3


def test_code_like_a_hit_lies_near_it_and_is_not_it(opened: Index) -> None:
    hit = opened.search("import_orders")[0]
    related = opened.related(hit, per_file=3)
    assert {one.symbol for one in related[:2]} == {"import_customers", "import_invoices"}
    assert (hit.path, hit.start_line) not in {(one.path, one.start_line) for one in related}
    assert [one.score for one in related] == sorted((one.score for one in related), reverse=True)
    assert related[0].rules.keys() == {"likeness"}


def test_code_like_a_place_keeps_to_the_filters_and_crosses_repositories(opened: Index) -> None:
    found = opened.like("client.py:3", repos=["web"]).hits
    assert {hit.repo for hit in found} == {"web"}
    assert {hit.repo for hit in opened.like("src/api/client.py:3").hits} == {"api", "web"}


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("src/api/client.py", "is not PATH:LINE"),
        ("src/api/client.py:9999", "no chunk of an indexed file is at"),
        ("nowhere.py:1", "no chunk of an indexed file is at"),
    ],
)
def test_a_place_without_code_is_refused(opened: Index, place: str, message: str) -> None:
    with pytest.raises(BadQuery, match=message):
        opened.like(place)


def test_an_expected_file_says_why_it_is_not_higher(opened: Index) -> None:
    answer = opened.ask("quota is used up", expect="router.py")
    (file,) = answer.expected
    assert (file.repo, file.path) == ("api", "src/api/router.py")
    assert file.place > 1
    assert file.why.startswith(f"{answer.hits[0].path} has more of: ")
    first = sum(answer.hits[0].rules.values())
    assert sum(file.rules.values()) + sum(file.behind.values()) == pytest.approx(first, abs=0.01)
    assert opened.ask("quota is used up", expect="client.py").expected[0].place == 1


def test_a_file_that_no_lane_can_find_says_so(opened: Index) -> None:
    ask = opened.ask
    assert ask("quota", expect="logo.png").expected[0].why == "it is not indexed: binary"
    assert ask("quota", expect="no/such.py").expected[0].why == "no indexed file fits"
    left_out = ask("quota", expect="header.go", repos=["api"]).expected[0]
    assert (left_out.place, left_out.why[:11]) == (0, "no lane has")


def test_without_a_configuration_it_says_to_run_init(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoConfiguration, match="codesearch init"):
        codesearch.open()


def test_before_the_first_index_it_says_to_run_it(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    with make_workspace(make_tree("api", {"a.py": "x = 1\n"})).open() as index:
        with pytest.raises(NotIndexed, match="codesearch index"):
            index.search("retry")
        with pytest.raises(NotIndexed, match="codesearch index"):
            index.table("chunks")


def test_without_repositories_it_says_how_to_add_one(
    make_workspace: Callable[..., Workspace],
) -> None:
    workspace = make_workspace(extra="repositories: []\n")
    with workspace.open() as index, pytest.raises(NoConfiguration, match="repos add PATH"):
        index.search("retry")


def test_the_index_of_another_configuration_is_not_read(sample: Workspace, tmp_path: Path) -> None:
    other = tmp_path / "codesearch.yaml"
    other.write_text(f"data_dir: {sample.settings.data_dir}\n")
    with pytest.raises(DataDirError, match="belongs to"):
        codesearch.open(other)


def test_repositories_come_and_go_with_the_settings(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    kept = make_tree("kept", {"kept.py": "def retry_kept():\n    return 1\n"})
    struck = make_tree("struck", {"struck.py": "def retry_struck():\n    return 1\n"})
    later = make_tree("later", {"later.py": "def retry_later():\n    return 1\n"})
    workspace = make_workspace(kept, struck)
    workspace.index()
    workspace.file.write_text(f"repositories:\n  - path: {kept.path}\n  - path: {later.path}\n")
    with workspace.open() as index:
        answer = index.ask("retry")
        assert {hit.repo for hit in answer.hits} == {"kept"}
        assert answer.notices == ("not indexed yet: later; run `codesearch index`",)
        assert index.ask("retry", repos=["kept"]).notices == ()
        assert index.ask("retry", repos=["later"]).hits == ()
    with workspace.open() as index:  # as a removal leaves it that was cut short
        index.store.delete("repositories", ["struck"])
        assert {hit.repo for hit in index.search("retry")} == {"kept"}


def test_a_chunk_without_vectors_or_summary_is_found_by_its_text(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    from codesearch_assets.chunks import refresh_chunks
    from codesearch_assets.repo_snapshots import take_snapshot
    from codesearch_resources.dagster import git_repository

    workspace = make_workspace(make_tree("api", {"a.py": "def retry_later():\n    return 1\n"}))
    with workspace.open() as index:
        entry = workspace.settings.repository("api")
        repository = git_repository(workspace.settings, entry)
        index.store.create()
        take_snapshot(index.store, repository, entry, repository.head())
        refresh_chunks(index.store, repository)
        for query in ("retry it later", "retry_later"):
            (hit,) = index.search(query)
            assert (hit.symbol, hit.summary) == ("retry_later", "")
            assert set(hit.lanes) <= {"bm25", "symbol"}
