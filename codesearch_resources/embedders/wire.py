"""What every embedding server's format is: texts in one request, rows of numbers in its answer.

A wire sends one request and never repeats it; batches, retries and halving belong to `server`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from codesearch_resources.calls import CallError, Usage

Rows = Sequence[NDArray[np.float32] | None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request would go; what the egress gate asks for."""

    provider: str
    model: str
    host: str
    addresses: tuple[str, ...]
    remote: str | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """An answer: for each text a row made unit length, None for one that has no direction."""

    rows: Rows
    usage: Usage
    headers: Mapping[str, str]
    seconds: float


class Wire(Protocol):
    """One model of one server; used by several threads at once."""

    shown: str  # the server as messages name it

    def place(self) -> Place:
        """Where a request would go. May ask the server; raises CallError."""
        ...

    def embed(self, texts: Sequence[str]) -> Embedded:
        """One request. Raises CallError."""
        ...

    def close(self) -> None:
        """End the requests in flight: each raises CallError."""
        ...


class WrongWidth(CallError):
    """The model gives vectors of another width than the settings say: no vector is of use."""

    def __init__(self, message: str) -> None:
        super().__init__("model_gone", message, status=200)


def rows_of(
    vectors: Any, texts: Sequence[str], dimensions: int, shown: str, usage: Usage
) -> list[NDArray[np.float32] | None]:
    """The rows of an answer made unit length: not every server does it, or always.

    Raises CallError("overload") for another number of rows than texts, which cannot be told apart;
    WrongWidth; CallError("item") for what holds something else than numbers.
    """
    if not isinstance(vectors, list) or len(vectors) != len(texts):
        given = len(vectors) if isinstance(vectors, list) else "no"
        raise CallError(
            "overload", f"{shown}: gave {given} vectors for {len(texts)} texts",
            status=200, usage=usage,
        )  # fmt: skip
    rows: list[NDArray[np.float32] | None] = []
    for vector in vectors:
        row = _numbers(vector, shown, usage)
        if row.shape != (dimensions,):
            raise WrongWidth(
                f"{shown}: the model gives vectors of {row.size} numbers, the settings say "
                f"dimensions: {dimensions}. Set dimensions: {row.size}, or use a model and a "
                "server that can give fewer"
            )
        length = float(np.linalg.norm(row))
        sound = math.isfinite(length) and length > 1e-6
        rows.append((row / length).astype(np.float32) if sound else None)
    return rows


def _numbers(vector: Any, shown: str, usage: Usage) -> NDArray[np.float64]:
    try:
        if not isinstance(vector, list):
            raise TypeError
        row = np.array(vector, dtype=np.float64)
        if row.ndim != 1 or any(isinstance(number, bool | str) for number in vector[:1]):
            raise TypeError
    except (TypeError, ValueError, OverflowError):
        raise CallError(
            "item", f"{shown}: a vector holds something else than numbers", status=200, usage=usage
        ) from None
    return row
