"""What every summarizer is: pieces of code in, one or two sentences each out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from codesearch_resources.text import key

# model: written by a language model. doc: taken from a sufficient doc comment.
# stand_in: extracted, served until something better comes.
Grade = Literal["model", "doc", "stand_in"]

# The form a stored summary is promised to have; a new form is a new key and is paid for again.
OUTPUT_CONTRACT = "1"


@dataclass(frozen=True, slots=True)
class Piece:
    """What a summarizer sees of a chunk: only what its content hash covers."""

    content_hash: str
    language: str
    kind: str
    symbol: str
    header: str
    doc: str
    text: str


@dataclass(frozen=True, slots=True)
class Summary:
    """One summary and who wrote it."""

    text: str
    grade: Grade
    provider: str
    model: str
    prompt_version: str


class Summarizer(Protocol):
    """The one method a summarizer has. A chain of them is a summarizer too."""

    name: str
    # The best grade it writes; a chain whose best is `stand_in` is content with stand-ins.
    grade: Grade

    def summarize(self, pieces: Sequence[Piece]) -> Iterator[tuple[Piece, Summary]]:
        """Yield pieces with their summaries, in any order, as they are written.

        A piece that is not yielded stays without: the remainder, which is no failure.
        """
        ...


def summary_key(content_hash: str) -> str:
    """The key a paid summary is stored under: the code and the form, never who wrote it."""
    return key((content_hash, OUTPUT_CONTRACT))


def accepted(grade: str, summarizer: Summarizer) -> bool:
    """Whether a summary of `grade` needs no better one from this summarizer."""
    return grade in ("model", "doc") or summarizer.grade == "stand_in"
