"""How the meters stand: each window with its use, reserve and own share, and what is stopped."""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from codesearch_resources.calls import Usage
from codesearch_resources.quota.guard import is_unknown, line
from codesearch_resources.quota.windows import Window

if TYPE_CHECKING:
    from codesearch_resources.quota.desk import Desk
    from codesearch_resources.quota.metered import MeteredGuard
    from codesearch_resources.results import Results


@dataclass(frozen=True, slots=True)
class WindowStatus:
    """One window; shares of 1. `own` is what this index took of it, None where nobody can tell."""

    kind: str
    used: float | None
    reserve: float
    resets_at: datetime | None
    age_seconds: float
    source: str
    own: float | None
    feature: str | None
    notes: list[str]


@dataclass(frozen=True, slots=True)
class MeterStatus:
    """One meter, with the providers that draw on it."""

    meter: str
    providers: list[str]
    subscription: bool
    windows: list[WindowStatus] = field(default_factory=list)
    stopped: dict[str, str] = field(default_factory=dict)  # why, by kind
    troubles: dict[str, str] = field(default_factory=dict)  # sources that could not be read

    def as_dict(self) -> dict[str, Any]:
        """In the form of the JSON output."""
        found = asdict(self)
        for window in found["windows"]:
            moment = window["resets_at"]
            window["resets_at"] = moment.isoformat() if moment else None
        return found


def meter_statuses(guard: "MeteredGuard", results: "Results", now: float) -> list[MeterStatus]:
    """Every meter, with who draws on it."""
    found = []
    for name, desk in guard.desks.items():
        desk.catch_up(now)
        drawing = sorted(provider for provider, meter in guard.meter_of.items() if meter == name)
        stopped = {
            b.kind: b.why + (_until(datetime.fromtimestamp(b.until, UTC)) if b.until else "")
            for b in desk.books.breakers.values()
            if b.until is None or b.until > now
        }
        if desk.state.refused:
            stopped["refused"] = desk.state.refused
        stopped |= {
            f"{b.provider} {b.model}".strip(): b.why + _until(b.until)
            for b in results.breakers.all()
            if b.provider in drawing and (b.until is None or b.until.timestamp() > now)
        }
        windows = [_window(desk, window, results, now) for window in desk.state.windows]
        found.append(
            MeterStatus(name, drawing, desk.rules.shared, windows, stopped, dict(desk.troubles))
        )
    return found


def _until(moment: datetime | None) -> str:
    return f" (until {moment:%Y-%m-%d %H:%M} UTC)" if moment else ""


def _window(desk: "Desk", window: Window, results: "Results", now: float) -> WindowStatus:
    resets_at = window.resets_at
    notes = list(window.flags)
    notes += ["a reset waits for a second reading"] if window.pending else []
    notes += ["the newest reading could not be understood"] if window.unreadable else []
    return WindowStatus(
        window.kind,
        None if is_unknown(window, desk.rules, now) else window.used,
        1 - line(desk.rules, desk.state, window.kind),
        datetime.fromtimestamp(resets_at, UTC) if resets_at is not None else None,
        now - window.heard_at,
        window.source,
        _own_share(desk, window, results, now),
        window.feature,
        notes,
    )


def _own_share(desk: "Desk", window: Window, results: "Results", now: float) -> float | None:
    """What the calls since the window began took of it, by what a unit of cost is thought to."""
    per_cost = desk.books.movement.likely(window.key)
    if per_cost is None or window.length is None:
        return None
    ends = window.resets_at if window.resets_at is not None else now
    taken = 0.0
    for past in results.meters.attempts(desk.rules.meter, ends - window.length):
        asked, model = past.estimate, past.estimate.model
        charged = desk.rules.taken(model, past.usage, past.cost)
        if charged is None and past.charged:
            charged = desk.rules.taken(
                model, Usage(asked.input, output=asked.output), past.expected
            )
        taken += charged or 0.0
    return taken * per_cost
