"""What the chunker gives out: chunks, the definitions inside them, and the hash that names them.

Kinds, the one list (of chunks and of symbols):

=========  =====================================================================================
function   a function outside a class
method     a function of a class, interface, object or Go receiver
class      a class or struct, whole
interface  an interface, trait or protocol
type       a type alias, enum or other named type
constant   named values outside functions
module     a namespace; as a chunk: imports, file comments and statements without definition
group      several definitions together
header     the beginning of a class that was too large: signature, doc comment, fields
part       a piece of one over-long definition or statement
section    a piece of prose that begins with a heading; a top-level key of a data file
window     a run of lines of a language without a grammar
=========  =====================================================================================
"""

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

KINDS = (
    "function",
    "method",
    "class",
    "interface",
    "type",
    "constant",
    "module",
    "group",
    "header",
    "part",
    "section",
    "window",
)


# Tuples, which take a third of the time that frozen dataclasses take to make: there are many.
class Symbol(NamedTuple):
    """One definition: its qualified name (``Router.resolve``) and its lines, 1-based, inclusive.

    The lines start at decorators, not at the comment above, and end with the chunk where the
    definition goes on in further chunks. exported: it can be used outside of its file, package or
    class, as far as its own words say.
    """

    name: str
    kind: str
    start_line: int
    end_line: int
    exported: bool = True


class Chunk(NamedTuple):
    """A run of lines of one file, cut at definitions; blank lines around it belong to no chunk.

    symbol: the qualified name where the chunk is one definition, or a header or part of one; the
        common container for a group inside one; the definition around a window that has none of
        its own; else "".
    symbols: every definition inside, members of whole classes included, in order of lines.
    header: the enclosing signatures that are not in the text, one a line.
    doc: the doc comment of the first definition, comment markers stripped.
    start_line, end_line: 1-based, inclusive. start_byte, end_byte: half-open offsets into the
        file's bytes, without a byte order mark before and without the last line end.
    text: the lines joined by newlines, without a final one; trailing blanks of a line are kept.
    content_hash: 32 hex digits; see `content_hash`.
    """

    kind: str
    symbol: str
    symbols: tuple[Symbol, ...]
    header: str
    doc: str
    start_line: int
    end_line: int
    start_byte: int
    end_byte: int
    text: str
    content_hash: str


@dataclass(frozen=True, slots=True)
class FileChunks:
    """What became of one file.

    outcome: "parsed" (by a grammar), "windows" (cut by lines, `reason` says why) or "skipped"
        (no chunks, `reason` says why).
    generated: the content says so in its first lines.
    seconds: what cutting it took, a first try that was lost and the loading of a
        grammar included; no part of the result.
    """

    language: str
    outcome: str
    reason: str
    generated: bool
    chunks: tuple[Chunk, ...]
    seconds: float = field(default=0.0, compare=False)


def content_hash(language: str, header: str, text: str) -> str:
    """Hash of what a chunk says, free of path and position; `text` without trailing blanks.

    >>> content_hash("python", "", "x = 1") == content_hash("python", "class A:", "x = 1")
    False
    """
    key = "\0".join((language, header, text))
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
