"""A decoded file as lines, with where each line lies in the bytes and how much it weighs."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from itertools import accumulate
from operator import add

# A line of 40 characters counts as one; longer ones count for more.
CHARS_PER_LINE = 40
PROBE = 8000  # bytes that are looked at to tell text from binary
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_CONTROL = bytes(c for c in range(32) if c not in b"\t\n\r\f\x1b\b")


@dataclass(frozen=True, slots=True)
class Source:
    """Lines of a file, numbered from 0; all ranges below are half-open, [lo, hi).

    lines: without line ends. stripped: the same without trailing blanks.
    starts, sizes: byte offset of each line in the file, and its bytes, line end excluded.
    partial: only some lines are shown, and blank ones between them mean nothing.
    """

    lines: list[str]
    stripped: list[str]
    starts: list[int]
    sizes: list[int]
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
        return self.starts[lo], self.starts[hi - 1] + self.sizes[hi - 1]

    def text(self, lo: int, hi: int) -> str:
        """The lines as they are shown."""
        return "\n".join(self._shown(self.lines[lo:hi]))

    def stripped_text(self, lo: int, hi: int) -> str:
        """The same without trailing blanks: what is hashed."""
        return "\n".join(self._shown(self.stripped[lo:hi]))

    def both_texts(self, lo: int, hi: int) -> tuple[str, str]:
        """`text` and `stripped_text`, which are one in most files."""
        text = self.text(lo, hi)
        return text, text if self.stripped is self.lines else self.stripped_text(lo, hi)

    def _shown(self, lines: list[str]) -> list[str]:
        if not self.partial:
            return lines
        return [line for before, line in zip(["x", *lines], lines, strict=False) if line or before]

    def showing(self, lines: list[str]) -> Source:
        """The same file with other words in its lines; runs of blank ones are cut short."""
        return _measured(lines, self.starts, self.sizes, partial=True)

    @property
    def chars(self) -> int:
        """Characters of all lines, without line ends and trailing blanks."""
        return self._chars[-1]

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
    raw = text.split(newline)
    if not raw[-1]:
        raw.pop()
    width = len(newline.encode(encoding))
    if encoding in ("cp1252", "latin-1") or (encoding == "utf-8" and text.isascii()):
        sizes = list(map(len, raw))
    elif encoding == "utf-8":
        sizes = list(map(len, text.encode().split(newline.encode())))
    else:
        sizes = [len(line.encode(encoding)) for line in raw]
    before = accumulate(sizes, initial=mark)  # each line, line ends not counted
    starts = list(map(add, before, range(0, width * len(raw), width)))
    if returns and newline == "\n":
        for number, line in enumerate(raw):
            if line.endswith("\r"):
                raw[number] = line[:-1]
                sizes[number] -= width
    return _measured(raw, starts, sizes)


def _measured(
    lines: list[str], starts: list[int], sizes: list[int], partial: bool = False
) -> Source:
    stripped = list(map(str.rstrip, lines))
    if stripped == lines:
        stripped = lines
    filled = list(accumulate(map(bool, stripped), initial=0))
    chars = list(accumulate(map(len, stripped), initial=0))
    return Source(lines, stripped, starts, sizes, filled, chars, partial)
