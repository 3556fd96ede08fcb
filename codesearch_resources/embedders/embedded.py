"""The embedder that needs no server, no key and no download: a static table of token vectors.

The table (256 numbers for each of 32,000 tokens) and its tokenizer come with the `wordllama`
package; they are read directly, since importing that package configures logging and costs three
times as much. A text's vector is the mean of its tokens' vectors, made unit length.
"""

from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesearch_resources.embedders.base import Document, Kind, check
from codesearch_resources.embedders.view import VIEW, view
from codesearch_resources.text import query_words

MODEL = "wordllama"
WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"


class EmbeddedEmbedder:
    """Static token vectors from a package: thousands of texts a second on one core."""

    id = f"{MODEL}_{VIEW}"
    dimensions = 256

    @cached_property
    def _stored(self) -> NDArray[np.float16]:
        from safetensors.numpy import load_file

        return load_file(_package() / WEIGHTS)["embedding.weight"]

    @cached_property
    def _table(self) -> NDArray[np.float32]:
        return self._stored.astype(np.float32)

    def _rows(self, ids: Sequence[int], kind: Kind) -> NDArray[np.float32]:
        # Widening all of it once pays for thousands of texts, and costs a lone query 0.1 CPU s.
        return self._stored[ids].astype(np.float32) if kind == "query" else self._table[ids]

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(_package() / TOKENIZER))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    def view(self, document: Document) -> str:
        """Words of names, then of the path, then each word of the text once."""
        return view(document)

    def embed(self, texts: Sequence[str], kind: Kind) -> NDArray[np.float32]:
        """Unit vectors [len(texts), 256], in order.

        Raises EmbeddingError for a text without any known token.
        """
        if kind == "query":
            texts = [" ".join(query_words(text)) or text for text in texts]
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        for row, encoding in zip(vectors, encodings, strict=True):
            if encoding.ids:
                row[:] = self._rows(encoding.ids, kind).mean(axis=0)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.divide(vectors, lengths, out=vectors, where=lengths > 0)
        check(vectors, texts, self.dimensions, self.id)
        return vectors


def _package() -> Path:
    """Where the package with the weights lies; found without importing it."""
    spec = find_spec(MODEL)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the package {MODEL}, which holds the weights, is not installed")
    return Path(spec.origin).parent
