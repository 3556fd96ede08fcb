"""What a summarizer is given beside the pieces, and what it says of those it leaves."""

import math
import time
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from codesearch_resources.results import Results
from codesearch_resources.summarizers.base import Grade, Piece, Summary

# A text of these marks gets what costs nothing, whatever the chain.
NEVER_PAID = frozenset({"generated", "vendored"})


@dataclass
class Remainder:
    """Why pieces stay without a summary; filled in while the summarizer works.

    `closed`: providers that may not be used any more, by name, with the reason. `held`: pieces
    that a provider could not or may not do, counted by reason. `next_at` (aware): when the first
    of the closed ones opens again, None where nobody knows.
    """

    closed: dict[str, str] = field(default_factory=dict)
    held: Counter[str] = field(default_factory=Counter)
    next_at: datetime | None = None

    def close(self, name: str, why: str, until: datetime | None) -> None:
        """A provider may not be used any more in this slice."""
        self.closed[name] = why
        if until is not None and until > datetime.now(UTC):
            self.next_at = min(self.next_at or until, until)

    def lines(self) -> list[str]:
        """A sentence for each reason."""
        held = [f"{count} held back: {why}" for why, count in self.held.most_common()]
        closed = [
            why if why.startswith(name) else f"{name}: {why}" for name, why in self.closed.items()
        ]
        return closed + held


@dataclass(frozen=True, slots=True)
class Order:
    """A slice of work: where results are kept, for which repository, until when.

    `deadline` is a time.monotonic(); nothing is begun after it. `providers`: the names of those
    that may be asked, in order; empty: the whole chain.
    """

    results: Results
    repo: str = ""
    local_only: bool = True
    providers: tuple[str, ...] = ()
    deadline: float = math.inf
    remainder: Remainder = field(default_factory=Remainder)

    @property
    def late(self) -> bool:
        return time.monotonic() >= self.deadline


class Summarizer(Protocol):
    """What a summarizer is, one of your own too. A chain of providers is one."""

    name: str
    # The best grade it writes; a chain whose best is `stand_in` is content with stand-ins.
    grade: Grade

    def summarize(
        self, pieces: Sequence[Piece], order: Order
    ) -> Generator[tuple[Piece, Summary], None, None]:
        """Yield pieces with their summaries, in any order, as they are written.

        What cost something is in `order.results` before it is yielded. A piece that is not
        yielded stays without: the remainder, which is no failure.
        """
        ...

    def given_up(self, results: Results, keys: Sequence[str]) -> set[str]:
        """The summary keys among these that it will not try again, whatever the time."""
        ...


def accepted(grade: str, summarizer: Summarizer, marks: Sequence[str] = ()) -> bool:
    """Whether a summary of `grade` needs no better one from this summarizer."""
    free = summarizer.grade == "stand_in" or not NEVER_PAID.isdisjoint(marks)
    return free or grade in ("model", "doc")
