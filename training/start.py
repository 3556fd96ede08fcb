"""Where learning starts: the vocabulary, and first vectors that owe nothing to any other model.

The first vectors are latent semantic analysis (Deerwester et al. 1990): words that stand in the
same pieces of code, or in the same descriptions, begin close to each other.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from codesearch_resources.embedders.vocabulary import Vocabulary
from training.learn import Pair, Rows, Table
from training.pairs import Example

MOST_WORDS = 32_000
FEWEST_PACKAGES = 3  # a word of one package is its own affair
LONGEST_WORD = 24
MOST_BAGS = 100_000  # that the first vectors are made of; more change little
OVERSAMPLED, PASSES = 32, 3


def known_words(examples: Sequence[Example]) -> list[str]:
    """The words with rows of their own: the most frequent that several packages use."""
    counts: Counter[str] = Counter()
    packages: dict[str, set[str]] = {}
    for example in examples:
        for word in _all_words(example):
            counts[word] += 1
            packages.setdefault(word, set()).add(example.package)
    usual = [
        word
        for word, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        if len(packages[word]) >= FEWEST_PACKAGES and len(word) <= LONGEST_WORD and word.isascii()
    ]
    return usual[:MOST_WORDS]


def _all_words(example: Example) -> set[str]:
    return {*example.query, *example.rest, *example.names, *example.located, *example.body}


def as_pair(example: Example, vocabulary: Vocabulary) -> Pair:
    """An example as rows."""
    parts = (example.query, example.rest, example.names, example.located, example.body)
    return Pair(*(np.array(vocabulary.ids(part), dtype=np.int32) for part in parts))


def first_table(pairs: Sequence[Pair], rows: int, dimensions: int, seed: int) -> Table:
    """Unit vectors [rows, dimensions] of words by what they stand beside.

    A row that no pair holds gets a short random vector.
    """
    rng = np.random.default_rng(seed)
    bags = list(_bags(pairs))
    bags = bags[:: 1 + len(bags) // MOST_BAGS]
    sizes = np.array([len(bag) for bag in bags])
    ends = np.concatenate([[0], np.cumsum(sizes)])
    counts = csr_array(
        (np.ones(ends[-1], np.float32), np.concatenate(bags), ends), (len(bags), rows)
    )
    holding = np.asarray(counts.sum(axis=0)).ravel()
    rarity = np.log(len(bags) / (1 + holding)).clip(0)
    weighted = diags_array(1 / np.sqrt(sizes)) @ counts @ diags_array(rarity)
    directions, strengths = _principal(weighted.astype(np.float32), dimensions, rng)
    found = directions * np.sqrt(strengths)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    unknown = rng.normal(size=found.shape) / np.sqrt(dimensions)
    table: Table = np.where(lengths > 1e-6, found / np.maximum(lengths, 1e-6), 0.3 * unknown)
    return table.astype(np.float32)


def _principal(
    matrix: csr_array, wanted: int, rng: np.random.Generator
) -> tuple[Table, NDArray[np.float32]]:
    """Right singular vectors and values, by subspace iteration (Halko et al. 2011, 4.4)."""
    width = min(wanted + OVERSAMPLED, *matrix.shape)
    basis = rng.normal(size=(matrix.shape[1], width)).astype(np.float32)
    for _ in range(PASSES):
        basis, _ = np.linalg.qr(matrix.T @ (matrix @ basis))
    _, values, mixed = np.linalg.svd(matrix @ basis, full_matrices=False)
    return (basis @ mixed.T)[:, :wanted], values[:wanted]


def _bags(pairs: Iterable[Pair]) -> Iterator[Rows]:
    for pair in pairs:
        yield np.unique(np.concatenate([pair.query, pair.names, pair.located, pair.body]))
        if len(pair.query):
            yield np.unique(np.concatenate([pair.query, pair.rest, pair.names]))
