"""How the summaries come along, for whoever watches: rate, provider, time left, money so far."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from codesearch_resources.account import Entry
from codesearch_resources.progress import report
from codesearch_resources.quota.reconcile import Day, by_day, rises
from codesearch_resources.results import Results

LOG_EVERY = 60.0  # seconds between lines in a run's log


class Progress:
    """Tells how far a slice is, of `total` summaries."""

    def __init__(self, total: int, results: Results, say: Callable[[str], None] | None) -> None:
        self._total, self._results, self._say = total, results, say
        self._began = self._said = time.monotonic()

    def tell(self, done: int, provider: str) -> None:
        """Say that so many are there, the last by that provider."""
        seconds = max(time.monotonic() - self._began, 1e-3)
        left = duration((self._total - done) * seconds / done)
        spent = self._results.ledger.spent(own=True)
        money = f", ${spent.cost:.2f}" if spent.cost else ""
        note = f"{provider}: {60 * done / seconds:.0f} a minute, {left} left{money}"
        report("summaries", done, self._total, note)
        if self._say is not None and time.monotonic() - self._said >= LOG_EVERY:
            self._said = time.monotonic()
            self._say(f"{done} of {self._total} summaries; {note}")


def duration(seconds: float) -> str:
    """`2 h 05 min`, `3 min`, `40 s`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def providers_table(results: Results) -> dg.TableMetadataValue | str:
    """Calls, tokens and dollars of this process, by provider and model."""
    rows: dict[tuple[str, str], list[Entry]] = {}
    for entry in results.ledger.entries(own=True):
        rows.setdefault((entry.provider, entry.model), []).append(entry)
    if not rows:
        return "no calls"
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "provider": provider,
                    "model": model,
                    "calls": len(entries),
                    "answered": sum(entry.status == "settled" for entry in entries),
                    "input_tokens": sum(entry.counted_input for entry in entries),
                    "output_tokens": sum(entry.counted_output for entry in entries),
                    "dollars": round(sum(entry.counted_cost or 0.0 for entry in entries), 4),
                }
            )
            for (provider, model), entries in sorted(rows.items())
        ]
    )


def reported(results: Results) -> list[Day]:
    """The last week of the ledger beside what providers reported, by provider and day."""
    since = datetime.now(UTC) - timedelta(days=7)
    by_meter: dict[str, list[tuple[float, object]]] = {}
    for meter, at, raw in results.meters.raw(since.timestamp()):
        by_meter.setdefault(meter, []).append((at, raw))
    dollars = {
        (meter, day): rise
        for meter, found in by_meter.items()
        for day, rise in rises(found).items()
    }
    return by_day(results.ledger.entries(since=since), dollars)


def days_table(days: Sequence[Day]) -> dg.TableMetadataValue | str:
    """What was expected, reported and paid, by provider and day."""
    if not days:
        return "no calls"
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "provider": day.provider,
                    "day": day.day,
                    "calls": day.calls,
                    "expected_input": day.expected_input,
                    "reported_input": day.reported_input,
                    "answers_without_usage": day.unreported,
                    "ledger_dollars": -1.0 if day.dollars is None else round(day.dollars, 4),
                    "meter_dollars": (
                        -1.0 if day.meter_dollars is None else round(day.meter_dollars, 4)
                    ),
                }
            )
            for day in days
        ]
    )
