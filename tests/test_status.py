"""How an index stands, in figures that agree with its tables."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from conftest import Workspace, WorkTree
from sample import sample

from codesearch.status import RepositoryStatus, statuses

__all__ = ["sample"]


def of(workspace: Workspace) -> dict[str, RepositoryStatus]:
    with workspace.open() as index:
        return {one.repo: one for one in statuses(workspace.settings, index.store)}


def test_a_finished_repository_has_a_summary_and_two_vectors_for_each_chunk(
    sample: Workspace,
) -> None:
    with sample.open() as index:
        rows = index.table("chunks").groupby("repo").size().to_dict()
    for name, one in of(sample).items():
        assert one.complete
        assert one.chunks == one.summaries == one.code_vectors == one.summary_vectors == rows[name]
        assert one.commit == WorkTree(sample.file.parent / name).git("rev-parse", "HEAD")
        assert one.subject == "first"
        assert sum(one.grades.values()) == one.summaries
        assert one.indexed_at is not None
        assert datetime.now(UTC) - one.indexed_at < timedelta(hours=1)


def test_files_are_counted_by_outcome_and_what_is_left_out_by_reason(sample: Workspace) -> None:
    one = of(sample)["api"]
    assert one.files == {"parsed": 4, "windows: no grammar": 1}
    assert one.skipped == {"binary": 1}


def test_before_the_first_run_there_are_no_figures(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    one = of(make_workspace(make_tree("api", {"a.py": "x = 1\n"})))["api"]
    assert (one.commit, one.chunks, one.files, one.indexed_at) == ("", 0, {}, None)


def test_one_count_that_lags_is_not_complete() -> None:
    def standing(summary_vectors: int) -> RepositoryStatus:
        return RepositoryStatus(
            "api", "c", "s", None, None, {}, {}, 3, 3, {"doc": 3}, 3, summary_vectors
        )

    assert standing(3).complete
    assert not standing(2).complete
    assert standing(2).as_dict()["complete"] is False
