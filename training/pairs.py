"""Pairs to learn from: the sentence an author wrote over a piece of code, and that code without it.

Files are cut by the project's own chunker and looked at through the embedder's own view, so that
what is learnt from is what will be embedded.
"""

import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from codesearch_assets.chunking.chunk import Chunk
from codesearch_assets.chunking.chunker import cut
from codesearch_assets.chunking.files import classify
from codesearch_assets.chunking.languages import BY_NAME
from codesearch_resources.embedders.view import located_words, name_words, text_words
from codesearch_resources.summarizers.base import Piece
from codesearch_resources.summarizers.extractive import Extractive
from codesearch_resources.text import query_words
from training.packages import Package, contents, fetch, place

# No package outweighs the others, and a large one is sampled all over.
MOST_FILES = 150
MOST_CHUNKS = 1_500
FEWEST_WORDS, MOST_WORDS = 3, 40  # of a sentence that can be asked
CACHE_VERSION = "1"  # raised whenever other examples come out of the same archive

_TAG = re.compile(r"</?\w[^<>]*>|\{@\w+\s+([^{}]*)\}|@\w+|https?://\S+")
_EDGES = re.compile(r"^\W+|\W+$")
_FOREIGN = re.compile(r"[^\x00-\x7f]")
_LEGAL = re.compile(r"copyright|licen[cs]e|spdx|all rights reserved", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Example:
    """A chunk as lists of words; `query` and `rest` are empty where nobody described it.

    query: the words of the first sentence of the doc comment; rest: those of the second.
    names, located, body: the three parts of the embedder's view, the doc comment left out of body.
    """

    package: str
    language: str
    query: list[str]
    rest: list[str]
    names: list[str]
    located: list[str]
    body: list[str]


def mine(packages: Sequence[Package], folder: Path, workers: int = 1) -> list[Example]:
    """The examples of all packages, in order; kept in `folder` from one run to the next.

    Raises FetchError when a package is not to be had as listed.
    """
    fetch(packages, folder)
    with ProcessPoolExecutor(workers) as pool:
        found = pool.map(_mined, packages, [folder] * len(packages))
        return [example for examples in found for example in examples]


def _mined(package: Package, folder: Path) -> list[Example]:
    kept = folder / "examples" / f"{package.sha256}-{CACHE_VERSION}.json.z"
    if not kept.exists():
        examples = list(_examples(package, place(package, folder)))
        kept.parent.mkdir(parents=True, exist_ok=True)
        lines = json.dumps([asdict(example) for example in examples])
        partial = kept.with_suffix(".part")
        partial.write_bytes(zlib.compress(lines.encode(), 3))
        partial.replace(kept)
    stored = json.loads(zlib.decompress(kept.read_bytes()))
    return [Example(**fields) for fields in stored]


def _examples(package: Package, archive: Path) -> Iterator[Example]:
    eligible = [(path, data) for path, data in contents(archive) if _wanted(path, len(data))]
    eligible.sort(key=lambda file: hashlib.sha256(file[0].encode()).digest())
    asked: set[tuple[str, ...]] = set()
    bodies: set[tuple[str, ...]] = set()
    for path, data in eligible[:MOST_FILES]:
        found = cut(data, path)
        if found.outcome != "parsed" or found.generated:
            continue
        for chunk in found.chunks:
            example = _example(package.name, path, found.language, chunk)
            # The same file in two builds, the same sentence over ten overloads.
            if tuple(example.body) in bodies or len(bodies) >= MOST_CHUNKS:
                continue
            bodies.add(tuple(example.body))
            if tuple(example.query) in asked:
                example = replace(example, query=[], rest=[])
            asked.add(tuple(example.query))
            yield example


def _wanted(path: str, size: int) -> bool:
    seen = classify(path, size)
    row = BY_NAME.get(seen.language)
    code = row is not None and row.grammar is not None and not row.data and not row.prose
    return code and not seen.skip and not seen.marks and not path.endswith(".d.ts")


def _example(package: str, path: str, language: str, chunk: Chunk) -> Example:
    query, rest, text = described(chunk, language)
    names = [symbol.name for symbol in chunk.symbols] or [chunk.symbol]
    body = text_words(f"{chunk.header}\n{text}")
    return Example(package, language, query, rest, name_words(names), located_words(path), body)


def described(chunk: Chunk, language: str) -> tuple[list[str], list[str], str]:
    """Words of the first and second sentence of the doc comment, and the code without it.

    No words, and all of the text, where nobody described the code well enough.
    """
    if not chunk.doc:
        return [], [], chunk.text
    piece = Piece("", language, chunk.kind, chunk.symbol, chunk.header, chunk.doc, "")
    summary = Extractive().extract(piece)
    first, _, second = _TAG.sub(r" \1 ", summary.text).partition(". ")
    if summary.grade != "doc" or not askable(first):
        return [], [], chunk.text
    rest = query_words(second) if askable(second) else []
    return query_words(first), rest, without(chunk.text, chunk.doc)


def askable(sentence: str) -> bool:
    """Whether somebody could ask with a sentence: English, not legal, neither short nor long."""
    if _LEGAL.search(sentence) or len(_FOREIGN.findall(sentence)) > len(sentence) / 20:
        return False
    found = query_words(sentence)
    lettered = [word for word in found if word.isalpha() and len(word) > 1]
    return FEWEST_WORDS <= len(lettered) <= MOST_WORDS and len(lettered) * 4 > len(found) * 3


def without(text: str, doc: str) -> str:
    """`text` less the lines that its doc comment is made of, whatever marks them as comment."""
    gone = {_EDGES.sub("", line) for line in doc.split("\n")} - {""}
    return "\n".join(line for line in text.split("\n") if _EDGES.sub("", line) not in gone)
