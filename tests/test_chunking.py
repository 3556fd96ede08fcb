"""What the chunker promises of files with a grammar: cover, wholeness, names, stable hashes."""

import random
import sysconfig
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codesearch_assets.chunking.chunk import KINDS, Chunk, FileChunks
from codesearch_assets.chunking.chunker import cut
from codesearch_assets.chunking.cutter import GROUP, WHOLE_CLASS, WHOLE_FUNCTION

FIXTURES = Path(__file__).parent / "fixtures" / "chunking"
STDLIB = Path(sysconfig.get_path("stdlib"))
REAL = [STDLIB / name for name in ("argparse.py", "ast.py", "enum.py", "heapq.py", "this.py")]
REAL += sorted(FIXTURES / name for name in ("legacy.js", "panel.tsx", "router.go", "store.ts"))
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@cache
def sample(path: Path) -> bytes:
    return path.read_bytes()


def names(chunks: FileChunks) -> dict[str, str]:
    return {symbol.name: symbol.kind for chunk in chunks.chunks for symbol in chunk.symbols}


def chunk_with(chunks: FileChunks, text: str) -> Chunk:
    found = [chunk for chunk in chunks.chunks if text in chunk.text]
    assert len(found) == 1, f"{text!r} is in {len(found)} chunks"
    return found[0]


def hashes(chunks: FileChunks) -> list[str]:
    return [chunk.content_hash for chunk in chunks.chunks]


def function(name: str, lines: int, indent: str = "") -> str:
    body = "".join(f"{indent}    {name}_{n} = step({n})\n" for n in range(lines - 1))
    return f"{indent}def {name}(first, second):\n{body}"


def assert_covers(chunks: FileChunks, data: bytes) -> None:
    """Every non-blank line is in exactly one chunk, and bytes, lines and text say the same."""
    lines = data.decode("utf-8").removeprefix("\ufeff").split("\n")
    expected = {n for n, line in enumerate(lines, 1) if line.strip()}
    covered: set[int] = set()
    end_line = end_byte = 0
    for chunk in chunks.chunks:
        assert end_line < chunk.start_line <= chunk.end_line
        assert end_byte <= chunk.start_byte < chunk.end_byte
        end_line, end_byte = chunk.end_line, chunk.end_byte
        covered |= set(range(chunk.start_line, chunk.end_line + 1))
        raw = data[chunk.start_byte : chunk.end_byte].decode("utf-8")
        assert raw.replace("\r\n", "\n").rstrip("\r") == chunk.text.rstrip("\r")
        assert chunk.kind in KINDS
        assert sum(1 for line in chunk.text.split("\n") if line.strip()) < WHOLE_FUNCTION + 20
        for symbol in chunk.symbols:
            assert symbol.kind in KINDS
            assert chunk.start_line <= symbol.start_line <= symbol.end_line <= chunk.end_line
    assert expected <= covered


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_real_files_are_covered_exactly(path: Path) -> None:
    chunks = cut(sample(path), path.name)

    assert chunks.outcome == "parsed"
    assert_covers(chunks, sample(path))


@SLOW
@given(path=st.sampled_from(REAL), seed=st.integers(0, 2**32), edits=st.integers(1, 30))
def test_mutated_files_are_covered_exactly(path: Path, seed: int, edits: int) -> None:
    chance = random.Random(seed)
    lines = sample(path).decode().split("\n")
    for _ in range(edits):
        at = chance.randrange(len(lines))
        action = chance.randrange(6)
        if action == 0:
            del lines[at]
        elif action == 1:
            lines.insert(
                at, chance.choice(["}", "{", "class A:", "def f(", '"""', "/*", "<<<", ""])
            )
        elif action == 2:
            lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
        elif action == 3:
            lines[at] = " " * chance.randrange(9) + lines[at].lstrip()
        elif action == 4:
            lines[at:at] = lines[chance.randrange(len(lines)) :][:40]
        else:
            lines[at] += chance.choice(["\t", "  ", "\r", "\u00e9\U0001f600", "\x0c", "\x00"])
        if not lines:
            lines = [""]
    data = "\n".join(lines).encode()

    chunks = cut(data, path.name)

    assert chunks == cut(data, path.name)
    assert not chunks.reason.startswith("cutter failed")
    if chunks.outcome != "skipped":
        assert_covers(chunks, data)


@SLOW
@given(st.binary(max_size=400), st.sampled_from(["a.py", "a.ts", "a.go", "a.md", "a.java", "a"]))
def test_no_bytes_raise(data: bytes, path: str) -> None:
    assert not cut(data, path).reason.startswith("cutter failed")


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_line_ends_and_byte_order_mark_do_not_change_hashes(path: Path) -> None:
    plain = sample(path)
    windows = b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n")

    chunks = cut(windows, path.name)

    assert hashes(chunks) == hashes(cut(plain, path.name))
    assert_covers(chunks, windows)
    assert chunks.chunks[0].start_byte == 3


def test_trailing_blanks_stay_in_the_text_but_not_in_the_hash() -> None:
    chunks = cut(b"def f():   \n    return 1\t\n", "a.py")

    assert chunks.chunks[0].text == "def f():   \n    return 1\t"
    assert hashes(chunks) == hashes(cut(b"def f():\n    return 1\n", "a.py"))


def test_a_line_on_top_moves_lines_but_no_hash_below_the_first_chunk() -> None:
    before = cut(sample(REAL[0]), "a.py")
    after = cut(b"# one more line\n" + sample(REAL[0]), "a.py")

    assert hashes(after)[1:] == hashes(before)[1:]
    assert after.chunks[5].start_line == before.chunks[5].start_line + 1


def test_an_edit_inside_a_function_changes_only_its_chunk() -> None:
    source = "\n\n".join(function(f"task_{n}", 12) for n in range(40))
    before = cut(source.encode(), "a.py")
    after = cut(source.replace("step(3)", "step(33)", 1).encode(), "a.py")

    changed = set(hashes(after)) ^ set(hashes(before))
    assert len(before.chunks) > 5
    assert len(changed) == 2


def test_an_inserted_function_changes_few_chunks() -> None:
    functions = [function(f"task_{n}", 12) for n in range(60)]
    before = hashes(cut("\n".join(functions).encode(), "a.py"))
    for at in range(0, 60, 7):
        edited = [*functions[:at], function("brand_new", 12), *functions[at:]]
        assert len(set(hashes(cut("\n".join(edited).encode(), "a.py"))) - set(before)) <= 3


def test_the_hash_knows_language_and_header_but_not_the_path() -> None:
    data = b"x = 1\n"

    assert hashes(cut(data, "a/b.py")) == hashes(cut(data, "c.py"))
    assert hashes(cut(data, "b.py")) != hashes(cut(data, "b.rb"))


def test_a_small_class_is_one_chunk_with_its_members_as_symbols() -> None:
    methods = "\n".join(function(f"method_{n}", 9, "    ") for n in range(8))
    chunks = cut(f"class Small:\n{methods}".encode(), "a.py").chunks

    assert [(chunk.kind, chunk.symbol) for chunk in chunks] == [("class", "Small")]
    assert [s.name for s in chunks[0].symbols][:3] == ["Small", "Small.method_0", "Small.method_1"]


def test_a_big_class_is_cut_into_its_header_and_members() -> None:
    fields = "".join(f"    field_{n}: int\n" for n in range(8))
    methods = "\n".join(function(f"method_{n}", 40, "    ") for n in range(8))
    source = f'@frozen\nclass Big(Base):\n    """Does much."""\n\n{fields}\n{methods}'
    chunks = cut(source.encode(), "a.py").chunks

    assert (chunks[0].kind, chunks[0].symbol, chunks[0].header) == ("header", "Big", "")
    assert chunks[0].doc == "Does much."
    assert "field_7" in chunks[0].text
    assert {chunk.header for chunk in chunks[1:]} == {"class Big(Base):"}
    assert [chunk.symbol for chunk in chunks[1:]] == [f"Big.method_{n}" for n in range(8)]
    assert {chunk.kind for chunk in chunks[1:]} == {"method"}
    assert source.count("\n") > WHOLE_CLASS


def test_a_big_function_is_cut_into_parts_with_its_signature() -> None:
    chunks = cut(function("long", WHOLE_FUNCTION + 60).encode(), "a.py").chunks

    assert len(chunks) > 2
    assert {(chunk.kind, chunk.symbol) for chunk in chunks} == {("part", "long")}
    assert chunks[0].header == ""
    assert {chunk.header for chunk in chunks[1:]} == {"def long(first, second):"}
    assert [symbol.name for chunk in chunks for symbol in chunk.symbols] == ["long"]


def test_a_part_that_holds_the_signature_does_not_repeat_it() -> None:
    lines = "".join(f"  step({n})\n" for n in range(WHOLE_FUNCTION + 60))
    chunks = cut(f"function long(a) {{\n{lines}}}\n".encode(), "a.js").chunks

    assert [chunk.header for chunk in chunks[:2]] == ["", "function long(a)"]
    assert [symbol.name for symbol in chunks[0].symbols] == ["long"]


def test_a_long_docstring_belongs_to_the_header_of_its_class() -> None:
    text = "".join(f"    :param p{n}: something.\n" for n in range(WHOLE_CLASS - 10))
    methods = "\n".join(function(f"m{n}", 55, "    ") for n in range(3))
    source = f'class A:\n    """Start.\n\n{text}    """\n\n{methods}'
    chunks = cut(source.encode(), "a.py").chunks

    assert [chunk.kind for chunk in chunks] == ["header", "method", "method", "method"]
    assert chunks[0].doc.startswith("Start.")


def test_a_function_of_two_hundred_lines_stays_whole() -> None:
    source = function("whole", WHOLE_FUNCTION)
    chunks = cut(source.encode(), "a.py").chunks

    assert [(chunk.kind, chunk.symbol) for chunk in chunks] == [("function", "whole")]


def test_small_definitions_are_grouped_up_to_the_limit() -> None:
    source = "\n\n".join(function(f"task_{n}", 9) for n in range(30))
    chunks = cut(source.encode(), "a.py").chunks

    assert {chunk.kind for chunk in chunks} == {"group"}
    assert all(chunk.end_line - chunk.start_line < GROUP * 1.4 for chunk in chunks)


def test_groups_do_not_cross_the_class_they_are_in() -> None:
    members = "\n".join(function(f"m{n}", 12, "    ") for n in range(20))
    source = f"class A:\n{members}\n\nclass B:\n{members}"
    for chunk in cut(source.encode(), "a.py").chunks:
        assert len({symbol.name.split(".")[0] for symbol in chunk.symbols}) == 1


def test_decorators_and_comments_stay_with_their_definition() -> None:
    parts = [
        f"# About {name}.\n@route('/{name}')\n@cached\n{function(name, 55)}"
        for name in ("alpha", "beta", "gamma")
    ]
    chunks = cut("\n".join(parts).encode(), "a.py").chunks

    assert [chunk.text.split("\n")[0] for chunk in chunks] == [
        "# About alpha.",
        "# About beta.",
        "# About gamma.",
    ]
    assert chunks[1].doc == "About beta."
    assert chunks[1].symbols[0].start_line == chunks[1].start_line + 1


def test_python_names() -> None:
    assert names(cut(sample(FIXTURES / "shapes.py"), "shapes.py")) == {
        "LIMIT": "constant",
        "registry": "constant",
        "fast_area": "function",
        "Circle": "class",
        "Circle.__init__": "method",
        "Circle.area": "method",
        "Circle.Meta": "class",
        "Circle.Meta.label": "method",
        "scale": "function",
        "fetch": "function",
    }


def test_go_names() -> None:
    found = names(cut(sample(FIXTURES / "router.go"), "router.go"))

    assert found["Router.Add"] == found["Router.find"] == found["Handler.Serve"] == "method"
    assert found["routeError.Error"] == "method"
    assert found["newError"] == "function"
    assert found["Route"] == found["Router"] == "class"
    assert found["Handler"] == "interface"
    assert found["routes"] == "type"
    assert {"MaxDepth", "Exact", "Prefix", "ErrNotFound", "errLoop"} < found.keys()


def test_typescript_names() -> None:
    assert names(cut(sample(FIXTURES / "store.ts"), "store.ts")) == {
        "RETRIES": "constant",
        "Reader": "interface",
        "Reader.read": "method",
        "Reader.close": "method",
        "Key": "type",
        "Mode": "type",
        "legacy": "module",
        "legacy.open": "function",
        "Paths": "module",
        "Paths.root": "constant",
        "Paths.join": "function",
        "lookup": "function",
        "Store": "class",
        "Store.constructor": "method",
        "Store.read": "method",
        "Store.close": "method",
        "Store.size": "method",
        "Store.reset": "method",
        "load": "function",
        "open": "method",
    }


def test_tsx_names() -> None:
    found = names(cut(sample(FIXTURES / "panel.tsx"), "panel.tsx"))

    assert found == {"Props": "type", "Panel": "function", "Row": "function", "List": "function"}


def test_javascript_names() -> None:
    assert names(cut(sample(FIXTURES / "legacy.js"), "legacy.js")) == {
        "Foo": "function",
        "Foo.greet": "method",
        "Foo.create": "function",
        "tools": "constant",
        "tools.trim": "method",
        "tools.pad": "method",
        "Bar": "class",
        "Bar.of": "method",
        "Bar.walk": "method",
        "run": "function",
    }


def test_a_script_called_at_once_is_a_module() -> None:
    inner = "  function helper() {\n    return 1\n  }\n  const run = () => helper()\n"
    small = cut(f"(function () {{\n{inner}}}).call(this)\n".encode(), "a.js")
    steps = "  step()\n" * 300
    large = cut(f"(function () {{\n{inner}{steps}}})()\n".encode(), "a.js")

    assert names(small) == {"helper": "function", "run": "function"}
    assert names(large) == names(small)
    assert {chunk.header for chunk in large.chunks[1:]} == {"(function ()"}


def test_overloads_are_one_symbol_and_stay_together() -> None:
    chunks = cut(sample(FIXTURES / "store.ts"), "store.ts")

    lookups = [s for chunk in chunks.chunks for s in chunk.symbols if s.name == "lookup"]
    assert [(s.start_line, s.end_line) for s in lookups] == [(35, 39)]


def test_doc_comments_lose_their_markers() -> None:
    big = "\n".join(f"  line{n}()" for n in range(60))
    source = f"/**\n * Looks up.\n *\n * @param a key\n */\nexport function look(a) {{\n{big}\n}}\n"
    chunk = cut(source.encode(), "a.js").chunks[0]

    assert (chunk.kind, chunk.symbol) == ("function", "look")
    assert chunk.doc == "Looks up.\n\n@param a key"


def test_a_big_test_block_is_cut_at_its_cases() -> None:
    case = "  it('does {0}', () => {{\n" + "    expect(1)\n" * 30 + "  }})\n"
    cases = "".join(case.format(n) for n in range(12))
    chunks = cut(f"describe('store', () => {{\n{cases}}})\n".encode(), "a.test.ts").chunks

    assert len(chunks) > 4
    assert chunks[1].header == "describe('store', () => {"
    assert chunks[1].text.startswith("  it('does ")


def test_a_block_with_one_small_definition_in_it_is_cut_like_any_other() -> None:
    steps = "".join(f"    step({n})\n" for n in range(400))
    source = f"if ready:\n    class Inner:\n        pass\n{steps}".encode()

    assert_covers(cut(source, "a.py"), source)
    assert names(cut(source, "a.py")) == {"Inner": "class"}


def test_imports_are_a_module_chunk() -> None:
    imports = "".join(f"import module_{n}\n" for n in range(30))
    chunks = cut(f"{imports}\n{function('main', 80)}".encode(), "a.py").chunks

    assert [(chunk.kind, chunk.symbol) for chunk in chunks] == [
        ("module", ""),
        ("function", "main"),
    ]


def test_a_crumb_joins_its_neighbour() -> None:
    source = f"{function('main', 80)}\n\nif __name__ == '__main__':\n    main()\n"
    chunks = cut(source.encode(), "a.py").chunks

    assert [(chunk.kind, chunk.symbol) for chunk in chunks] == [("function", "main")]


def test_a_generated_header_is_seen_only_where_it_is_strict() -> None:
    assert cut(b"// Code generated by stringer; DO NOT EDIT.\npackage a\n", "a.go").generated
    assert cut(b"// @generated by a tool\nlet a = 1\n", "a.ts").generated
    assert not cut(b"# a page generated by hand\nx = 1\n", "a.py").generated


def test_a_broken_file_is_cut_round_its_errors() -> None:
    source = (
        f"{function('good', 60)}\n\ndef broken(x y):\n    return = 1\n\n\n{function('after', 60)}"
    )
    chunks = cut(source.encode(), "a.py")

    assert chunks.outcome == "parsed"
    assert [c.symbol for c in chunks.chunks if c.kind == "function"] == ["good", "broken", "after"]
    assert_covers(chunks, source.encode())


def test_what_is_mostly_errors_becomes_windows() -> None:
    chunks = cut(b"]] {{ ]] ((\n" * 300, "a.go")

    assert (chunks.outcome, chunks.reason) == ("windows", "parse errors")
    assert_covers(chunks, b"]] {{ ]] ((\n" * 300)


def test_windows_of_a_broken_file_still_name_definitions() -> None:
    source = f"{function('good', 60)}\n\ndef broken(:\n    ((\n\n\n{function('after', 60)}"
    chunks = cut(source.encode(), "a.py")

    assert (chunks.outcome, chunks.reason) == ("windows", "parse errors")
    assert names(chunks).keys() == {"good", "broken", "after"}
    assert_covers(chunks, source.encode())


def test_merge_conflict_markers_do_no_harm() -> None:
    conflict = "<<<<<<< HEAD\nLIMIT = 1\n=======\nLIMIT = 2\n>>>>>>> other\n"
    source = f"{function('one', 60)}\n{conflict}\n{function('two', 60)}".encode()

    assert_covers(cut(source, "a.py"), source)
    assert {"one", "two"} <= names(cut(source, "a.py")).keys()


@pytest.mark.parametrize(
    ("opening", "closing", "path"),
    [
        ("f(\n", ")\n", "a.py"),
        ("if (a) {\n", "}\n", "a.js"),
        ("class A {static B = \n", "}\n", "a.ts"),
    ],
)
def test_two_thousand_levels_deep(opening: str, closing: str, path: str) -> None:
    data = (opening * 2000 + "1\n" + closing * 2000).encode()
    chunks = cut(data, path)

    assert chunks.outcome in ("parsed", "windows")
    assert_covers(chunks, data)


def test_nested_functions_two_thousand_deep() -> None:
    data = "".join(f"{' ' * n}def f{n}():\n" for n in range(900)).encode() + b" " * 900 + b"pass\n"

    assert_covers(cut(data, "a.py"), data)


@pytest.mark.parametrize("branches", [2, 5, 9])
@pytest.mark.parametrize("rows", [3, 12, 30])
def test_branches_of_the_preprocessor_are_cut_once_each(branches: int, rows: int) -> None:
    """Each `#elif` holds all that follow it, and the last one most of the lines."""
    body = "\n".join(f"  x += {n};" for n in range(rows))
    one = f"struct ctx {{ int a; }};\nstatic int init(int x)\n{{\n{body}\n  return x;\n}}\n"
    last = "".join(one.replace("init", f"init{n}") for n in range(8))
    parts = [f"{'#elif' if n else '#if'} defined(LIB{n})\n{one}" for n in range(branches)]
    data = "".join([*parts, "#else\n", last, "#endif\n"]).encode()
    chunks = cut(data, "lib/hash.c")
    assert chunks.outcome == "parsed"
    assert_covers(chunks, data)
    defined = {one.name for chunk in chunks.chunks for one in chunk.symbols}
    assert defined == {"ctx", "init", *(f"init{n}" for n in range(8))}
