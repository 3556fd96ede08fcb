"""Summaries in slices: a slow summarizer keeps nobody from being refreshed, nor from stand-ins."""

import math
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from indexes import CutHere, FakeModel, Line
from unattended import REPOS, World, copied, make_template, names

from codesearch_assets import chunks as chunks_module
from codesearch_assets import summaries as summaries_module
from codesearch_assets.freshness import needs_summarise
from codesearch_assets.summaries import SummariesResult, refresh_summaries
from codesearch_resources.embedders.embedded import EmbeddedEmbedder
from codesearch_resources.results import Results
from codesearch_resources.store import of_repo
from codesearch_resources.summarizers.base import Piece, Summary
from codesearch_resources.summarizers.order import Order, Summarizer

SLICE = 0.4  # seconds
PACE = 0.1  # seconds a summary
FUNCTIONS = 12


class SlowModel(FakeModel):
    """A provider that takes its time, as a language model on a small machine does."""

    pace = PACE

    def summarize(
        self, pieces: Sequence[Piece], order: Order
    ) -> Generator[tuple[Piece, Summary], None, None]:
        for answer in super().summarize(pieces, order):
            time.sleep(self.pace)
            yield answer


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


@pytest.fixture
def model() -> SlowModel:
    return SlowModel()


@pytest.fixture
def world(
    template: Path, tmp_path: Path, model: SlowModel, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """Three repositories with twelve functions each, of which only the first is summarised."""

    def in_a_slice(*arguments: Any, seconds: float, **others: Any) -> SummariesResult:
        assert seconds == 30 * 60  # what the settings say by default
        return refresh_summaries(*arguments, seconds=SLICE, **others)

    monkeypatch.setattr(chunks_module, "CuttingProcess", CutHere)
    monkeypatch.setattr(summaries_module, "refresh_summaries", in_a_slice)
    with copied(template, tmp_path / "world", resources={"summarizer": model}) as made:
        for name in REPOS:
            made.trees[name].commit(functions(name))
        yield made


def functions(repo: str) -> dict[str, str]:
    return {
        f"{repo}_{n}.py": f"def {repo}_{n}(value):\n    total = value + {n}\n    return total\n"
        for n in range(FUNCTIONS)
    }


def grades(world: World, repo: str) -> Counter[str]:
    rows = world.store().read("summaries", ["grade"], of_repo(repo))
    return Counter(rows["grade"].to_pylist())


def metadata(result: Any, asset: str) -> dict[str, Any]:
    [event] = [
        event
        for event in result.get_asset_materialization_events()
        if event.asset_key.to_user_string() == asset
    ]
    found = event.step_materialization_data.materialization.metadata
    return {name: value.value for name, value in found.items()}


def test_slices_leave_room_for_refreshes_and_reach_every_repository(
    world: World, model: SlowModel
) -> None:
    """The whole story of a night: refresh all, slice after slice, a commit in the middle."""
    requests = world.tick("nightly").run_requests
    assert names(requests) == [("refresh", name) for name in REPOS]
    for request in requests:
        assert world.run(request).success
    served: list[str] = []
    for _ in range(3):
        world.clock.time += timedelta(minutes=1)
        [request] = world.tick("nightly").run_requests
        assert request.job_name == "summarise"
        started = time.monotonic()
        result = world.run(request)
        assert result.success
        assert time.monotonic() - started < 30
        served.append(str(request.partition_key))
        found = metadata(result, "summaries")
        assert found["ended"] == "time"
        assert 0 < found["summarised_now"] <= SLICE / PACE + 1
        assert found["remainder"] > 0
        assert found["coverage"] == round(1 - found["remainder"] / found["summaries"], 4)
        [check] = [c for c in result.get_asset_check_evaluations() if c.check_name == "coverage"]
        assert not check.passed
        assert f"{served[-1]} ({found['remainder']})" in str(check.description)
        # Every chunk of it has some summary now, and a vector of it.
        chunks = world.store().count("chunks", of_repo(served[-1]))
        assert sum(grades(world, served[-1]).values()) == chunks > FUNCTIONS
        assert metadata(result, "summary_embeddings")["vectors"] == chunks
    # Nobody had a second slice before everybody had a first.
    assert sorted(served) == sorted(REPOS)
    paid = len(model.asked)

    # A commit, while two hundred slices' worth of work is left.
    head = world.trees["lib"].commit({"fresh.py": "def fresh():\n    return 7\n"})
    world.clock.to(3)
    requests = world.tick("nightly").run_requests
    assert names(requests)[0] == ("refresh", "lib")
    assert world.run(requests[0]).success
    assert world.store().repository_row("lib")["code_embeddings_commit"] == head
    assert [r.job_name for r in requests[1:]] in ([], ["summarise"])
    for _ in range(3):  # at the latest the next round gives its new chunk a stand-in
        world.clock.time += timedelta(minutes=1)
        [request] = world.tick("nightly").run_requests
        assert world.run(request).success
    assert sum(grades(world, "lib").values()) == world.store().count("chunks", of_repo("lib"))

    # And it ends: with a quick provider the rest is written, nothing is paid for twice.
    model.pace = 0.0
    for _ in range(4):
        world.clock.time += timedelta(minutes=1)
        for request in world.tick("nightly").run_requests:
            result = world.run(request)
            assert result.success
            assert metadata(result, "summaries")["ended"] == "done"
    assert world.asked("nightly") == []
    assert metadata(result, "summaries")["coverage"] == 1.0
    assert len(model.asked) > paid
    assert len({piece.content_hash for piece in model.asked}) == len(model.asked)
    for name in REPOS:
        assert set(grades(world, name)) <= {"model", "doc"}


def work(world: World, summarizer: Summarizer, seconds: float = math.inf) -> SummariesResult:
    """One slice for `api`, without Dagster."""
    with closing(Results(world.settings.data_dir)) as results:
        return refresh_summaries(world.store(), results, "api", summarizer, seconds=seconds)


def test_without_any_time_every_chunk_has_its_stand_in_all_the_same(
    world: World, model: SlowModel
) -> None:
    world.finish("api")
    world.trees["api"].commit({"more.py": "def more():\n    return 1\n"})
    line = Line(world.settings.data_dir, world.trees["api"])
    line.refresh()
    line.results.close()
    found = work(world, model, 0.0)
    assert found.ended == "time"
    assert found.summarised <= 1
    assert sum(found.grades.values()) == world.store().count("chunks", of_repo("api"))


def test_a_denied_slice_says_so_and_the_next_one_goes_on_from_there(world: World) -> None:
    world.finish("api")
    found = work(world, FakeModel(most=3))
    assert (found.ended, found.summarised, found.grades["model"]) == ("denied", 3, 3)
    with closing(Results(world.settings.data_dir)) as results:
        assert needs_summarise(world.store(), results, "api", EmbeddedEmbedder(), FakeModel())
    remainder = found.remainder
    found = work(world, rest := FakeModel())
    assert (found.ended, found.remainder, found.summarised) == ("done", 0, remainder)
    assert len(rest.asked) == remainder
