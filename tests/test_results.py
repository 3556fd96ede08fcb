"""results.db: what was paid for stays, whoever opens it and however it ended."""

import sqlite3
from pathlib import Path

import pytest

from codesearch_resources.results import RESULTS_FILE, SCHEMA_VERSION, Results, ResultsError
from codesearch_resources.summarizers.base import Summary


def written(text: str) -> Summary:
    return Summary(text, "model", "local", "some-model", "prompt-1")


def test_kept_summaries_are_there_after_opening_again(tmp_path: Path) -> None:
    first = Results(tmp_path)
    first.keep({"k1": written("It waits."), "k2": written("It's “quoted”; 100 %.")})
    first.close()
    again = Results(tmp_path)
    assert again.find(["k1", "k2", "k3"]) == {
        "k1": written("It waits."),
        "k2": written("It's “quoted”; 100 %."),
    }


def test_an_equal_key_keeps_its_first_text(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.keep({"k": written("First.")})
    results.keep({"k": written("Second."), "other": written("Third.")})
    assert {key: s.text for key, s in results.find(["k", "other"]).items()} == {
        "k": "First.",
        "other": "Third.",
    }


def test_more_keys_than_one_statement_takes_are_found(tmp_path: Path) -> None:
    results = Results(tmp_path)
    wanted = {f"k{n}": written(str(n)) for n in range(1_234)}
    results.keep(wanted)
    assert results.find(wanted) == wanted
    assert results.find([]) == {}


def test_keeping_nothing_writes_nothing(tmp_path: Path) -> None:
    results = Results(tmp_path)
    before = (tmp_path / RESULTS_FILE).read_bytes()
    results.keep({})
    assert (tmp_path / RESULTS_FILE).read_bytes() == before


def test_what_was_kept_survives_a_process_that_never_closed(tmp_path: Path) -> None:
    first = Results(tmp_path)
    first.keep({"k": written("Paid.")})
    assert Results(tmp_path).find(["k"]) == {"k": written("Paid.")}


def test_a_newer_schema_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    Results(tmp_path).close()
    with sqlite3.connect(tmp_path / RESULTS_FILE) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(ResultsError, match=f"schema {SCHEMA_VERSION + 1}.*Upgrade codesearch"):
        Results(tmp_path)
    with sqlite3.connect(tmp_path / RESULTS_FILE) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    assert version == SCHEMA_VERSION + 1


def test_a_damaged_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / RESULTS_FILE).write_bytes(b"not a database, " * 100)
    with pytest.raises(ResultsError, match="backup"):
        Results(tmp_path)
    assert (tmp_path / RESULTS_FILE).read_bytes().startswith(b"not a database")
