"""What every guard is: asked before each call, told how it ended."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from codesearch_resources.calls import CallError, Decision, Estimate, Purpose, Usage


@dataclass(slots=True)
class Tally:
    """What a run has had so far, over every guard that it is asked through: calls to the cloud and
    dollars."""

    calls: int = 0
    dollars: float = 0.0


_run: ContextVar[dict[Purpose, Tally] | None] = ContextVar("run", default=None)


@contextmanager
def one_run() -> Iterator[None]:
    """Make whatever is done within one run, of however many jobs, for the limits of a run."""
    token = _run.set({})
    try:
        yield
    finally:
        _run.reset(token)


def tally_of(purpose: Purpose) -> Tally:
    """What the run has had for this; outside of `one_run` a run begins with each question."""
    run = _run.get()
    return Tally() if run is None else run.setdefault(purpose, Tally())


class Guard(Protocol):
    """Decides whether a call may be sent. Called from several threads at once."""

    def allow(self, estimate: Estimate) -> Decision:
        """Whether a call that is expected to take so much may be sent now.

        Wait and Deny speak for the provider's meter, not for the one call: whoever asks takes the
        provider as closed until then, or for the rest of the slice.
        """
        ...

    def cancel(self) -> None:
        """What this thread was allowed last is not sent after all."""
        ...

    def observe(
        self,
        estimate: Estimate,
        answer_usage: Usage | None,
        headers: Mapping[str, str],
        error: CallError | None,
    ) -> None:
        """Take note of how a call ended, after the ledger has it; `error` is None for an answer.

        `answer_usage` None: the server did not say. `headers` have lower-case names.
        """
        ...
