"""Bytes that nobody meant: every language, cut, spliced, flipped, and a list of known pests.

The campaign over real repositories is marked `soak`: CODESEARCH_CORPORA names a folder with files
or clones below it.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codesearch_assets.chunking.chunk import KINDS, FileChunks
from codesearch_assets.chunking.chunker import cut
from codesearch_assets.chunking.files import classify
from codesearch_assets.chunking.languages import LANGUAGES

FIXTURES = Path(__file__).parent / "fixtures" / "chunking"
FILES = sorted(file for file in FIXTURES.iterdir() if file.suffix != ".symbols")
GRAMMARS = [row.name for row in LANGUAGES if row.grammar]
MOST_FILE_BYTES = 300_000
CORPORA = os.environ.get("CODESEARCH_CORPORA", "")


def decoded(data: bytes) -> tuple[str, str]:
    """The text of a file and its encoding, as far as anyone can tell."""
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if data.startswith(mark):
            return data.decode(encoding), encoding
    for encoding in ("utf-8", "cp1252", "latin-1"):
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise AssertionError("latin-1 reads everything")


def assert_exact(chunks: FileChunks, data: bytes) -> None:
    """Every non-blank line in exactly one chunk; bytes, lines and text say the same."""
    assert not chunks.reason.startswith("cutter failed")
    if chunks.outcome == "skipped":
        assert chunks.reason
        return
    text, encoding = decoded(data)
    newline = "\n" if "\n" in text or "\r" not in text else "\r"
    lines = text.removeprefix("\ufeff").split(newline)
    covered: set[int] = set()
    end_line = end_byte = 0
    for chunk in chunks.chunks:
        assert end_line < chunk.start_line <= chunk.end_line <= len(lines)
        assert end_byte <= chunk.start_byte < chunk.end_byte <= len(data)
        end_line, end_byte = chunk.end_line, chunk.end_byte
        covered |= set(range(chunk.start_line, chunk.end_line + 1))
        raw = data[chunk.start_byte : chunk.end_byte].decode(encoding)
        shown = "\n".join(lines[chunk.start_line - 1 : chunk.end_line])
        assert raw.replace(newline, "\n").rstrip("\r") == shown.rstrip("\r")
        if chunks.language != "notebook":
            assert chunk.text.rstrip("\r") == shown.replace("\r\n", "\n").rstrip("\r")
        assert chunk.kind in KINDS
        for symbol in chunk.symbols:
            assert chunk.start_line <= symbol.start_line <= symbol.end_line <= chunk.end_line
    if chunks.language != "notebook":
        assert {n for n, line in enumerate(lines, 1) if line.strip()} <= covered


def mutated(data: bytes, other: bytes, seed: int, edits: int) -> bytes:
    """A file after cuts, splices, flips and duplications."""
    chance = random.Random(seed)
    for _ in range(edits):
        at, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        action = chance.randrange(7)
        if action == 0:
            data = data[:at] + data[end:] if chance.random() < 0.5 else data[:end]
        elif action == 1:
            start = chance.randrange(len(other) + 1)
            data = data[:at] + other[start : start + chance.randrange(200)] + data[at:]
        elif action == 2 and at < len(data):
            flipped = data[at] ^ (1 << chance.randrange(8))
            data = data[:at] + bytes([flipped]) + data[at + 1 :]
        elif action == 3:
            data = data[:end] + data[at:end] + data[end:]
        elif action == 4:
            pest = (b"{", b"}", b"(", b'"', b"'", b"`", b"/*", b"#if\n", b"<<<<<<< HEAD\n", b"\t")
            data = data[:at] + chance.choice(pest) + data[at:]
        elif action == 5:
            data = data.replace(b"\n", b"\r\n") if chance.random() < 0.3 else data[:at] + data[at:]
        else:
            data = data[:at] + "\u00e9\U0001f600\u2028\x0c".encode() + data[at:]
    return data


def assert_survives(data: bytes, path: str) -> None:
    chunks = cut(data, path)
    assert chunks == cut(data, path)
    assert_exact(chunks, data)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    file=st.sampled_from(FILES),
    other=st.sampled_from(FILES),
    seed=st.integers(0, 2**32),
    edits=st.integers(1, 12),
)
def test_mutated_files_of_every_language_are_covered_exactly(
    file: Path, other: Path, seed: int, edits: int
) -> None:
    assert_survives(mutated(file.read_bytes(), other.read_bytes(), seed, edits), file.name)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_beginning_of_a_file_is_covered_exactly(file: Path) -> None:
    data = file.read_bytes()
    for end in range(0, len(data), 1 + len(data) // 23):
        assert_survives(data[:end], file.name)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_line_ends_and_a_byte_order_mark_change_no_hash(file: Path) -> None:
    data = file.read_bytes()
    changed = b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n")
    sixteen = "\ufeff".encode("utf-16-le") + data.decode().encode("utf-16-le")
    hashes = [chunk.content_hash for chunk in cut(data, file.name).chunks]

    assert [chunk.content_hash for chunk in cut(changed, file.name).chunks] == hashes
    assert [chunk.content_hash for chunk in cut(sixteen, file.name).chunks] == hashes
    if file.suffix != ".ipynb":
        assert_exact(cut(changed, file.name), changed)
        assert_exact(cut(sixteen, file.name), sixteen)


# Each is small enough for a parser that tries many ways round an error; what takes longer is the
# worker's business.
PESTS = {
    "brackets": b"(" * 20_000,
    "braces": b"{\n" * 3_000,
    "tags": b"<a>\n" * 2_000,
    "quotes": b'"\n' * 1_000,
    "comment": b"// a\n# b\n-- c\n" * 300,
    "open comment": b"/*\n{-\n<!--\n" * 20,
    "conflict": b"<<<<<<< HEAD\na = 1\n=======\na = 2\n>>>>>>> other\n" * 50,
    "tabs": b"\tif a:\n\t\tb\n" * 200,
    "deep": b"".join(b" " * n + b"if a {\n" for n in range(200)),
    "directives": b"#if A\nint f() {\n#else\nint g() {\n#endif\n}\n" * 50,
    "template": b"{% if a %}\n<p>{{ b }}</p>\n<%= c %>\n{% endif %}\n" * 50,
}


@pytest.mark.parametrize("language", GRAMMARS)
def test_pests_are_survived(language: str) -> None:
    for data in PESTS.values():
        assert_exact(cut(data, "a", language), data)


@pytest.mark.parametrize(
    ("data", "path", "outcome"),
    [
        (b"x = '" + b"a" * 5_000_000 + b"'", "a.py", "too large"),
        (b"fn a() {\0}\n", "a.rs", "binary"),
        (b"", "a.rs", "empty"),
        ("s = 'Gr\u00fc\u00dfe'\n".encode("latin-1") + b"\xe9\xc3\xa9\n", "a.rb", ""),
        ("x = '\u00fc'\n".encode("utf-16"), "a.rb", ""),
        (b"/* only */\n// comments\n", "a.c", ""),
        (b"<div>{% for a in b %}<p>{% endfor %}</div>\n", "a.html", ""),
        (b"<ul><% a.each do |b| %><li><%= b %></li><% end %></ul>\n", "a.erb", ""),
        (b"const A = () => <B {...c}>{d && <E/>}</B>\n", "a.jsx", ""),
    ],
)
def test_odd_files_are_read_or_left_out_with_a_reason(data: bytes, path: str, outcome: str) -> None:
    chunks = cut(data, path)

    assert (chunks.outcome == "skipped") == bool(outcome)
    assert not outcome or chunks.reason == outcome
    assert_exact(chunks, data)


def test_a_macro_that_unbalances_braces_does_not_hide_its_neighbours() -> None:
    broken = "int broken(void)\n{\n  BEGIN {\n    step();\n}\n\n"
    good = "int good{0}(void)\n{{\n" + "  step();\n" * 60 + "}}\n\n"
    data = (good.format(1) + broken + good.format(2)).encode()
    chunks = cut(data, "a.c")

    assert_exact(chunks, data)
    assert "good1" in [one.name for chunk in chunks.chunks for one in chunk.symbols]


def corpus() -> Iterator[Path]:
    for folder, folders, names in os.walk(CORPORA):
        folders[:] = [one for one in folders if one != ".git"]
        for name in names:
            path = Path(folder) / name
            seen = classify(str(path.relative_to(CORPORA)), 0)
            small = not path.is_symlink() and path.stat().st_size < MOST_FILE_BYTES
            if not seen.skip and seen.language and small:
                yield path


@pytest.mark.soak
@pytest.mark.skipif(not CORPORA, reason="CODESEARCH_CORPORA names no folder")
def test_mutations_of_real_files_are_covered_exactly() -> None:
    chance = random.Random(7)
    files = list(corpus())
    assert files
    for number in range(int(os.environ.get("CODESEARCH_MUTATIONS", "10000"))):
        file, other = chance.choice(files), chance.choice(files)
        data = mutated(file.read_bytes(), other.read_bytes(), number, chance.randrange(0, 8))
        assert_survives(data, file.name)
