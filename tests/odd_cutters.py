"""Stand-ins for a grammar that goes wrong, imported by the process that cuts (`test_worker`)."""

import os
import signal
import sys
import time

from codesearch_assets.chunking.chunk import FileChunks
from codesearch_assets.chunking.chunker import cut


def at_a_marker(
    data: bytes, path: str, language: str = "", without_grammar: str = ""
) -> FileChunks:
    """`cut`, after what the first word of a file says; with "always-" without its grammar too."""
    word = data.split(maxsplit=1)[0].decode() if data.strip() else ""
    if word.startswith("always-") or not without_grammar:
        _misbehave(word.removeprefix("always-"))
    return cut(data, path, language, without_grammar)


def _misbehave(word: str) -> None:
    if word == "spin":
        while True:
            pass
    elif word == "sleep":
        time.sleep(1000)
    elif word == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif word == "eat":
        bytearray(8 * 2**30)
    elif word == "slow":
        time.sleep(0.3)
    elif word == "print":
        print("x" * 100_000)


def what_is_imported(
    data: bytes, path: str, language: str = "", without_grammar: str = ""
) -> FileChunks:
    """The modules of the process, and its id, in place of chunks."""
    cut(data, path)
    return FileChunks(str(os.getpid()), "skipped", " ".join(sys.modules), False, ())
