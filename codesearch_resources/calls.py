"""One call to a provider: what it is expected to take, what came back, what stood in its way.

The words that adapters, ledger, guard and chain share; no I/O.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Purpose = Literal["summary", "embedding"]

# What went wrong, by what is to be done about it:
# quota_window  a limit window is used up: leave the provider until it resets
# quota_money   the money is used up: leave it until a person acts
# rate          too fast or too many at once: fewer in flight, then again
# overload      the server is down or busy: again after a pause, leave it after five in a row
# auth          not signed in, a wrong key or a wrong clock: leave it until settings change
# model_gone    no such model here: leave this model
# model_plan    the plan does not have this model: leave this model
# item          this text cannot be done: never the provider's fault
# ambiguous     sent, and nobody knows whether it was done: count it at full cost, once more
# policy        it may not leave this machine
Trouble = Literal[
    "quota_window", "quota_money", "rate", "overload", "auth", "model_gone", "model_plan", "item",
    "ambiguous", "policy",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the server reported them. None is unknown, which is never zero.

    `cached` and `cache_write` are parts of `input`, `reasoning` is a part of `output`.
    """

    input: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    output: int | None = None
    reasoning: int | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one call is expected to take, counted before it is sent.

    `input` is about right; `output` is a bound: the cap and what the model may think beside it.
    """

    provider: str
    model: str
    meter: str  # the limit it draws on; the provider's own name where none is configured
    purpose: Purpose
    input: int
    output: int


@dataclass(frozen=True, slots=True)
class Allow:
    """The call may be sent now."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Not before `until` (aware, UTC), and why."""

    until: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Deny:
    """Not in this run, and why."""

    why: str


Decision = Allow | Wait | Deny


class CallError(Exception):
    """A call that brought no usable answer; the message is fit to be shown, free of secrets."""

    def __init__(
        self,
        trouble: Trouble,
        message: str,
        *,
        status: int | None = None,
        resets_at: datetime | None = None,
        retry_after: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message)
        self.trouble = trouble
        self.status = status
        # When the refusal itself says the limit resets (aware, UTC); beats `retry_after` (seconds).
        self.resets_at = resets_at
        self.retry_after = retry_after
        # What the server charged for an answer that could not be used; None: it did not say.
        self.usage = usage

    @property
    def unsaid(self) -> bool:
        """Whether the server may have charged without saying so: what was sent and not answered,
        and an answer without usage. It counts in full."""
        answered = self.status is not None and self.status < 300
        silent = self.usage is None or self.usage.input is None
        return self.trouble == "ambiguous" or (answered and silent)
