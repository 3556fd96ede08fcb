"""What an edit inside one definition of a real file changes: the chunk that holds it.

The files are the fixtures of every language and what the installed packages ship; the campaign at
full size takes those of clones below CODESEARCH_CORPORA too.
"""

import os
import re
import sysconfig
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import pytest

from codesearch_assets.chunking.chunk import Chunk, FileChunks
from codesearch_assets.chunking.chunker import cut
from codesearch_assets.chunking.cutter import SMALL
from codesearch_assets.chunking.files import classify
from codesearch_assets.chunking.grammar import parser
from codesearch_assets.chunking.languages import BY_NAME
from codesearch_assets.chunking.source import decode, read
from codesearch_resources.git import git_dir
from codesearch_resources.repositories import Repository

FIXTURES = Path(__file__).parent / "fixtures" / "chunking"
PACKAGES = Path(sysconfig.get_path("purelib"))
CORPORA = os.environ.get("CODESEARCH_CORPORA", "")
SIZES = range(200, 60_000)  # bytes of a file from a package or a clone
PER_LANGUAGE = 12  # files of one folder
BEYOND = 0.02  # of the edits that move sizes or signatures
_DIGIT = re.compile(r"[0-8]")
_LETTER = re.compile(r"[b-y]")


@dataclass(frozen=True)
class RealFile:
    """A file that its grammar can read."""

    name: str
    language: str
    text: str
    chunks: FileChunks


def sound(text: str, language: str) -> bool:
    """Whether the grammar reads all of it."""
    grammar = BY_NAME[language].grammar
    assert grammar is not None
    prepared = grammar.prepare(text) if grammar.prepare is not None else text
    return not parser(grammar.loader).parse(prepared.encode()).root_node.has_error


def real_file(data: bytes, name: str) -> RealFile | None:
    decoded = decode(data)
    if isinstance(decoded, str) or "\r" in decoded[0] or decoded[1] != "utf-8":
        return None
    found = cut(data, name)
    row = BY_NAME.get(found.language)
    if found.outcome != "parsed" or row is None or row.grammar is None:
        return None
    if not sound(decoded[0], found.language):
        return None
    return RealFile(name, found.language, decoded[0], found)


@cache
def installed() -> dict[str, list[RealFile]]:
    """Fixtures and files of packages, by language."""
    chance = Random(5)
    paths = sorted(PACKAGES.rglob("*.*"))
    chance.shuffle(paths)
    given = [(path.name, path) for path in sorted(FIXTURES.iterdir())]
    found: defaultdict[str, list[RealFile]] = defaultdict(list)
    for name, path in [*given, *((path.name, path) for path in paths)]:
        language = classify(name, 0).language
        row = BY_NAME.get(language)
        if row is None or row.grammar is None or len(found[language]) > PER_LANGUAGE:
            continue
        fixture = path.parent == FIXTURES
        if fixture or (path.is_file() and path.stat().st_size in SIZES):
            file = real_file(path.read_bytes(), name)
            if file is not None:
                found[file.language].append(file)
    return {language: files for language, files in found.items() if files}


def corpora() -> dict[str, list[RealFile]]:
    """Files of the clones below CODESEARCH_CORPORA, some of each language and clone."""
    found: defaultdict[str, list[RealFile]] = defaultdict(list)
    for clone in sorted({*Path(CORPORA).glob("*"), *Path(CORPORA).glob("*/*")}):
        if not clone.is_dir() or git_dir(clone) is None:
            continue
        repository = Repository("r", path=clone)
        wanted: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        for entry in repository.snapshot(repository.head()).entries:
            row = BY_NAME.get(classify(entry.path, entry.size).language)
            if entry.kind == "file" and row and row.grammar and entry.size in SIZES:
                wanted[row.name].append((entry.path, entry.blob_id))
        for language, listed in wanted.items():
            some = Random(language).sample(listed, min(len(listed), PER_LANGUAGE))
            contents = repository.blobs([blob for _, blob in some])
            for (path, _), (_, data) in zip(some, contents, strict=True):
                file = real_file(data, path.rpartition("/")[2]) if data else None
                if file is not None:
                    found[file.language].append(file)
    return found


def spots(file: RealFile) -> list[tuple[int, int, int]]:
    """A chunk, a line and the last one (from 0) of every line inside a definition."""
    return [
        (at, line, one.end_line - 1)
        for at, chunk in enumerate(file.chunks.chunks)
        for one in chunk.symbols
        for line in range(one.start_line, one.end_line - 1)
    ]


def outline(chunks: FileChunks) -> object:
    """Definitions with their lines, and signatures as far as chunks carry them."""
    symbols = [one for chunk in chunks.chunks for one in chunk.symbols]
    return chunks.outcome, symbols, sorted({chunk.header for chunk in chunks.chunks})


def changed(before: FileChunks, after: FileChunks) -> set[int]:
    """The chunks, by their numbers before, that are there no more."""
    left = Counter(chunk.content_hash for chunk in after.chunks)
    gone = set()
    for number, chunk in enumerate(before.chunks):
        left[chunk.content_hash] -= 1
        if left[chunk.content_hash] < 0:
            gone.add(number)
    return gone


def another_word(chance: Random, line: str) -> str:
    """The line with another character in one of its words; as it was where it has none."""
    found = [*_DIGIT.finditer(line), *_LETTER.finditer(line)]
    if not found:
        return line
    at = chance.choice(found).start()
    return line[:at] + chr(ord(line[at]) + 1) + line[at + 1 :]


def resized(chance: Random, lines: Sequence[str], at: int, last: int) -> list[str]:
    """The lines with one gone, one twice, or some of the next ones before `last` twice."""
    count = chance.choice((-1, 1, 1, 2, 4, 8))
    if count < 0:
        return [*lines[:at], *lines[at + 1 :]]
    return [*lines[:at], *lines[at : min(at + count, last)], *lines[at:]]


def group(chunks: Sequence[Chunk], at: int) -> set[int]:
    """The chunks of the run of small neighbours that one is in; itself where it stands alone."""
    found = {at}
    for step in (-1, 1):
        one = at
        while not stands_alone(chunks[one]) and 0 <= one + step < len(chunks):
            one += step
            if chunks[one].header != chunks[at].header or stands_alone(chunks[one]):
                break
            found.add(one)
    return found


def stands_alone(chunk: Chunk) -> bool:
    source = read(chunk.text, "utf-8", 0)
    sections = chunk.kind == "section" and len(chunk.symbols) != 1
    several = sections or chunk.kind in ("group", "module", "constant", "header")
    return not several and source.size(0, len(source.lines)) >= SMALL


def assert_quiet_edits_change_one_chunk(files: Sequence[RealFile], edits: int) -> int:
    """Edits that keep parse, sizes and signatures; how many of those tried did."""
    chance, kept = Random(1), 0
    places = [(file, *spot) for file in files for spot in spots(file)]
    for file, at, line, _ in chance.sample(places, min(edits, len(places))):
        lines = file.text.split("\n")
        lines[line] = another_word(chance, lines[line])
        text = "\n".join(lines)
        if text == file.text or not sound(text, file.language):
            continue
        after = cut(text.encode(), file.name)
        if outline(after) != outline(file.chunks):
            continue
        kept += 1
        assert changed(file.chunks, after) == {at}, (file.name, line + 1, lines[line])
        assert len(after.chunks) == len(file.chunks.chunks)
    return kept


def beyond_its_group(files: Sequence[RealFile], edits: int) -> tuple[int, int]:
    """Edits that parse but move sizes or signatures: how many, and how many reached further."""
    chance, tried, beyond = Random(2), 0, 0
    places = [(file, *spot) for file in files for spot in spots(file)]
    for file, at, line, last in chance.sample(places, min(edits, len(places))):
        text = "\n".join(resized(chance, file.text.split("\n"), line, last))
        if sound(text, file.language):
            tried += 1
            gone = changed(file.chunks, cut(text.encode(), file.name))
            beyond += not gone <= group(file.chunks.chunks, at)
    return tried, beyond


def test_the_packages_add_to_the_fixtures() -> None:
    files = installed()

    assert {"python", "javascript", "css", "json", "markdown", "rust", "sql"} <= files.keys()
    assert sum(map(len, files.values())) > 60


@pytest.mark.parametrize("language", sorted(installed()))
def test_an_edit_that_moves_no_size_and_no_signature_changes_the_chunk_that_holds_it(
    language: str,
) -> None:
    kept = assert_quiet_edits_change_one_chunk(installed()[language], 60)

    assert kept or not any(map(spots, installed()[language]))


def test_few_other_edits_reach_beyond_the_group_of_their_scope() -> None:
    totals = [beyond_its_group(files, 60) for files in installed().values()]
    tried, beyond = (sum(column) for column in zip(*totals, strict=True))

    assert tried > 400
    assert beyond <= BEYOND * tried, (tried, beyond)


@pytest.mark.soak
@pytest.mark.skipif(not CORPORA, reason="CODESEARCH_CORPORA names no folder")
def test_edits_of_whole_corpora_stay_where_they_are() -> None:
    files = corpora()
    kept = {name: assert_quiet_edits_change_one_chunk(found, 300) for name, found in files.items()}
    totals = {name: beyond_its_group(found, 300) for name, found in files.items()}
    tried, beyond = (sum(column) for column in zip(*totals.values(), strict=True))
    print(f"{sum(kept.values())} quiet edits; {beyond} of {tried} others reached further: {totals}")

    assert len(kept) > 15
    assert beyond <= BEYOND * tried, totals
