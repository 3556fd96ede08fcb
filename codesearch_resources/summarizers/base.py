"""What every summarizer takes and gives: a piece of code, one or two sentences."""

from dataclasses import dataclass
from typing import Literal

from codesearch_resources.text import key

# model: written by a language model. doc: from a sufficient doc comment or a trivial body.
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


def summary_key(content_hash: str) -> str:
    """The key a paid summary is stored under: the code and the form, never who wrote it."""
    return key((content_hash, OUTPUT_CONTRACT))
