"""One peer's cutting of many files: run by the Python that has the peer, told on standard input.

In: {"peer": name, "size": limit, "files": [[path on disk, language], ...]} as JSON; the files are
UTF-8 with plain line ends. Out: {"version": ..., "cuts": [[[start, end], ...] or null, ...],
"seconds": CPU seconds of the cutting of each file alone}, ranges in characters; null where it does
not know the language or gives up. Exit code 3 where the peer is not installed.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

os.environ.update(COCOINDEX_DISABLE_USAGE_TRACKING="1", HF_HUB_OFFLINE="1")

Ranges = list[tuple[int, int]]
Cut = Callable[[str, str], Any]  # text, language -> the peer's own chunks
Locate = Callable[[str, Any], Ranges]

GRAMMARS = {  # for the peer that wants a parser handed in
    "python": "tree_sitter_python:language",
    "java": "tree_sitter_java:language",
    "csharp": "tree_sitter_c_sharp:language",
    "typescript": "tree_sitter_typescript:language_typescript",
    "tsx": "tree_sitter_typescript:language_tsx",
}


def by_text(text: str, pieces: Iterable[str]) -> Ranges:
    """Where pieces of a text lie that come in its order."""
    found, at = [], 0
    for piece in pieces:
        start = text.find(piece, at)
        if start >= 0 and piece:
            at = start + len(piece)
            found.append((start, at))
    return found


def semble(size: int) -> tuple[Cut, Locate]:
    from semble.chunking import chunking

    chunking._DESIRED_CHUNK_LENGTH_CHARS = size
    return (
        lambda text, language: chunking.chunk_source(text, "file", language),
        lambda text, chunks: by_text(text, [chunk.content for chunk in chunks]),
    )


def cocoindex(size: int) -> tuple[Cut, Locate]:
    from cocoindex.ops.text import RecursiveSplitter

    splitter = RecursiveSplitter()
    return (
        lambda text, language: splitter.split(text, size, language=language),
        lambda text, chunks: [(c.start.char_offset, c.end.char_offset) for c in chunks],
    )


def astchunk(size: int) -> tuple[Cut, Locate]:
    from astchunk import ASTChunkBuilder

    builders: dict[str, Any] = {}

    def cut(text: str, language: str) -> Any:
        language = "typescript" if language == "tsx" else language
        if language not in ("python", "java", "csharp", "typescript"):
            return None
        if language not in builders:
            builders[language] = ASTChunkBuilder(
                max_chunk_size=size, language=language, metadata_template="default"
            )
        return builders[language].chunkify(text)

    def locate(text: str, chunks: Any) -> Ranges:
        """It tells lines only: whole ones, which is to its favour."""
        starts = [0]
        for line in text.split("\n"):
            starts.append(starts[-1] + len(line) + 1)
        lines = [(c["metadata"]["start_line_no"], c["metadata"]["end_line_no"]) for c in chunks]
        return [(starts[first], starts[last + 1] - 1) for first, last in lines]

    return cut, locate


def llama_index(size: int) -> tuple[Cut, Locate]:
    from llama_index.core.node_parser import CodeSplitter
    from tree_sitter import Language, Parser

    splitters: dict[str, Any] = {}

    def cut(text: str, language: str) -> Any:
        if language not in splitters:
            try:
                module, function = GRAMMARS.get(language, f"tree_sitter_{language}:language").split(
                    ":"
                )
                parser = Parser(Language(getattr(import_module(module), function)()))
            except (ImportError, AttributeError):
                splitters[language] = None
            else:
                splitters[language] = CodeSplitter(
                    language=language, max_chars=size, parser=parser, tokenizer=str.split
                )
        splitter = splitters[language]
        return None if splitter is None else splitter.split_text(text)

    return cut, by_text


PEERS = {
    "semble": ("semble", semble),
    "cocoindex": ("cocoindex", cocoindex),
    "astchunk": ("astchunk", astchunk),
    "llama-index": ("llama-index-core", llama_index),
}


def main() -> None:
    asked = json.load(sys.stdin)
    package, make = PEERS[asked["peer"]]
    try:
        version = metadata.version(package)
        cut, locate = make(asked["size"])
    except ImportError as error:
        print(f"{asked['peer']} is not there: {error}", file=sys.stderr)
        sys.exit(3)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a peer prints is no answer
    texts = [(Path(file).read_text("utf-8"), language) for file, language in asked["files"]]
    first: dict[str, str] = {language: text for text, language in texts}
    for language, text in first.items():  # parsers are made, and unpacked, before the clock runs
        attempt(cut, text, language)
    cuts, seconds = [], []
    for text, language in texts:
        started = time.process_time()
        cuts.append(attempt(cut, text, language))
        seconds.append(time.process_time() - started)
    located = [
        None if chunks is None else locate(text, chunks)
        for (text, _), chunks in zip(texts, cuts, strict=True)
    ]
    json.dump({"version": version, "seconds": seconds, "cuts": located}, out)
    out.close()
    os._exit(0)  # threads of a peer may not end


def attempt(cut: Cut, text: str, language: str) -> Any:
    try:
        return cut(text, language)
    except Exception:  # one odd file is not the end of a peer's run
        return None


if __name__ == "__main__":
    main()
