"""A meter in a file: the JSON that any script of the user's writes.

    {"read_at": "2026-11-22T03:00:00Z", "account": "me",
     "windows": [{"limit_window_seconds": 604800, "percent_left": 90, "reset_at": 1795584741}]}

`read_at` is when the script looked; without it the file's own time counts. A file that holds what
the Codex usage endpoint said is read as such.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from codesearch_resources.quota import fields
from codesearch_resources.quota.readers import codex_usage
from codesearch_resources.quota.readers.base import ReadingError, mapping
from codesearch_resources.quota.readers.raw import account_mark, redacted
from codesearch_resources.quota.windows import Report, Window, stamped, window

SOURCE = "file"
_LARGEST = 1_000_000  # bytes


@dataclass(frozen=True)
class MeterFile:
    """Reads `path` as it is at that moment."""

    path: Path
    source: str = SOURCE

    def read(self, now: float) -> Report:
        """The meter by the file. Raises ReadingError when it is not there or holds no windows."""
        try:
            with self.path.open("rb") as file:
                text = file.read(_LARGEST + 1)
                written = self.path.stat().st_mtime
        except OSError as error:
            raise ReadingError(f"{self.path} cannot be read: {error.strerror}") from None
        if len(text) > _LARGEST:
            raise ReadingError(f"{self.path} is larger than {_LARGEST:,} bytes")
        try:
            body = json.loads(text)
        except (ValueError, RecursionError):
            raise ReadingError(f"{self.path} is not JSON") from None
        return parse(body, min(written, now), now)


def parse(body: object, written: float, now: float) -> Report:
    """The report in such a file. Raises ReadingError for what names no windows."""
    content = mapping(body, "the file")
    said = fields.instant(content.get("read_at"), now)
    heard_at = written if said is None else min(said, now)
    if "windows" not in content:
        return codex_usage.parse(content, heard_at)
    given = content["windows"]
    if not isinstance(given, list):
        raise ReadingError("`windows` of the file is not a list")
    found = [_window(n, raw, heard_at) for n, raw in enumerate(given)]
    refused = content.get("refused")
    plan = content.get("plan")
    return Report(
        SOURCE,
        heard_at,
        stamped(found, SOURCE, heard_at),
        account=account_mark(content.get("account")),
        plan=plan if isinstance(plan, str) else None,
        refused="the file says that nothing is allowed now" if refused else None,
        raw=redacted(content),
    )


def _window(number: int, raw: object, clock: float) -> Window:
    if not isinstance(raw, Mapping):
        return Window("unknown", None, None, None, f"window {number + 1}", None, ("not_an_object",))
    label, feature = raw.get("label"), raw.get("feature")
    return window(
        raw,
        label=label if isinstance(label, str) else f"window {number + 1}",
        now=clock,
        feature=feature if isinstance(feature, str) and feature else None,
    )
