"""The summarizer without a model: one honest sentence, whatever the code is."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesearch_assets.chunking.chunk import KINDS
from codesearch_resources.summarizers.base import Piece, Summary
from codesearch_resources.summarizers.extractive import LONGEST, VERSION, Extractive


def piece(text: str, **values: str) -> Piece:
    base = {"content_hash": "h", "language": "python", "kind": "function", "symbol": "",
            "header": "", "doc": ""}  # fmt: skip
    return Piece(text=text, **{**base, **values})


def summary(text: str, **values: str) -> Summary:
    return Extractive().extract(piece(text, **values))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (
            piece(
                "def load(path, *, strict=False):\n    return parse(read(path))\n", symbol="load"
            ),
            "Function load: takes path, strict; calls parse, read.",
        ),
        (
            piece(
                '@app.get("/users")\ndef users(request):\n    raise NotFound(request)\n',
                symbol="users",
            ),
            "Function users: takes request; calls get; raises NotFound.",
        ),
        (
            piece(
                "def resolve(self, path):\n    return self.find(path)\n",
                kind="method",
                symbol="Router.resolve",
                header="class Router(Base):",
            ),
            "Method Router.resolve in class Router(Base): takes path; calls find.",
        ),
        (
            piece(
                "func (r *Router) Resolve(path string, n int) *Handler {\n\treturn r.find(path)\n}",
                language="go",
                kind="method",
                symbol="Router.Resolve",
            ),
            "Method Router.Resolve: takes path, n; calls find.",
        ),
        (
            piece(
                "void send(const String to, int times) { post(to); }",
                language="java",
                kind="method",
                symbol="Mail.send",
            ),
            "Method Mail.send: takes to, times; calls post.",
        ),
        (
            piece(
                "class Router:\n    def add(self, route):\n        check(route)\n",
                kind="class",
                symbol="Router",
            ),
            "Class Router: defines add; calls check.",
        ),
        (
            piece(
                "run(a) {\n  return this.start(a);\n}",
                language="javascript",
                kind="method",
                symbol="Job.run",
            ),
            "Method Job.run: takes a; calls start.",
        ),
        (piece("LIMIT = 30\nRETRIES = 5\n", kind="constant"), "Constant: mentions LIMIT, RETRIES."),
        (
            piece("# Setup\n\nCall (once) install(it).\n", kind="section", language="markdown"),
            "Section: mentions Setup, Call, once, install.",
        ),
        (piece("def f(): x += 1", symbol="f", doc="Loads it."), "Function f: Loads it."),
    ],
)
def test_a_stand_in_says_what_is_there(found: Piece, expected: str) -> None:
    assert Extractive().extract(found) == Summary(expected, "stand_in", "extractive", "", VERSION)


def test_what_stands_in_comments_and_strings_is_not_said_of_the_code() -> None:
    text = (
        'def f(a):\n    """Never calls gone(a)."""\n    # nor old(a)\n'
        "    log('raise Trouble, see help(a)')\n    return a\n"
    )
    assert summary(text, symbol="f").text == "Function f: takes a; calls log."


def test_a_sufficient_doc_comment_is_the_authors_own_summary() -> None:
    doc = "Send again, waiting longer each time.\n\nThe quota is asked first.\n"
    assert summary("def f(): ...", doc=doc) == Summary(
        "Send again, waiting longer each time. The quota is asked first.",
        "doc",
        "extractive",
        "",
        VERSION,
    )
    assert summary("def f(): go()", symbol="f", doc="The f.").grade == "stand_in"
    assert summary("def f(): go()", symbol="f", doc="").grade == "stand_in"


def test_parameters_of_a_doc_comment_are_not_its_sentence() -> None:
    doc = "Return the number of open connections\n:param pool: the pool\n@return int"
    assert summary("", doc=doc).text.startswith("Return the number of open connections")
    assert "\n" not in summary("", doc=doc).text


TEXTS = st.text(max_size=400) | st.text(alphabet="ab(){}[],;:='\"`#/*\\\n .", max_size=400)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    text=TEXTS,
    doc=TEXTS,
    symbol=TEXTS.map(lambda text: text[:60]),
    header=TEXTS,
    kind=st.sampled_from(KINDS),
    language=st.sampled_from(["python", "java", "markdown", ""]),
)
def test_a_summary_is_one_bounded_line_and_never_empty(
    text: str, doc: str, symbol: str, header: str, kind: str, language: str
) -> None:
    found = Extractive().extract(
        piece(text, doc=doc, symbol=symbol, header=header, kind=kind, language=language)
    )
    assert found.text.strip()
    assert len(found.text) <= LONGEST
    assert found.text.splitlines() == [found.text]
    assert found.grade in ("doc", "stand_in")


@pytest.mark.parametrize("text", ["(" * 50_000, "a(" * 20_000, "f(a){" * 10_000, '"' * 40_001])
def test_hostile_code_takes_no_long_time(text: str) -> None:
    started = time.process_time()
    summary(text, symbol="a", language="javascript")
    assert time.process_time() - started < 1
