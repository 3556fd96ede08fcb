"""Codex limits in the headers of each answer: free, the freshest, and sparse.

Shape: codex-rs/codex-api/src/rate_limits.rs of openai/codex. A family is `x-codex-…` or
`x-<limit id>-…`; a window is there only where its use parses and something of it is not zero.
"""

import re
from collections.abc import Mapping

from codesearch_resources.quota import fields
from codesearch_resources.quota.readers.raw import redacted
from codesearch_resources.quota.windows import Report, Window, skew_of, stamped, window

SOURCE = "codex_headers"
_USED = re.compile(r"x-(?P<family>[a-z0-9-]+?)-(?P<label>primary|secondary)-used-percent")
_FIELDS = ("used-percent", "window-minutes", "reset-at", "reset-after-seconds")
_MAIN = "codex"


def parse(
    headers: Mapping[str, str], heard_at: float, *, server_clock: float | None = None
) -> Report | None:
    """The report in an answer's headers, None where they say nothing of limits."""
    given = {name.lower(): value for name, value in headers.items()}
    skew = skew_of(server_clock, heard_at)
    found = []
    for name in given:
        matched = _USED.fullmatch(name)
        if matched:
            found += _window(given, matched["family"], matched["label"], heard_at + skew)
    has_credits = str(given.get("x-codex-credits-has-credits", "")).lower() == "true"
    balance = fields.number(given.get("x-codex-credits-balance")) if has_credits else None
    if not found and balance is None:
        return None
    return Report(
        SOURCE,
        heard_at,
        stamped(found, SOURCE, heard_at),
        full=False,
        plan=given.get("x-codex-plan-type") or None,
        skew=skew,
        credits=balance,
        raw=redacted({k: v for k, v in given.items() if k.startswith("x-") and "token" not in k}),
    )


def _window(given: Mapping[str, str], family: str, label: str, clock: float) -> list[Window]:
    stem = f"x-{family}-{label}-"
    raw = {name: given[stem + name] for name in _FIELDS if stem + name in given}
    if fields.number(raw["used-percent"]) is None:
        return []
    if not any(fields.number(value) for value in raw.values()):
        return []
    feature = None if family == _MAIN else given.get(f"x-{family}-limit-name") or family
    return [window(raw, label=label, now=clock, feature=feature)]
