"""The assets one by one, as Dagster runs them: what they write, what they say, how they fail."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

import dagster as dg
import pytest
from conftest import Workspace, WorkTree

from codesearch_assets import slow_files
from codesearch_assets.definitions import ASSETS, build
from codesearch_assets.partitions import COMMIT_TAG
from codesearch_resources.dagster import configured
from codesearch_resources.results import Results
from codesearch_resources.summarizers.base import Piece, Summary, summary_key
from codesearch_resources.summarizers.order import Order

ADD = "def add(left, right):\n    return left + right\n"
SUB = "def subtract(left, right):\n    return left - right\n"


class Mine:
    """A summarizer as a user would write one."""

    name = "mine"
    grade = "model"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def summarize(
        self, pieces: Sequence[Piece], order: Order
    ) -> Generator[tuple[Piece, Summary], None, None]:
        for piece in pieces:
            self.asked.append(piece.symbol)
            text = f"Mine on {piece.symbol}."
            summary = Summary(text, "model", "mine", "mine-1", "p1")
            order.results.keep({summary_key(piece.content_hash): summary})
            yield piece, summary

    def given_up(self, results: Results, keys: Sequence[str]) -> set[str]:
        return set()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        instance.add_dynamic_partitions("repositories", ["api", "gone"])
        yield instance


@pytest.fixture
def materialize(
    instance: dg.DagsterInstance,
) -> Callable[..., dg.ExecuteInProcessResult]:
    """Materialise assets of one repository, by default `api`; a failure is a result, not raised."""

    def run(
        workspace: Workspace,
        *names: str,
        partition: str = "api",
        tags: Mapping[str, str] | None = None,
        resources: Mapping[str, object] | None = None,
    ) -> dg.ExecuteInProcessResult:
        assets = [asset for asset in ASSETS if not names or asset.key.to_user_string() in names]
        return dg.materialize(
            assets,
            instance=instance,
            partition_key=partition,
            tags=dict(tags or {}),
            resources={**configured(str(workspace.file)), **(resources or {})},
            raise_on_error=False,
        )

    return run


def metadata(result: dg.ExecuteInProcessResult, name: str) -> dict[str, object]:
    [found] = result.asset_materializations_for_node(name)
    return {key: value.value for key, value in found.metadata.items()}


def versions(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    return {
        event.materialization.asset_key.to_user_string(): event.materialization.tags[
            "dagster/data_version"
        ]
        for event in (e.event_specific_data for e in result.get_asset_materialization_events())
    }


def failure(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    [event] = [event for event in result.all_node_events if event.is_step_failure]
    told = event.step_failure_data.user_failure_data
    assert told is not None, "the failure is an exception with a trace, not a sentence"
    return str(told.description)


def check_summaries_are_mine(workspace: Workspace, mine: Mine) -> None:
    with workspace.open() as opened:
        rows = opened.table("summaries")
        chunks = opened.table("chunks")
    assert len(rows) == len(chunks) == 2
    assert set(zip(rows.provider, rows.model, rows.grade, strict=True)) == {
        ("mine", "mine-1", "model")
    }
    assert sorted(rows.summary) == ["Mine on add.", "Mine on subtract."]
    results = Results(workspace.settings.data_dir)
    kept = results.find(map(summary_key, chunks.content_hash))
    results.close()
    assert sorted(summary.text for summary in kept.values()) == sorted(rows.summary)
    assert sorted(mine.asked) == ["add", "subtract"]


def test_a_summarizer_of_ones_own_is_given_by_resources_alone(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    instance: dg.DagsterInstance,
) -> None:
    workspace = make_workspace(make_tree("api", {"add.py": ADD, "sub.py": SUB}))
    mine = Mine()
    definitions = build(str(workspace.file), resources={"summarizer": mine})
    for job in ("refresh", "summarise"):
        done = definitions.resolve_job_def(job).execute_in_process(
            instance=instance, partition_key="api"
        )
        assert done.success
    check_summaries_are_mine(workspace, mine)


def test_dagsters_own_materialize_takes_a_summarizer_and_never_pays_twice(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    materialize: Callable[..., dg.ExecuteInProcessResult],
) -> None:
    workspace = make_workspace(make_tree("api", {"add.py": ADD, "sub.py": SUB}))
    mine = Mine()
    result = materialize(workspace, resources={"summarizer": mine})
    assert result.success
    check_summaries_are_mine(workspace, mine)
    said = metadata(result, "summaries")
    assert (said["summarizer"], said["summarised_now"], said["remainder"]) == ("mine", 2, 0)
    again = materialize(workspace, "summaries", resources={"summarizer": mine})
    assert metadata(again, "summaries")["summarised_now"] == 0
    check_summaries_are_mine(workspace, mine)


def test_code_vectors_come_before_summaries_when_one_run_has_both(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    materialize: Callable[..., dg.ExecuteInProcessResult],
    instance: dg.DagsterInstance,
) -> None:
    """A repository is searchable before the long work is begun."""
    result = materialize(make_workspace(make_tree("api", {"add.py": ADD})))
    order = [
        entry.step_key
        for entry in instance.all_logs(result.run_id, dg.DagsterEventType.STEP_SUCCESS)
    ]
    assert order == [
        "repo_snapshots", "chunks", "code_embeddings", "summaries", "summary_embeddings"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asset", "before"),
    [
        ("chunks", "repo_snapshots"),
        ("code_embeddings", "chunks"),
        ("summaries", "chunks"),
        ("summary_embeddings", "summaries"),
    ],
)
def test_an_asset_alone_says_which_one_comes_first(
    asset: str,
    before: str,
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    materialize: Callable[..., dg.ExecuteInProcessResult],
) -> None:
    told = failure(materialize(make_workspace(make_tree("api", {"add.py": ADD})), asset))
    assert told.startswith("api has no ")
    assert told.endswith(f"materialise {before} first")


def test_summary_vectors_want_summaries_not_only_chunks(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    materialize: Callable[..., dg.ExecuteInProcessResult],
) -> None:
    workspace = make_workspace(make_tree("api", {"add.py": ADD}))
    assert materialize(workspace, "repo_snapshots", "chunks").success
    told = failure(materialize(workspace, "summary_embeddings"))
    assert told == "api has no summaries yet: materialise summaries first"


def test_what_a_person_can_mend_is_one_sentence(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    materialize: Callable[..., dg.ExecuteInProcessResult],
) -> None:
    tree = make_tree("api", {"add.py": ADD})
    workspace = make_workspace(tree)
    unknown = failure(materialize(workspace, "repo_snapshots", partition="gone"))
    assert unknown == "no repository named 'gone'; there are: api"

    config = (tree.path / ".git").rename(tree.path / "elsewhere")
    assert str(tree.path) in failure(materialize(workspace, "repo_snapshots"))
    config.rename(tree.path / ".git")

    workspace.file.write_text("repositoriez: []\n")
    assert f"{workspace.file}:1" in failure(materialize(workspace, "repo_snapshots"))


def test_the_commit_is_pinned_by_the_runs_tag(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    materialize: Callable[..., dg.ExecuteInProcessResult],
) -> None:
    tree = make_tree("api", {"add.py": ADD})
    first = tree.git("rev-parse", "HEAD")
    second = tree.commit({"sub.py": SUB})
    workspace = make_workspace(tree)
    pinned = materialize(workspace, "repo_snapshots", "chunks", tags={COMMIT_TAG: first})
    assert {metadata(pinned, name)["commit"] for name in ("repo_snapshots", "chunks")} == {first}
    # Without a tag: the commit of the stored snapshot, unless a snapshot is taken.
    assert metadata(materialize(workspace, "chunks"), "chunks")["commit"] == first
    head = materialize(workspace, "repo_snapshots", "chunks")
    assert {metadata(head, name)["commit"] for name in ("repo_snapshots", "chunks")} == {second}


def test_equal_content_has_an_equal_data_version_whatever_the_commit(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    materialize: Callable[..., dg.ExecuteInProcessResult],
) -> None:
    """The commit in it would make everything downstream stale at every commit."""
    tree = make_tree("api", {"add.py": ADD})
    workspace = make_workspace(tree)
    first = versions(materialize(workspace))
    assert set(first) == {asset.key.to_user_string() for asset in ASSETS}
    tree.commit({}, "nothing")
    assert versions(materialize(workspace)) == first
    tree.commit({"sub.py": SUB})
    other = versions(materialize(workspace))
    assert all(other[name] != first[name] for name in first)
    tree.commit({"sub.py": None})
    assert versions(materialize(workspace)) == first


def test_metadata_has_the_numbers_of_each_run(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    materialize: Callable[..., dg.ExecuteInProcessResult],
) -> None:
    workspace = make_workspace(make_tree("api", {"add.py": ADD, "sub.py": SUB}))
    first, again = materialize(workspace), materialize(workspace)
    counts = {
        "repo_snapshots": "files",
        "chunks": "chunks",
        "code_embeddings": "vectors",
        "summaries": "summaries",
        "summary_embeddings": "vectors",
    }
    for name, count in counts.items():
        new, kept = metadata(first, name), metadata(again, name)
        assert new[count] == new["rows_written"] == kept[count] == 2
        assert (kept["rows_written"], kept["rows_deleted"]) == (0, 0)
        assert 0 < float(str(new["seconds"])) < 60
        # Dagster plots numbers only.
        assert all(isinstance(new[key], int) for key in (count, "rows_written", "rows_deleted"))
    assert metadata(again, "chunks")["files_cut_now"] == 0
    assert metadata(again, "chunks")["files_kept"] == 2
    assert metadata(again, "code_embeddings")["rows_kept"] == 2


def records(found: object) -> list[dict[str, object]]:
    return [dict(record.data) for record in found.records]  # type: ignore[attr-defined]


def test_metadata_has_small_tables_and_links(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    materialize: Callable[..., dg.ExecuteInProcessResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slow_files, "MOST", 2)
    big = "".join(ADD.replace("add", f"add_{n}") for n in range(400))
    files = {"add.py": ADD, "sub.py": SUB, "big.py": big, "notes.txt": "Adds.\n"}
    tree = make_tree("api", files)
    workspace = make_workspace(tree)
    result = materialize(workspace, "repo_snapshots", "chunks")
    snapshot, cut = (metadata(result, name) for name in ("repo_snapshots", "chunks"))
    assert snapshot["repository"] == str(tree.path)
    assert records(snapshot["files_by_language"]) == [
        {
            "language": "python",
            "files": 3,
            "megabytes": round((len(ADD + SUB + big)) / 1e6, 3),
        },
        {"language": "text", "files": 1, "megabytes": 0.0},
    ]
    assert snapshot["skipped_by_reason"] == "none"
    assert records(cut["files_by_outcome"])[0] == {"outcome": "parsed", "files": 3}
    first, second = records(cut["slowest_files"])
    # The first file of a language brings its grammar along.
    found = first if first["file"] == "big.py" else second
    assert (found["file"], found["outcome"], found["kilobytes"]) == (
        "big.py",
        "parsed",
        round(len(big) / 1e3, 1),
    )
    assert float(str(first["seconds"])) >= float(str(second["seconds"])) >= 0
    tree.git("remote", "add", "origin", "https://user:secret@example.com/team/api.git")
    snapshot = metadata(materialize(workspace, "repo_snapshots", "chunks"), "repo_snapshots")
    assert snapshot["repository"] == "https://example.com/team/api"
    commit = tree.git("rev-parse", "HEAD")
    assert snapshot["commit_page"] == f"https://example.com/team/api/commit/{commit}"


def test_a_file_left_out_is_green_with_a_warning(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    materialize: Callable[..., dg.ExecuteInProcessResult],
    instance: dg.DagsterInstance,
) -> None:
    files = {"add.py": ADD, "nul.py": "x = '\0'\n" * 20, "huge.py": b"#" * 3_000_000, "a.png": "x"}
    result = materialize(make_workspace(make_tree("api", files)), "repo_snapshots", "chunks")
    assert result.success
    snapshot, cut = (metadata(result, name) for name in ("repo_snapshots", "chunks"))
    assert snapshot["warning"] == "Not indexed: 1 file of api: too large (1)."
    assert cut["warning"] == "Not indexed: 1 file of api: binary (1)."
    records = [record.data for record in snapshot["skipped_by_reason"].records]
    assert records == [{"reason": "binary", "files": 1}, {"reason": "too large", "files": 1}]
    logged = [
        entry.user_message
        for entry in instance.all_logs(result.run_id)
        if entry.level == 30  # a warning, which the run's page shows by default
    ]
    assert logged == [snapshot["warning"], cut["warning"]]
