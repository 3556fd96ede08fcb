"""Whether a server is what it was: asked once a run, before the first text is sent.

The vector of a fixed text is kept with a set. Another one now means that another model stands
behind the name, and its vectors must not come among those of the first.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codesearch_resources.calls import CallError
from codesearch_resources.embedders.fingerprint import FINGERPRINT, PROBE, same
from codesearch_resources.embedders.wire import Embedded
from codesearch_resources.settings_embedders import OpenAICompatibleSettings, ServerSettings

if TYPE_CHECKING:
    from codesearch_resources.kept_vectors import KeptVectors

OTHER = "Where does the server wait before it asks again?"
APART = 0.9999  # a cosine; from there on two texts are one to the model

Ask = Callable[[Sequence[str]], Embedded]


def prove(settings: ServerSettings, set_name: str, ask: Ask, kept: "KeptVectors") -> None:
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
