"""results.db: what was paid for stays, whoever opens it and however it ended."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from codesearch_resources.data_dir import RESULTS_FILE
from codesearch_resources.results import SCHEMA_VERSION, Results, ResultsError
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


VERSION_1 = """
CREATE TABLE summaries (key VARCHAR NOT NULL, summary VARCHAR NOT NULL, provider VARCHAR NOT NULL,
    model VARCHAR NOT NULL, prompt_version VARCHAR NOT NULL, created_at DATETIME NOT NULL,
    PRIMARY KEY (key));
CREATE TABLE slices (repo VARCHAR NOT NULL, served_at DATETIME NOT NULL, ended VARCHAR NOT NULL,
    next_at DATETIME NOT NULL, PRIMARY KEY (repo));
INSERT INTO summaries VALUES ('k', 'It waits.', 'local', 'some-model', 'prompt-1',
    '2026-01-02 03:04:05.000000');
INSERT INTO slices VALUES ('api', '2026-01-02 03:04:05.000000', 'time',
    '2026-01-02 03:04:05.000000');
PRAGMA user_version = 1;
"""


def columns(file: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(file)) as connection:
        names = connection.execute("select name from sqlite_master where type = 'table'")
        return {
            name: sorted(row[1:] for row in connection.execute(f"PRAGMA table_info({name})"))
            for (name,) in names.fetchall()
        }


def test_a_file_of_the_first_version_is_brought_up_with_all_it_holds(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    with closing(sqlite3.connect(old / RESULTS_FILE)) as connection:
        connection.executescript(VERSION_1)
    for _ in range(2):  # the second time there is nothing to do
        with closing(Results(old)) as results:
            assert results.find(["k"]) == {"k": written("It waits.")}
            assert results.slices()["api"].ended == "time"
            assert results.reopened(["k"]) == set()
    Results(new).close()
    found, wanted = columns(old / RESULTS_FILE), columns(new / RESULTS_FILE)
    assert {t: [c[:2] for c in cs] for t, cs in found.items()} == {
        t: [c[:2] for c in cs] for t, cs in wanted.items()
    }


def test_a_key_on_the_list_again_is_served_and_takes_the_next_text(tmp_path: Path) -> None:
    with closing(Results(tmp_path)) as results:
        results.keep({"a": written("Old."), "b": written("Other.")})
        before = results.state()
        assert results.reopen(["a", "gone"]) == 1
        assert results.reopen(["a"]) == 0
        assert results.state() != before
        assert results.find(["a"])["a"].text == "Old."
        assert results.reopened(["a", "b"]) == {"a"}
        results.keep({"a": written("New."), "b": written("Not this.")})
        assert results.reopened(["a", "b"]) == set()
        assert {key: s.text for key, s in results.find(["a", "b"]).items()} == {
            "a": "New.",
            "b": "Other.",
        }
        assert set(results.replaced(["a", "b"])) == {"a"}


def test_what_nobody_wants_is_dropped_after_ninety_days_and_not_before(tmp_path: Path) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with closing(Results(tmp_path)) as results:
        results.keep({key: written(key) for key in ("kept", "gone", "back")})
        assert results.drop_unreferenced(["kept"], start) == 0
        assert results.drop_unreferenced(["kept", "back"], start + timedelta(days=50)) == 0
        assert results.drop_unreferenced(["kept"], start + timedelta(days=89)) == 0
        assert results.drop_unreferenced(["kept"], start + timedelta(days=91)) == 1
        assert set(results.find(["kept", "gone", "back"])) == {"kept", "back"}
