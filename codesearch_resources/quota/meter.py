"""What is known of a meter: its readings merged, so that one odd reading changes nothing.

Use falls only by a reset that is due or that a second reading confirms. A reading that is older,
of another account, or cannot be understood takes nothing away.
"""

from dataclasses import dataclass, replace

from codesearch_resources.quota.fields import SAME_INSTANT
from codesearch_resources.quota.windows import Pending, Report, Window

FALL = 0.05  # a use that is lower by this claims a reset; less is noise
CONFIRM_AFTER = 30.0  # seconds between the two readings
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class MeterState:
    """A meter by its readings so far. `notes`: what was ignored or superseded, in words."""

    windows: tuple[Window, ...] = ()
    account: str | None = None
    plan: str | None = None
    heard_at: float | None = None  # of the newest reading that counted
    refused: str | None = None
    unlimited: bool = False
    skew: float = 0.0
    credits: float | None = None
    notes: tuple[str, ...] = ()


def merge(state: MeterState, report: Report) -> MeterState:
    """The meter after one more reading."""
    if state.heard_at is not None and report.heard_at < state.heard_at:
        return _noted(state, f"{report.source}: older than the last reading, ignored")
    if state.account and report.account and report.account != state.account:
        return _noted(state, f"{report.source}: a reading of another account, ignored")
    before = {window.key: window for window in state.windows}
    heard = {window.key: window for window in report.windows}
    clock = report.heard_at + report.skew
    found = [
        _updated(before[key], window, clock) if key in before else _first(window)
        for key, window in heard.items()
    ]
    notes = []
    for key, old in before.items():
        if key in heard:
            continue
        kept, note = _unheard(old, report)
        found += [kept] if kept else []
        notes += [note] if note else []
    return replace(
        state,
        windows=tuple(found),
        account=report.account or state.account,
        plan=report.plan or state.plan,
        heard_at=report.heard_at,
        # A sparse reading that says nothing of a refusal does not lift one.
        refused=report.refused if report.full or report.refused else state.refused,
        unlimited=report.unlimited if report.full else state.unlimited,
        skew=report.skew,
        credits=report.credits if report.full or report.credits is not None else state.credits,
        notes=tuple(notes),
    )


def _noted(state: MeterState, note: str) -> MeterState:
    return replace(state, notes=(note,))


def _first(window: Window) -> Window:
    return replace(window, unreadable=window.used is None)


def _updated(old: Window, new: Window, clock: float) -> Window:
    if new.used is None:
        return replace(old, unreadable=True, missing_since=None, flags=new.flags)
    if old.used is None:
        return replace(new, resets=old.resets)
    due = old.resets_at is not None and clock >= old.resets_at - SAME_INSTANT
    forward = _moved_forward(old.resets_at, new.resets_at)
    far = new.used <= old.used - FALL + _ROUNDING
    if new.used < old.used and (due or forward or far):
        if due or _confirms(old.pending, new):
            return replace(new, resets=old.resets + 1)
        pending = Pending(new.used, new.resets_at, new.heard_at)
        # The first claim starts the wait; the same claim at once after it does not start it anew.
        if old.pending and _agree(old.pending, new):
            pending = old.pending
        return replace(old, pending=pending, unreadable=False, missing_since=None)
    return replace(
        new,
        used=max(old.used, new.used),
        resets_at=new.resets_at if new.resets_at is not None else old.resets_at,
        resets=old.resets,
    )


def _moved_forward(old: float | None, new: float | None) -> bool:
    return old is not None and new is not None and new > old + SAME_INSTANT


def _agree(pending: Pending, new: Window) -> bool:
    """Whether a second reading claims the same reset; an unused window's reset moves with time."""
    here, there = pending.resets_at, new.resets_at
    if here is None or there is None:
        same_boundary = here is there
    else:
        passed = new.heard_at - pending.heard_at
        same_boundary = -SAME_INSTANT <= there - here <= passed + SAME_INSTANT
    return same_boundary and new.used is not None and new.used < pending.used + FALL


def _confirms(pending: Pending | None, new: Window) -> bool:
    if pending is None or not _agree(pending, new):
        return False
    return new.heard_at - pending.heard_at >= CONFIRM_AFTER


def _unheard(old: Window, report: Report) -> tuple[Window | None, str]:
    """A window that the reading does not name: kept, or dropped when a second one agrees.

    It is gone when a full reading lacks it, or when its place holds a window of another kind.
    """
    successor = next(
        (
            new
            for new in report.windows
            if (new.label, new.feature, new.source) == (old.label, old.feature, old.source)
        ),
        None,
    )
    if not report.full and successor is None:
        return old, ""
    if old.missing_since is None:
        return replace(old, missing_since=report.heard_at), ""
    if report.heard_at - old.missing_since < CONFIRM_AFTER:
        return old, ""
    became = f", {old.label} is of kind {successor.kind} now" if successor else ""
    return None, f"the window of kind {old.kind} is gone{became}"
