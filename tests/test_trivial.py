"""Trivial bodies: said by their names; anything that works is left to a model."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesearch_resources.summarizers.base import Piece
from codesearch_resources.summarizers.trivial import is_trivial


def trivial(text: str, language: str = "python", kind: str = "method") -> bool:
    return is_trivial(Piece("h", language, kind, "name", "", "", text))


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "def name(self):\n    return self._name\n"),
        ("python", "@property\ndef name(self) -> str:\n    return self.inner.name\n"),
        ("python", "def name(self, value: dict[str, int] = {}):\n    self.name = value\n"),
        ("python", "@abstractmethod\ndef name(self):\n    ...\n"),
        ("python", 'def name(self):\n    """Name."""\n    raise NotImplementedError\n'),
        ("java", "public String getName() {\n    return this.name;\n}"),
        ("java", "public Self setName(String n) {\n    this.name = n;\n    return this;\n}"),
        ("go", "func (r *R) Name() string {\n\treturn r.name\n}"),
        ("rust", "pub fn name(&self) -> &str {\n    &self.name\n}"),
        ("csharp", "public void Dispose() { }"),
        ("cpp", "int size() const { return size_; }"),
        ("ruby", "def name\n  @name\nend"),
    ],
)
def test_getters_setters_and_empty_bodies_are_trivial(language: str, text: str) -> None:
    assert trivial(text, language)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", "from a import (\n    b,\n    c,\n)\nimport os, sys\n\n__all__ = ['b', 'c']\n"),
        ("typescript", "export { a, b } from './a'\nexport * from './b';\nimport c from 'c'\n"),
        ("rust", "pub use crate::a::{B, C};\nmod d;\npub mod e;\n"),
        ("go", 'package main\n\nimport (\n\t"fmt"\n\t"os"\n)\n'),
        ("c", '#include <stdio.h>\n#include "own.h"\n'),
    ],
)
def test_imports_and_reexports_are_trivial(language: str, text: str) -> None:
    assert trivial(text, language, "module")


@pytest.mark.parametrize(
    ("language", "text", "kind"),
    [
        ("python", "def name(v):\n    return v + 1\n", "function"),
        ("python", "def name(self):\n    return self.find(self.path)\n", "method"),
        (
            "python",
            "def name(self):\n    if self.a:\n        return self.b\n    return 1\n",
            "method",
        ),
        ("python", "def name(self):\n    raise NotFound(self)\n", "method"),
        ("java", "boolean isEmpty() { return size == 0; }", "method"),
        ("go", "func Name() string {\n\tlock()\n\treturn name\n}", "function"),
        ("rust", "fn name(&self) -> u8 { match self { A => 1, B => 2 } }", "method"),
        ("python", "import os\n\nLIMIT = 3\n", "module"),
        ("javascript", "import a from 'a'\na.start()\n", "module"),
        ("python", "class A:\n    pass\n", "class"),
    ],
)
def test_what_calculates_decides_or_calls_is_not(language: str, text: str, kind: str) -> None:
    assert not trivial(text, language, kind)


@given(st.text(max_size=300), st.sampled_from(["python", "go", "ruby"]), st.booleans())
def test_any_text_is_judged(text: str, language: str, is_module: bool) -> None:
    trivial(text, language, "module" if is_module else "function")


@pytest.mark.parametrize(
    "text",
    [
        "import " * 800,
        "def a(" * 900,
        "{" * 5_000,
        "def a((((" + "(" * 3000,
        "from a import (" * 390,
    ],
)
def test_hostile_code_takes_no_long_time(text: str) -> None:
    started = time.process_time()
    for kind in ("module", "function"):
        trivial(text, "python", kind)
    assert time.process_time() - started < 1
