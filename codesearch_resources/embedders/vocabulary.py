"""Words to the rows of a static table: known words, others by their pieces, the rest hashed."""

from collections.abc import Iterable, Sequence
from zlib import crc32

SHORTEST_PIECE = 3  # letters; shorter ones would cut a word into noise
LONGEST_PIECE = 24
BUCKETS = 256  # rows shared by words that nothing is known of


class Vocabulary:
    """Row numbers of words. The rows after the last word are the buckets."""

    def __init__(self, known: Sequence[str]) -> None:
        self._rows = {word: row for row, word in enumerate(known)}
        self._seen: dict[str, tuple[int, ...]] = {}
        self.words = len(known)

    @property
    def rows(self) -> int:
        """How many rows a table for this vocabulary has."""
        return self.words + BUCKETS

    def ids(self, found: Iterable[str]) -> list[int]:
        """The rows of words, in order; at least one a word."""
        rows: list[int] = []
        for word in found:
            row = self._rows.get(word)
            if row is None:
                rows += self._pieces(word)
            else:
                rows.append(row)
        return rows

    def _pieces(self, word: str) -> tuple[int, ...]:
        """`strconcat` is `str` and `concat`: longest known piece first, from the left."""
        pieces = self._seen.get(word)
        if pieces is None:
            pieces = tuple(self._cut(word)) or (self.words + crc32(word.encode()) % BUCKETS,)
            if len(self._seen) < 100_000:
                self._seen[word] = pieces
        return pieces

    def _cut(self, word: str) -> Iterable[int]:
        start = 0
        while start <= len(word) - SHORTEST_PIECE:
            for end in range(min(len(word), start + LONGEST_PIECE), start + SHORTEST_PIECE - 1, -1):
                row = self._rows.get(word[start:end])
                if row is not None:
                    yield row
                    start = end
                    break
            else:
                start += 1
