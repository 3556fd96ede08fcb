"""Learning the table: what belongs together is drawn together, row by row, in plain numpy.

A description and its code are both a mean of word vectors, made unit length. In a batch each
description must find its own code among all, and the other way round (a softmax over cosines both
ways, van den Oord et al. 2018, "InfoNCE"); rows move by Adagrad (Duchi et al. 2011), one step size
a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

Rows = NDArray[np.int32]
Table = NDArray[np.float32]


@dataclass(frozen=True)
class Recipe:
    """Every number that learning depends on besides the examples."""

    seed: int = 1
    dimensions: int = 256
    steps: int = 1_000
    batch: int = 512
    together: int = 128  # of a batch, from one package: neighbours are the hard ones to tell apart
    temperature: float = 0.05
    rate: float = 0.05  # falls to a tenth
    drop_document: float = 0.4  # of the words, each time anew
    drop_query: float = 0.2
    bare: float = 0.25  # of the documents lose their names and path
    prose: float = 0.15  # of the pairs have the description as the document
    named: float = 0.1  # of the pairs ask with the name alone
    second: float = 0.25  # of those with two sentences are asked for by the second
    pull: float = 0.0  # a step's move back towards the start


@dataclass(frozen=True)
class Pair:
    """An example as rows of the table."""

    query: Rows
    rest: Rows
    names: Rows
    located: Rows
    body: Rows


def learn(start: Table, groups: Sequence[Sequence[Pair]], recipe: Recipe) -> Table:
    """The table after learning from `groups` of pairs, one a package; `start` is left alone."""
    rng = np.random.default_rng(recipe.seed)
    table = start.copy()
    squares = np.full(len(table), 1e-8, dtype=np.float32)
    for step in range(recipe.steps):
        shown = [_asked_and_shown(pair, recipe, rng) for pair in _batch(groups, recipe, rng)]
        queries = _dropped([asked for asked, _ in shown], recipe.drop_query, rng)
        documents = _dropped([document for _, document in shown], recipe.drop_document, rng)
        rows, gradient = _gradient(table, queries, documents, recipe.temperature)
        squares[rows] += (gradient**2).mean(axis=1)
        rate = recipe.rate * (1 - 0.9 * step / recipe.steps)
        table[rows] -= rate * gradient / np.sqrt(squares[rows])[:, None]
        if recipe.pull:
            table[rows] += recipe.pull * (start[rows] - table[rows])
    return table


def _batch(
    groups: Sequence[Sequence[Pair]], recipe: Recipe, rng: np.random.Generator
) -> list[Pair]:
    """Pairs drawn evenly, in runs from one package."""
    sizes = np.array([len(group) for group in groups], dtype=float)
    batch: list[Pair] = []
    while len(batch) < recipe.batch:
        group = groups[rng.choice(len(groups), p=sizes / sizes.sum())]
        wanted = min(recipe.together, len(group), recipe.batch - len(batch))
        batch += [group[at] for at in rng.choice(len(group), wanted, replace=False)]
    return batch


def _asked_and_shown(pair: Pair, recipe: Recipe, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """What is asked of a pair and the document that answers it, in one of the forms of use."""
    form = rng.random()
    if form < recipe.prose:
        asked = pair.rest if len(pair.rest) else pair.names
        return (asked if len(asked) else pair.query), np.concatenate([pair.located, pair.query])
    if form < recipe.prose + recipe.named and len(pair.names):
        return pair.names, np.concatenate([pair.located, pair.body])
    second = len(pair.rest) and rng.random() < recipe.second
    asked = pair.rest if second else pair.query
    if rng.random() < recipe.bare and len(pair.body):
        return asked, pair.body
    return asked, document(pair)


def document(pair: Pair) -> Rows:
    """The rows of a pair's code as the embedder's view has them: names twice, the rest once."""
    names = np.unique(pair.names)
    return np.concatenate([names, np.unique(np.concatenate([names, pair.located, pair.body]))])


def _dropped(bags: list[Rows], share: float, rng: np.random.Generator) -> csr_array:
    """Bags of rows as means, some of each left out: a matrix [bags, rows of the table]."""
    kept = []
    for bag in bags:
        stays = bag[rng.random(len(bag)) >= share]
        kept.append(stays if len(stays) else bag)
    return means(kept)


def means(bags: Sequence[Rows]) -> csr_array:
    """The matrix that takes the mean of each bag's rows: [bags, highest row + 1]."""
    sizes = np.array([len(bag) for bag in bags])
    ends = np.concatenate([[0], np.cumsum(sizes)])
    return csr_array((np.repeat(1 / sizes, sizes).astype(np.float32), np.concatenate(bags), ends))


def _gradient(
    table: Table, queries: csr_array, documents: csr_array, temperature: float
) -> tuple[Rows, Table]:
    """The rows that a batch touches, each once, and the loss's gradient on them."""
    rows, places = np.unique(
        np.concatenate([queries.indices, documents.indices]), return_inverse=True
    )
    used, split = table[rows], len(queries.indices)
    asks = csr_array((queries.data, places[:split], queries.indptr), (queries.shape[0], len(rows)))
    shows = csr_array(
        (documents.data, places[split:], documents.indptr), (documents.shape[0], len(rows))
    )
    asked, asked_length = unit(asks @ used)
    shown, shown_length = unit(shows @ used)
    logits = asked @ shown.T / temperature
    error: Table = ((_softmax(logits) + _softmax(logits.T).T) / 2).astype(np.float32)
    error[np.diag_indices(len(error))] -= 1
    error /= temperature * len(error)
    pulled: Table = error @ shown
    pushed: Table = error.T @ asked
    to_asked = _through_unit(pulled, asked, asked_length)
    to_shown = _through_unit(pushed, shown, shown_length)
    return rows, asks.T @ to_asked + shows.T @ to_shown


def unit(vectors: Table) -> tuple[Table, Table]:
    """Vectors made unit length, and the lengths they had [n, 1]."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-8
    return vectors / lengths, lengths


def _through_unit(gradient: Table, directions: Table, lengths: Table) -> Table:
    along = (gradient * directions).sum(axis=1, keepdims=True)
    through: Table = (gradient - along * directions) / lengths
    return through


def _softmax(logits: Table) -> Table:
    powers: Table = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Table = powers / powers.sum(axis=1, keepdims=True)
    return shares
