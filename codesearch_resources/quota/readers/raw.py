"""A meter's answer as it may be kept: everything it said about limits, nothing that is secret."""

import hashlib
import re
from collections.abc import Mapping

_DEPTH = 12
_LONGEST = 300  # characters of one text
_ITEMS = 200
_SECRET_KEY = re.compile(
    r"token|secret|authorization|cookie|password|api.?key|email|signin|user|(^|_|-)name$|account.?id",
    re.IGNORECASE,
)
# Names of limits, models and headers are no person's.
_OPEN_KEY = re.compile(r"limit.?name|token_?usage|x-ratelimit-", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]+|\bsk-[\w-]{8,}|Bearer\s+\S+|[\w.+-]+@[\w-]+\.[\w.]+|you \([^)]*\)"
)


def redacted(value: object, depth: int = 0) -> object:
    """The value with secrets, names of people and over-long texts taken out; plain JSON types."""
    if depth > _DEPTH:
        return "…"
    if isinstance(value, Mapping):
        kept = list(value.items())[:_ITEMS]
        return {str(k)[:80]: _of_key(str(k), v, depth) for k, v in kept}
    if isinstance(value, list | tuple):
        return [redacted(each, depth + 1) for each in value[:_ITEMS]]
    if isinstance(value, str):
        return _SECRET_TEXT.sub("<removed>", value)[:_LONGEST]
    if value is None or isinstance(value, bool | int | float):
        return value
    return type(value).__name__


def _of_key(key: str, value: object, depth: int) -> object:
    # Under `models` a name is a model's; a mapping is looked into, whatever it is called.
    if isinstance(value, Mapping | list):
        return redacted(value, depth + 1)
    if _SECRET_KEY.search(key) and not _OPEN_KEY.search(key) and value is not None:
        return "<removed>"
    return redacted(value, depth + 1)


def account_mark(value: object) -> str | None:
    """A mark by which two readings of one account are known, without the account's id."""
    if not isinstance(value, str) or not value:
        return None
    return hashlib.sha256(value.encode()).hexdigest()[:12]
