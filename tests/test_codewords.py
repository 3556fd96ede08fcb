"""The embedder out of the package itself: every word has a vector, and a question is quick."""

import string
import sys
from pathlib import Path
from subprocess import run

import numpy as np
import pytest
from embedding_servers import around
from hypothesis import given, settings
from hypothesis import strategies as st

from codesearch_resources.embedders.base import Document, EmbeddingError
from codesearch_resources.embedders.codewords import SHIPPED, WORDS, CodewordsEmbedder, save
from codesearch_resources.embedders.make import make_embedder
from codesearch_resources.embedders.vocabulary import BUCKETS, Vocabulary
from codesearch_resources.settings_embedders import EmbeddedSettings
from codesearch_resources.text import words

MOST_BYTES = 10_000_000


OWN = CodewordsEmbedder()


@pytest.fixture
def embedder() -> CodewordsEmbedder:
    return OWN


def test_it_is_chosen_by_its_name(tmp_path: Path) -> None:
    own = make_embedder(EmbeddedSettings(kind="embedded", model="codewords"), around(tmp_path))
    other = make_embedder(EmbeddedSettings(kind="embedded", model="wordllama"), around(tmp_path))
    assert isinstance(own, CodewordsEmbedder)
    assert own.id != other.id


def test_it_fits_into_the_package(embedder: CodewordsEmbedder) -> None:
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) <= MOST_BYTES
    known = (SHIPPED / WORDS).read_text(encoding="utf-8").split("\n")
    assert len(set(known)) == len(known) == len(embedder._rows) - BUCKETS
    assert all(words(word) == [word] for word in known), "words as the splitter makes them"


@settings(deadline=None)  # the first one widens the table
@given(st.lists(st.text(min_size=1).filter(words), min_size=1, max_size=4))
def test_every_text_with_a_word_has_a_unit_vector(texts: list[str]) -> None:
    for kind in ("document", "query"):
        vectors = OWN.embed(texts, kind)  # type: ignore[arg-type]
        assert vectors.shape == (len(texts), 256)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-3)


def test_a_text_without_a_word_is_told(embedder: CodewordsEmbedder) -> None:
    with pytest.raises(EmbeddingError, match="no unit vector for '!'"):
        embedder.embed(["parse", "!"], "document")


def test_a_vector_depends_on_its_own_text_alone(embedder: CodewordsEmbedder) -> None:
    texts = ["parse header line", "retry after timeout", "zxqv"]
    together = embedder.embed(texts, "document")
    for row, text in zip(together, texts, strict=True):
        assert embedder.embed([text], "document")[0] == pytest.approx(row, abs=1e-6)
        assert embedder.embed([text], "query")[0] == pytest.approx(row, abs=1e-5)


def test_what_means_the_same_is_nearer_than_what_does_not(embedder: CodewordsEmbedder) -> None:
    asked = embedder.embed(["delete a directory and everything in it"], "query")[0]
    code = [
        Document("fs/tree.py", "python", ("rmtree",), "", "def rmtree(folder): os.unlink(entry)"),
        Document("net/socket.py", "python", ("connect",), "", "def connect(host): sock.bind(port)"),
    ]
    near, far = embedder.embed([embedder.view(document) for document in code], "document") @ asked
    assert near > far + 0.1


def test_an_unknown_word_is_what_it_is_made_of() -> None:
    vocabulary = Vocabulary(["string", "copy", "str"])
    assert vocabulary.ids(["copy", "stringcopy", "xstrcopyx"]) == [1, 0, 1, 2, 1]


letters = st.text(string.ascii_lowercase + string.digits + "é", min_size=1, max_size=30)


@given(st.lists(letters, max_size=20, unique=True), st.lists(letters))
def test_every_word_has_a_row_of_the_table(known: list[str], found: list[str]) -> None:
    vocabulary = Vocabulary(known)
    ids = vocabulary.ids(found)
    assert len(ids) >= len(found)
    assert all(0 <= row < vocabulary.rows for row in ids)
    assert vocabulary.ids(known) == list(range(len(known)))


def test_a_saved_table_comes_back_within_a_step_of_its_rows(tmp_path: Path) -> None:
    table = np.random.default_rng(1).normal(size=(2 + BUCKETS, 8)).astype(np.float32)
    save(tmp_path, ["one", "two"], table)
    read = CodewordsEmbedder(tmp_path)
    steps = np.abs(table).max(axis=1, keepdims=True) / 127
    assert (np.abs(read._table - table) <= steps).all()
    assert read.dimensions == 8


def test_a_question_loads_no_tokenizer() -> None:
    code = (
        "import sys\n"
        "from codesearch_resources.embedders.codewords import CodewordsEmbedder\n"
        "CodewordsEmbedder().embed(['parse a header'], 'query')\n"
        "print(*sys.modules)\n"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"tokenizers", "safetensors", "scipy"} & set(done.stdout.split())
