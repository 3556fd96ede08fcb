"""Every language: what is found in its fixture, what its table row promises, how it is told.

Beside each fixture stands a file with the definitions a person finds in it, one a line:
kind, first and last line, + or - for whether others can use it, and the qualified name.
"""

from pathlib import Path

import pytest

from codesearch_assets.chunking.chunk import FileChunks
from codesearch_assets.chunking.chunker import cut
from codesearch_assets.chunking.embedded import COMPONENTS, NOTEBOOK
from codesearch_assets.chunking.languages import BY_NAME, LANGUAGES, Language

ROOT = Path(__file__).parent.parent
FIXTURES = ROOT / "tests" / "fixtures" / "chunking"
FILES = sorted(file for file in FIXTURES.iterdir() if file.suffix != ".symbols")
PARSED = [row for row in LANGUAGES if row.grammar or row.name in {*COMPONENTS, NOTEBOOK}]

# One function of each programming language; {n} makes it another, {v} is a value in its body.
FUNCTIONS = {
    "python": "def task{n}(a):\n    b = a + {v}\n    return b\n",
    "javascript": "function task{n}(a) {{\n  let b = a + {v}\n  return b\n}}\n",
    "typescript": "export function task{n}(a: number) {{\n  let b = a + {v}\n  return b\n}}\n",
    "tsx": "const task{n} = (a: number) => {{\n  let b = a + {v}\n  return <p>{{b}}</p>\n}}\n",
    "go": "func task{n}(a int) int {{\n\tb := a + {v}\n\treturn b\n}}\n",
    "rust": "pub fn task{n}(a: u32) -> u32 {{\n    let b = a + {v};\n    b\n}}\n",
    "java": "int task{n}(int a) {{\n  int b = a + {v};\n  return b;\n}}\n",
    "c": "int task{n}(int a)\n{{\n  int b = a + {v};\n  return b;\n}}\n",
    "cpp": "auto task{n}(int a) -> int {{\n  int b = a + {v};\n  return b;\n}}\n",
    "csharp": "int task{n}(int a)\n{{\n    int b = a + {v};\n    return b;\n}}\n",
    "ruby": "def task{n}(a)\n  b = a + {v}\n  b\nend\n",
    "php": "<?php\nfunction task{n}($a) {{\n  $b = $a + {v};\n  return $b;\n}}\n",
    "kotlin": "fun task{n}(a: Int): Int {{\n    val b = a + {v}\n    return b\n}}\n",
    "swift": "func task{n}(a: Int) -> Int {{\n    let b = a + {v}\n    return b\n}}\n",
    "scala": "def task{n}(a: Int): Int = {{\n  val b = a + {v}\n  b\n}}\n",
    "bash": "task{n}() {{\n  local b=$(($1 + {v}))\n  echo $b\n}}\n",
    "lua": "function task{n}(a)\n  local b = a + {v}\n  return b\nend\n",
    "elixir": "def task{n}(a) do\n  b = a + {v}\n  b\nend\n",
    "haskell": "task{n} :: Int -> Int\ntask{n} a = b\n  where\n    b = a + {v}\n",
    "zig": "fn task{n}(a: u32) u32 {{\n    const b = a + {v};\n    return b;\n}}\n",
    "sql": "CREATE FUNCTION task{n}(a integer) RETURNS integer AS $$\nBEGIN\n  RETURN a + {v};\n"
    "END;\n$$ LANGUAGE plpgsql;\n",
}


def functions(language: str, values: list[int]) -> str:
    source = "\n".join(FUNCTIONS[language].format(n=n, v=v) for n, v in enumerate(values))
    return "<?php\n" + source.replace("<?php\n", "") if language == "php" else source


def hashes(source: str, language: str) -> list[str]:
    return [chunk.content_hash for chunk in cut(source.encode(), "a", language).chunks]


def table(chunks: FileChunks) -> list[str]:
    return [
        f"{one.kind} {one.start_line}-{one.end_line} {'+' if one.exported else '-'} {one.name}"
        for chunk in chunks.chunks
        for one in chunk.symbols
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_definitions_of_a_fixture_are_found(file: Path) -> None:
    chunks = cut(file.read_bytes(), file.name)

    assert (chunks.outcome, chunks.reason) == ("parsed", "")
    assert table(chunks) == (FIXTURES / f"{file.name}.symbols").read_text().splitlines()


def test_every_parsed_language_has_a_fixture() -> None:
    seen = {cut(file.read_bytes(), file.name).language for file in FILES}

    assert {row.name for row in PARSED} == seen


def test_a_missing_grammar_is_told_and_costs_only_the_structure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(loader: str) -> object:
        raise ImportError(loader)

    monkeypatch.setattr("codesearch_assets.chunking.chunker.parser", missing)
    chunks = cut(b"fn sample() {\n}\n", "a.rs")

    assert (chunks.outcome, chunks.reason) == ("windows", "grammar missing")
    assert [one.name for one in chunks.chunks[0].symbols] == ["sample"]


@pytest.mark.parametrize(
    ("path", "source", "exported"),
    [
        (
            "a.py",
            "__all__ = ['f', '_g']\n__all__ += ('K',)\ndef f(): pass\ndef _g(): pass\n"
            "def h(): pass\nclass K:\n  def m(self): pass\n  def _n(self): pass\n",
            {"f", "_g", "K", "K.m"},
        ),
        ("b.py", "__all__ = a.__all__ + ['f']\ndef f(): pass\ndef h(): pass\n", {"f", "h"}),
        (
            "a.js",
            "function a() {}\nfunction b() {}\nclass C { m() {} #n() {} }\nfunction d() {}\n"
            "export { a, C as D }\nexport default d\nexport { b } from './b.js'\n",
            {"a", "C", "C.m", "d"},
        ),
        (
            "b.js",
            "function a() {}\nfunction b() {}\nclass C {}\nmodule.exports = { a, x: C, y: 1 }\n",
            {"a", "C"},
        ),
        ("c.ts", "function a() {}\nfunction b() {}\nexport { a }\n", {"a"}),
        (
            "A.hs",
            "module A (f, T(..), (<+>)) where\nf = 1\ng = 2\na <+> b = a\ndata T = T\ndata U = U\n",
            {"f", "T", "<+>"},
        ),
        ("B.hs", "module B (module B) where\nf = 1\n", {"f"}),
        ("C.hs", "module C where\nf = 1\n", {"f"}),
    ],
)
def test_a_list_of_exports_is_read(path: str, source: str, exported: set[str]) -> None:
    symbols = [one for chunk in cut(source.encode(), path).chunks for one in chunk.symbols]

    assert {one.name for one in symbols if one.exported and one.name != "__all__"} == exported


@pytest.mark.parametrize("language", FUNCTIONS)
def test_an_edit_in_a_function_changes_the_chunk_it_is_in_and_no_other(language: str) -> None:
    before = hashes(functions(language, list(range(60))), language)
    after = hashes(functions(language, [*range(30), 999, *range(31, 60)]), language)

    assert len(before) > 3
    assert len(set(before) - set(after)) == len(set(after) - set(before)) == 1
    assert len(before) == len(after)


@pytest.mark.parametrize("language", FUNCTIONS)
def test_an_inserted_function_moves_few_chunks(language: str) -> None:
    source = functions(language, list(range(60)))
    new = FUNCTIONS[language].format(n="new", v=1).replace("<?php\n", "")
    at = source.index(FUNCTIONS[language].replace("<?php\n", "").split("{n}")[0] + "30")
    before, after = (
        hashes(source, language),
        hashes(source[:at] + new + "\n" + source[at:], language),
    )

    assert len(set(after) - set(before)) <= 3


@pytest.mark.parametrize("language", FUNCTIONS)
def test_a_function_is_named_and_has_its_lines(language: str) -> None:
    (chunk,) = cut(functions(language, [0]).encode(), "a", language).chunks
    (symbol,) = chunk.symbols

    assert (symbol.name, chunk.symbol) == ("task0", "task0")
    assert symbol.kind in ("function", "method")
    assert symbol.end_line == chunk.end_line


@pytest.mark.parametrize(
    ("path", "comment", "doc"),
    [
        ("a.rs", "/// Does it.\n#[inline]\n", "Does it."),
        ("a.java", "/**\n * Does it.\n */\n", "Does it."),
        ("a.c", "/* Does it. */\n", "Does it."),
        ("a.cpp", "// Does it.\n", "Does it."),
        ("a.cs", "/// <summary>Does it.</summary>\n", "<summary>Does it.</summary>"),
        ("a.rb", "# Does it.\n", "Does it."),
        ("a.kt", "/** Does it. */\n", "Does it."),
        ("a.swift", "/// Does it.\n", "Does it."),
        ("a.scala", "/** Does it. */\n", "Does it."),
        ("a.sh", "# Does it.\n", "Does it."),
        ("a.lua", "--- Does it.\n", "Does it."),
        ("a.ex", '@doc """\nDoes it.\n"""\n@spec task(a) :: a\n', "Does it."),
        ("a.hs", "-- | Does it.\n", "Does it."),
        ("a.zig", "/// Does it.\n", "Does it."),
        ("a.sql", "-- Does it.\n", "Does it."),
    ],
)
def test_a_comment_stays_with_its_function_apart_from_the_code(
    path: str, comment: str, doc: str
) -> None:
    language = cut(b"x\n", path).language
    body = FUNCTIONS[language].format(n=0, v="+".join(["1"] * 20))
    source = "\n".join(f"{comment}{body.replace('task0', f'task{n}')}" for n in range(60))
    chunks = cut(source.encode(), path).chunks

    assert len(chunks) > 3
    for chunk in chunks:
        assert chunk.text.startswith(comment)
        assert chunk.doc == doc


def test_overloads_are_listed_each_with_its_lines() -> None:
    method = "  int a({0} b) {{\n    return 1;\n  }}\n"
    source = f"class A {{\n{method.format('int')}\n{method.format('long')}}}\n"
    (chunk,) = cut(source.encode(), "A.java").chunks

    assert [(one.name, one.start_line, one.end_line) for one in chunk.symbols] == [
        ("A", 1, 9),
        ("A.a", 2, 4),
        ("A.a", 6, 8),
    ]


def test_overloads_that_fill_pages_are_not_kept_together() -> None:
    body = "    step();\n" * 30
    members = "".join(f"  void run(T{n} a) {{\n{body}  }}\n\n" for n in range(12))
    chunks = cut(f"class A {{\n{members}}}\n".encode(), "A.java").chunks

    assert len(chunks) > 5
    assert all(chunk.text.count("void run") == chunk.text.count("\n  }") for chunk in chunks)


def test_clauses_of_one_function_are_one_definition() -> None:
    clauses = "".join(f"  def run({n}) do\n    :ok\n  end\n\n" for n in range(9))
    (chunk,) = cut(f"defmodule A do\n{clauses}end\n".encode(), "a.ex").chunks

    assert [one.name for one in chunk.symbols] == ["A", "A.run"]


def test_items_in_a_rust_macro_are_definitions_with_their_wrapper() -> None:
    inner = "    /// Runs {0}.\n    pub fn run{0}() {{\n" + "        step();\n" * 60 + "    }}\n"
    source = "mod a {\ncfg_rt! {\n" + "\n".join(inner.format(n) for n in range(4)) + "}\n}\n"
    chunks = cut(source.encode(), "a.rs").chunks

    named = [one.name for chunk in chunks for one in chunk.symbols if one.kind == "function"]
    assert named == [f"a::run{n}" for n in range(4)]
    assert "cfg_rt! {" in chunks[1].text
    assert chunks[2].header == "mod a\ncfg_rt! {"


@pytest.mark.parametrize(
    ("data", "language"),
    [
        (b"struct a { int b; };\n", "c"),
        (b"#ifdef X\nclass A {\n};\n#endif\n", "cpp"),
        (b"  namespace a {\n}\n", "cpp"),
        (b"template <typename T> void f();\n", "cpp"),
        (b"// a class of its own\nint class_of(void);\n", "c"),
        (b"@interface A\n@end\n", "objective-c"),
    ],
)
def test_a_header_is_told_by_what_is_in_it(data: bytes, language: str) -> None:
    assert cut(data, "a.h").language == language


def test_a_component_keeps_its_script_apart_from_its_markup() -> None:
    chunks = cut((FIXTURES / "Counter.vue").read_bytes(), "Counter.vue").chunks

    assert [chunk.kind for chunk in chunks] == ["group", "window"]
    assert chunks[0].text.startswith("<script setup")
    assert chunks[1].text.startswith("<template>")


def test_a_script_that_never_closes_is_windows() -> None:
    chunks = cut(b"<script>\nfunction a() {}\n", "a.vue")

    assert "\n".join(chunk.text for chunk in chunks.chunks) == "<script>\nfunction a() {}"


def test_a_notebook_shows_its_cells_without_outputs() -> None:
    data = (FIXTURES / "study.ipynb").read_bytes()
    (chunk,) = cut(data, "study.ipynb").chunks

    assert chunk.text.startswith("# # Study\n")
    assert 'def area(radius):\n    """Of a circle."""\n    return math.pi * radius' in chunk.text
    assert "an output" not in chunk.text
    lines = data.decode().split("\n")
    assert "def area" in lines[chunk.symbols[1].start_line - 1]
    assert data[chunk.start_byte : chunk.end_byte].decode() == "\n".join(
        lines[chunk.start_line - 1 : chunk.end_line]
    )


def test_outputs_of_a_notebook_do_not_move_its_hash() -> None:
    data = (FIXTURES / "study.ipynb").read_bytes()
    again = data.replace(b'"an output"', b'"another\\n",\n       "output"')

    assert [c.content_hash for c in cut(again, "a.ipynb").chunks] == [
        c.content_hash for c in cut(data, "a.ipynb").chunks
    ]


@pytest.mark.parametrize(
    "data",
    [b"{}", b'{"cells": 1}', b"not json", b'{"cells": [{"cell_type": "code", "source": "a\\nb"}]}'],
)
def test_a_notebook_of_another_form_is_windows(data: bytes) -> None:
    chunks = cut(data, "a.ipynb")

    assert (chunks.outcome, len(chunks.chunks)) == ("windows", 1)


def row_of(row: Language) -> str:
    files = [f"`.{one}`" for one in row.extensions.split()]
    files += [f"`{one}`" for one in row.filenames.split()]
    if row.grammar is None:
        way = "script parsed, rest windows" if row.name in COMPONENTS else "windows"
        way = "cells, parsed as their language" if row.name == NOTEBOOK else way
        kinds = "as in the script" if row.name in {*COMPONENTS, NOTEBOOK} else ""
        return f"| {row.name} | {' '.join(files)} | {way} | {kinds} |"
    kinds = ", ".join(f"`{one}`" for one in sorted(row.grammar.defining - {"ERROR"}))
    return f"| {row.name} | {' '.join(files)} | parsed | {kinds} |"


def test_the_document_lists_every_language_as_its_row_says() -> None:
    document = (ROOT / "docs" / "languages.md").read_text().splitlines()
    listed = [line for line in document if line.startswith("| ") and "| ---" not in line][1:]

    assert listed == [row_of(BY_NAME[row.name]) for row in LANGUAGES]


def test_a_section_behind_blank_lines_begins_at_its_heading() -> None:
    chunks = cut(b"words\n" * 90 + b"\n\n# One\n\nwords\n\n\n# Two\n\nwords\n", "a.md").chunks

    lines = {one.name: (one.start_line, one.end_line) for c in chunks for one in c.symbols}
    assert lines == {"One": (93, 95), "Two": (98, 100)}
