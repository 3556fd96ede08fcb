"""The splitter: one for indexing and for asking."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesearch_resources.text import (
    code_names,
    digest,
    key,
    parts,
    query_words,
    readable,
    stems,
    tokens,
    words,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("parseHttpRequest", ("parse", "http", "request")),
        ("HTTPServer_v2", ("http", "server", "v", "2")),
        ("XMLHttp2Request", ("xml", "http", "2", "request")),
        ("MAX_BYTES", ("max", "bytes")),
        ("__init__", ("init",)),
        ("搜索Index", ("搜索", "index")),
        ("_", ()),
    ],
)
def test_an_identifier_is_split_where_a_reader_would(name: str, expected: tuple[str, ...]) -> None:
    assert parts(name) == expected


def test_a_name_of_several_parts_is_indexed_joined_as_well() -> None:
    assert tokens("parseHttpRequest") == ["pars", "http", "request", "parsehttprequest"]
    assert tokens("retrying") == ["retri"]


def test_every_spelling_of_a_name_shares_its_tokens() -> None:
    assert tokens("parse_http") == tokens("parseHttp") == tokens("ParseHTTP")


def test_runs_too_long_to_be_names_are_not_indexed() -> None:
    assert tokens("a" * 65) == []
    assert tokens("a" * 64) != []


def test_stop_words_are_dropped_unless_nothing_else_is_asked() -> None:
    assert query_words("where is the retry") == ["retry"]
    assert query_words("where is the") == ["where", "is", "the"]


def test_words_keep_repeats_and_stems_are_stemmed_words() -> None:
    assert words("Retry retryCount") == ["retry", "retry", "count"]
    assert stems("retries retrying") == ["retri", "retri"]


def test_code_names_are_the_words_spelled_like_code() -> None:
    asked = "where does `parseHttp` call self.send() and MAX_SIZE, not plain words"
    assert code_names(asked) == ["parseHttp", "self.send", "MAX_SIZE"]


def test_bytes_of_another_encoding_become_question_marks() -> None:
    assert readable("caf\udce9") == "caf?"
    assert readable("café") == "café"


def test_keys_tell_values_apart_and_stay_the_same() -> None:
    assert key(["a", "b"]) == key(["a", "b"])
    assert key(["a", "b"]) != key(["ab"])
    assert len(key([])) == 32
    assert digest(1, "2") != digest(1, "3")


@given(st.text())
def test_any_text_is_split_into_lower_case_words_without_blanks(text: str) -> None:
    for token in tokens(text):
        assert token
        assert not any(sign.isspace() for sign in token)
    assert all(word == word.lower() for word in words(text))
