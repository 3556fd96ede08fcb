"""One meter as a run sees it: its rules, what was read of it, and the books of every process.

The books are made of the ledger and the kept readings, in the order in which they happened, so that
a restart, another process and a fake clock all come to the same decisions.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from codesearch_resources.calls import Allow, CallError, Decision, Estimate, Usage
from codesearch_resources.log_file import LOGGER
from codesearch_resources.quota.books import Books, Breaker
from codesearch_resources.quota.fields import FURTHEST
from codesearch_resources.quota.guard import decide
from codesearch_resources.quota.kept import Kept, Past, Refusal
from codesearch_resources.quota.meter import MeterState, merge
from codesearch_resources.quota.readers.base import Reader, ReadingError
from codesearch_resources.quota.readers.make import Parse
from codesearch_resources.quota.rules import Rules
from codesearch_resources.quota.windows import Report

HISTORY = 26 * 3600.0  # seconds; a longer pause begins the slow start anew anyhow
LOOK_AGAIN = 2.0  # seconds until other processes' calls and marks are looked at again
SOUND = ("overhead", "discrepancy", "unmetered")  # breakers that a person closes
PAUSED = "paused"
log = logging.getLogger(LOGGER)


class Desk:
    """The meter's desk in this process. Its owner sees to it that one thread at a time is at it."""

    def __init__(
        self,
        rules: Rules,
        kept: Kept,
        owner: str,
        *,
        readers: Sequence[Reader] = (),
        headers: Sequence[Parse] = (),
    ) -> None:
        """`owner`: this process in the ledger, whose calls are booked as they are made."""
        self.rules, self.state = rules, MeterState()
        self.books = Books(rules)
        self.troubles: dict[str, str] = {}  # sources that could not be read last time
        self._kept, self._owner = kept, owner
        self._readers, self._headers = readers, headers
        self._reading = threading.Lock()
        self._read_at: float | None = None
        self._looked_at: float | None = None
        self._news = False
        self._last_attempt = self._last_reading = 0
        self._open: set[int] = set()
        self._resumed_at: float | None = None
        self._marked: set[str] = set()

    @property
    def reads(self) -> bool:
        """Whether there is anything that reads the meter."""
        return bool(self._readers)

    def poll(self, now: float, *, force: bool = False) -> None:
        """Read the meter when it is due, outside of any decision: a reader may take seconds."""
        if not self._readers or not (force or self._is_due(now)):
            return
        # Who comes before the first reading is there waits for it: without it nothing is allowed.
        if not self._reading.acquire(blocking=force or self._read_at is None):
            return
        try:
            if force or self._is_due(now):
                for reader in self._readers:
                    self._read(reader, now)
                self._read_at = now
        finally:
            self._reading.release()

    def _is_due(self, now: float) -> bool:
        if self._read_at is None:  # another process may have read it just now
            read_at = self._kept.last_read(self.rules.meter, [r.source for r in self._readers])
            self._read_at = read_at if read_at is not None and read_at <= now else None
        return self._read_at is None or now - self._read_at >= self.rules.poll

    def _read(self, reader: Reader, now: float) -> None:
        try:
            report = reader.read(now)
        except ReadingError as error:
            self.troubles[reader.source] = str(error)
            log.warning("meter %s: %s", self.rules.meter, error)
            return
        self.troubles.pop(reader.source, None)
        self._kept.keep(self.rules.meter, report)
        self._news = True

    def allow(self, estimate: Estimate, call: int, now: float) -> Decision:
        """Whether the call may be sent; allowed, it is booked at once."""
        self.catch_up(now)
        decision = decide(self.rules, self.state, self.books, estimate, now)
        if isinstance(decision, Allow):
            self.books.reserve(call, estimate, now)
        return decision

    def cancel(self, call: int) -> None:
        """An allowed call was not sent after all."""
        if call in self.books.in_flight:
            self.books.cancel(call)

    def observe(
        self,
        call: int,
        usage: Usage | None,
        headers: Mapping[str, str],
        error: CallError | None,
        now: float,
    ) -> None:
        """How an allowed call ended."""
        if call not in self.books.in_flight:
            return
        began = self.books.began[call]
        if error is None or (error.usage is not None and error.usage.input is not None):
            self.books.settle(call, usage, now)
        else:
            self.books.fail(call, now, charged=error.unsaid)
        if error is not None and error.trouble == "quota_window":
            self.books.refuse(str(error), now, _end_of(error, now), began)
            self._keep_refusal(self.books.breakers["refused"])
        for parse in self._headers:
            if report := parse(headers, now):
                self._kept.keep(self.rules.meter, report)
        self._keep_breakers(now)

    def catch_up(self, now: float) -> None:
        """Take in what other processes did and what was read since the last look."""
        lately = self._looked_at is not None and 0 <= now - self._looked_at < LOOK_AGAIN
        if lately and not self._news:
            return
        first, self._looked_at, self._news = self._looked_at is None, now, False
        meter = self.rules.meter
        marks = self._kept.marks(meter)
        self._marked = set(marks)
        resumed = marks.get("resumed")
        resumed_at = resumed.at if resumed else None
        if resumed_at != self._resumed_at and not first:
            self.books.resume()
        self._resumed_at = resumed_at
        self._replay(now, first=first)
        for kind in (PAUSED, *SOUND):
            if kind in marks:
                mark = marks[kind]
                self.books.breakers[kind] = Breaker(kind, mark.why, mark.at)
            elif kind == PAUSED:
                self.books.breakers.pop(kind, None)
        self._take_refusal()
        self._keep_breakers(now)

    def _replay(self, now: float, *, first: bool) -> None:
        since = now - HISTORY
        rows = self._kept.attempts(self.rules.meter, since, self._last_attempt, self._open)
        readings = self._kept.readings(self.rules.meter, since, self._last_reading)
        self._last_attempt = max((row.id for row in rows), default=self._last_attempt)
        # The own calls of this process are booked by those who make them.
        rows = [row for row in rows if row.owner != self._owner or first]
        self._last_reading = max((number for number, _ in readings), default=self._last_reading)
        events: list[tuple[float, Callable[[], None]]] = []
        if first and self._resumed_at is not None:
            # What was spent and read stays true when a person lets the job begin anew.
            events.append((self._resumed_at, self.books.resume))
        for row in rows:
            events += self._events(row)
        events += [(report.heard_at, _later(self._hear, report)) for _, report in readings]
        for _, happen in sorted(events, key=lambda event: event[0]):
            happen()

    def _events(self, row: Past) -> list[tuple[float, Callable[[], None]]]:
        found: list[tuple[float, Callable[[], None]]] = []
        number = -row.id  # the calls of other processes count below zero
        if row.id not in self._open:
            found.append(
                (
                    row.began_at,
                    lambda: self.books.reserve(number, row.estimate, row.began_at, row.expected),
                )
            )
        if row.ended_at is None:
            self._open.add(row.id)
            return found
        self._open.discard(row.id)
        ended = max(row.ended_at, row.began_at)
        found.append((ended, lambda: self._end(number, row, ended)))
        return found

    def _end(self, number: int, row: Past, ended: float) -> None:
        if number not in self.books.in_flight:
            return
        if row.status == "settled" or row.usage.input is not None:
            self.books.settle(number, row.usage, ended, row.cost)
        else:
            self.books.fail(number, ended, charged=row.charged)
        if row.trouble == "quota_window":
            self.books.count_refusal(row.began_at, ended)

    def _hear(self, report: Report) -> None:
        self.state = merge(self.state, report)
        self.books.read(self.state)

    def _keep_refusal(self, breaker: Breaker) -> None:
        """A refusal closes the meter to every process and provider, also after a restart."""
        if breaker.until is not None:
            refusal = Refusal(breaker.why, breaker.since, breaker.until, breaker.told)
            self._kept.refuse(self.rules.meter, refusal)

    def _take_refusal(self) -> None:
        """What any process was refused, until it is over or its window's reset is confirmed."""
        found = self._kept.refusal(self.rules.meter)
        if found is not None and self.books.is_over(found.at, found.until, found.told):
            self._kept.lift(self.rules.meter, found)
            found = None
        if found is None:
            self.books.breakers.pop("refused", None)
        else:
            closed = Breaker("refused", found.why, found.at, found.until, found.told)
            self.books.breakers["refused"] = closed

    def _keep_breakers(self, now: float) -> None:
        """What stopped the job stops it in every process, and after a restart."""
        for kind in SOUND:
            breaker = self.books.breakers.get(kind)
            if breaker is not None and kind not in self._marked:
                self._marked.add(kind)
                self._kept.mark(self.rules.meter, kind, breaker.why, now)
                log.warning("meter %s is left alone: %s", self.rules.meter, breaker.why)


def _end_of(error: CallError, now: float) -> float | None:
    """The refusal's own reset time, where it can be believed, else its Retry-After."""
    at = error.resets_at.timestamp() if error.resets_at else now
    if now < at < now + FURTHEST:
        return at
    seconds = error.retry_after or 0.0
    return now + min(seconds, FURTHEST) if seconds > 0 else None


def _later(do: Callable[[Report], None], report: Report) -> Callable[[], None]:
    return lambda: do(report)
