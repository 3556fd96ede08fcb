"""Mutated and hostile files through the real assets: no run is lost, every file accounted for."""

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from conftest import WorkTree
from indexes import Line

from codesearch_assets.chunking.source import decode, read
from codesearch_resources.store import of_repo

ROOT = Path(__file__).parent.parent
SEED = 5
ENDINGS = (
    "py js jsx ts tsx go rs java c h cpp cs rb php kt swift scala sh lua ex hs zig sql md html css "
    "yaml toml json ipynb vue svelte txt dart"
).split()
HOSTILE = {
    "one line of 5 MB": b"x = " + b"1 + " * 1_250_000,
    "one line of 900 kB": b"x = " + b"1 + " * 225_000,
    "brackets": b"(" * 100_000,
    "brackets that close": b"[" * 100_000 + b"]" * 100_000,
    "braces on lines": b"{\n" * 100_000,
    "calls in calls": b"f(" * 40_000 + b")" * 40_000,
    "blocks in blocks": b"".join(b" " * n + b"if x:\n" for n in range(900)),
    "functions in functions": b"function f() {\n" * 5_000 + b"}\n" * 5_000,
    "tags in tags": b"<div>" * 30_000,
    "quotes": b"'\"`" * 50_000,
    "NUL": b"int main(void) { return '\0'; }\n",
    "NUL far down": b"int x;\n" * 2_000 + b"\0\n",
    "nothing": b"",
    "blank lines": b"\n \n\t\n" * 100,
    "no text": bytes(range(256)) * 40,
    "UTF-16": "class Größe:\n    pass\n".encode("utf-16"),
    "half of UTF-16": "def f(): pass\n".encode("utf-16")[:-1],
    "Latin-1": "// Größe\nint größe;\n".encode("latin-1"),
    "mixed encodings": "# Größe\n".encode() + "# Größe\n".encode("latin-1") + b"x = 1\n",
    "broken UTF-8": b"def f():\n    return '\xf0\x9f\x92'\n",
    "a mark alone": b"\xef\xbb\xbf",
    "old Mac line ends": b"def f():\r    return 1\r" * 300,
    "three line ends": b"a = 1\r\nb = 2\nc = 3\rd = 4\n\r\n",
    "odd separators": "a = 1\u2028b = 2\x0cc = 3\x1cd = 4\x85\n".encode(),
    "only comments": b"# nothing but words\n" * 3_000 + b"// and more\n" * 3_000,
    "an open comment": b"/* " + b"never closed\n" * 2_000,
    "an open string": b'x = """' + b"never closed\n" * 2_000,
    "a merge conflict": b"def f():\n<<<<<<< a\n    return 1\n=======\n    return 2\n>>>>>>> b\n"
    * 50,
    "templates": b"{% for x in y %}\n<p class={{ x }}>{{ x|e }}\n<%= y %>\n{% endfor %}\n" * 50,
    "macros": b"#define BEGIN {\n#define END }\nint f(void) BEGIN return 1; END\n#if 0\n{{{\n" * 80,
    "a name of 100 kB": b"def " + b"a" * 100_000 + b"(): pass\n",
    "heredocs": b"cat <<A <<B\n" * 500,
    "a notebook": b'{"cells": [{"cell_type": "code", "source": 7}, 8, {"source": [null]}]}',
    "a notebook cut off": b'{"cells": [{"cell_type": "code", "source": ["x = 1',
    "numbers of JSON": b"[" + b"1e999, " * 9_000 + b"NaN]",
    "anchors of YAML": b"a: &a [*a, *a]\nb: *b\n? {c: d}\n: - - - e\n" * 100,
}
NOT_AS_IT_IS = (b".ipynb",)  # what is cut is not the bytes: cells only
NAMES = (b"caf\xe9", b"new\nline", b"quo\"te'", b" blank ", b"-dash", "größe 🎈".encode())


def seeds() -> list[tuple[str, bytes]]:
    """Real files with their endings: the fixtures of every language, and this project's own."""
    fixtures = [path for path in (ROOT / "tests/fixtures").rglob("*") if path.is_file()]
    own = [*ROOT.glob("codesearch*/*.py"), *ROOT.glob("*.md"), *ROOT.glob("*.toml")]
    return [(path.suffix[1:], path.read_bytes()[:20_000]) for path in sorted((*fixtures, *own))]


def mutated(random: Random, data: bytes, other: bytes) -> bytes:
    """Real bytes after a few of the things that happen to files."""
    for _ in range(random.randint(1, 4)):
        at, to = sorted(random.randint(0, len(data)) for _ in range(2))
        match random.randrange(7):
            case 0:
                data = data[:to]
            case 1:
                data = data[:at] + data[to:]
            case 2:
                data = data[:at] + other[at:to] + data[at:]
            case 3:
                data = data[:to] + data[at:to] * random.randint(1, 5) + data[to:]
            case 4:
                flipped = bytearray(data)
                for _ in range(min(20, len(data))):
                    flipped[random.randrange(len(data))] = random.randrange(256)
                data = bytes(flipped)
            case 5:
                data = data.replace(b"\n", random.choice([b"\r\n", b"\r", b"\n\n", b""]))
            case 6:
                data = data[:at] + random.choice(list(HOSTILE.values()))[:5_000] + data[at:]
    return data


def files(count: int) -> Iterator[tuple[bytes, bytes]]:
    """`count` files as path and bytes: a quarter hostile, the others mutated ones."""
    random, real = Random(SEED), seeds()
    hostile = list(HOSTILE.values())
    for number in range(count):
        odd = random.choice(NAMES) if random.random() < 0.05 else b"file"
        ending = random.choice(ENDINGS)
        if number % 4 == 0:
            data = hostile[number // 4 % len(hostile)]
        else:
            own_ending, data = random.choice(real)
            ending = random.choice((ending, own_ending, own_ending))
            data = mutated(random, data, random.choice(real)[1])
        yield b"src/%s_%d.%s" % (odd, number, ending.encode()), data


def commit_all(tree: WorkTree, everything: Iterator[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """One commit of all the files, straight into the object database; returns them."""
    kept = dict(everything)
    importing = subprocess.Popen(
        ["git", "-C", str(tree.path), "fast-import", "--quiet"], stdin=subprocess.PIPE
    )
    assert importing.stdin is not None
    with importing.stdin as pipe:
        pipe.write(b"commit refs/heads/main\ncommitter A <a@example.com> 1 +0000\ndata 0\n")
        for path, data in kept.items():
            quoted = path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
            pipe.write(b'M 100644 inline "%s"\ndata %d\n%s\n' % (quoted, len(data), data))
    assert importing.wait() == 0
    return kept


@pytest.mark.parametrize(
    "count", [500, pytest.param(10_000, marks=pytest.mark.soak)], ids=["500", "10000"]
)
def test_every_hostile_file_is_cut_whole_or_left_out_for_a_reason(
    count: int, make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    tree = make_tree()
    there = commit_all(tree, files(count))
    line = Line(tmp_path / "index", tree)
    line.refresh()
    outcomes = accounted_for(line, count)
    assert outcomes["parsed "] > count / 4, outcomes
    assert not any("failed" in one or "grammar missing" in one for one in outcomes), outcomes
    assert_exact_cover(line, there)


def accounted_for(line: Line, count: int) -> Counter[str]:
    """Outcomes with their reasons; every path has one, or was left out by the snapshot."""
    of = of_repo(line.entry.name)
    snapshot = line.store.read("repo_snapshots", ["path", "skip_reason"], of).to_pylist()
    cut = line.store.read("files", ["path", "outcome", "reason", "chunks"], of).to_pylist()
    left_out = {row["path"] for row in snapshot if row["skip_reason"]}
    assert len(snapshot) == count
    assert {row["path"] for row in cut} == {row["path"] for row in snapshot} - left_out
    for row in cut:
        assert (row["outcome"] == "parsed") == (row["reason"] == "")
        assert (row["outcome"] == "skipped") == (row["chunks"] == 0)
    return Counter(f"{row['outcome']} {row['reason']}" for row in cut)


def assert_exact_cover(line: Line, there: dict[bytes, bytes]) -> None:
    """Every non-blank line of a file that has chunks is in exactly one."""
    cut: dict[str, list[range]] = {}
    for row in line.chunks("path", "start_line", "end_line"):
        cut.setdefault(row["path"], []).append(range(row["start_line"] - 1, row["end_line"]))
    checked = 0
    for path, data in there.items():
        ranges = cut.get(path.decode("utf-8", "replace"))
        decoded = decode(data)
        if ranges is None or isinstance(decoded, str) or path.endswith(NOT_AS_IT_IS):
            continue
        covered = Counter(number for one in ranges for number in one)
        filled = {number for number, text in enumerate(read(*decoded).stripped) if text}
        assert set(covered.values()) == {1}, path
        assert filled <= covered.keys(), path
        checked += 1
    assert checked > len(there) / 2
