"""Which chunk of a file is shown: what the lanes say of it, and what it is named."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesearch.best_chunk import AskedNames, best_first, strengths
from codesearch.candidates import Candidate, Evidence, known, some
from codesearch.query import parse


def chunk(line: int, symbol: str = "", inside: tuple[str, ...] = ()) -> Candidate:
    names = tuple(name.lower() for name in inside or (symbol,) if name)
    return Candidate(
        f"c{line:03}", "api", "src/store.py", "python", "method", (), symbol, names, line, line + 9,
        inside or ((symbol,) if symbol else ()),
    )  # fmt: skip


def first(question: str, *chunks: Candidate, **text: float) -> Candidate:
    """The chunk shown when only BM25 tells them apart: by id, else nothing."""
    found = [text.get(one.chunk_id, 0.0) for one in chunks]
    strengths = [one / (max(found) or 1.0) for one in found]
    return best_first(AskedNames(parse(question)), chunks, strengths)[0][0]


def test_a_definition_named_after_the_question_goes_before_one_that_mentions_its_words() -> None:
    mentions, named = chunk(1, "Store.open"), chunk(50, "Store.replace_rows")
    assert first("where are rows replaced", mentions, named, c001=1.0, c050=0.6) == named


def test_the_text_decides_where_no_name_was_asked_for() -> None:
    one, other = chunk(1, "Store.open"), chunk(50, "Store.close")
    assert first("which rows are unknown", one, other, c001=0.2, c050=0.9) == other


def test_a_word_of_every_name_tells_less_than_a_rare_one() -> None:
    chunks = [chunk(n, f"row_{word}") for n, word in enumerate(("read", "count", "keep", "drop"))]
    assert first("drop a row", *chunks) == chunks[3]


def test_a_name_of_one_definition_tells_more_than_the_same_among_several() -> None:
    lone = chunk(1, "parse_header")
    group = chunk(50, "", ("parse_header_line", "trim", "fold", "parse_header"))
    assert first("parse header", group, lone) == lone


@pytest.mark.parametrize(
    ("question", "symbol"),
    [
        ("resolve the router", "Router.resolve"),
        ("thread pool", "Threadpool.run"),
        ("serializing", "Json.serialize"),
    ],
)
def test_names_fit_by_their_class_run_together_and_as_they_begin(
    question: str, symbol: str
) -> None:
    other = chunk(1, "Zebra.gallop")
    assert first(question, other, chunk(50, symbol)).symbol == symbol


def test_what_is_asked_for_by_its_name_goes_first_whatever_the_text_says() -> None:
    defines, uses = chunk(90, "Store.replace"), chunk(1, "caller")
    assert first("Store.replace", uses, defines, c001=1.0) == defines


@given(st.randoms(use_true_random=False), st.integers(1, 12))
def test_every_chunk_is_kept_once_best_first_however_they_come(random: object, count: int) -> None:
    shuffle = random.shuffle  # type: ignore[attr-defined]
    words = ["parse", "row", "header", "open", "Store"]
    chunks = [
        chunk(n, ".".join(random.sample(words, 2)))  # type: ignore[attr-defined]
        for n in range(count)
    ]
    said = {c: random.random() for c in chunks}  # type: ignore[attr-defined]
    asked = AskedNames(parse("open the row parser"))
    ordered = best_first(asked, chunks, list(said.values()))
    scores = [score for _, score in ordered]
    assert scores == sorted(scores, reverse=True)
    assert sorted(c.chunk_id for c, _ in ordered) == sorted(c.chunk_id for c in chunks)
    shuffle(chunks)
    assert best_first(asked, chunks, [said[c] for c in chunks]) == ordered


def test_each_lane_counts_against_the_best_chunk_of_a_file() -> None:
    chunks = [chunk(1), chunk(50), replace(chunk(1), chunk_id="d", path="src/other.py")]
    candidates = some(known(chunks), np.arange(3))
    lanes = {"bm25": np.array([0.2, 0.4, 0.1]), "vectors": np.array([0.5, 0.0, 0.0])}
    found = strengths(candidates, Evidence(lanes, np.zeros(2)))  # type: ignore[arg-type]
    assert [one.path for one in candidates.all()] == ["src/other.py", *["src/store.py"] * 2]
    assert found.tolist() == [2.0, 1.0, 0.25]
