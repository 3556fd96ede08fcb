"""How far a long step is, for whoever watches: the CLI shows bars, a Dagster run shows nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Report = Callable[[str, int, int, str], None]


def _silent(stage: str, done: int, total: int, note: str) -> None:
    """Nobody watches."""


_report: ContextVar[Report] = ContextVar("codesearch_progress", default=_silent)


def report(stage: str, done: int, total: int, note: str = "") -> None:
    """Say that `done` of `total` items of a stage are through; `note` is a word on how."""
    _report.get()(stage, done, total, note)


@contextmanager
def watched_by(watcher: Report) -> Iterator[None]:
    """Send what is reported inside to `watcher`."""
    token = _report.set(watcher)
    try:
        yield
    finally:
        _report.reset(token)
