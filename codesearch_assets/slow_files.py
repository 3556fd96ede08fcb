"""The files that took longest to cut, for a person who wonders what a run spends its time on."""

import heapq
from dataclasses import dataclass, field

import dagster as dg

from codesearch_assets.reporting import frame_table

MOST = 10


@dataclass
class SlowFiles:
    """The slowest of the files it is told of; holds no more than it shows."""

    _heap: list[tuple[float, str, int, str]] = field(default_factory=list)

    def note(self, seconds: float, path: str, size: int, outcome: str) -> None:
        """A file of `size` bytes was cut, and what became of it."""
        heapq.heappush(self._heap, (seconds, path, size, outcome))
        if len(self._heap) > MOST:
            heapq.heappop(self._heap)

    def table(self) -> dg.TableMetadataValue | str:
        """A row a file, the slowest first."""
        import pandas as pd  # half a CPU second

        rows = [
            {
                "file": path,
                "seconds": round(seconds, 3),
                "kilobytes": round(size / 1e3, 1),
                "outcome": outcome,
            }
            for seconds, path, size, outcome in sorted(self._heap, reverse=True)
        ]
        return frame_table(pd.DataFrame(rows))
