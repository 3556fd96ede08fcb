"""One call for one summary: gate, guard, ledger, adapter, contract, and the ledger again."""

import hashlib
import os
import threading
import time
from dataclasses import dataclass
from datetime import timedelta

from codesearch_resources.calls import Allow, CallError, Deny, Estimate, Usage, Wait
from codesearch_resources.egress import Gate
from codesearch_resources.ledger import Known, NoSlot, Reserved, Taken
from codesearch_resources.quota.base import Guard
from codesearch_resources.quota.rates import Rate, cost
from codesearch_resources.settings_summarizers import ModelSettings
from codesearch_resources.summarizers import contract, prompt
from codesearch_resources.summarizers.adapter import Adapter, Answer, Prompt
from codesearch_resources.summarizers.base import Piece, Summary, summary_key
from codesearch_resources.summarizers.make import make_adapter
from codesearch_resources.summarizers.order import Order

# Beyond twice the adapter's time-out, its most: a call that said nothing by then is lost.
LEASE_MARGIN = 60.0


class BadText(CallError):
    """The server answered, and what it wrote is no summary."""

    def __init__(self, message: str, usage: Usage) -> None:
        super().__init__("item", message, status=200, usage=usage)


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a piece is to be asked for: `shrunk` times halved, `again` after a bad text."""

    piece: Piece
    shrunk: int = 0
    again: bool = False


NotSent = NoSlot | Taken | Known | Wait | Deny


class Caller:
    """Calls to one model of one provider; for several threads at once."""

    def __init__(self, settings: ModelSettings, gate: Gate, rate: Rate | None = None) -> None:
        """`rate`: what it costs in dollars, None where that is not known."""
        self.settings, self.rate = settings, rate
        self._gate = gate
        self._turn = threading.Lock()
        self._adapter: Adapter | None = None

    @property
    def fingerprint(self) -> str:
        """What a person can change about it, as a hash: settings, and the key behind their name."""
        key = os.environ.get(self.settings.api_key_env or "", "")
        told = hashlib.blake2b(key.encode(), digest_size=4).hexdigest() if key else ""
        written = self.settings.model_dump_json()
        return hashlib.blake2b(f"{written}{told}".encode(), digest_size=8).hexdigest()

    @property
    def place(self) -> str:
        """The model at its address."""
        return f"{self.settings.model} at {self.settings.base_url}"

    @property
    def adapter(self) -> Adapter:
        with self._turn:
            if self._adapter is None:
                self._adapter = make_adapter(self.settings, self._gate)
            return self._adapter

    def close(self) -> None:
        """End the calls in flight; the next one opens anew."""
        with self._turn:
            adapter, self._adapter = self._adapter, None
        if adapter is not None:
            adapter.close()

    def is_cloud(self) -> bool:
        """Whether its calls leave one's own machines. Raises CallError when nobody can tell."""
        return self._gate.reach(self.adapter.destination()) == "cloud"

    def admit(self, local_only: bool) -> None:
        """Whether anything of a repository may go there. Raises CallError."""
        self._gate.check(self.adapter.destination(), local_only, ())

    def call(self, attempt: Attempt, order: Order, guard: Guard) -> Summary | NotSent:
        """Have one summary written and kept. Raises CallError, the ledger then has it too."""
        settings, key = self.settings, summary_key(attempt.piece.content_hash)
        asked = self._prompt(attempt, order.local_only)
        self._gate.check(self.adapter.destination(), order.local_only, (asked.code,))
        estimate = self.estimate(asked)
        decision = guard.allow(estimate)
        if not isinstance(decision, Allow):
            return decision
        reserved = order.results.ledger.reserve(
            estimate,
            [key],
            slots=settings.workers,
            lasts=timedelta(seconds=2 * settings.timeout_seconds + LEASE_MARGIN),
            cost=self._dollars(Usage(asked.input_tokens, output=asked.output_cap)),
        )
        if not isinstance(reserved, Reserved):
            guard.cancel()
            return reserved
        return self._send(attempt.piece, asked, reserved.attempt, estimate, order, guard)

    def estimate(self, asked: Prompt) -> Estimate:
        """What a prompt is expected to take."""
        settings = self.settings
        return Estimate(
            provider=settings.name,
            model=settings.model,
            meter=settings.limit,
            purpose="summary",
            input=asked.input_tokens,
            output=asked.output_cap,
        )

    def _prompt(self, attempt: Attempt, local_only: bool) -> Prompt:
        return prompt.build(
            attempt.piece,
            self.settings.context_tokens >> attempt.shrunk,
            thinking_tokens=self.settings.thinking_tokens,
            local_only=local_only,
            again=attempt.again,
        )

    def _send(
        self,
        piece: Piece,
        asked: Prompt,
        attempt: int,
        estimate: Estimate,
        order: Order,
        guard: Guard,
    ) -> Summary:
        ledger, began = order.results.ledger, time.monotonic()
        answer: Answer | None = None
        try:
            answer = self.adapter.ask(asked)
            summary = self._summary(piece, asked, answer)
        except CallError as error:
            cost = self._dollars(error.usage)
            text, seconds = answer.text if answer else None, time.monotonic() - began
            ledger.fail(attempt, error, response=text, seconds=seconds, cost=cost)
            guard.observe(estimate, error.usage, answer.headers if answer else {}, error)
            raise
        ledger.settle(
            attempt,
            answer.usage,
            {summary_key(piece.content_hash): summary},
            response=answer.text,
            seconds=answer.seconds,
            cost=self._dollars(answer.usage),
        )
        guard.observe(estimate, answer.usage, answer.headers, None)
        return summary

    def _summary(self, piece: Piece, asked: Prompt, answer: Answer) -> Summary:
        try:
            text = contract.check(answer.text, asked.code, cut=answer.cut)
        except contract.Unusable as bad:
            raise BadText(f"{self.settings.name}: {bad}", answer.usage) from None
        name, model = self.settings.name, self.settings.model
        return Summary(text, "model", name, model, prompt.PROMPT_VERSION)

    def _dollars(self, usage: Usage | None) -> float | None:
        """What was reported, in dollars; None where the server or the price list did not say."""
        found = cost(self.rate, usage) if self.rate and usage else None
        return found.amount if found else None
