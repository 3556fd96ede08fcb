"""Only what changed is worked on: by keys, whatever the way a repository came to where it is."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Workspace, WorkTree
from indexes import (
    DOCUMENTED,
    PARTS,
    FakeModel,
    Line,
    contents,
    layers,
    moved,
    store_of,
    versions,
)

from codesearch.hits import Hit
from codesearch_assets.chunking.worker import CuttingProcess
from codesearch_assets.runs import index as run_index
from codesearch_resources.embedders.embedded import EmbeddedEmbedder
from codesearch_resources.summarizers.extractive import Extractive

LOADER = '''\
"""Settings."""

import json


def load_settings(path):
    """Read the settings file."""
    with open(path) as file:
        return json.load(file)
'''


class Work:
    """What the costly parts were asked to do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clear()
        own_cut, own_embed = CuttingProcess.cut_many, EmbeddedEmbedder.embed
        own_extract = Extractive.extract

        def cut_many(process, files):  # type: ignore[no-untyped-def]
            files = list(files)
            self.parsed += [path for path, _, _ in files]
            return own_cut(process, iter(files))

        def embed(embedder, texts, kind):  # type: ignore[no-untyped-def]
            self.embedded += texts
            return own_embed(embedder, texts, kind)

        def extract(summarizer, piece):  # type: ignore[no-untyped-def]
            self.summarised.append(piece)
            return own_extract(summarizer, piece)

        monkeypatch.setattr(CuttingProcess, "cut_many", cut_many)
        monkeypatch.setattr(EmbeddedEmbedder, "embed", embed)
        monkeypatch.setattr(Extractive, "extract", extract)

    def clear(self) -> None:
        self.parsed: list[str] = []
        self.embedded: list[str] = []
        self.summarised: list[object] = []

    @property
    def none(self) -> bool:
        return not (self.parsed or self.embedded or self.summarised)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(monkeypatch)


def index(workspace: Workspace, *, everything: bool = False) -> list[str]:
    """Index, nothing failing; the jobs that were run."""
    outcomes = workspace.index(everything=everything)
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    return [outcome.job for outcome in outcomes]


def assert_hits_are_what_git_has(hits: list[Hit], tree: WorkTree) -> None:
    assert hits
    for hit in hits:
        lines = tree.git("show", f"{hit.commit}:{hit.path}").split("\n")
        assert "\n".join(lines[hit.start_line - 1 : hit.end_line]) == hit.text


# Through Dagster


def test_what_has_not_changed_costs_nothing(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace], work: Work
) -> None:
    tree = make_tree("api", {"settings.py": LOADER, "parts.py": PARTS, "logo.png": b"\x89PNG"})
    workspace = make_workspace(tree)
    assert index(workspace) == ["refresh", "summarise"]
    assert work.parsed
    assert work.embedded
    assert work.summarised
    store = store_of(workspace)
    before = versions(store)

    work.clear()
    assert index(workspace) == []
    assert (work.none, moved(before, versions(store))) == (True, set())

    assert index(workspace, everything=True) == ["refresh", "summarise"]
    assert (work.none, moved(before, versions(store))) == (True, set())

    # A commit that touches no indexed file.
    tree.commit({"logo.png": b"\x89PNG another"})
    assert index(workspace) == ["refresh"]
    assert work.none
    assert moved(before, versions(store)) == {"repo_snapshots", "repositories"}
    with workspace.open() as opened:
        hits = opened.search("read the settings file")
    assert hits[0].commit == tree.git("rev-parse", "HEAD")


def test_an_edit_of_one_function_is_worked_on_alone_and_found_at_once(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace], work: Work
) -> None:
    tree = make_tree("api", {"settings.py": LOADER, "parts.py": PARTS})
    workspace = make_workspace(tree)
    index(workspace)
    store = store_of(workspace)
    before = {row[0]: row for row in contents(store)["chunks"]}

    work.clear()
    tree.commit({"parts.py": PARTS.replace("step 7 of bravo", "the zeppelin lands")})
    index(workspace)
    after = {row[0]: row for row in contents(store)["chunks"]}
    symbol = store.specs["chunks"].schema.names.index("symbol")
    assert [after[one][symbol] for one in after.keys() - before.keys()] == ["bravo"]
    assert [before[one][symbol] for one in before.keys() - after.keys()] == ["bravo"]
    assert (work.parsed, len(work.summarised)) == (["parts.py"], 1)
    # Its code; its summary says what it said, and that text has a vector.
    assert ["zeppelin" in text for text in work.embedded] == [True]
    with workspace.open() as opened:
        assert opened.search("zeppelin lands")[0].symbol == "bravo"
        texts = [hit.text for hit in opened.search("step 7 of bravo", per_file=9, limit=50)]
    assert texts
    assert not any("step 7 of bravo" in text for text in texts)

    # A line above everything moves lines, and is itself the only thing that is new.
    work.clear()
    tree.commit({"settings.py": "# A remark.\n" + LOADER})
    index(workspace)
    assert 1 <= len(work.embedded) <= 2  # its code, and its summary
    assert len(work.summarised) == 1
    with workspace.open() as opened:
        hits = opened.search("step value settings", per_file=9, limit=50)
    assert {hit.path for hit in hits} == {"parts.py", "settings.py"}
    assert_hits_are_what_git_has(hits, tree)


def test_a_changed_exclude_is_picked_up_by_a_plain_index(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace], work: Work
) -> None:
    tree = make_tree("api", {"settings.py": LOADER, "old/parts.py": PARTS})
    workspace = make_workspace(tree)
    index(workspace)
    original = workspace.file.read_text()
    work.clear()
    workspace.file.write_text(f"{original}    exclude: [old/**]\n")
    index(workspace)
    assert work.none
    found = contents(store_of(workspace))
    assert {row[2] for name in layers(store_of(workspace)) for row in found[name]} == {
        "settings.py"
    }
    assert [row[2] for row in found["files"]] == ["settings.py"]
    workspace.file.write_text(original)
    index(workspace)
    assert work.parsed == ["old/parts.py"]


def test_tables_that_were_deleted_are_filled_again_by_a_plain_index(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    workspace = make_workspace(make_tree("api", {"settings.py": LOADER, "parts.py": PARTS}))
    index(workspace)
    expected = contents(store_of(workspace))
    for names in (["chunks"], ["files", store_of(workspace).code_vectors], ["repo_snapshots"]):
        for name in names:
            shutil.rmtree(store_of(workspace).folder / f"{name}.lance")
        index(workspace)
        assert contents(store_of(workspace)) == expected, names


def test_without_the_lancedb_folder_nothing_is_paid_for_again(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    workspace = make_workspace(
        make_tree("api", {"settings.py": LOADER, "parts.py": PARTS}),
        make_tree("web", {"parts.py": PARTS, "documented.py": DOCUMENTED}),
    )
    fake = FakeModel()

    def run() -> list[str]:
        outcomes = run_index(
            workspace.settings, workspace.settings.repositories, resources={"summarizer": fake}
        )
        assert [o.error for o in outcomes if o.error] == []
        return [outcome.job for outcome in outcomes]

    run()
    assert fake.asked
    hashes = [piece.content_hash for piece in fake.asked]
    assert len(hashes) == len(set(hashes)), "equal content in two repositories is paid for once"
    expected = contents(store_of(workspace))
    grades = {row[store_of(workspace).specs["summaries"].schema.names.index("grade")]
              for row in expected["summaries"]}  # fmt: skip
    assert grades == {"model", "doc"}

    fake.asked.clear()
    shutil.rmtree(store_of(workspace).folder)
    assert run() == ["refresh", "refresh", "summarise", "summarise"]
    assert fake.asked == []
    assert contents(store_of(workspace)) == expected
    assert run() == []


# The assets without Dagster


def test_a_moved_file_is_found_where_it_is_and_paid_for_once(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    tree = make_tree("api", {"parts.py": PARTS})
    fake = FakeModel()
    line = Line(tmp_path / "data", tree, summarizer=fake)
    line.run()
    asked = len(fake.asked)
    summaries = {row[-1] for row in line.rows("summaries")}
    tree.git("mv", "parts.py", "pieces.py")
    tree.commit({})
    line.run()
    assert {row["path"] for row in line.chunks()} == {"pieces.py"}
    assert len(fake.asked) == asked
    assert {row[-1] for row in line.rows("summaries")} == summaries
    assert {len(line.rows(name)) for name in layers(line.store)} == {len(line.chunks())}


def test_a_deleted_file_and_one_that_became_binary_leave_no_rows(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    tree = make_tree("api", {"parts.py": PARTS, "settings.py": LOADER, "wait.py": DOCUMENTED})
    line = Line(tmp_path / "data", tree)
    line.run()
    tree.commit({"parts.py": None, "settings.py": b"\x00\x01\x02" * 100})
    line.run()
    for name in layers(line.store):
        assert {row[2] for row in line.rows(name)} == {"wait.py"}, name
    outcomes = {
        row["path"]: (row["outcome"], row["reason"])
        for row in line.store.read("files", ["path", "outcome", "reason"]).to_pylist()
    }
    assert outcomes == {"settings.py": ("skipped", "binary"), "wait.py": ("parsed", "")}


def test_history_moved_back_one_commit_is_followed_back(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    tree = make_tree("api", {"parts.py": PARTS, "settings.py": LOADER})
    line = Line(tmp_path / "data", tree)
    line.run()
    expected = line.all_rows()
    tree.commit({"parts.py": PARTS.replace("alpha", "omega"), "wait.py": DOCUMENTED})
    line.run()
    assert line.all_rows() != expected
    tree.git("reset", "--quiet", "--hard", "HEAD~1")
    line.run()
    assert line.all_rows() == expected


def test_another_branch_is_another_commit_and_its_equal_files_stay(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    tree = make_tree("api", {"parts.py": PARTS, "settings.py": LOADER})
    tree.git("branch", "old-name")
    tree.commit({"wait.py": DOCUMENTED})
    line = Line(tmp_path / "data", tree)
    line.run()
    stayed = [row for row in line.rows("chunks") if row[2] != "wait.py"]
    line.embedder.texts.clear()
    tree.git("branch", "--quiet", "--move", "old-name", "new-name")
    line.run(tree.git("rev-parse", "new-name"))
    assert line.rows("chunks") == stayed
    assert line.embedder.texts == []


def test_equal_files_of_two_repositories_are_embedded_and_summarised_once(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    files = {"api/parts.py": PARTS}
    first = Line(tmp_path / "data", make_tree("one", files), summarizer=FakeModel())
    second_model = FakeModel()
    second = Line(tmp_path / "data", make_tree("two", files), summarizer=second_model)
    first.run()
    second.run()
    assert second_model.asked == []
    assert second.embedder.texts == []
    texts = [{row[6] for row in line.rows("summaries")} for line in (first, second)]
    assert texts[0] == texts[1]
    assert len(second.chunks()) == len(first.chunks()) > 0


def test_a_line_inserted_at_the_top_moves_lines_and_embeds_only_its_own_chunk(
    make_tree: Callable[..., WorkTree], tmp_path: Path
) -> None:
    tree = make_tree("api", {"parts.py": PARTS})
    line = Line(tmp_path / "data", tree)
    line.run()
    before = {row["chunk_id"]: row["start_line"] for row in line.chunks("chunk_id")}
    line.embedder.texts.clear()
    tree.commit({"parts.py": "LIMIT = 3\n\n\n" + PARTS})
    line.run()
    after = {row["chunk_id"]: row["start_line"] for row in line.chunks("chunk_id")}
    new = after.keys() - before.keys()
    assert len(new) == 1
    assert all(after[one] == before[one] + 3 for one in after.keys() & before.keys())
    assert len(line.embedder.texts) == 2  # its code and its summary
