"""A full-text index in memory: the scores of LanceDB's own, and the rows that hold a value."""

import tempfile
from collections.abc import Sequence

import lancedb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lancedb.query import MatchQuery

import codesearch.postings as postings_module
from codesearch.postings import Gathering, Postings, split
from codesearch_resources.store import full_text_index

WORDS = ("row", "rows", "parse", "header", "é", "x" * 39, "y" * 40, "é" * 20, "z" * 300)
TEXTS = st.lists(st.one_of(st.none(), st.lists(st.sampled_from(WORDS), max_size=30)), max_size=40)


def joined(texts: Sequence[Sequence[str] | None]) -> pa.StringArray:
    return pa.array([None if text is None else " ".join(text) for text in texts], pa.string())


def postings(texts: pa.StringArray, batch: int = 7) -> Postings:
    """Read as a table is: batch by batch."""
    gathering = Gathering()
    for start in range(0, len(texts), batch):
        gathering.add(split(texts.slice(start, batch)))
    return gathering.postings()


def best(found: Postings, words: Sequence[str], depth: int = 1_000) -> dict[int, float]:
    rows, scores = found.best(words, depth)
    return dict(zip(rows.tolist(), scores.tolist(), strict=True))


@settings(max_examples=15)
@given(TEXTS.filter(any), st.lists(st.sampled_from(WORDS[:6]), min_size=1, unique=True))
def test_rows_score_as_in_the_index_of_lancedb(
    texts: list[list[str] | None], words: list[str]
) -> None:
    column = joined(texts)
    with tempfile.TemporaryDirectory() as folder:
        table = lancedb.connect(folder).create_table(
            "t", pa.table({"row": pa.array(range(len(texts)), pa.int64()), "fts_text": column})
        )
        table.create_index("fts_text", config=full_text_index())
        query = MatchQuery(" ".join(words), "fts_text")
        found = table.search(query, query_type="fts").limit(1_000).to_arrow()
    expected = dict(zip(found["row"].to_pylist(), found["_score"].to_pylist(), strict=True))
    assert best(postings(column), words) == pytest.approx(expected, rel=1e-5)


@given(TEXTS, st.integers(1, 50))
def test_it_does_not_matter_in_what_batches_rows_come(
    texts: list[list[str] | None], batch: int
) -> None:
    column = joined(texts)
    assert best(postings(column, batch), WORDS) == best(postings(column), WORDS)


@given(TEXTS, st.integers(1, 10))
def test_the_best_are_the_best_and_of_equally_good_rows_the_first(
    texts: list[list[str] | None], depth: int
) -> None:
    found = postings(joined(texts))
    every = best(found, ["row", "parse"])
    ordered = sorted(every, key=lambda row: (-every[row], row))
    assert found.best(["row", "parse"], depth)[0].tolist() == ordered[:depth]


def test_a_rare_word_is_worth_more_than_a_common_one_and_a_short_text_more_than_a_long_one() -> (
    None
):
    found = postings(joined([["row", "parse"], ["row"], ["row"] + ["other"] * 9, ["header"]]))
    scores = best(found, ["row", "parse"])
    assert list(scores) == [0, 1, 2]


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=5), max_size=20))
def test_rows_are_found_by_the_values_they_hold(rows: list[list[str]]) -> None:
    gathering = Gathering()
    for start in range(0, len(rows), 3):
        gathering.add(pa.array(rows[start : start + 3], pa.list_(pa.string())))
    inverted = gathering.inverted()
    for asked in (["a"], ["b", "d"], ["e"], []):
        expected = [place for place, values in enumerate(rows) if {*asked} & {*values}]
        assert inverted.holding(asked).tolist() == expected


def test_values_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postings_module, "hash", lambda value: len(value), raising=False)
    gathering = Gathering()
    gathering.add(pa.array([["aa", "bb"], ["bb"], ["c"], ["cc"]], pa.list_(pa.string())))
    inverted = gathering.inverted()
    assert [inverted.holding([one]).tolist() for one in ("aa", "bb", "cc", "c", "dd", "e")] == [
        [0], [0, 1], [3], [2], [], []
    ]  # fmt: skip


def test_nothing_holds_anything_where_there_are_no_rows() -> None:
    assert best(Gathering().postings(), ["row"]) == {}
    assert best(postings(joined([None, []])), ["row"]) == {}
    assert Gathering().inverted().holding(["row"]).tolist() == []
