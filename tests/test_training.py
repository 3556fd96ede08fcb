"""The table of word vectors: made of what the list says, the same every time, and of use."""

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from codesearch_resources.embedders.codewords import ROWS, SCALES, WORDS
from training import packages
from training.__main__ import REPORT, make
from training.evaluate import code_score, held_out
from training.learn import Recipe
from training.packages import LIST, PERMISSIVE, FetchError, Package, fetch, listed, write
from training.pairs import Example, askable, mine, without

ROOT = Path(__file__).parent.parent
MIT = "Permission is hereby granted, free of charge, to any person obtaining a copy of this"
GPL = "GNU GENERAL PUBLIC LICENSE Version 3"


def archive(file: Path, contents: dict[str, str]) -> Path:
    with tarfile.open(file, "w:gz") as tar:
        for name, text in contents.items():
            info = tarfile.TarInfo(f"top/{name}")
            info.size = len(data := text.encode())
            tar.addfile(info, io.BytesIO(data))
    return file


def kept(folder: Path, name: str, contents: dict[str, str]) -> Package:
    """A package whose archive has been fetched before."""
    made = archive(folder / f"{name}.tgz", contents)
    sha256 = hashlib.sha256(made.read_bytes()).hexdigest()
    (folder / "npm").mkdir(exist_ok=True)
    made.rename(folder / "npm" / f"{sha256}-{name}")
    return Package("npm", name, "1", "MIT", sha256)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Package], Path]:
    """This project's own modules as three packages."""
    folder = tmp_path_factory.mktemp("archives")
    found = []
    for name in ("codesearch", "codesearch_assets", "codesearch_resources"):
        modules = sorted((ROOT / name).rglob("*.py"))
        texts = {str(m.relative_to(ROOT)): m.read_text(encoding="utf-8") for m in modules}
        found.append(kept(folder, name, texts))
    return found, folder


@pytest.fixture(scope="module")
def examples(own: tuple[list[Package], Path]) -> list[Example]:
    return mine(*own)


def test_each_listed_package_has_a_version_a_hash_and_a_permissive_licence() -> None:
    found = listed()
    assert len(found) > 300
    assert found == sorted(found), "the list is kept sorted"
    assert len({(p.registry, p.name) for p in found}) == len(found)
    for package in found:
        assert package.registry in ("pypi", "npm", "debian", "deb"), package
        assert package.version, package
        assert set(package.licence.split(" AND ")) <= PERMISSIVE, package
        assert len(bytes.fromhex(package.sha256)) == 32, package
    assert 0.05 < sum(p.held_out for p in found) / len(found) < 0.2


def test_the_shipped_table_was_made_of_the_list_as_it_stands() -> None:
    report = json.loads(REPORT.read_text(encoding="utf-8"))
    assert report["list"] == hashlib.sha256(LIST.read_bytes()).hexdigest()


def test_the_list_is_read_as_it_was_written(tmp_path: Path) -> None:
    two = [Package("pypi", "b", "2", "ISC", "0" * 64), Package("npm", "@a/b", "1", "MIT", "1" * 64)]
    write(two, tmp_path / "list.tsv")
    assert listed(tmp_path / "list.tsv") == sorted(two)


@pytest.mark.parametrize(
    ("contents", "licence"),
    [
        ({"LICENSE": MIT}, "MIT"),
        ({"LICENSE": MIT, "COPYING": "Apache License, Version 2.0"}, "Apache-2.0 AND MIT"),
        ({"LICENSE.txt": MIT, "COPYING": GPL}, None),
        ({"src/LICENSE": MIT}, None),
        ({"README": MIT}, None),
    ],
)
def test_a_licence_is_what_the_packages_own_files_say(
    contents: dict[str, str], licence: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = archive(tmp_path / "name-1.0.tgz", contents)
    monkeypatch.setattr(packages, "_download", lambda *_: [made])
    found = packages.pin("npm", "name", tmp_path / "kept")
    assert (found and found.licence) == licence
    assert found is None or found.version == "1.0"


def test_other_bytes_than_those_listed_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = archive(tmp_path / "name-1.0.tgz", {"a.py": "x = 1\n"})
    monkeypatch.setattr(packages, "_download", lambda *_: [made])
    with pytest.raises(FetchError, match=r"listed: npm name 1\.0$"):
        fetch([Package("npm", "name", "1.0", "MIT", "0" * 64)], tmp_path / "kept")


def test_wheels_and_tarballs_give_the_same_files(tmp_path: Path) -> None:
    tarball = archive(tmp_path / "a.tgz", {"a/b.py": "x", "c.py": "y"})
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.writestr("a/b.py", "x")
        wheel.writestr("c.py", "y")
    found = [sorted(packages.contents(file)) for file in (tarball, tmp_path / "a.whl")]
    assert found == [[("a/b.py", b"x"), ("c.py", b"y")]] * 2


def test_an_example_asks_with_the_doc_comment_and_shows_the_code_without_it(
    tmp_path: Path,
) -> None:
    code = (
        "def split_lines(text):\n"
        '    """Cut a text at every newline character. Empty ones are kept as they were."""\n'
        "    return parse(text)\n"
    )
    tests = {"tests/test_a.py": code, "a.min.js": "x", "README.md": "# Cut a text\n"}
    package = kept(tmp_path, "one", {"src/lines.py": code, **tests})
    (example,) = mine([package], tmp_path)
    assert example.query == ["cut", "text", "every", "newline", "character"]
    assert example.rest == ["empty", "ones", "kept", "they", "were"]
    assert example.names == ["split", "lines"]
    assert example.located == ["src", "lines"]
    assert example.body == ["split", "lines", "text", "parse"]


def test_only_a_sentence_that_could_be_asked_is_one() -> None:
    assert askable("Parse the header of a request")
    assert not askable("Parse it")
    assert not askable("Licensed under the terms of the project")
    assert not askable("解析请求的标头并返回 the parsed header of requests")
    assert not askable("word " * 60)


def test_a_doc_comment_goes_whatever_marks_it() -> None:
    doc = "First line here.\nSecond one."
    for text in (
        "// First line here.\n// Second one.\nf()",
        "/** First line here.\n * Second one. */\nf()",
    ):
        assert without(text, doc) == "f()"


def test_the_same_examples_give_the_same_table(examples: list[Example], tmp_path: Path) -> None:
    recipe = Recipe(dimensions=16, steps=20, batch=32, together=8)
    for name in ("one", "two"):
        make(examples, recipe, tmp_path / name)
    for file in (WORDS, ROWS, SCALES):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    make(
        examples, Recipe(dimensions=16, steps=20, batch=32, together=8, seed=2), tmp_path / "three"
    )
    assert (tmp_path / "one" / ROWS).read_bytes() != (tmp_path / "three" / ROWS).read_bytes()


def test_learning_finds_more_than_the_first_vectors_do(
    examples: list[Example], tmp_path: Path
) -> None:
    asked = held_out(examples)
    assert len(asked) > 100
    recipes = {
        steps: Recipe(dimensions=32, steps=steps, batch=64, together=16) for steps in (0, 100)
    }
    found = {
        steps: float(np.mean(code_score(make(examples, recipe, tmp_path / str(steps)), asked)))
        for steps, recipe in recipes.items()
    }
    assert found[100] > found[0] + 0.05
