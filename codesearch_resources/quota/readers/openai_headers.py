"""OpenAI's `x-ratelimit-*` headers: requests and tokens of a key, as limit, remaining and reset.

The reset is a duration ("6m0s", "20ms") at OpenAI and whole seconds elsewhere; 0 and -1 stand for
"unknown" at some. The window's length is not said.
"""

import re
from collections.abc import Mapping

from codesearch_resources.quota import fields
from codesearch_resources.quota.readers.raw import redacted
from codesearch_resources.quota.windows import UNKNOWN, Report, Window, skew_of, stamped

SOURCE = "openai_headers"
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def parse(
    headers: Mapping[str, str], heard_at: float, *, server_clock: float | None = None
) -> Report | None:
    """The report in an answer's headers, None where they say nothing of limits."""
    given = {
        name.lower(): value
        for name, value in headers.items()
        if name.lower().startswith("x-ratelimit-")
    }
    skew = skew_of(server_clock, heard_at)
    found = []
    for what in ("requests", "tokens"):
        most = fields.number(given.get(f"x-ratelimit-limit-{what}"))
        left = fields.number(given.get(f"x-ratelimit-remaining-{what}"))
        if most is None or left is None or most <= 0:
            continue
        after = duration(given.get(f"x-ratelimit-reset-{what}"))
        resets_at = heard_at + skew + after if after is not None else None
        used = (most - left) / most if 0 <= left <= most else None
        found.append(Window(UNKNOWN, None, used, resets_at, what))
    if not found:
        return None
    return Report(
        SOURCE,
        heard_at,
        stamped(found, SOURCE, heard_at),
        full=False,
        skew=skew,
        raw=redacted(given),
    )


def duration(value: object) -> float | None:
    """Seconds of "1h2m", "20ms" or "12"; None where it is unknown or cannot be read."""
    seconds = fields.number(value)
    if seconds is None and isinstance(value, str):
        parts = _PART.findall(value)
        if not parts or "".join(n + unit for n, unit in parts) != value.strip():
            return None
        seconds = sum(float(n) * _SECONDS[unit] for n, unit in parts)
    return seconds if seconds is not None and 0 < seconds <= fields.FURTHEST else None
