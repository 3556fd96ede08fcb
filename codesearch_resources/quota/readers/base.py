"""What a reader of a meter is: it looks, never writes, and says when it could not."""

from collections.abc import Mapping
from typing import Protocol

from codesearch_resources.quota.windows import Report


class ReadingError(Exception):
    """A meter could not be read; the message is fit to be shown, free of secrets."""


class Reader(Protocol):
    """One source of a meter's windows. Off unless it is configured, and read-only."""

    @property
    def source(self) -> str:
        """What it reads, as the status names it."""
        ...

    def read(self, now: float) -> Report:
        """The meter now (epoch seconds). Raises ReadingError."""


def mapping(value: object, where: str) -> Mapping[str, object]:
    """A JSON object, or ReadingError naming what is there instead."""
    if not isinstance(value, Mapping):
        raise ReadingError(f"{where} is {type(value).__name__}, not an object of limits")
    return value


def optional(value: object) -> Mapping[str, object]:
    """A JSON object where one is given, else an empty one: absent, null and wrong are alike."""
    return value if isinstance(value, Mapping) else {}
