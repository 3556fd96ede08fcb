"""What a path, a size and the first bytes say: language, what is left out, marks."""

import time

import pytest

from codesearch_assets.chunking.chunker import cut
from codesearch_assets.chunking.files import classify
from codesearch_assets.chunking.languages import LANGUAGES, of_name


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a.py", "python"),
        ("stubs/a.pyi", "python"),
        ("a.jsx", "javascript"),
        ("a.mts", "typescript"),
        ("a.tsx", "tsx"),
        ("a.go", "go"),
        ("a.rs", "rust"),
        ("A.JAVA", "java"),
        ("a.h", "c"),
        ("a.cc", "cpp"),
        ("a.cs", "csharp"),
        ("a.kt", "kotlin"),
        ("a.swift", "swift"),
        ("a.ex", "elixir"),
        ("a.hs", "haskell"),
        ("test/a.bats", "bash"),
        ("Makefile", "make"),
        ("Dockerfile", "dockerfile"),
        ("Dockerfile.dev", "dockerfile"),
        ("CMakeLists.txt", "cmake"),
        ("a.txt", "text"),
        ("a.md", "markdown"),
        ("a.ipynb", "notebook"),
        (".bashrc", "bash"),
        ("bin/run", ""),
        ("a.unheardof", ""),
    ],
)
def test_language_of_a_path(path: str, language: str) -> None:
    assert classify(path, 10).language == language


def test_a_shebang_decides_where_the_path_does_not() -> None:
    assert cut(b"#!/usr/bin/env python3.11\nx = 1\n", "bin/run").language == "python"
    assert cut(b"#!/usr/bin/env -S deno run\nlet a = 1\n", "bin/run").language == "javascript"
    assert cut(b"#!/bin/sh -e\nmain() {\n:\n}\n", "bin/run").language == "bash"
    assert cut(b"plain words\n", "bin/run").language == "text"


def test_names_and_extensions_belong_to_one_language_each() -> None:
    for attribute in ("extensions", "filenames", "shebangs"):
        words = [word for row in LANGUAGES for word in getattr(row, attribute).split()]
        assert len(words) == len(set(words)), attribute
        assert all(word == word.lower() or word == "Rscript" for word in words)


@pytest.mark.parametrize(
    ("path", "size", "reason"),
    [
        ("package-lock.json", 10, "lock file"),
        ("sub/Cargo.lock", 10, "lock file"),
        ("go.sum", 10, "lock file"),
        ("logo.png", 10, "binary"),
        ("a.tar.gz", 10, "binary"),
        ("a.woff2", 10, "binary"),
        ("dist/app.min.js", 10, "minified"),
        ("a.css.map", 10, "minified"),
        ("a.py", 1_000_001, "too large"),
        ("a.json", 100_001, "large data"),
        ("a.xml", 100_001, "large data"),
        ("a.csv", 100_001, "large data"),
        ("a.md", 100_001, ""),
        ("a.py", 999_999, ""),
        ("a.json", None, ""),
    ],
)
def test_reasons_to_leave_a_file_out_by_path(path: str, size: int | None, reason: str) -> None:
    assert classify(path, size).skip == reason


@pytest.mark.parametrize(
    ("data", "path", "reason"),
    [
        (b"", "a.py", "empty"),
        (b" \n\t\n", "a.py", "empty"),
        (b"\xef\xbb\xbf\r\n", "a.py", "empty"),
        (b"abc\0def", "a.py", "binary"),
        (b"\xff\xfe\x00\xd8", "a.txt", "undecodable"),
        (b"\x01\x02\x80\x81\x03\x04" * 50, "a", "undecodable"),
        (b"var a=1;" * 12_000, "a.js", "minified"),
        (b'{"a": [' + b"1," * 49_000 + b"1]}", "a.json", "minified"),
        (b"x = '" + b"a" * 99_000 + b"'\n", "a.py", "minified"),
        (b"a{color:red}" * 20 + b"\n", "a.css", ""),
        (b"a{color:red}" * 200 + b"\n", "a.css", "minified"),
        (b"x = 1\n" * 200_000, "a.py", "too large"),
        (b"word\n" * 30_000, "notes", "large data"),
        (b"{}\n", "yarn.lock", "lock file"),
    ],
)
def test_reasons_to_leave_a_file_out_by_content(data: bytes, path: str, reason: str) -> None:
    chunks = cut(data, path)

    assert chunks.reason == reason or (not reason and chunks.outcome != "skipped")
    assert (chunks.outcome == "skipped") == bool(reason) == (not chunks.chunks)


def test_latin_1_is_read() -> None:
    chunk = cut("name = 'Grüße €'\n".encode("cp1252"), "a.py").chunks[0]

    assert chunk.text == "name = 'Grüße €'"
    assert (chunk.start_byte, chunk.end_byte) == (0, 16)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_read_by_its_mark(encoding: str) -> None:
    text = "x = 'ü😀'\r\ny = 2\r\n"
    data = "\ufeff".encode(encoding) + text.encode(encoding)
    chunks = cut(data, "a.py")

    (chunk,) = chunks.chunks
    assert chunks.outcome == "parsed"
    assert chunk.text == "x = 'ü😀'\ny = 2"
    assert data[chunk.start_byte : chunk.end_byte].decode(encoding) == text.rstrip()
    assert chunk.content_hash == cut(text.encode(), "a.py").chunks[0].content_hash


def test_old_line_ends_are_lines() -> None:
    (chunk,) = cut(b"x = 1\ry = 2\r", "a.py").chunks

    assert (chunk.text, chunk.end_line, chunk.end_byte) == ("x = 1\ny = 2", 2, 11)


@pytest.mark.parametrize(
    ("path", "marks"),
    [
        ("src/app.py", ()),
        ("examples/app.py", ()),
        ("benchmarks/app.py", ()),
        ("tests/conftest.py", ("test",)),
        ("pkg/test_app.py", ("test",)),
        ("pkg/app_test.go", ("test",)),
        ("src/app.spec.ts", ("test",)),
        ("src/__tests__/app.js", ("test",)),
        ("testdata/x.json", ("test",)),
        ("app/src/test/java/App.java", ("test",)),
        ("src/AppTest.java", ("test",)),
        ("Tests/VaporTests/App.swift", ("test",)),
        ("Src/Newtonsoft.Json.Tests/App.cs", ("test",)),
        ("src/latest.py", ()),
        ("src/contest.py", ()),
        ("src/testimony.py", ()),
        ("docs/conf.py", ("docs",)),
        ("README.md", ("docs",)),
        ("LICENSE", ("docs",)),
        ("history.py", ()),
        ("vendor/x/y.go", ("vendored",)),
        ("third_party/a.c", ("vendored",)),
        ("web/node_modules/a/b.js", ("vendored",)),
        ("deps/lua/lua.c", ("vendored",)),
        ("src/deps/container.py", ()),
        ("api/v1/a.pb.go", ("generated",)),
        ("a_pb2.py", ("generated",)),
        ("zz_generated.deepcopy.go", ("generated",)),
        ("web/app.min.js", ("generated",)),
        ("vendor/x/docs/a_test.go", ("docs", "test", "vendored")),
    ],
)
def test_marks_of_a_path(path: str, marks: tuple[str, ...]) -> None:
    assert classify(path, 10).marks == marks


def test_a_hundred_thousand_paths_are_classified_in_seconds() -> None:
    paths = [
        f"packages/p{n % 97}/src/deep/er/module_{n}.{'ts' if n % 3 else 'xyz'}"
        for n in range(100_000)
    ]
    start = time.process_time()
    for path in paths:
        classify(path, 1000)

    assert time.process_time() - start < 4  # measured 0.5; the bound is for a busy machine


def test_binary_and_text_that_no_row_knows_come_from_identify() -> None:
    assert of_name("a.pdf") == of_name("a.jpg") == "binary"
    assert of_name("a.feature") == "text"
