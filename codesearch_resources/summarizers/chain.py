"""The chain: providers in the user's order, each given what the ones before it left.

It is sticky: who is left in a slice is not asked again in it, and an earlier provider is returned
to at the next slice at the soonest, by one call that shows whether it works again.
"""

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from codesearch_resources.breakers import Breaker
from codesearch_resources.calls import CallError
from codesearch_resources.egress import Gate
from codesearch_resources.quota.base import Guard, tally_of
from codesearch_resources.quota.metered import Drawing, MeteredGuard, price_of
from codesearch_resources.results import Results
from codesearch_resources.settings import Settings
from codesearch_resources.settings_embedders import EmbeddedSettings
from codesearch_resources.settings_limits import Limits
from codesearch_resources.settings_meters import MeterSettings
from codesearch_resources.settings_summarizers import ExtractiveSettings, SummarizerSettings
from codesearch_resources.summarizers.base import Grade, Piece, Summary, summary_key
from codesearch_resources.summarizers.call import Caller
from codesearch_resources.summarizers.order import Order
from codesearch_resources.summarizers.pace import Pace
from codesearch_resources.summarizers.shift import Shift
from codesearch_resources.summarizers.troubles import Patience


class Link:
    """One provider of the chain; its pace lasts from list to list."""

    def __init__(self, caller: Caller, patience: Patience) -> None:
        self.caller, self._patience = caller, patience
        self.name, self.model = caller.settings.name, caller.settings.model
        self.answered = False
        self._pace = Pace(caller.settings.workers, caller.settings.slots)

    def summarize(
        self, pieces: Sequence[Piece], order: Order, guard: Guard
    ) -> Generator[tuple[Piece, Summary], None, None]:
        """Yield what this provider writes of them; nothing when it may not be used now."""
        if self.name in order.remainder.closed or order.late:
            return
        if (holding := self.holding(order.results)) is not None:
            order.remainder.close(self.name, holding.why, holding.until)
            return
        given_up = self.given_up(order.results, [summary_key(p.content_hash) for p in pieces])
        able = [p for p in pieces if summary_key(p.content_hash) not in given_up]
        if not able or not self._admitted(order):
            return
        shift = Shift(self.caller, self._pace, order, guard, self._patience)
        with closing(shift.run(able)) as work:
            for found in work:
                self.answered = True
                yield found

    def given_up(self, results: Results, keys: Sequence[str]) -> set[str]:
        """The keys that this model is not asked for again, here or, for a secret, there."""
        quarantine = results.quarantine
        there = set(quarantine.given_up(keys, self.caller.place))
        if there and self.reaches_cloud() is False:
            there = set()  # a secret stays away from the cloud, which this place is no more
        return there.union(quarantine.given_up(keys, self.model))

    def reaches_cloud(self) -> bool | None:
        """Whether its calls leave one's own machines; None when nobody can tell now."""
        try:
            return self.caller.is_cloud()
        except CallError:
            return None

    def holding(self, results: Results) -> Breaker | None:
        """The breaker that keeps it from being used now."""
        now, fingerprint = datetime.now(UTC), self.caller.fingerprint
        breakers = results.breakers.of(self.name, self.model)
        return next((found for found in breakers if found.holds(fingerprint, now)), None)

    def _admitted(self, order: Order) -> bool:
        """Whether the repository's code may go there at all; a server that is down is found out by
        the calls themselves."""
        try:
            self.caller.admit(order.local_only)
        except CallError as error:
            if error.trouble == "policy":
                order.remainder.close(self.name, str(error), None)
                return False
        return True


class Chain:
    """A summarizer made of providers."""

    def __init__(
        self,
        summarizers: Sequence[SummarizerSettings],
        *,
        limits: Limits | None = None,
        meters: Sequence[MeterSettings] = (),
        beside: Sequence[Drawing] = (),
        folder: Path | None = None,
        zone: str = "UTC",
        trusted_hosts: Sequence[str] = (),
        patience: Patience | None = None,
    ) -> None:
        """`beside`: who else draws on the meters; `folder` and `zone`: where relative paths and the
        hours of `meters` are at home."""
        self._limits, self._patience = limits or Limits(), patience or Patience()
        self._meters, self._folder, self._zone = meters, folder, zone
        self._beside = beside
        self._tally = tally_of("summary")  # a chain is made for a run
        gate = Gate(trusted_hosts)
        self.links = tuple(
            Link(Caller(link, gate, price_of(link, meters)), self._patience)
            for link in summarizers
            if not isinstance(link, ExtractiveSettings)
        )
        self.name = " → ".join(
            link.name if isinstance(link, ExtractiveSettings) else f"{link.name} ({link.model})"
            for link in summarizers
        )
        self._guarded: tuple[Results, Guard] | None = None  # one guard a run
        # Stand-ins are there before any work begins: without a model nothing better is waited for.
        self.grade: Grade = "model" if self.links else "stand_in"

    def summarize(
        self, pieces: Sequence[Piece], order: Order
    ) -> Generator[tuple[Piece, Summary], None, None]:
        """Yield what any provider writes; the remainder stays without, `order` says why."""
        order.results.ledger.recover()
        if self._guarded is None or self._guarded[0] is not order.results:
            made = self.guard(order.results)
            made.reopen()
            self._guarded = order.results, made
        guard = self._guarded[1]
        by_name = {link.name: link for link in self.links}
        links = [by_name[name] for name in order.providers if name in by_name] or self.links
        left = {piece.content_hash: piece for piece in pieces}
        try:
            while left and not order.late:
                for link in links:
                    with closing(link.summarize(tuple(left.values()), order, guard)) as work:
                        for piece, summary in work:
                            left.pop(piece.content_hash, None)
                            yield piece, summary
                if not left or not self._wait(order):
                    return
        finally:
            self.close()

    def given_up(self, results: Results, keys: Sequence[str]) -> set[str]:
        """The keys that none of the models is asked for again."""
        found = [link.given_up(results, keys) for link in self.links]
        return set.intersection(*found) if found else set()

    def close(self) -> None:
        """Let go of the connections; the next call opens anew."""
        for link in self.links:
            link.caller.close()

    def _wait(self, order: Order) -> bool:
        """Wait for a provider that opens again soon and has worked in this slice, where no other
        can go on."""
        next_at = order.remainder.next_at
        if next_at is None or not any(link.answered for link in self.links):
            return False
        seconds = (next_at - datetime.now(UTC)).total_seconds()
        if seconds > self._patience.soon or time.monotonic() + seconds >= order.deadline:
            return False
        time.sleep(max(seconds, 0.0))
        order.remainder.closed.clear()
        order.remainder.next_at = None
        return True

    def guard(self, results: Results) -> MeteredGuard:
        """What the calls of a run are asked through."""
        callers = {link.name: link.caller for link in self.links}
        return MeteredGuard(
            [*self._beside, *(link.caller.settings for link in self.links)],
            lambda provider: callers[provider].is_cloud(),
            self._limits,
            results,
            meters=self._meters,
            folder=self._folder,
            zone=self._zone,
            tally=self._tally,
        )


def make_chain(settings: Settings, *, beyond_limits: bool = False) -> Chain:
    """The chain of a settings file; `beyond_limits`: a person agreed to a run of any size."""
    limits = settings.limits.lifted() if beyond_limits else settings.limits
    return Chain(
        settings.summarizers,
        limits=limits,
        meters=settings.meters,
        beside=[] if isinstance(settings.embedder, EmbeddedSettings) else [settings.embedder],
        folder=settings.file.parent,
        zone=settings.nightly.timezone,
        trusted_hosts=settings.trusted_hosts,
    )
