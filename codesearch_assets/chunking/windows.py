"""Line windows: where to cut lines that no grammar explains."""

from dataclasses import dataclass
from hashlib import blake2b
from textwrap import dedent

from codesearch_assets.chunking import comments
from codesearch_assets.chunking.chunk import Chunk, Symbol, content_hash
from codesearch_assets.chunking.patterns import CONTAINERS, SCOPE, Found, find
from codesearch_assets.chunking.source import Source

LEAST = 25  # effective lines: a window is at least this, if there is a choice,
MOST = 80  # and at most this, unless one line is longer
_ENCLOSING = CONTAINERS | {"function", "method"}
_CLOSERS = ("}", "end", "]", ")")
_HEREDOC = '"""'  # Elixir and Julia document with text in front of the definition
_ATTRIBUTES = ("@", "#[", "[", "template", "%%", "@doc")


def bounds(source: Source, lo: int, hi: int, starts: dict[int, int]) -> list[tuple[int, int]]:
    """Cut the lines [lo, hi) into ranges of LEAST to MOST effective lines.

    starts: line -> indent of the definitions that begin there (with their comments): the best
    places to cut, the less indented the better; then a line after a blank one, then a line that
    is little indented. Among equals a hash of the line decides, so that an edit moves few cuts.
    """
    out = []
    lo, hi = source.trim(lo, hi)
    while source.size(lo, hi) > MOST:
        best, at = (99, 0, b""), lo + 1
        for line in range(lo + 1, hi):
            size = source.size(lo, line)
            if size > MOST:
                break
            if size < LEAST:
                at = line
                continue
            rank = _rank(source, line, starts)
            if rank < best:
                best, at = rank, line
        out.append(source.trim(lo, at))
        lo, hi = source.trim(at, hi)
    if lo < hi:
        out.append((lo, hi))
    return out


def _rank(source: Source, line: int, starts: dict[int, int]) -> tuple[int, int, bytes]:
    text = source.stripped[line]
    indent = len(text) - len(text.lstrip())
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    if line in starts:
        return 0, starts[line], digest
    if not text:
        return 9, 0, digest
    closer = text.lstrip().startswith(_CLOSERS)
    if not source.stripped[line - 1]:
        return (1 if indent == 0 and not closer else 2), indent, digest
    return (4 if closer else 3), indent, digest


@dataclass(slots=True)
class _Open:
    """A definition whose end is not reached, or is: `last` is then its last line."""

    found: Found
    first: int
    name: str
    last: int = -1


def cut(
    source: Source, language: str, patterns: str, lo: int = 0, hi: int | None = None
) -> tuple[Chunk, ...]:
    """The lines [lo, hi) as windows, with the definitions that the pattern rows find in them."""
    hi = len(source.lines) if hi is None else hi
    found = [one for one in _found(source, patterns) if lo <= one.line < hi]
    first = {one.line: _first_line(source, one) for one in found}
    opened, enclosing = _scopes(source, found, first)
    starts = {first[one.line]: one.indent for one in found}
    ranges = bounds(source, lo, hi, starts)
    return tuple(_chunk(source, language, lo, hi, opened, enclosing) for lo, hi in ranges)


def _found(source: Source, patterns: str) -> list[Found]:
    return find(source.stripped, patterns) if patterns else []


def _first_line(source: Source, found: Found) -> int:
    """The line where a definition begins with its comments, attributes and return type."""
    line = found.line
    while line > 0:
        above = source.stripped[line - 1]
        text = above.lstrip()
        indent = len(above) - len(text)
        if not text or found.kind == "section":
            break
        if text == _HEREDOC:
            line = _heredoc_start(source, line - 1)
            continue
        return_type = found.indent == indent == 0 and line == found.line and _is_type(text)
        if not (comments.is_comment(above) or text.startswith(_ATTRIBUTES) or return_type):
            break
        line -= 1
    return line


def _heredoc_start(source: Source, last: int) -> int:
    """The line where the doc text opens that closes in line `last`; `last` if none does."""
    for line in range(last - 1, max(-1, last - 200), -1):
        if _HEREDOC in source.stripped[line]:
            return line
    return last


def _is_type(text: str) -> bool:
    """``static int`` on a line of its own, above a C function."""
    return _only_words(text) and not text.endswith((";", "}", "{", ")", ":", ","))


def _only_words(text: str) -> bool:
    """True if a line is nothing but words, as a return type is."""
    return all(char.isalnum() or char in "_ *&:<>" for char in text)


def _scopes(
    source: Source, found: list[Found], first: dict[int, int]
) -> tuple[list[_Open], dict[int, tuple[_Open, ...]]]:
    """Every definition with its qualified name and end, and per line the containers open there."""
    done: list[_Open] = []
    stack: list[_Open] = []
    enclosing: dict[int, tuple[_Open, ...]] = {}
    at = {one.line: one for one in found}
    begins = {line: one for one, line in ((one, first[one.line]) for one in found)}
    for number, line in enumerate(source.stripped):
        if number in begins:
            _close(stack, begins[number].indent, number - 1)
        enclosing[number] = tuple(one for one in stack if one.found.kind in _ENCLOSING)
        if number in at:
            one = at[number]
            _close(stack, one.indent, first[number] - 1)
            prefix = [o.name for o in stack if o.found.kind in CONTAINERS][-1:]
            stack.append(_Open(one, first[number], ".".join([*prefix, one.name])))
            done.append(stack[-1])
        elif line and line.lstrip().startswith(_CLOSERS):
            _close(stack, len(line) - len(line.lstrip()), number)
    _close(stack, 0, len(source.lines) - 1)
    return done, enclosing


def _close(stack: list[_Open], indent: int, last: int) -> None:
    while stack and stack[-1].found.indent >= indent:
        stack.pop().last = last


def _chunk(
    source: Source,
    language: str,
    lo: int,
    hi: int,
    opened: list[_Open],
    enclosing: dict[int, tuple[_Open, ...]],
) -> Chunk:
    inside = [one for one in opened if lo <= one.found.line < hi]
    symbols = tuple(
        Symbol(
            one.name,
            "method" if one.found.kind == "function" and "." in one.name else one.found.kind,
            one.found.line + 1,
            max(one.found.line, source.trim(one.found.line, min(one.last + 1, hi))[1] - 1) + 1,
        )
        for one in inside
        if one.found.kind != SCOPE
    )
    around = enclosing[lo]
    start_byte, end_byte = source.bytes(lo, hi)
    text, hashed = source.texts(lo, hi)
    header = "\n".join(source.stripped[one.found.line].strip() for one in around)[:400]
    section = bool(inside) and inside[0].found.kind == "section" and inside[0].first == lo
    symbol = symbols[0].name if len(symbols) == 1 else ""
    if not inside and around:
        symbol = around[-1].name
    return Chunk(
        kind="section" if section else "window",
        symbol=symbol,
        symbols=symbols,
        header=header,
        doc=_leading_comment(source, lo, hi, language),
        start_line=lo + 1,
        end_line=hi,
        start_byte=start_byte,
        end_byte=end_byte,
        text=text,
        content_hash=content_hash(language, header, hashed),
    )


def _leading_comment(source: Source, lo: int, hi: int, language: str) -> str:
    if language in ("markdown", "text", "restructuredtext", "asciidoc", "org"):
        return ""
    if source.stripped[lo].endswith(_HEREDOC):
        rest = "\n".join(source.stripped[lo + 1 : hi])
        return dedent(rest[: rest.find(_HEREDOC)]).strip() if _HEREDOC in rest else ""
    end = lo
    block = False
    while end < hi and (block or comments.is_comment(source.stripped[end])):
        text = source.stripped[end]
        block = (block or text.lstrip().startswith("/*")) and "*/" not in text
        end += 1
    return comments.plain(source.stripped[lo:end])
