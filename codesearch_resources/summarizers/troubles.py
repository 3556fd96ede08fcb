"""What an error does to its provider: for how long the provider is left alone, or one model of it.

The table of errors and actions, as pure functions. What happens to the text that met the error is
in `shift`, which sends it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from codesearch_resources.breakers import longer
from codesearch_resources.calls import CallError

# A reset that is farther off than any window is long is not believed.
FARTHEST_RESET = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what is waited for; seconds where nothing else is said."""

    backoff: float = 0.5  # after the first overload, twice as long after each further one
    longest_backoff: float = 30.0
    in_a_row: int = 5  # overloads, or refusals for haste of a single call, that open a breaker
    overload: timedelta = timedelta(seconds=60)
    longest_overload: timedelta = timedelta(minutes=15)
    window: timedelta = timedelta(minutes=15)  # a limit window without a time
    longest_window: timedelta = timedelta(hours=6)
    # A pause that the server asks for is kept with the slice going on; a longer one ends it.
    pause: float = 60.0
    # What opens again so soon is waited for, when no other provider can go on.
    soon: float = 120.0
    no_slot: float = 0.05
    taken: float = 0.5  # until a key is looked up again that another process is having written
    grace: float = 10.0  # for calls under way when the work is to end


@dataclass(frozen=True, slots=True)
class Opening:
    """A breaker to open: for the one model or the whole provider; until None: a person acts."""

    model_only: bool
    until: datetime | None


def opening(error: CallError, times: int, now: datetime, patience: Patience) -> Opening | None:
    """The breaker that an error opens at once, None for what the pace or the text answers for.

    `times`: how often it was opened in a row before.
    """
    match error.trouble:
        case "quota_window":
            return Opening(False, _window_end(error, times, now, patience))
        case "quota_money" | "auth":
            return Opening(False, None)
        case "model_gone" | "model_plan":
            return Opening(True, None)
    return None


def too_often(error: CallError, times: int, now: datetime, patience: Patience) -> Opening:
    """The breaker after too many overloads or refusals in a row."""
    pause = longer(times, patience.overload, patience.longest_overload)
    return Opening(False, now + max(pause, _asked_for(error)))


def asks_for_long(error: CallError, patience: Patience) -> bool:
    """Whether a refusal asks for more than a pause within the slice."""
    return (error.retry_after or 0.0) > patience.pause


def _window_end(error: CallError, times: int, now: datetime, patience: Patience) -> datetime:
    """The refusal's own reset time, whatever Retry-After says beside it; else what that says."""
    resets_at = error.resets_at
    if resets_at is not None and now < resets_at < now + FARTHEST_RESET:
        return resets_at
    return now + (_asked_for(error) or longer(times, patience.window, patience.longest_window))


def _asked_for(error: CallError) -> timedelta:
    seconds = error.retry_after or 0.0
    return min(timedelta(seconds=max(seconds, 0.0)), FARTHEST_RESET)
