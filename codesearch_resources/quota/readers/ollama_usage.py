"""The usage of Ollama's cloud: shares without a length or a reset, by the name of the limit.

Not documented (ollama/ollama#12532). Older accounts have session and weekly, newer ones monthly;
a limit that is absent or null is no limit, which is not a use of zero.
"""

from collections.abc import Mapping

from codesearch_resources.quota import fields
from codesearch_resources.quota.fields import DAY
from codesearch_resources.quota.readers.base import ReadingError, mapping
from codesearch_resources.quota.readers.raw import redacted
from codesearch_resources.quota.windows import (
    FIVE_HOURS,
    UNKNOWN,
    WEEK,
    Report,
    Window,
    kind_of,
    skew_of,
    stamped,
)

SOURCE = "ollama_usage"
# Here the name is all there is: the answer holds no length.
_LENGTHS = {"session": FIVE_HOURS, "hourly": 3600.0, "weekly": WEEK, "monthly": 30 * DAY}
_MONDAY = 4 * DAY  # 1970-01-05, the first Monday 00:00 UTC


def parse(body: object, heard_at: float, *, server_clock: float | None = None) -> Report:
    """The report in such a body. Raises ReadingError for what is no usage at all."""
    limits = mapping(mapping(body, "the usage").get("limits"), "`limits` of the usage")
    if not limits:
        raise ReadingError("`limits` of the usage is empty")
    skew = skew_of(server_clock, heard_at)
    found = [
        _window(str(name)[:40], limit, heard_at + skew)
        for name, limit in limits.items()
        if not _is_none(limit)
    ]
    return Report(
        SOURCE,
        heard_at,
        stamped(found, SOURCE, heard_at),
        unlimited=not found,
        skew=skew,
        raw=redacted(body),
    )


def _is_none(limit: object) -> bool:
    return limit is None or (isinstance(limit, Mapping) and limit.get("usage") is None)


def _window(name: str, limit: object, clock: float) -> Window:
    # A share of 1, unlike every percentage elsewhere.
    used = fields.share(limit.get("usage"), 1) if isinstance(limit, Mapping) else None
    length = _LENGTHS.get(name)
    kind = kind_of(length) if length else UNKNOWN
    return Window(kind, length, used, _reset(name, clock), name)


def _reset(name: str, clock: float) -> float | None:
    """The next known boundary: sessions begin at multiples of five hours, weeks on Monday UTC."""
    if name == "session":
        return (clock // FIVE_HOURS + 1) * FIVE_HOURS
    if name == "weekly":
        return ((clock - _MONDAY) // WEEK + 1) * WEEK + _MONDAY
    return None
