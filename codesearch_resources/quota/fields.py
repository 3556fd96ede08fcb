"""Raw fields of a meter's answer as numbers: None wherever a value cannot be believed.

Instants are seconds since 1970 (UTC), lengths are seconds, use is a share (1 is all of it).
"""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)
DAY = 86_400.0
OLDEST, FURTHEST = 366 * DAY, 400 * DAY  # a reset outside of these is a mistake
MILLISECONDS = 1e11  # an epoch above it counts in milliseconds
SAME_INSTANT = 120.0

# The name decides the scale, never the size: 0.81 under `used_percent` is 0.81 %.
USED = ("used_percent", "usedPercent", "used-percent")
LEFT = ("percent_left", "percentLeft", "remaining_percent", "remainingPercent", "percent_remaining")
LENGTHS = {
    "limit_window_seconds": 1.0,
    "limitWindowSeconds": 1.0,
    "windowDurationMins": 60.0,
    "window_minutes": 60.0,
    "window-minutes": 60.0,
}
RESETS = ("reset_at", "resets_at", "resetAt", "resetsAt", "reset-at")
RESETS_AFTER = (
    "reset_after_seconds",
    "resetAfterSeconds",
    "resets_in_seconds",
    "resetsInSeconds",
    "reset-after-seconds",
)


def number(value: object) -> float | None:
    """A finite number, given as one or as text; anything else is None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def share(value: object, full: float) -> float | None:
    """A use of `full` as a share; above 1 is over the limit, negative is no use at all."""
    found = number(value)
    return None if found is None or found < 0 else found / full


def used(fields: Mapping[str, object]) -> tuple[float | None, tuple[str, ...]]:
    """What of a window is used by its percentages, and what is odd about them.

    Where both directions are given and differ by more than two points, the higher use counts.
    """
    direct = _first(share(fields.get(name), 100) for name in USED)
    left = _first(share(fields.get(name), 100) for name in LEFT)
    inverse = 1 - left if left is not None and left <= 1 else None
    if direct is None or inverse is None:
        return (inverse if direct is None else direct), ()
    differ = abs(direct - inverse) > 0.02
    return max(direct, inverse), ("used_and_left_differ",) if differ else ()


def length(fields: Mapping[str, object]) -> float | None:
    """How long a window is, in seconds; None when it is not said, zero or negative."""
    for name, scale in LENGTHS.items():
        found = number(fields.get(name))
        if found is not None and found > 0:
            return found * scale
    return None


def instant(value: object, now: float) -> float | None:
    """A moment given as an epoch in seconds or milliseconds, or as ISO 8601 (no zone is UTC)."""
    found = number(value)
    if found is None and isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
            found = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    if found is None or found <= 0:
        return None
    if found > MILLISECONDS:
        found /= 1000
    return found if now - OLDEST <= found <= now + FURTHEST else None


def resets(fields: Mapping[str, object], now: float) -> tuple[float | None, tuple[str, ...]]:
    """When a window resets, by its moment or by its delay (which drifts by some seconds).

    Where both are given and lie more than two minutes apart, the later counts.
    """
    at = _first(instant(fields.get(name), now) for name in RESETS)
    delay = _first(number(fields.get(name)) for name in RESETS_AFTER)
    after = now + delay if delay is not None and 0 < delay <= FURTHEST else None
    if at is None or after is None:
        return (after if at is None else at), ()
    if abs(at - after) <= SAME_INSTANT:
        return at, ()
    return max(at, after), ("reset_times_differ",)


def _first(values: Iterable[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)
