"""How good a table is on packages it has not seen: MRR@10, each sentence against all the code."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from codesearch_resources.embedders.base import Embedder
from codesearch_resources.embedders.view import view_of
from training.pairs import Example

AT = 10
QUESTIONS = 3_000


def held_out(examples: Sequence[Example], questions: int = QUESTIONS) -> list[Example]:
    """An even sample of the described examples."""
    described = [example for example in examples if example.query]
    step = max(1, len(described) // questions)
    return described[::step][:questions]


def code_score(embedder: Embedder, examples: Sequence[Example]) -> NDArray[np.float32]:
    """Reciprocal ranks of each example's code for its description [examples]."""
    documents = [" ".join(view_of(e.names, e.located, e.body)) or e.language for e in examples]
    return _reciprocal_ranks(embedder, [" ".join(e.query) for e in examples], documents)


def prose_score(embedder: Embedder, examples: Sequence[Example]) -> NDArray[np.float32]:
    """Reciprocal ranks of each example's first sentence, a summary, for its second [fewer]."""
    two = [example for example in examples if example.rest]
    documents = [" ".join(view_of([], e.located, e.query)) for e in two]
    return _reciprocal_ranks(embedder, [" ".join(e.rest) for e in two], documents)


def _reciprocal_ranks(
    embedder: Embedder, queries: Sequence[str], documents: Sequence[str]
) -> NDArray[np.float32]:
    cosines = embedder.embed(queries, "query") @ embedder.embed(documents, "document").T
    own = np.diag(cosines)[:, None]
    ranks = 1 + (cosines > own).sum(axis=1)
    return np.where(ranks <= AT, 1 / ranks, 0).astype(np.float32)
