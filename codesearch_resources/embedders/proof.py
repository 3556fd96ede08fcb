"""Whether a server is what it was: asked once a run, before the first text is sent.

The vector of a fixed text is kept with a set. Another one now means that another model stands
behind the name, and its vectors must not come among those of the first.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from codesearch_resources.calls import CallError
from codesearch_resources.embedders.wire import Embedded
from codesearch_resources.kept_vectors import FINGERPRINT, KeptVectors
from codesearch_resources.settings_embedders import OpenAICompatibleSettings, ServerSettings

PROBE = "def add(first, second):\n    return first + second\n"
OTHER = "Where does the server wait before it asks again?"
# Cosines. The same model differs by its rounding between machines and batches, not by more.
SAME, APART = 0.99, 0.9999

Ask = Callable[[Sequence[str]], Embedded]


class NotTheSame(CallError):
    """Another model stands behind the name."""

    def __init__(self, model: str, cosine: float) -> None:
        super().__init__(
            "model_gone",
            f"another model than the one that filled the index stands behind the name {model} (a "
            f"fixed text now has cosine {cosine:.2f} with itself). Put the old one back, or set "
            "`revision` of `embedder` one higher: all is then embedded anew, beside the old",
        )


def same(first: NDArray[np.floating], second: NDArray[np.floating], model: str) -> None:
    """Raise NotTheSame unless two vectors of the fixed text are of one model."""
    cosine = float(first.astype(np.float64) @ second.astype(np.float64))
    if not cosine >= SAME:
        raise NotTheSame(model, cosine)


def prove(settings: ServerSettings, set_name: str, ask: Ask, kept: KeptVectors) -> None:
    """Raise CallError when the server cannot be trusted with this set's texts.

    One request where the set has its fingerprint, else two or three, which take it.
    """
    known = kept.fingerprint(set_name)
    alone = _row(ask([PROBE]), 0, settings)
    if known is not None:
        same(known, alone, settings.model)
        return
    both = ask([OTHER, PROBE])
    same(alone, _row(both, 1, settings), settings.model)
    if float(_row(both, 0, settings) @ alone) > APART:
        raise CallError(
            "model_gone", f"{settings.model} gives every text the same vector: it is no embedder"
        )
    if isinstance(settings, OpenAICompatibleSettings):
        _reads_all(settings, ask)
    kept.keep(set_name, {FINGERPRINT: alone.astype(np.float16)})


def _reads_all(settings: ServerSettings, ask: Ask) -> None:
    """Two texts as long as the context, apart in their last words only: told apart?"""
    words = settings.context * 3 // 4
    text = " ".join(f"w{n % 10}" for n in range(words // 2))
    try:
        answer = ask([f"{text} return the last error", f"{text} open a green window"])
    except CallError as error:
        if error.trouble == "item":
            return  # it says so when a text is too long
        raise
    first, second = _row(answer, 0, settings), _row(answer, 1, settings)
    if float(first @ second) > 1 - 1e-7:
        raise CallError(
            "model_gone",
            f"the server of {settings.model} cuts texts of {settings.context} tokens without a "
            "word: set `context` of `embedder` to what it takes (512 is usual)",
        )


def _row(answer: Embedded, at: int, settings: ServerSettings) -> NDArray[np.float32]:
    row = answer.rows[at]
    if row is None:
        raise CallError("model_gone", f"{settings.model} has no vector for a plain sentence")
    return row
