"""What a path alone says about a file: its language, whether to leave it out, and its marks."""

import re
from dataclasses import dataclass

from codesearch_assets.chunking.languages import BINARY, BY_NAME, of_name

MAX_BYTES = 1_000_000
MAX_DATA_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class FileClass:
    """language: "" until the content is seen. skip: "" or the reason to leave the file out.

    marks: a sorted subset of ("docs", "generated", "test", "vendored").
    """

    language: str
    skip: str
    marks: tuple[str, ...]


def _words(text: str) -> list[str]:
    return text.split()


_LOCK_FILES = frozenset(
    _words(
        """package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml bun.lock bun.lockb
        deno.lock cargo.lock composer.lock gemfile.lock poetry.lock pipfile.lock pdm.lock
        uv.lock pixi.lock conda-lock.yml go.sum go.work.sum mix.lock pubspec.lock
        podfile.lock package.resolved cartfile.resolved packages.lock.json
        project.assets.json paket.lock flake.lock gradle.lockfile buildscript-
        gradle.lockfile stack.yaml.lock cabal.project.freeze shard.lock module.bazel.lock
        .terraform.lock.hcl manifest.toml.lock rebar.lock berksfile.lock symfony.lock"""
    )
)
_MINIFIED = re.compile(r"[.-]min\.(?:[cm]?js|css)$|\.(?:js|css|mjs|cjs|ts)\.map$")

_FOLDER_MARKS: dict[str, str] = {
    **dict.fromkeys(
        _words("""test tests testing __tests__ testdata test_data test-data spec specs e2e fixtures
        __fixtures__ __mocks__ __snapshots__ testcases androidtest testfixtures unittests
        integrationtests functionaltests"""),
        "test",
    ),
    **dict.fromkeys(_words("doc docs documentation man manual"), "docs"),
    **dict.fromkeys(
        _words("""vendor vendors vendored _vendor third_party third-party thirdparty 3rdparty
        node_modules bower_components jspm_packages godeps pods carthage site-packages
        extern .yarn"""),
        "vendored",
    ),
    **dict.fromkeys(_words("generated __generated__ _generated dist .next"), "generated"),
}
_TEST_FOLDER = re.compile(r"(?:[._-][Tt]ests?|[a-z]Tests)$")  # Newtonsoft.Json.Tests, AppTests
_TEST_NAME = re.compile(
    r"""^test_.*\.(?:py|rb|c|cc|cpp|sh|jl|R)$ | ^conftest\.py$ | ^test\.[cm]?[jt]sx?$
      | [_-]tests?\.(?:go|py|rb|rs|exs|dart|c|cc|cpp|cxx|h|hpp|lua|sh|erl|php|[cm]?[jt]sx?)$
      | [_-]spec\.(?:rb|lua|cr|[cm]?[jt]sx?)$
      | \.(?:spec|test|e2e|cy|test-d|spec-d)\.[cm]?[jt]sx?$
      | [a-z0-9](?:Tests?|TestCase|IT|Spec|Specs)\.(?:java|kt|scala|groovy|cs|swift|php|m|mm|hs)$
      | ^Test[A-Z]\w*\.(?:java|kt|cs)$ | \.bats$ | \.t$""",
    re.VERBOSE,
)
_GENERATED_NAME = re.compile(
    r"""\.pb(?:\.gw|\.validate)?\.(?:go|cc|h|swift|c)$ | _(?:pb2|pb2_grpc)\.pyi?$ | _grpc\.pb\.go$
      | _pb\.(?:js|d\.ts|ts|rb)$ | \.(?:g|freezed|gr|mocks)\.dart$ | \.designer\.(?:cs|vb)$
      | \.g(?:\.i)?\.cs$ | [._-]generated\.\w+$ | [._-]gen\.(?:go|ts|js|rs|py)$ | ^zz_generated
      | ^bindata\.go$ | \.min\.\w+$ | \.snap$ | \.map$ | ^thrift_.*\.go$ | \.xcscheme$""",
    re.VERBOSE | re.IGNORECASE,
)
_DOC_NAME = re.compile(
    r"""^(?:readme|changelog|changes|history|news|contributing|contributors|authors|license|licence
      |copying|notice|code_of_conduct|security|upgrading|migration|thanks|todo)\b""",
    re.VERBOSE | re.IGNORECASE,
)


def classify(path: str, size: int | None) -> FileClass:
    """Class of a file by its path in the repository (with "/") and its size in bytes, if known.

    >>> classify("src/app_test.go", 900)
    FileClass(language='go', skip='', marks=('test',))
    """
    *folders, name = path.split("/")
    language, skip = told_by_name(name, size)
    known = BINARY if skip == BINARY else language
    return FileClass(language, skip, _marks(folders, name, known))


def told_by_name(path: str, size: int | None) -> tuple[str, str]:
    """The language of a file, "" if its name does not tell, and why it is left out, if it is."""
    name = path.rpartition("/")[2]
    language = of_name(name)
    return "" if language == BINARY else language, _skip(name, language, size)


def _skip(name: str, language: str, size: int | None) -> str:
    lower = name.lower()
    if lower in _LOCK_FILES:
        return "lock file"
    if language == BINARY:
        return "binary"
    if _MINIFIED.search(lower):
        return "minified"
    return oversize(language, size) if size is not None else ""


def oversize(language: str, size: int) -> str:
    """ "too large", "large data", or "" for a size in bytes that is indexed."""
    if size > MAX_BYTES:
        return "too large"
    row = BY_NAME.get(language)
    return "large data" if row is not None and row.data and size > MAX_DATA_BYTES else ""


def _marks(folders: list[str], name: str, language: str) -> tuple[str, ...]:
    marks = set()
    for folder in folders:
        mark = _FOLDER_MARKS.get(folder.lower())
        if mark:
            marks.add(mark)
        elif _TEST_FOLDER.search(folder):
            marks.add("test")
    if folders and folders[0].lower() == "deps":  # deeper down it is often a source folder
        marks.add("vendored")
    if _TEST_NAME.search(name):
        marks.add("test")
    if _GENERATED_NAME.search(name):
        marks.add("generated")
    row = BY_NAME.get(language)
    if (row is not None and row.prose) or (_DOC_NAME.match(name) and _proselike(language)):
        marks.add("docs")
    return tuple(sorted(marks))


def _proselike(language: str) -> bool:
    return language in ("", "text")
