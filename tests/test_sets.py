"""Sets of vectors: the old one is searched until the new covers the same chunks, then the new."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import Workspace, WorkTree
from embedding_servers import EmbeddingServer, around, settings_for, texts_of, turned
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from indexes import PARTS, CutHere, Line
from numpy.typing import NDArray
from simulator import fault
from unattended import Unattended

from codesearch import search, serving
from codesearch.cli import main
from codesearch.search import Index
from codesearch_assets import checks, night
from codesearch_assets import chunks as chunks_module
from codesearch_assets.embeddings import code_source, embed_partition, forget_refused
from codesearch_assets.freshness import needs_vectors
from codesearch_assets.partitions import COMMIT_TAG
from codesearch_assets.runs import Runner, index, instance_of
from codesearch_resources.coverage import covers, drop_expired, store_of, switch_when_covered
from codesearch_resources.data_dir import DataDirError, lock
from codesearch_resources.embedders import questions
from codesearch_resources.embedders.base import EmbeddingError, TextsRefused
from codesearch_resources.embedders.embedded import EmbeddedEmbedder
from codesearch_resources.embedders.make import embedder_of, set_of
from codesearch_resources.sets import (
    Sets,
    VectorSet,
    choose,
    expired,
    follow,
    forget,
    read_sets,
    switch,
)
from codesearch_resources.settings import load
from codesearch_resources.settings_embedders import EmbeddedSettings

OLD = set_of(EmbeddedSettings(kind="embedded", model="wordllama"))
NEW = set_of(settings_for("http://localhost:1", dimensions=256))
CLIENT = (
    "def call_with_backoff(send):\n    return send()\n\n\ndef parse_header(line):\n    return 1\n"
)
NOW = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[EmbeddingServer]:
    """The embedded embedder's vectors in another space, by a server."""
    monkeypatch.setattr(questions, "PATIENCE", 20.0)  # a machine with much to do is no matter
    with EmbeddingServer(vectors=turned) as running:
        yield running


def use(workspace: Workspace, server: EmbeddingServer | None, extra: str = "") -> None:
    """Name another embedder in the settings: the server's, or the one inside."""
    named = "embedder: {kind: embedded}"
    if server is not None:
        told = "model: nomen-embed, dimensions: 256"
        named = f"embedder: {{kind: ollama, url: '{server.url}', {told}}}"
    kept = [
        line
        for line in workspace.file.read_text().splitlines()
        if not line.startswith(("embedder", "grace"))
    ]
    lines = [*kept, named, extra]
    workspace.file.write_text("\n".join(lines) + "\n")


@dataclass(frozen=True)
class Leaving:
    """Two repositories, indexed, whose settings then name another embedder."""

    workspace: Workspace
    api: WorkTree


@pytest.fixture
def leaving(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: EmbeddingServer,
) -> Leaving:
    api, web = make_tree("api", {"client.py": CLIENT}), make_tree("web", {"page.py": PARTS})
    workspace = make_workspace(api, web)
    workspace.index()
    use(workspace, server)
    return Leaving(workspace, api)


def command(workspace: Workspace, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, [*arguments, "--config", str(workspace.file)])
    return done.exit_code, done.output


def notices_and_set(workspace: Workspace) -> tuple[list[str], str]:
    """What a search says, and the set whose vectors it used."""
    with workspace.open() as index:
        answer = index.ask("call again with backoff")
        assert any("vectors" in hit.lanes for hit in answer.hits)
        return list(answer.notices), index.store.code_vectors.partition("__")[2]


def test_a_changed_embedder_serves_once_it_covers_everything_and_can_be_left_again(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: EmbeddingServer,
) -> None:
    workspace = make_workspace(make_tree("api", {"client.py": CLIENT}))
    assert not any(outcome.error for outcome in workspace.index())
    assert notices_and_set(workspace) == ([], OLD.name)

    use(workspace, server)
    (notice,), searched = notices_and_set(workspace)
    assert searched == OLD.name
    assert NEW.name in notice
    assert "run `codesearch index`" in notice

    # A reader from before the switch goes over to the new set by itself.
    with workspace.open() as reader:
        assert reader.ask("call again").hits
        assert not any(outcome.error for outcome in workspace.index())
        (notice,) = reader.ask("call again").notices
        assert f"now uses the vectors of {NEW.name}" in notice
    (notice,), searched = notices_and_set(workspace)
    assert searched == NEW.name

    code, output = command(workspace, "embedder", "list")
    assert code == 0
    assert "searched" in output
    assert "100.0%" in output
    listed = json.loads(command(workspace, "embedder", "list", "--json")[1])
    assert [one["name"] for one in listed] == [NEW.name, OLD.name]
    assert all(one["share"] == 1 and one["bytes"] > 0 for one in listed)

    code, output = command(workspace, "embedder", "use", OLD.name)
    assert code == 0, output
    assert "search uses the vectors of" in output
    assert notices_and_set(workspace)[1] == OLD.name
    workspace.index()
    assert notices_and_set(workspace)[1] == OLD.name, "an index run leaves what a person chose"
    code, output = command(workspace, "embedder", "use", "nomen_8")
    assert code == 2
    assert OLD.name in output


def test_a_half_filled_set_is_not_searched_and_the_old_one_is_kept_up_to_date(
    leaving: Leaving,
) -> None:
    workspace, api = leaving.workspace, leaving.api
    api.commit({"client.py": CLIENT + "\n\ndef wait_for_quota(seconds):\n    return seconds\n"})
    assert not any(outcome.error for outcome in workspace.index("api"))
    (notice,), searched = notices_and_set(workspace)
    assert searched == OLD.name
    assert "cover" in notice
    assert "%" in notice
    old = store_of(workspace.settings.data_dir, OLD)
    assert not checks.without_vector(old, "chunks", old.code_vectors)
    assert not checks.without_vector(old, "summaries", old.summary_vectors)
    new = store_of(workspace.settings.data_dir, NEW)
    assert not covers(new, old, ["api", "web"])
    assert covers(new, old, ["api"])
    workspace.index()
    assert notices_and_set(workspace)[1] == NEW.name


def test_a_reader_sees_all_of_a_set_at_once_although_it_looked_how_far_that_was(
    leaving: Leaving,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace = leaving.workspace
    monkeypatch.setattr(serving, "SOON", timedelta(hours=1))  # an open table never looks again
    with workspace.open() as reader:
        workspace.index("api")
        assert any("cover" in notice for notice in reader.ask("call again").notices)
        workspace.index("web")
        with workspace.open() as fresh:
            asked = "draw the page"
            assert [hit.lanes for hit in reader.search(asked)] == [
                hit.lanes for hit in fresh.search(asked)
            ]


def test_a_repository_that_is_not_there_does_not_hold_up_the_new_set(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: EmbeddingServer,
) -> None:
    """Its vectors are made of the chunks that are stored: by hand, and by the night as well."""
    api, web = make_tree("api", {"client.py": CLIENT}), make_tree("web", {"page.py": PARTS})
    workspace = make_workspace(api, web)
    assert not any(outcome.error for outcome in workspace.index())
    web.path.rename(web.path.with_name("away"))
    use(workspace, server)
    settings = load(workspace.file, absent_ok=True)
    failed = [outcome for outcome in index(settings, settings.repositories) if outcome.error]
    assert [(outcome.repo, outcome.job) for outcome in failed] == [("web", "refresh")]
    with Index(settings) as opened:
        assert opened.store.code_vectors.endswith(NEW.name)
        hits = opened.search("charlie", repos=["web"])
        assert "vectors" in hits[0].lanes
    before = len(server.texts)
    index(settings, settings.repositories)
    assert len(server.texts) == before, "what is there is not made again"


def test_an_edit_that_changes_no_count_needs_its_vectors_all_the_same(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    tree = make_tree("web", {"page.py": PARTS})
    workspace = make_workspace(tree)
    workspace.index()
    head = tree.commit({"page.py": PARTS.replace("charlie", "chester")})
    store = store_of(workspace.settings.data_dir, OLD)
    before = store.count("chunks")
    with instance_of(workspace.settings) as instance:
        runner = Runner(workspace.settings, instance)
        for step in ("repo_snapshots", "chunks"):
            assert not runner.run("refresh", "web", {COMMIT_TAG: head}, [step]).error
        assert store.count("chunks") == before == store.count(store.code_vectors)
        assert needs_vectors(store, "web", EmbeddedEmbedder())
        assert not runner.run("refresh", "web", assets=["code_embeddings"]).error
    assert not needs_vectors(store, "web", EmbeddedEmbedder())


def test_the_night_fills_the_new_set_for_a_repository_that_is_not_there(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: EmbeddingServer,
) -> None:
    tree = make_tree("web", {"page.py": PARTS})
    workspace = make_workspace(tree)
    workspace.index()
    tree.path.rename(tree.path.with_name("away"))
    use(workspace, server)
    with instance_of(load(workspace.file, absent_ok=True)) as instance:
        world = Unattended(workspace.file, instance)
        night_before = datetime.now(UTC) - timedelta(days=2)
        for asked in (["refresh"], ["summarise"], []):
            world.cursors["nightly"] = night.Cursor().after(night_before).text()
            requests = world.tick("nightly").run_requests
            assert [request.job_name for request in requests] == asked
            assert all(world.run(request).success for request in requests)
    assert read_sets(workspace.file.parent / "data").serving == NEW.name


def test_an_open_index_follows_an_edit_of_its_settings(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: EmbeddingServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it says of sets would be false otherwise, and a new repository would be left out."""
    monkeypatch.setattr(search, "SETTLED", 0.0)
    api, web = make_tree("api", {"client.py": CLIENT}), make_tree("web", {"page.py": PARTS})
    workspace = make_workspace(api)
    workspace.index()
    with workspace.open() as reader:
        assert reader.ask("call again").notices == ()
        use(workspace, server)
        (notice,) = reader.ask("call again").notices
        assert f"a new one, {NEW.name}" in notice
        workspace.index()
        (notice,) = reader.ask("call again").notices
        assert f"now uses the vectors of {NEW.name}" in notice

        text = workspace.file.read_text()
        monkeypatch.setattr(search, "SETTLED", 60.0)  # half written, perhaps
        workspace.file.write_text("")
        assert reader.ask("call again").hits
        monkeypatch.setattr(search, "SETTLED", 0.0)
        workspace.file.write_text(text + "embedder: 1\n")
        notices = reader.ask("call again").notices
        assert any("as they were before" in one and "embedder" in one for one in notices)
        workspace.file.write_text(text.replace("s:\n", f"s:\n  - path: {web.path}\n", 1))
        workspace.index()
        assert "web" in {hit.repo for hit in reader.search("charlie")}
        workspace.file.write_text(text + "data_dir: other\n")
        assert any("name another now" in one for one in reader.ask("call again").notices)


def test_how_far_a_set_is_is_counted_once_for_many_questions(
    leaving: Leaving,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace = leaving.workspace
    workspace.index("api")
    counted: list[object] = []
    own = serving.coverage
    monkeypatch.setattr(serving, "coverage", lambda *given: counted.append(given) or own(*given))
    monkeypatch.setattr(serving, "STANDS", 600.0)
    with workspace.open() as reader:
        for _ in range(5):
            assert any("cover" in notice for notice in reader.ask("call again").notices)
        assert len(counted) == 1
        workspace.index()  # a switch is told at once
        assert any("now uses" in notice for notice in reader.ask("call again").notices)


def test_a_set_that_was_left_is_dropped_after_its_grace(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: EmbeddingServer,
) -> None:
    workspace = make_workspace(make_tree("api", {"client.py": CLIENT}))
    workspace.index()
    use(workspace, server, "grace_days: 1")
    workspace.index()
    data_dir = workspace.settings.data_dir
    later = datetime.now(UTC) + timedelta(hours=25)
    assert drop_expired(data_dir, timedelta(days=1), later - timedelta(hours=2)) == []
    assert drop_expired(data_dir, timedelta(days=1), later) == [OLD.name]
    names = store_of(data_dir, NEW).names()
    assert not [name for name in names if name.endswith(OLD.name)]
    assert [name for name in names if name.endswith(NEW.name)]
    assert OLD.name not in read_sets(data_dir).sets
    assert notices_and_set(workspace)[1] == NEW.name
    # And back: it is filled anew.
    use(workspace, None)
    assert not any(outcome.error for outcome in workspace.index())
    assert notices_and_set(workspace)[1] == OLD.name


class Refusing(EmbeddedEmbedder):
    """Has no vector for texts with a certain word."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str], kind: object) -> NDArray[np.float32]:
        self.asked += texts
        vectors = super().embed(texts, "document")
        refused = {n: "not this one" for n, text in enumerate(texts) if "charlie" in text}
        if refused:
            raise TextsRefused(vectors, refused)
        return vectors


def test_a_refused_text_costs_its_chunk_alone_and_is_not_asked_for_again(
    make_tree: Callable[..., WorkTree], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks_module, "CuttingProcess", CutHere)
    line = Line(tmp_path / "data", make_tree("api", {"parts.py": PARTS}))
    line.run()
    store, embedder = line.store, Refusing()
    store.delete_where(store.code_vectors, "true")
    source = code_source(store, "api")
    result = embed_partition(store, "api", store.code_vectors, source, embedder)
    assert list(result.refused.values()) == ["not this one"]
    assert store.count(store.code_vectors) == store.count("chunks") > 1
    assert store.count(store.code_vectors, "vector IS NULL") == 1
    assert checks.refused_texts(store, store.code_vectors) == {"api": 1}
    assert not checks.unsound_vectors(store, store.code_vectors)
    asked = len(embedder.asked)
    embed_partition(store, "api", store.code_vectors, source, embedder)
    assert len(embedder.asked) == asked
    # `index --all`: a server that was mended, a rule for secrets that was.
    forget_refused(store, ["other"])
    assert store.count(store.code_vectors, "vector IS NULL") == 1
    forget_refused(store, ["api"])
    embed_partition(store, "api", store.code_vectors, source, EmbeddedEmbedder())
    assert store.count(store.code_vectors) == store.count("chunks")
    assert not checks.refused_texts(store, store.code_vectors)


def test_index_all_asks_again_for_what_was_refused(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: EmbeddingServer,
) -> None:
    workspace = make_workspace(make_tree("api", {"client.py": CLIENT, "page.py": PARTS}))
    use(workspace, server)
    nan = fault("crash", status=400, body={"error": "embedding contains NaN or Inf values"})
    server.always(lambda call: nan if any("charlie" in t for t in texts_of(call)) else None)
    assert not any(outcome.error for outcome in workspace.index())
    store = store_of(workspace.settings.data_dir, NEW)
    refused = store.count(store.code_vectors, "vector IS NULL")
    assert refused
    server.always(None)
    workspace.index()
    assert store.count(store.code_vectors, "vector IS NULL") == refused
    assert not any(outcome.error for outcome in workspace.index(everything=True))
    for vectors in (store.code_vectors, store.summary_vectors):
        assert store.count(vectors, "vector IS NULL") == 0
    assert store.count(store.code_vectors) == store.count("chunks")


def test_what_was_refused_elsewhere_as_well_is_asked_for_again_and_no_run_is_disturbed(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: EmbeddingServer,
) -> None:
    trees = [make_tree(name, {"page.py": PARTS}) for name in ("api", "web")]
    workspace = make_workspace(*trees)
    use(workspace, server)
    nan = fault("crash", status=400, body={"error": "embedding contains NaN or Inf values"})
    server.always(lambda call: nan if any("charlie" in t for t in texts_of(call)) else None)
    workspace.index()
    store = store_of(workspace.settings.data_dir, NEW)

    def refused(repo: str) -> int:
        return store.count(store.code_vectors, f"vector IS NULL AND repo = '{repo}'")

    assert refused("api") == refused("web") > 0
    server.always(None)
    data_dir = workspace.settings.data_dir
    with lock(data_dir, "web.refresh"), lock(data_dir, "api.refresh"):
        forget_refused(store, ["api"])
        assert refused("api") == refused("web") > 0
    assert not any(outcome.error for outcome in workspace.index("api", everything=True))
    assert refused("api") == refused("web") == 0
    workspace.index()
    assert store.count(store.code_vectors) == store.count("chunks")


def test_the_embedder_of_a_set_is_made_as_it_was_or_not_at_all(tmp_path: Path) -> None:
    settings = around(tmp_path)
    assert embedder_of(OLD, settings).id == OLD.embedder
    for strange in (
        VectorSet("wordllama_words0", 256, OLD.settings),
        VectorSet("x", 8, {"kind": "no such kind"}),
        VectorSet("x", 8, {}),
    ):
        gone = embedder_of(strange, settings)
        assert (gone.id, gone.dimensions) == (strange.embedder, strange.dimensions)
        with pytest.raises(EmbeddingError, match="this version"):
            gone.embed(["x"], "query")


def test_an_unreadable_file_of_sets_says_what_to_do(tmp_path: Path) -> None:
    follow(tmp_path, OLD)
    for text in ("", "{", "[]", '{"sets": {"a": 1}}', '{"serving": "x"}'):
        (tmp_path / "lancedb" / "sets.json").write_text(text)
        with pytest.raises(DataDirError, match="Delete it"):
            read_sets(tmp_path)


def test_nothing_changed_writes_nothing(tmp_path: Path) -> None:
    first = follow(tmp_path, OLD)
    file = tmp_path / "lancedb" / "sets.json"
    before = file.stat()
    assert follow(tmp_path, OLD) == first
    assert switch(tmp_path, OLD.name) == first
    assert switch_when_covered(tmp_path, OLD.name, ["api"]) is None
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert not forget(tmp_path, OLD.name), "a set in use is not forgotten"


def test_the_set_of_the_settings_expires_too_when_another_was_chosen_by_hand(
    tmp_path: Path,
) -> None:
    began = datetime(2026, 11, 1, tzinfo=UTC)
    follow(tmp_path, OLD, began)
    follow(tmp_path, NEW, began)
    choose(tmp_path, OLD.name, NEW.name, began)
    for day in range(9):
        found = follow(tmp_path, NEW, began + timedelta(days=day))
    assert [one.name for one in expired(found, timedelta(days=7), began + timedelta(days=9))] == [
        NEW.name
    ]


SETS = [VectorSet(f"e{n}", 8) for n in range(3)]
STEPS = st.lists(
    st.tuples(st.sampled_from(["follow", "choose", "switch"]), st.integers(0, 2)), max_size=12
)


@hypothesis_settings(deadline=None, max_examples=50)
@given(steps=STEPS)
def test_whatever_is_done_one_set_serves_and_only_unused_ones_expire(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data_dir = tmp_path_factory.mktemp("sets")
    configured = SETS[0]
    found: Sets = follow(data_dir, configured, NOW)
    for at, (step, which) in enumerate(steps, 1):
        moment, one = NOW + timedelta(hours=at), SETS[which]
        if step == "follow":
            configured = one
            found = follow(data_dir, configured, moment)
        elif step == "choose" and one.name in found.sets:
            found = choose(data_dir, one.name, configured.name, moment)
        elif step == "switch" and one.name == found.wanted(configured.name):
            found = switch(data_dir, one.name, moment)
        assert found == read_sets(data_dir)
        wanted = found.wanted(configured.name)
        assert found.serving in found.sets
        unused = {name for name, kept in found.sets.items() if kept.left_at}
        assert unused == found.sets.keys() - {found.serving, wanted}
        gone = expired(found, timedelta(0), moment + timedelta(days=1))
        assert {each.name for each in gone} == unused
    # The latest edit of the settings goes before what was chosen by hand.
    other = SETS[(SETS.index(configured) + 1) % 3]
    assert follow(data_dir, other).wanted(other.name) == other.name
