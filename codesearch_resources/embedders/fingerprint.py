"""A fixed text, by whose vector a model is known again."""

import numpy as np
from numpy.typing import NDArray

from codesearch_resources.calls import CallError

FINGERPRINT = "fingerprint"  # where it is kept; no hash of a text looks like it
PROBE = "def add(first, second):\n    return first + second\n"
# A cosine. One model differs by its rounding between machines and batches: an int8 MiniLM whose
# ranges are taken from the batch by .015. Vectors of two models have nothing in common.
SAME = 0.95


class NotTheSame(CallError):
    """Another model stands behind the name."""

    def __init__(self, model: str, cosine: float) -> None:
        super().__init__(
            "model_gone",
            f"another model than the one that filled the index stands behind the name {model} (a "
            f"fixed text has cosine {cosine:.2f} with what it was). Put the old one back, or set "
            "`revision` of `embedder` one higher: all is then embedded anew, beside the old",
        )


def same(first: NDArray[np.floating], second: NDArray[np.floating], model: str) -> None:
    """Raise NotTheSame unless two vectors of the fixed text are of one model."""
    cosine = float(first.astype(np.float64) @ second.astype(np.float64))
    if not cosine >= SAME:
        raise NotTheSame(model, cosine)
