"""Ranking: each rule does what it says, and a score is the sum of its rules."""

import math
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesearch.candidates import Candidate, Evidence, File, LaneName, known, some
from codesearch.query import parse
from codesearch.ranking import TEXT_DECAY, TEXT_DEPTH, WEIGHTS, RankedFile, rank
from codesearch.symbols import Definition, Shown, meant


def chunk(
    path: str,
    start: int = 1,
    *,
    repo: str = "api",
    marks: tuple[str, ...] = (),
    names: tuple[str, ...] = (),
) -> Candidate:
    return Candidate(
        f"{repo}:{path}:{start}", repo, path, "python", "function", marks, "", names, start,
        start + 9,
    )  # fmt: skip


def ranked(
    query: str,
    *chunks: Candidate,
    lanes: dict[LaneName, dict[str, float]] | None = None,
    central: dict[File, float] | None = None,
) -> list[RankedFile]:
    """The order of files; every chunk has the same evidence in bm25 and vectors unless given."""
    equal = {one.chunk_id: 0.5 for one in chunks}
    given = lanes if lanes is not None else {"bm25": equal, "vectors": equal}
    candidates = some(known(chunks), np.arange(len(chunks)))
    said = {
        lane: np.array([scores.get(one.chunk_id, 0.0) for one in candidates.all()])
        for lane, scores in given.items()
    }
    leant_on = np.array([(central or {}).get(file, 0.0) for file in candidates.files])
    return rank(parse(query), candidates, Evidence(said, leant_on))


def rules_of(files: list[RankedFile], path: str) -> dict[str, float]:
    return next(file.rules for file in files if file.path == path)


def test_a_score_is_the_sum_of_its_rules() -> None:
    for file in ranked("parse the header", chunk("src/header.py"), chunk("tests/test_header.py")):
        assert file.score == sum(file.rules.values())
        assert file.rules.keys() <= WEIGHTS.keys()


@pytest.mark.parametrize(
    ("query", "wanted", "other", "rule"),
    [
        ("how is the header parsed", "src/header.py", "src/body.py", "file name"),
        ("retry in the client", "client/core.py", "server/core.py", "path"),
        ("retry in the client", "client/core.py", "server/core.py", "directory"),
    ],
)
def test_words_of_the_path_count(query: str, wanted: str, other: str, rule: str) -> None:
    files = ranked(query, chunk(other), chunk(wanted))
    assert files[0].path == wanted
    assert rules_of(files, wanted)[rule] > rules_of(files, other).get(rule, 0)


@pytest.mark.parametrize(
    ("query", "path", "marks", "rule"),
    [
        ("send a request", "tests/test_send.py", ("test",), "marked"),
        ("send a request", "send.pb.go", ("generated",), "marked"),
        ("send a request", "vendor/send.py", ("vendored",), "marked"),
        ("send a request", "send.md", ("docs",), "marked"),
        ("send a request", "examples/send.py", (), "marked"),
        ("send a request", "legacy/send.py", (), "marked"),
        ("send a request", "send_windows.py", (), "other platform"),
        ("send a request", "win32/send.py", (), "other platform"),
    ],
)
def test_what_is_rarely_meant_is_demoted(
    query: str, path: str, marks: tuple[str, ...], rule: str
) -> None:
    files = ranked(query, chunk(path, marks=marks), chunk("src/other.py"))
    assert rules_of(files, path)[rule] == WEIGHTS[rule] < 0
    assert rule not in rules_of(files, "src/other.py")


@pytest.mark.parametrize(
    ("query", "path", "marks", "rule"),
    [
        ("tests of sending", "tests/test_send.py", ("test",), "marked"),
        ("documentation of sending", "send.md", ("docs",), "marked"),
        ("send on windows", "send_windows.py", (), "other platform"),
    ],
)
def test_what_is_asked_for_is_not_demoted(
    query: str, path: str, marks: tuple[str, ...], rule: str
) -> None:
    assert rule not in rules_of(ranked(query, chunk(path, marks=marks)), path)


def test_a_header_goes_behind_the_source_beside_it() -> None:
    files = ranked("send a request", chunk("lib/send.h"), chunk("lib/send.c"), chunk("inc/x.h"))
    assert rules_of(files, "lib/send.h")["header beside source"] == WEIGHTS["header beside source"]
    assert "header beside source" not in rules_of(files, "lib/send.c")
    assert "header beside source" not in rules_of(files, "inc/x.h")


def test_files_that_define_the_asked_name_share_its_point() -> None:
    spellings = ("call_with_backoff", "callwithbackoff")
    alone = ranked("call_with_backoff", chunk("a.py", names=spellings), chunk("b.py"))
    assert rules_of(alone, "a.py")["definition"] == WEIGHTS["definition"]
    assert "definition" not in rules_of(alone, "b.py")
    both = ranked("Retry", chunk("a.py", names=("retry",)), chunk("b.py", names=("retry",)))
    assert rules_of(both, "a.py")["definition"] == WEIGHTS["definition"] / 2


def test_both_lanes_must_agree_for_the_product() -> None:
    a, b = chunk("a.py"), chunk("b.py")
    lanes: dict[LaneName, dict[str, float]] = {
        "bm25": {a.chunk_id: 1.0, b.chunk_id: 0.9},
        "vectors": {b.chunk_id: 0.9},
    }
    files = ranked("something else", a, b, lanes=lanes)
    assert files[0].path == "b.py"
    assert "text and meaning" not in rules_of(files, "a.py")


def test_a_file_counts_its_best_chunks_each_less_than_the_one_before() -> None:
    many = [chunk("many.py", start) for start in range(1, 301, 10)]
    one = chunk("one.py")
    text = {c.chunk_id: 1.0 for c in (*many, one)}
    only = {many[0].chunk_id: 1.0, one.chunk_id: 1.0}  # so that meaning is equal
    files = ranked("zzz", *many, one, lanes={"bm25": text, "vectors": only})
    expected = sum(TEXT_DECAY**place for place in range(TEXT_DEPTH))
    weight = WEIGHTS["text and meaning"]
    assert rules_of(files, "many.py")["text and meaning"] == weight
    assert rules_of(files, "one.py")["text and meaning"] == pytest.approx(weight / expected)
    assert rules_of(files, "many.py")["best chunk"] == rules_of(files, "one.py")["best chunk"]


def test_a_word_that_stands_in_every_path_tells_none_apart() -> None:
    common = [chunk(f"net/part{n}.py") for n in range(20)]
    files = ranked("net retry", *common, chunk("net/retry.py"))
    rules = rules_of(files, "net/retry.py")
    assert files[0].path == "net/retry.py"
    assert rules["file name"] == WEIGHTS["file name"]
    assert rules["directory"] < WEIGHTS["directory"] / 3


def test_a_path_of_several_repositories_counts_as_often_as_there_are() -> None:
    common = [chunk("src/index.ts", repo=f"r{n}") for n in range(6)]
    spelled = [chunk(f"src{n}/index.ts", repo=f"r{n}") for n in range(6)]
    one = chunk("src/router.ts")
    same = rules_of(ranked("router index", *common, one), "src/router.ts")
    other = rules_of(ranked("router index", *spelled, one), "src/router.ts")
    assert same["path"] == other["path"]


def test_the_variant_for_unix_goes_before_another_platforms() -> None:
    files = ranked("open a socket", chunk("src/win/tcp.c"), chunk("src/unix/tcp.c"))
    assert [file.path for file in files] == ["src/unix/tcp.c", "src/win/tcp.c"]


def test_a_folder_that_several_platforms_share_is_of_none() -> None:
    path = "lib/src/commonJvmAndroid/kotlin/Cache.kt"
    assert "other platform" not in rules_of(ranked("a cache", chunk(path)), path)


def test_the_copy_of_an_older_version_goes_behind_the_present_one() -> None:
    files = ranked("a field", chunk("lib/v1/fields.py"), chunk("lib/fields.py"))
    assert rules_of(files, "lib/v1/fields.py")["older copy"] == WEIGHTS["older copy"]
    alone = ranked("a field", chunk("api/v1/fields.py"), chunk("lib/fields.py"))
    assert "older copy" not in rules_of(alone, "api/v1/fields.py")


def test_a_named_language_is_preferred_where_there_are_several() -> None:
    rust = replace(chunk("b.rs"), language="rust")
    files = ranked("parse a header in Rust", chunk("a.py"), rust)
    assert files[0].rules["language named"] == WEIGHTS["language named"]
    assert files[0].path == "b.rs"
    assert "language named" not in rules_of(ranked("parse in Rust", rust), "b.rs")


def test_a_file_its_repository_leans_on_goes_first() -> None:
    files = ranked("zzz", chunk("a.py"), chunk("b.py"), central={("api", "b.py"): 0.5})
    assert rules_of(files, "b.py")["central"] == WEIGHTS["central"] / 2
    assert files[0].path == "b.py"


def test_a_file_whose_definitions_are_named_after_the_question_goes_before_a_hub() -> None:
    hub = [
        replace(chunk("src/core.py", at * 10 + 1), symbol=name)
        for at, name in enumerate(("retry_later", "open", "close", "read", "write", "flush"))
    ]
    own = replace(chunk("src/again.py"), symbol="retry_later")
    said = {hub[0].chunk_id: 0.5, own.chunk_id: 0.5}
    files = ranked("retry later", *hub, own, lanes={"bm25": said, "vectors": said})
    assert [file.path for file in files] == ["src/again.py", "src/core.py"]
    share = rules_of(files, "src/core.py")["named after"]
    assert 0 < share < rules_of(files, "src/again.py")["named after"] == WEIGHTS["named after"]
    assert "named after" not in rules_of(ranked("no such words", *hub, own), "src/core.py")
    other = replace(chunk("src/again.py", repo="web"), symbol="retry_later")
    assert all("named after" not in file.rules for file in ranked("retry later", own, other))


def test_what_summaries_mean_counts_where_the_words_agree() -> None:
    a, b = chunk("a.py"), chunk("b.py")
    both = {a.chunk_id: 1.0, b.chunk_id: 1.0}
    files = ranked("zzz", a, b, lanes={"bm25": both, "summary_vectors": {b.chunk_id: 1.0}})
    assert rules_of(files, "b.py")["text and summary"] == WEIGHTS["text and summary"]
    assert "text and summary" not in rules_of(files, "a.py")


def test_ties_are_ordered_by_repository_path_and_line() -> None:
    chunks = [
        chunk("b.py", 20), chunk("b.py", 1), chunk("a.py"), chunk("a.py", repo="aaa")
    ]  # fmt: skip
    for order in (chunks, chunks[::-1]):
        files = ranked("zzz", *order, lanes={})
        assert [(f.repo, f.path) for f in files] == [
            ("aaa", "a.py"),
            ("api", "a.py"),
            ("api", "b.py"),
        ]
        assert [c.start_line for c, _ in files[-1].chunks] == [1, 20]


def test_the_chunk_that_defines_the_asked_name_is_the_one_shown() -> None:
    uses, defines = chunk("a.py", 1), chunk("a.py", 40, names=("send_all",))
    lanes: dict[LaneName, dict[str, float]] = {"bm25": {uses.chunk_id: 1.0, defines.chunk_id: 0.2}}
    assert ranked("send_all", uses, defines, lanes=lanes)[0].chunks[0][0] is defines


def test_a_named_repository_goes_first() -> None:
    files = ranked("how does web send", chunk("a.py"), chunk("a.py", repo="web"))
    assert files[0].repo == "web"
    assert files[0].rules["repository named"] == WEIGHTS["repository named"]


def test_a_single_repository_gets_no_points_for_being_one() -> None:
    rules = ranked("send", chunk("a.py"))[0].rules
    assert "repository named" not in rules


def test_a_test_that_defines_the_asked_name_takes_nothing_from_its_definition() -> None:
    test = chunk("tests/test_retry.py", names=("retry",), marks=("test",))
    files = ranked("Retry", chunk("a.py", names=("retry",)), test)
    assert rules_of(files, "a.py")["definition"] == WEIGHTS["definition"]
    assert "definition" not in rules_of(files, "tests/test_retry.py")
    assert rules_of(ranked("Retry", test), "tests/test_retry.py")["definition"] > 0


def test_words_run_together_in_a_path_are_asked_for_by_neighbours() -> None:
    files = ranked("a thread pool", chunk("src/other.c"), chunk("src/threadpool.c"))
    rules = rules_of(files, "src/threadpool.c")
    assert rules["file name"] == WEIGHTS["file name"]
    assert rules["path"] == WEIGHTS["path"]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("call_with_backoff", ["call_with_backoff", "callwithbackoff"]),
        ("where is parseHttp() used", ["parsehttp"]),
        ("Router.resolve", ["router.resolve"]),
        ("std::Vec", ["std.vec"]),
        ("how does a Router work", ["router"]),
        ("retry", ["retry"]),
        ("how is it done", []),
    ],
)
def test_names_are_taken_from_the_question(query: str, names: list[str]) -> None:
    assert list(parse(query).names) == names


@pytest.mark.parametrize(
    ("query", "languages"),
    [
        ("parse a header in Rust", {"rust"}),
        ("which C++ class, please?", {"cpp"}),
        ("C# or Java", {"csharp", "java"}),
        ("go on and see", set()),  # an ordinary word names no language
    ],
)
def test_languages_are_taken_from_the_question(query: str, languages: set[str]) -> None:
    assert parse(query).languages == languages


def test_words_that_carry_meaning_are_asked_for_and_neighbours_as_one() -> None:
    assert parse("how does the event loop stop").terms == (
        "event", "loop", "stop", "eventloop", "loopstop", "eventloopstop",
    )  # fmt: skip
    assert parse("what is it for").terms  # all of them when none carries any


def test_names_of_a_pasted_file_are_bounded() -> None:
    assert len(parse(" ".join(f"name_{n}" for n in range(1000))).names) == 64


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("Router.resolve", "Router.resolve"),
        ("resolve", "Router.resolve"),
        ("Router", "Router"),
        ("which handler is resolved", "Router.resolve"),
        ("addRoute", "Router.add_route"),
        ("add a route to it", "Router.add_route"),
        ("which code serves a page", "Router"),
        ("router add resolve", "Router"),  # each name holds one of the words: nothing is clear
    ],
)
def test_a_hit_points_at_the_definition_that_was_meant(query: str, expected: str) -> None:
    inside = [
        Definition("Router", 1, 9),
        Definition("Router.add_route", 2, 4),
        Definition("Router.resolve", 6, 9),
    ]
    found = meant(parse(query), "Router", Shown("\n" * 8, 1, 9, inside))
    assert (found.name if found is not None else "Router") == expected


def test_a_chunk_of_one_definition_keeps_its_symbol() -> None:
    own = [Definition("Router.resolve", 3, 9)]
    assert meant(parse("resolve"), "Router.resolve", Shown("", 3, 9, own)) is None
    assert meant(parse("resolve"), "", Shown("", 3, 9, [])) is None


def test_a_group_without_a_common_name_points_only_where_one_is_clear() -> None:
    inside = [Definition("read_rows", 1, 2), Definition("write_rows", 4, 5)]
    chunk = Shown("\n" * 4, 1, 5, inside)
    assert meant(parse("write the rows"), "", chunk) == inside[1]
    assert meant(parse("rows"), "", chunk) is None


STORE = """\
class Store:
    # a table of one repository

    def delete(self, where):
        return self.table.delete(where)

    def replace(self, rows):
        # make the rows those of one repository, writing only the difference
        return self.upsert(rows)

    def repository_row(self, repo):
        return self.read(repo)"""


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("where are the rows of one repository replaced by difference?", "Store.replace"),
        ("the row of a repository", "Store.repository_row"),
        ("which table is it", ""),  # the words of the class are around its methods, not in them
        ("how is it deleted", "Store.delete"),
    ],
)
def test_what_a_definition_says_tells_which_was_meant(query: str, expected: str) -> None:
    names = {"Store": (11, 22), "Store.delete": (14, 15), "Store.replace": (17, 19)}
    names["Store.repository_row"] = (21, 22)
    inside = [Definition(name, *lines) for name, lines in names.items()]
    found = meant(parse(query), "Store", Shown(STORE, 11, 22, inside))
    assert (found.name if found is not None else "") == expected


CLIENT = """\
class Client {
    /** Sends again, with exponential backoff, while the server is busy. */
    Answer run(Request request) {
        return loop(request);
    }

    // The api is asked here.
    Answer load() {
        return api.fetch();
    }

    Answer load(String name) {
        return get(name);
    }
}"""
INSIDE = [
    Definition("Client", 1, 15),
    Definition("Client.run", 3, 5),
    Definition("Client.load", 8, 10),
    Definition("Client.load", 12, 14),
]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("retry with exponential backoff when the server is busy", INSIDE[1]),  # its comment
        ("how is the api called", INSIDE[2]),
        ("where is it loaded", INSIDE[2]),  # overloads are no rivals
        ("client", INSIDE[0]),
        ("how is a client run and loaded", None),
    ],
)
def test_a_comment_is_of_the_definition_below_it_and_overloads_are_one(
    query: str, expected: Definition | None
) -> None:
    assert meant(parse(query), "", Shown(CLIENT, 1, 15, INSIDE)) == expected


def test_a_rare_word_tells_more_than_one_that_every_definition_has() -> None:
    inside = [Definition("first", 1, 1), Definition("second", 2, 2), Definition("third", 3, 3)]
    text = "read row cell grid\nread row cell grid\nread row mutex"
    assert meant(parse("read the row under a mutex"), "", Shown(text, 1, 3, inside)) == inside[2]


def test_definitions_that_lie_outside_of_a_chunk_do_no_harm() -> None:
    inside = [Definition("read_rows", 1, 7), Definition("write_rows", 11, 12)]
    backwards = Definition("drop_rows", 40, 12)
    chunk = Shown("a\nb\nc\nd", 10, 13, [*inside, backwards])
    assert meant(parse("write the rows"), "", chunk) == inside[1]


def test_a_lone_definition_is_pointed_at_by_its_name_alone() -> None:
    inside = [Definition("__all__", 1, 1)]
    chunk = Shown("__all__ = ['request', 'timeout']", 1, 1, inside)
    assert meant(parse("where is the timeout of a request kept"), "", chunk) is None
    assert meant(parse("__all__"), "", chunk) == inside[0]


@pytest.mark.parametrize(("count", "text"), [(20_000, "x"), (2, "x" * 5_000_000)])
def test_a_huge_chunk_is_pointed_into_by_name_alone(count: int, text: str) -> None:
    inside = [Definition(f"value_{n}", 1, 1) for n in range(count)]
    chunk = Shown(text, 1, 1, inside)
    assert meant(parse("what is the value"), "", chunk) is None
    assert meant(parse("value_1"), "", chunk) == inside[1]


WORDS = "parse header Router.resolve parse_http rust tests v1 windows event loop é 行 api a".split()
QUESTIONS = st.one_of(
    st.text(min_size=1, max_size=40), st.lists(st.sampled_from(WORDS)).map(" ".join)
)
PATHS = st.sampled_from(
    ["src/parse.c", "src/parse.h", "src/win/loop.c", "src/unix/loop.c", "tests/test_a.py",
     "lib/v1/header.py", "lib/header.py", "eventloop.rs", "_private/x.py", ".env", "a/b/c/", "é.py"]
)  # fmt: skip
SCORES = st.floats(0, 1, allow_nan=False)
PIECES = st.lists(
    st.tuples(PATHS, st.sampled_from(["api", "web"]), SCORES, SCORES, SCORES), max_size=12
)


@pytest.mark.parametrize("count", [300, pytest.param(5_000, marks=pytest.mark.soak)])
def test_any_question_over_any_candidates_is_ordered_alike_however_they_come(count: int) -> None:
    @settings(max_examples=count, deadline=None)
    @given(query=QUESTIONS, pieces=PIECES, seed=st.randoms(use_true_random=False))
    def check(query: str, pieces: list[tuple[str, str, float, float, float]], seed: Random) -> None:
        chunks = [
            chunk(path, at * 10, repo=repo, names=("parse_http", "router.resolve")[: at % 3])
            for at, (path, repo, *_) in enumerate(pieces)
        ]
        names: tuple[LaneName, ...] = ("bm25", "vectors", "summary_vectors")
        lanes: dict[LaneName, dict[str, float]] = {
            lane: {c.chunk_id: piece[2 + at] for c, piece in zip(chunks, pieces, strict=True)}
            for at, lane in enumerate(names)
        }
        files = ranked(query, *chunks, lanes=lanes, central={("api", "lib/header.py"): 1.0})
        scores = [file.score for file in files]
        assert all(map(math.isfinite, scores))
        assert scores == sorted(scores, reverse=True)
        assert sorted(c.chunk_id for file in files for c, _ in file.chunks) == sorted(
            {c.chunk_id for c in chunks}
        )
        assert all(file.rules.keys() <= WEIGHTS.keys() for file in files)
        seed.shuffle(chunks)
        again = ranked(query, *chunks, lanes=lanes, central={("api", "lib/header.py"): 1.0})
        assert [(f.repo, f.path, f.chunks) for f in again] == [
            (f.repo, f.path, f.chunks) for f in files
        ]
        assert [f.score for f in again] == pytest.approx(scores)

    check()
