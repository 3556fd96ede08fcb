"""Requests for vectors on their way out: egress gate, guard, ledger, then the socket."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from codesearch_resources.calls import Allow, CallError, Deny, Estimate, Usage, Wait
from codesearch_resources.egress import Gate, SecretFound
from codesearch_resources.embedders.wire import Embedded, Wire
from codesearch_resources.kept_vectors import KeptVectors
from codesearch_resources.ledger import Ledger, NoSlot, Reserved
from codesearch_resources.quota.base import Guard, Tally
from codesearch_resources.quota.metered import MeteredGuard, drawing, price_of
from codesearch_resources.quota.rates import Rate, cost
from codesearch_resources.results import Results
from codesearch_resources.settings import Settings
from codesearch_resources.settings_embedders import PROVIDER, ServerSettings
from codesearch_resources.summarizers.prompt import estimate

SLOT_PAUSE = 0.05  # seconds until a slot is asked for again
# Requests being booked, or their answers kept, beside those under way: no worker idles meanwhile.
SPARE = 2
SLOT_PATIENCE = 600.0  # seconds; another process is at work with all of them


@dataclass(frozen=True, slots=True)
class Books:
    """results.db while it is open, and a wire behind gate, guard and ledger."""

    kept: KeptVectors
    booked: Callable[[Wire], "Booked"]


class Clerk:
    """Keeps the books of one embedder: one guard for all that it is asked, so that its meters are
    read and replayed once, and results.db while there is work."""

    def __init__(
        self,
        settings: ServerSettings,
        around: Settings,
        gate: Gate,
        local_only: bool,
        tally: Tally,
        *,
        each_alone: bool = False,
    ) -> None:
        """`tally` of the run; `each_alone`: each time at work is a run of its own."""
        self._settings, self._around, self._gate = settings, around, gate
        self._local_only, self._tally, self._each_alone = local_only, tally, each_alone
        self._turn = threading.Lock()
        self._at_work = 0
        self._opened: tuple[Results, Guard] | None = None
        self._wire: Wire | None = None

    @contextmanager
    def books(self) -> Iterator[Books]:
        """What requests go through on their way to this embedder; from several threads at once."""
        with self._turn:
            results, guard = self._opened = self._opened or self._open()
            self._at_work += 1
            if self._each_alone:
                self._tally.calls, self._tally.dollars = 0, 0.0
        try:
            results.ledger.recover()  # the slots of a process that was killed
            yield Books(results.vectors, partial(self._booked, results, guard))
        finally:
            with self._turn:
                self._at_work -= 1
                if not self._at_work:
                    results.close()  # it opens again by being used

    def _open(self) -> tuple[Results, Guard]:
        around, results = self._around, Results(self._around.data_dir)
        guard = MeteredGuard(
            [self._settings, *(one for one in drawing(around) if one.name != self._settings.name)],
            self._is_cloud,
            around.limits,
            results,
            meters=around.meters,
            folder=around.file.parent,
            zone=around.nightly.timezone,
            tally=self._tally,
        )
        return results, guard

    def _is_cloud(self, _provider: str) -> bool:
        assert self._wire is not None
        return self._gate.reach(self._wire.place()) == "cloud"

    def _booked(self, results: Results, guard: Guard, wire: Wire) -> "Booked":
        self._wire = wire  # of all that it has, to the one address
        rate = price_of(self._settings, self._around.meters)
        return Booked(
            wire,
            self._settings,
            gate=self._gate,
            local_only=self._local_only,
            guard=guard,
            ledger=results.ledger,
            cost=lambda tokens: _dollars(rate, tokens),
        )


def _dollars(rate: Rate | None, tokens: int) -> float | None:
    found = cost(rate, Usage(tokens, output=0)) if rate else None
    return found.amount if found else None


class Booked:
    """A wire whose every request is allowed, written down before it is sent, and settled after."""

    def __init__(
        self,
        wire: Wire,
        settings: ServerSettings,
        *,
        gate: Gate,
        local_only: bool,
        guard: Guard,
        ledger: Ledger,
        cost: Callable[[int], float | None],
    ) -> None:
        """`cost` of so many tokens in dollars, None where no price is known."""
        self._wire, self._settings = wire, settings
        self._gate, self._local_only = gate, local_only
        self._guard, self._ledger, self._cost = guard, ledger, cost
        self._under_way = threading.BoundedSemaphore(settings.workers)

    def forbids(self, text: str) -> str:
        """Why this one text may not be sent, though others may; "" when it may."""
        if not text.strip():
            return "the text is empty"
        try:
            self._gate.check(self._wire.place(), self._local_only, [text])
        except SecretFound as found:
            return str(found)
        return ""

    def send(
        self, texts: Sequence[str], keep: Callable[[Embedded], None] = lambda _: None
    ) -> Embedded:
        """One request; `keep` is given the answer before the request is settled.

        Raises CallError; also for what the guard does not allow now.
        """
        self._gate.check(self._wire.place(), self._local_only, texts)
        expected = Estimate(
            PROVIDER,
            self._settings.model,
            self._settings.limit,
            "embedding",
            sum(map(estimate, texts)),
            0,
        )
        decision = self._guard.allow(expected)
        if isinstance(decision, Wait):
            raise CallError(
                "quota_window", f"{self._wire.shown}: {decision.why}", resets_at=decision.until
            )
        if isinstance(decision, Deny):
            raise CallError("quota_money", f"{self._wire.shown}: {decision.why}")
        assert isinstance(decision, Allow)
        answer, attempt = self._sent(texts, expected)
        keep(answer)
        cost = None if answer.usage.input is None else self._cost(answer.usage.input)
        self._ledger.settle(
            attempt, answer.usage, {}, response="", seconds=answer.seconds, cost=cost
        )
        self._guard.observe(expected, answer.usage, answer.headers, None)
        return answer

    def _sent(self, texts: Sequence[str], expected: Estimate) -> tuple[Embedded, int]:
        """The answer, and its row in the ledger."""
        attempt = self._reserve(expected)
        began = time.monotonic()
        try:
            with self._under_way:
                began = time.monotonic()
                return self._wire.embed(texts), attempt
        except CallError as error:
            self._ledger.fail(attempt, error, seconds=time.monotonic() - began)
            self._guard.observe(expected, error.usage, {}, error)
            raise

    def _reserve(self, expected: Estimate) -> int:
        """The row of a request, once fewer are under way than there are workers."""
        lasts = timedelta(seconds=2 * self._settings.timeout_seconds + 60)
        until = time.monotonic() + SLOT_PATIENCE
        while True:
            found = self._ledger.reserve(
                expected,
                (),
                slots=self._settings.workers + SPARE,
                lasts=lasts,
                cost=self._cost(expected.input),
            )
            if isinstance(found, Reserved):
                return found.attempt
            if not isinstance(found, NoSlot) or time.monotonic() > until:
                self._guard.cancel()
                raise CallError(
                    "overload", f"{self._wire.shown}: other processes use all its workers"
                )
            time.sleep(SLOT_PAUSE)
