"""One provider at work on a list of pieces, in as many threads as its pace allows.

A thread takes a piece and sees it through: what was paid for is on disk before anybody hears of it,
and the threads go on while whoever consumes the summaries is busy with them. They are daemons: a
call that hangs keeps no process from ending.
"""

import heapq
import itertools
import logging
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Generator, Sequence
from datetime import UTC, datetime

from codesearch_resources.calls import CallError, Deny, Wait
from codesearch_resources.egress import SecretFound
from codesearch_resources.ledger import Known, NoSlot, Taken
from codesearch_resources.log_file import LOGGER
from codesearch_resources.quota.base import Guard
from codesearch_resources.summarizers.base import Piece, Summary, summary_key
from codesearch_resources.summarizers.call import Attempt, BadText, Caller
from codesearch_resources.summarizers.order import Order
from codesearch_resources.summarizers.pace import Pace
from codesearch_resources.summarizers.troubles import (
    Opening,
    Patience,
    asks_for_long,
    opening,
    too_often,
)

POLL = 0.25  # seconds between looks at the clock
log = logging.getLogger(LOGGER)


class Shift:
    """The work of one provider on one list. Made for one use."""

    def __init__(
        self, caller: Caller, pace: Pace, order: Order, guard: Guard, patience: Patience
    ) -> None:
        self._caller, self._pace, self._order = caller, pace, order
        self._guard, self._patience = guard, patience
        self._settings = caller.settings
        breakers = order.results.breakers.of(self._settings.name, self._settings.model)
        # One call shows whether what was left alone works again; the others wait for it.
        self._probing = bool(breakers)
        self._times = max((breaker.times for breaker in breakers), default=0)
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._todo: deque[Attempt] = deque()
        self._later: list[tuple[float, int, Attempt]] = []  # a heap: not before, number, piece
        self._flying = self._working = 0
        self._over = False
        self._paused_until = 0.0
        self._overloads = self._refusals = 0
        self._healthy = False  # whether the last call was answered
        self._suspects: list[Attempt] = []  # met an overload where another was served before
        self._unanswered: set[str] = set()
        self._bad: set[str] = set()
        self._out: queue.SimpleQueue[tuple[Piece, Summary] | BaseException | None] = (
            queue.SimpleQueue()
        )

    def run(self, pieces: Sequence[Piece]) -> Generator[tuple[Piece, Summary], None, None]:
        """Yield summaries as they are written, until all are, time is up, or the provider is left.

        Closing it ends the calls in flight after a grace; whatever they bring is kept.
        """
        self._todo.extend(Attempt(piece) for piece in pieces)
        self._working = min(self._pace.most, len(pieces))
        for number in range(self._working):
            name = f"{self._settings.name}-{number}"
            threading.Thread(target=self._work, name=name, daemon=True).start()
        try:
            yield from self._summaries()
        finally:
            self._end()

    def _summaries(self) -> Generator[tuple[Piece, Summary], None, None]:
        hard_end = self._order.deadline + self._patience.grace
        while time.monotonic() < hard_end:
            try:
                found = self._out.get(timeout=POLL)
            except queue.Empty:
                if self._order.late:
                    self._stop()
                continue
            if isinstance(found, BaseException):
                raise found
            if found is None:
                return
            yield found
            if self._order.late:
                self._stop()

    def _end(self) -> None:
        """Begin nothing more, and give the calls in flight a while to bring what is paid for."""
        self._stop()
        until = time.monotonic() + self._patience.grace
        with self._changed:
            while self._working and time.monotonic() < until:
                self._changed.wait(POLL)
            if not self._working:
                return
        self._caller.close()
        with self._changed:
            self._changed.wait_for(lambda: not self._working, timeout=2.0)

    def _stop(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()

    # What a thread does

    def _work(self) -> None:
        try:
            while (attempt := self._next()) is not None:
                self._see_through(attempt)
        except BaseException as error:
            self._out.put(error)
            self._stop()
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()
                if not self._working:
                    self._out.put(None)

    def _next(self) -> Attempt | None:
        with self._changed:
            while not self._over and not self._order.late:
                if not (self._todo or self._later or self._flying):
                    if not self._suspects:
                        break
                    self._release_suspects()  # nobody is left to tell what they are
                now = time.monotonic()
                ready = self._ready_at(now)
                if ready <= now and self._flying < (1 if self._probing else self._pace.limit):
                    self._flying += 1
                    if self._later and self._later[0][0] <= now:
                        return heapq.heappop(self._later)[2]
                    return self._todo.popleft()
                self._changed.wait(min(POLL, ready - now) if ready > now else POLL)
            self._changed.notify_all()
            return None

    def _ready_at(self, now: float) -> float:
        """When a piece may be begun."""
        if self._todo:
            return self._paused_until
        return max(self._paused_until, self._later[0][0]) if self._later else now + POLL

    def _see_through(self, attempt: Attempt) -> None:
        begun = self._pace.begin()
        try:
            found = self._caller.call(attempt, self._order, self._guard)
        except CallError as error:
            with self._changed:
                self._flying -= 1
                self._met(attempt, error, begun)
                self._changed.notify_all()
            return
        with self._changed:
            self._flying -= 1
            if isinstance(found, Summary):
                self._served()
                self._out.put((attempt.piece, found))
            elif isinstance(found, Known):
                self._take_known(attempt)
            else:
                self._not_sent(attempt, found)
            self._changed.notify_all()

    def _take_known(self, attempt: Attempt) -> None:
        key = summary_key(attempt.piece.content_hash)
        if (summary := self._order.results.find([key]).get(key)) is not None:
            self._out.put((attempt.piece, summary))

    def _not_sent(self, attempt: Attempt, found: NoSlot | Taken | Wait | Deny) -> None:
        if isinstance(found, NoSlot):
            self._back(attempt, self._patience.no_slot)
        elif isinstance(found, Taken):
            self._order.results.ledger.recover()  # who had it may have died
            self._back(attempt, self._patience.taken)
        else:
            self._back(attempt)
            self._leave(found.why, found.until if isinstance(found, Wait) else None)

    def _served(self) -> None:
        self._healthy = True
        self._overloads = self._refusals = 0
        self._pace.clean()
        # The provider was healthy before and after: what these met was of their own making.
        for suspect in self._suspects:
            if self._count_failure(suspect, "the server broke down over it"):
                self._hold("given up: the server breaks down over it")
            else:
                self._todo.appendleft(suspect)
        self._suspects.clear()
        self._works_again()

    def _works_again(self) -> None:
        if self._probing:
            self._probing, self._times = False, 0
            self._order.results.breakers.close(self._settings.name, self._settings.model)

    # The table of errors

    def _met(self, attempt: Attempt, error: CallError, begun: tuple[int, int]) -> None:
        log.info("%s: %s: %s", self._settings.name, error.trouble, error)
        now = datetime.now(UTC)
        found = opening(error, self._times, now, self._patience)
        if found is not None:
            self._back(attempt)
            self._open(error, found)
        elif error.trouble == "rate":
            self._back(attempt, self._patience.no_slot)
            self._slow_down(error, begun, now)
        elif error.trouble == "overload":
            self._suspect(attempt)
            self._overloaded(error, begun, now)
        elif error.trouble == "ambiguous":
            self._not_answered(attempt)
            self._overloaded(error, begun, now)
        elif error.trouble == "policy":
            self._held(error, attempt)
        else:
            self._healthy = True
            self._works_again()
            self._unusable(attempt, error)

    def _slow_down(self, error: CallError, begun: tuple[int, int], now: datetime) -> None:
        alone = self._pace.limit == 1
        if not self._pace.refused(begun):
            return
        self._refusals = self._refusals + 1 if alone else 0
        if asks_for_long(error, self._patience) or self._refusals >= self._patience.in_a_row:
            self._open(error, too_often(error, self._times, now, self._patience))
        elif error.retry_after:
            self._pause(error.retry_after)
        elif alone:
            self._pause(self._backoff(self._refusals))

    def _overloaded(self, error: CallError, begun: tuple[int, int], now: datetime) -> None:
        self._healthy = False
        if self._probing:
            self._open(error, too_often(error, self._times, now, self._patience))
        elif time.monotonic() >= self._paused_until:  # of many at once only the first counts
            self._pace.refused(begun)
            self._overloads += 1
            if self._overloads >= self._patience.in_a_row or asks_for_long(error, self._patience):
                self._open(error, too_often(error, self._times, now, self._patience))
            else:
                self._pause(max(self._backoff(self._overloads), error.retry_after or 0.0))

    def _backoff(self, times: int) -> float:
        first, longest = self._patience.backoff, self._patience.longest_backoff
        return min(longest, first * int(2 ** max(0, times - 1))) * random.uniform(0.5, 1.5)

    def _pause(self, seconds: float) -> None:
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)

    def _open(self, error: CallError, found: Opening) -> None:
        """Leave the provider, or this model of it, and remember that for every process."""
        model = self._settings.model if found.model_only else ""
        self._order.results.breakers.open(
            self._settings.name,
            model,
            error.trouble,
            str(error),
            until=found.until,
            settings=self._caller.fingerprint,
        )
        self._leave(str(error), found.until)

    def _leave(self, why: str, until: datetime | None) -> None:
        if not self._over:
            self._order.remainder.close(self._settings.name, why, until)
        self._over = True

    # What becomes of the piece

    def _back(self, attempt: Attempt, wait: float = 0.0) -> None:
        """Back to the list, no attempt counted."""
        if wait:
            begin = time.monotonic() + wait
            heapq.heappush(self._later, (begin, next(self._numbers), attempt))
        else:
            self._todo.append(attempt)

    def _suspect(self, attempt: Attempt) -> None:
        """It counts against the piece only when others are served before and after it."""
        self._suspects.append(attempt)
        if not self._healthy:
            self._release_suspects()

    def _release_suspects(self) -> None:
        self._todo.extend(self._suspects)
        self._suspects.clear()

    def _not_answered(self, attempt: Attempt) -> None:
        """Once more; it may have been paid for, so not for ever."""
        if attempt.piece.content_hash not in self._unanswered:
            self._unanswered.add(attempt.piece.content_hash)
            self._back(attempt)
        elif self._count_failure(attempt, "no answer came, twice"):
            self._hold("given up: no answer came, again and again")
        else:
            self._hold("no answer came, twice; the next slice tries again")

    def _held(self, error: CallError, attempt: Attempt) -> None:
        if isinstance(error, SecretFound):
            # Kept from this address, not from the model: elsewhere it may be one's own machine.
            key = summary_key(attempt.piece.content_hash)
            quarantine, place = self._order.results.quarantine, self._caller.place
            quarantine.add(key, place, str(error), final=True)
            self._hold("it seems to hold a secret, which must not leave this machine")
        else:  # the model has moved to another machine, say
            self._back(attempt)
            self._leave(str(error), None)

    def _unusable(self, attempt: Attempt, error: CallError) -> None:
        """No summary came of this text: asked again a bit differently, and given up in the end."""
        piece = attempt.piece
        if isinstance(error, BadText):
            if piece.content_hash not in self._bad:
                self._bad.add(piece.content_hash)
                self._back(Attempt(piece, attempt.shrunk, again=True))
                return
            self._count_failure(attempt, str(error), final=True)
            self._hold("given up: what the model wrote is no summary")
        elif self._count_failure(attempt, str(error)):
            self._hold("given up: the model cannot do this text")
        else:
            self._back(Attempt(piece, attempt.shrunk + 1))

    def _count_failure(self, attempt: Attempt, why: str, *, final: bool = False) -> bool:
        """Note a failure of a text; whether it is given up with this model now."""
        key = summary_key(attempt.piece.content_hash)
        return self._order.results.quarantine.add(key, self._settings.model, why, final=final)

    def _hold(self, why: str) -> None:
        self._order.remainder.held[why] += 1
