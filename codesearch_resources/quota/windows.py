"""Limit windows: what a meter said in one reading, and which kind of window it said it of.

A meter has any number of windows and all of them bind at once. The kind of a window is told by
its length; its label (`primary`, `session`) and its place in the answer are only shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from codesearch_resources.quota import fields
from codesearch_resources.quota.fields import DAY

FIVE_HOURS, WEEK = 18_000.0, 7 * DAY
TOLERANCE = 0.05  # of a window's length
_KINDS = (
    ("5h", FIVE_HOURS, FIVE_HOURS),
    ("day", DAY, DAY),
    ("week", WEEK, WEEK),
    ("month", 28 * DAY, 31 * DAY),
    ("year", 365 * DAY, 365 * DAY),
)
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Pending:
    """A reset that a reading claimed and no second one has confirmed."""

    used: float
    resets_at: float | None
    heard_at: float


@dataclass(frozen=True, slots=True)
class Window:
    """One limit window. Instants are epoch seconds, `resets_at` by the server's clock.

    used        share that is used, above 1 over the limit; None is unknown and never zero
    unreadable  the newest reading named the window and gave no use that can be believed
    feature     the extra limit it belongs to; None binds every model
    heard_at    when the use was last heard of, by this machine's clock
    """

    kind: str
    length: float | None
    used: float | None
    resets_at: float | None
    label: str = ""
    feature: str | None = None
    flags: tuple[str, ...] = ()
    heard_at: float = 0.0
    source: str = ""
    unreadable: bool = False
    resets: int = 0  # confirmed ones since the window was first heard of
    pending: Pending | None = None
    missing_since: float | None = None

    @property
    def key(self) -> tuple[str | None, str]:
        """Who it is from one reading to the next; a window of no known kind goes by its label."""
        return self.feature, f"{self.kind}:{self.label}" if self.kind == UNKNOWN else self.kind


@dataclass(frozen=True, slots=True)
class Report:
    """One reading of a meter by one source, as it was understood.

    full       it names every window there is; a sparse one (headers) leaves the others as they are
    refused    the provider says that nothing is allowed now, whatever the percentages are
    unlimited  it says that there is no limit, which is not the same as naming none
    skew       seconds that the server's clock is ahead of this machine's, 0 within half a minute
    credits    bought credits that are left; None: unknown or none
    raw        the answer as it came, secrets removed
    """

    source: str
    heard_at: float
    windows: tuple[Window, ...]
    full: bool = True
    account: str | None = None
    plan: str | None = None
    refused: str | None = None
    unlimited: bool = False
    skew: float = 0.0
    credits: float | None = None
    raw: object = field(default=None, compare=False)


def kind_of(length: float | None) -> str:
    """The kind of a window of that many seconds, 5 % more or less."""
    if length is None or length <= 0:
        return UNKNOWN
    for kind, shortest, longest in _KINDS:
        if shortest * (1 - TOLERANCE) <= length <= longest * (1 + TOLERANCE):
            return kind
    return f"other:{length:.0f}"


def window(
    raw: Mapping[str, object], *, label: str, now: float, feature: str | None = None
) -> Window:
    """One window from its raw fields; `now` is the server's clock.

    Of a window whose reset lies further away than it is long, the length is not believed: some
    programs report the minutes that are left as the length.
    """
    length = fields.length(raw)
    used, odd_use = fields.used(raw)
    resets_at, odd_reset = fields.resets(raw, now)
    flags = (*odd_use, *odd_reset)
    kind = kind_of(length)
    left = None if resets_at is None else resets_at - now
    if length is not None and left is not None and left > length * (1 + TOLERANCE):
        kind, flags = UNKNOWN, (*flags, "reset_beyond_window")
    return Window(kind, length, used, resets_at, label, feature, flags)


def skew_of(server_clock: float | None, here: float) -> float:
    """How far the server's clock is ahead; half a minute is noise of the network."""
    if server_clock is None or abs(server_clock - here) <= 30:
        return 0.0
    return server_clock - here


def stamped(windows: list[Window], source: str, heard_at: float) -> tuple[Window, ...]:
    """The windows of one reading, those of one identity told apart by their labels."""
    seen: set[tuple[str | None, str]] = set()
    found = []
    for each in windows:
        each = replace(each, source=source, heard_at=heard_at)
        if each.key in seen:
            each = replace(each, kind=UNKNOWN, flags=(*each.flags, f"a second {each.kind}"))
        seen.add(each.key)
        found.append(each)
    return tuple(found)
