"""A decoded file as lines, with where each line lies in the bytes and how much it weighs."""

from __future__ import annotations

import codecs
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

# A line of 40 characters counts as one; longer ones count for more.
CHARS_PER_LINE = 40
PROBE = 8000  # bytes that are looked at to tell text from binary
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_CONTROL = bytes(c for c in range(32) if c not in b"\t\n\r\f\x1b\b")


@dataclass(frozen=True, slots=True)
class _Bytes:
    """Where lines lie in a file: `mark` bytes first, then each line and `width` for its end.

    before: bytes of the lines before each one, line ends of `width` not counted; None where they
    are as many as the characters. returns: the lines that end with one character more.
    """

    mark: int
    width: int
    before: list[int] | None
    returns: frozenset[int]


@dataclass(frozen=True, slots=True)
class Source:
    """Lines of a file, numbered from 0; all ranges below are half-open, [lo, hi).

    lines: without line ends. stripped: the same without trailing blanks, the same list where no
    line has any. whole: the lines joined by newlines.
    partial: only some lines are shown, and blank ones between them mean nothing.
    """

    lines: list[str]
    stripped: list[str]
    whole: str
    _at: _Bytes
    _filled: list[int]
    _chars: list[int]
    partial: bool = False

    def size(self, lo: int, hi: int) -> float:
        """Effective lines: non-blank lines, or more where they are long."""
        filled = self._filled[hi] - self._filled[lo]
        weight = (self._chars[hi] - self._chars[lo]) / CHARS_PER_LINE
        return weight if weight > filled else filled  # max() takes thrice as long, and this is hot

    def bytes(self, lo: int, hi: int) -> tuple[int, int]:
        """Where the lines begin in the file and where they end, the last line end excluded."""
        at = self._at
        assert at.before is not None
        start = at.mark + at.before[lo] + lo * at.width
        end = at.mark + at.before[hi] + (hi - 1) * at.width
        return start, end - at.width if hi - 1 in at.returns else end

    def texts(self, lo: int, hi: int) -> tuple[str, str]:
        """The lines as they are shown, and without trailing blanks, which is what is hashed."""
        if self.stripped is self.lines and not self.partial:  # most files
            text = self.whole[self._chars[lo] + lo : self._chars[hi] + hi - 1] if lo < hi else ""
            return text, text
        return self._joined(self.lines[lo:hi]), self._joined(self.stripped[lo:hi])

    def _joined(self, lines: list[str]) -> str:
        if self.partial:
            pairs = zip(["x", *lines], lines, strict=False)
            lines = [line for before, line in pairs if line or before]
        return "\n".join(lines)

    def showing(self, lines: list[str]) -> Source:
        """The same file with other words in its lines; runs of blank ones are cut short."""
        return _measured(lines, "\n".join(lines), self._at, partial=True)

    @property
    def chars(self) -> int:
        """Characters of all lines, without line ends and trailing blanks."""
        return self._chars[-1]

    @property
    def middle(self) -> int:
        """Characters of the line in the middle of them all: a line with most of them is this."""
        at = bisect_right(self._chars, self.chars / 2)
        return self._chars[at] - self._chars[at - 1]

    def blank(self, lo: int, hi: int) -> bool:
        """True if no line has anything but white space."""
        return self._filled[hi] == self._filled[lo]

    def trim(self, lo: int, hi: int) -> tuple[int, int]:
        """The range without blank lines at either end."""
        while lo < hi and not self.stripped[lo]:
            lo += 1
        while hi > lo and not self.stripped[hi - 1]:
            hi -= 1
        return lo, hi


def decode(data: bytes) -> tuple[str, str, int] | str:
    """Text, encoding and length of the byte order mark; or the reason why it is no text."""
    encoding = _UTF16.get(data[:2])
    if encoding:
        try:
            return data[2:].decode(encoding), encoding, 2
        except UnicodeDecodeError:
            return "undecodable"
    if b"\0" in data[:PROBE]:
        return "binary"
    mark = 3 if data.startswith(codecs.BOM_UTF8) else 0
    try:
        return data[mark:].decode("utf-8"), "utf-8", mark
    except UnicodeDecodeError:
        pass
    probe = data[:PROBE]
    if len(probe) - len(probe.translate(None, _CONTROL)) > len(probe) * 0.02:
        return "undecodable"
    try:
        return data.decode("cp1252"), "cp1252", 0
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1", 0


def read(text: str, encoding: str, mark: int) -> Source:
    """Split decoded text into lines; carriage returns end them only in files without \\n."""
    returns = "\r" in text
    newline = "\r" if returns and "\n" not in text else "\n"
    lines = text.split(newline)
    if not lines[-1]:
        lines.pop()
        text = text[:-1]
    lengths: Iterable[int] | None = None
    if encoding == "utf-8" and not text.isascii():
        lengths = map(len, text.encode().split(newline.encode()))
    elif encoding.startswith("utf-16"):
        lengths = (len(line.encode(encoding)) for line in lines)
    elif returns:
        lengths = map(len, lines)
    before = list(accumulate(lengths, initial=0)) if lengths is not None else None
    ended: frozenset[int] = frozenset()
    if returns:
        if newline == "\n":
            ended = frozenset(n for n, line in enumerate(lines) if line.endswith("\r"))
            lines = [line.removesuffix("\r") for line in lines]
        text = "\n".join(lines)
    return _measured(lines, text, _Bytes(mark, len(newline.encode(encoding)), before, ended))


def _measured(lines: list[str], whole: str, at: _Bytes, partial: bool = False) -> Source:
    stripped = list(map(str.rstrip, lines))
    if stripped == lines:
        stripped = lines
    filled = list(accumulate(map(bool, stripped), initial=0))
    chars = list(accumulate(map(len, stripped), initial=0))
    if at.before is None:
        before = chars if stripped is lines else list(accumulate(map(len, lines), initial=0))
        at = _Bytes(at.mark, at.width, before, at.returns)
    return Source(lines, stripped, whole, at, filled, chars, partial)
