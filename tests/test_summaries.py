"""summaries: every chunk has one at every moment, and nothing is paid for twice."""

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import Workspace, WorkTree
from indexes import EXTRACTIVE, CutHere, FakeModel, Line, moved, versions

from codesearch_assets import chunks as chunks_module
from codesearch_assets import summaries as summaries_module
from codesearch_assets.chunks import NothingUpstream
from codesearch_assets.runs import index
from codesearch_assets.summaries import refresh_summaries
from codesearch_assets.summary_list import needs_summaries
from codesearch_resources.store import of_repo
from codesearch_resources.summarizers.base import Piece, Summary
from codesearch_resources.summarizers.chain import Chain
from codesearch_resources.summarizers.order import Order

FILES = {
    f"{name}.py": f"def {name}(value):\n    return value + {n}\n"
    for n, name in enumerate(["alpha", "bravo", "charlie", "delta"])
}
DOCUMENTED = 'def wait(s):\n    """Wait until the server takes the next request."""\n    sleep(s)\n'


@pytest.fixture(autouse=True)
def _cut_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "CuttingProcess", CutHere)


def by_path(line: Line, *columns: str) -> dict[str, tuple[Any, ...]]:
    found = line.store.read("summaries", ["path", *columns], of_repo(line.entry.name)).to_pylist()
    return {row["path"]: tuple(row[c] for c in columns) for row in found}


def summarise(line: Line) -> summaries_module.SummariesResult:
    return refresh_summaries(line.store, line.results, line.entry.name, line.summarizer)


def test_a_model_writes_what_no_doc_comment_says(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    fake = FakeModel()
    line = Line(tmp_path / "d", make_tree("api", {**FILES, "wait.py": DOCUMENTED}), summarizer=fake)
    line.refresh()
    result = summarise(line)
    assert (result.grades, result.remainder, result.summarised) == ({"model": 4, "doc": 1}, 0, 4)
    grades = by_path(line, "grade", "provider", "model", "prompt_version")
    assert grades["alpha.py"] == ("model", "fake", "fake-1", "prompt-1")
    assert grades["wait.py"][0] == "doc"
    assert "wait" not in {piece.symbol for piece in fake.asked}


def test_a_provider_that_stops_leaves_stand_ins_and_goes_on_where_it_stopped(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    fake = FakeModel(most=1)
    line = Line(tmp_path / "d", make_tree("api", FILES), summarizer=fake)
    line.refresh()
    result = summarise(line)
    assert (result.grades, result.remainder) == ({"model": 1, "stand_in": 3}, 3)
    assert all(text for (text,) in by_path(line, "summary").values())
    assert needs_summaries(line.store, line.results, "api", fake)
    fake.most = None
    result = summarise(line)
    assert (result.grades, result.remainder, result.summarised) == ({"model": 4}, 0, 3)
    assert len({piece.content_hash for piece in fake.asked}) == len(fake.asked) == 4
    assert not needs_summaries(line.store, line.results, "api", fake)


def test_a_summarizer_that_dies_loses_nothing_that_it_was_paid_for(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    class Dying(FakeModel):
        def summarize(
            self, pieces: Sequence[Piece], order: Order
        ) -> Generator[tuple[Piece, Summary], None, None]:
            for answer in super().summarize(pieces, order):
                if len(self.asked) == 3:
                    raise ConnectionError
                yield answer

    line = Line(tmp_path / "d", make_tree("api", FILES), summarizer=Dying())
    line.refresh()
    with pytest.raises(ConnectionError):
        summarise(line)
    line.summarizer = fake = FakeModel()
    assert summarise(line).grades == {"model": 4}
    assert len(fake.asked) == 1


def test_what_was_paid_for_but_not_shown_yet_is_shown_by_the_next_run(
    make_tree: Callable[..., WorkTree], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment between results.db and the table."""
    fake = FakeModel()
    line = Line(tmp_path / "d", make_tree("api", FILES), summarizer=fake)
    line.refresh()
    own = line.store.upsert

    def upsert(name: str, rows: Any) -> int:
        if name == "summaries" and "model" in rows["grade"].to_pylist():
            raise KeyboardInterrupt
        return own(name, rows)

    with monkeypatch.context() as patch:
        patch.setattr(line.store, "upsert", upsert)
        with pytest.raises(KeyboardInterrupt):
            summarise(line)
    assert len(fake.asked) == 4
    assert summarise(line).grades == {"model": 4}
    assert len(fake.asked) == 4


def test_a_row_that_moves_keeps_what_was_paid_for(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    """Another chunker version may give a chunk of the same text another kind."""
    import pyarrow as pa

    fake = FakeModel()
    line = Line(tmp_path / "d", make_tree("api", FILES), summarizer=fake)
    line.run()
    texts = by_path(line, "summary")
    chunk_rows = line.store.read("chunks", line.store.specs["chunks"].schema.names)
    changed = chunk_rows.set_column(
        chunk_rows.schema.get_field_index("kind"),
        "kind",
        pa.array(["method"] * chunk_rows.num_rows),
    )
    line.store.upsert("chunks", changed)
    assert summarise(line).grades == {"model": 4}
    assert by_path(line, "summary") == texts
    assert set(by_path(line, "kind").values()) == {("method",)}
    assert len(fake.asked) == 4


def test_a_better_chain_is_used_and_a_poorer_one_takes_nothing_away(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    line = Line(tmp_path / "d", make_tree("api", FILES))
    line.run()
    assert not needs_summaries(line.store, line.results, "api", line.summarizer)
    line.summarizer = fake = FakeModel()
    assert needs_summaries(line.store, line.results, "api", line.summarizer)
    assert summarise(line).grades == {"model": 4}
    line.summarizer = Chain([EXTRACTIVE])
    before = versions(line.store)
    assert summarise(line).grades == {"model": 4}
    assert moved(before, versions(line.store)) == set()
    assert len(fake.asked) == 4


def test_a_summarizer_sees_only_what_the_key_covers(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    fake = FakeModel()
    line = Line(tmp_path / "d", make_tree("api", FILES), summarizer=fake)
    line.run()
    seen = {name for piece in fake.asked for name in piece.__slots__}
    assert seen.isdisjoint({"path", "repo", "start_line", "commit"})


def test_without_chunks_it_says_what_to_do_first(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    line = Line(tmp_path / "d", make_tree("api", FILES))
    with pytest.raises(NothingUpstream, match="materialise chunks first"):
        summarise(line)


def test_a_summarizer_given_as_a_resource_decides_and_writes(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    workspace = make_workspace(make_tree("api", FILES))
    fake = FakeModel(most=2)

    def run() -> list[str]:
        outcomes = index(
            workspace.settings, workspace.settings.repositories, resources={"summarizer": fake}
        )
        assert [o.error for o in outcomes if o.error] == []
        return [outcome.job for outcome in outcomes]

    assert run() == ["refresh", "summarise"]
    fake.most = None
    assert run() == ["summarise"]  # the remainder is worked on, since a model could
    assert run() == []
    assert len(fake.asked) == 4
    with workspace.open() as opened:
        assert opened.table("summaries")["grade"].tolist() == ["model"] * 4
        assert "number" in opened.search("alpha")[0].summary
