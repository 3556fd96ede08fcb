"""How far a long step is, for whoever watches: the CLI shows bars, a Dagster run shows nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Report = Callable[[str, int, int], None]


def _silent(stage: str, done: int, total: int) -> None:
    """Nobody watches."""


_report: ContextVar[Report] = ContextVar("codesearch_progress", default=_silent)


def report(stage: str, done: int, total: int) -> None:
    """Say that `done` of `total` items of a stage are through."""
    _report.get()(stage, done, total)


@contextmanager
def watched_by(watcher: Report) -> Iterator[None]:
    """Send what is reported inside to `watcher`."""
    token = _report.set(watcher)
    try:
        yield
    finally:
        _report.reset(token)
