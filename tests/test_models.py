"""The summaries asset with models behind real HTTP: who is asked, who wrote what, at what cost."""

import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from calls import QUICK, ollama
from click.testing import CliRunner
from conftest import Workspace, WorkTree
from indexes import EXTRACTIVE, CutHere, Line
from simulator import Simulator, fault

from codesearch.cli import main
from codesearch_assets import chunks as chunks_module
from codesearch_assets.summaries import SummariesResult, refresh_summaries
from codesearch_assets.summary_list import needs_summaries
from codesearch_assets.upkeep import drop_unwanted
from codesearch_resources.results import Results
from codesearch_resources.settings_limits import Limits
from codesearch_resources.store import of_repo
from codesearch_resources.summarizers.chain import Chain

FILES: dict[str, str | bytes | None] = {
    f"{name}.py": f"def {name}(value):\n    total = value + {n}\n    return total * {n}\n"
    for n, name in enumerate(["alpha", "bravo", "charlie", "delta", "echo"])
}
DOCUMENTED = 'def wait(s):\n    """Wait until the server takes the next request."""\n    go(s)\n'
GETTER = "class Box:\n    pass\n\n\ndef name(self):\n    return self._name\n"
ANYWHERE = Limits(dollars_per_day="unlimited")


@pytest.fixture(autouse=True)
def _cut_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "CuttingProcess", CutHere)


@pytest.fixture
def server() -> Iterator[Simulator]:
    with Simulator() as running:
        yield running


@pytest.fixture
def make_line(make_tree: Callable[..., WorkTree], tmp_path: Path) -> Callable[..., Line]:
    def make(files: dict[str, Any], chain: Chain | None = None, name: str = "api") -> Line:
        line = Line(tmp_path / "data", make_tree(name, files), summarizer=chain)
        line.refresh()
        return line

    return make


def summarise(line: Line, **how: Any) -> SummariesResult:
    return refresh_summaries(line.store, line.results, line.entry.name, line.summarizer, **how)


def texts(line: Line) -> dict[str, tuple[str, str, str, str]]:
    columns = ["path", "grade", "provider", "model", "summary"]
    rows = line.store.read("summaries", columns, of_repo(line.entry.name)).to_pylist()
    return {row["path"]: tuple(row[c] for c in columns[1:]) for row in rows}


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every address that a socket connects to; one beyond this machine fails at once."""
    reached: list[str] = []
    own = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        reached.append(str(address[0]))
        assert str(address[0]).startswith("127.") or address[0] == "::1", f"reached {address}"
        own(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return reached


def test_a_local_only_repository_with_its_provider_down_leaves_nothing_and_says_why(
    make_line: Callable[..., Line], guarded: list[str]
) -> None:
    with Simulator() as gone:
        url = gone.url
    cloud = ollama("http://203.0.113.7:11434", "cloud")  # an address that is nobody's
    line = make_line(FILES, Chain([ollama(url), cloud], limits=ANYWHERE, patience=QUICK))
    found = summarise(line)
    assert (found.ended, found.remainder, found.summarised) == ("denied", 5, 0)
    assert found.grades == {"stand_in": 5}
    assert "local_only" in found.why.closed["cloud"]
    assert "local" in found.why.closed
    assert set(guarded) <= {"127.0.0.1", "::1"}
    assert len(guarded) > 0  # the local one was tried


def test_a_cloud_model_behind_the_local_address_is_refused_for_a_local_only_repository(
    make_line: Callable[..., Line], guarded: list[str]
) -> None:
    with Simulator(remote=["plain-name"]) as server:
        chain = Chain([ollama(server, model="plain-name")], limits=ANYWHERE, patience=QUICK)
        line = make_line(FILES, chain)
        found = summarise(line)
        assert (found.ended, found.remainder) == ("denied", 5)
        assert "local_only" in found.why.closed["local"]
        assert server.calls == []
        # Where code may leave it is asked.
        found = summarise(line, local_only=False)
        assert (found.ended, found.summarised) == ("done", 5)
    assert set(guarded) <= {"127.0.0.1", "::1"}


def test_the_cloud_is_asked_within_the_calls_and_the_dollars_it_may_cost(
    make_line: Callable[..., Line],
) -> None:
    with Simulator(remote=["far"]) as server:
        far = ollama(server, "far", model="far")
        line = make_line(FILES, Chain([far], limits=Limits(), patience=QUICK))
        found = summarise(line, local_only=False)
        assert "no price is known" in found.why.closed["far"]
        assert server.calls == []
        priced = ollama(server, "far", model="far", price={"input": 1_000, "output": 1_000})
        line.summarizer = Chain([priced], limits=Limits(dollars_per_day=0.9), patience=QUICK)
        found = summarise(line, local_only=False)
        assert "dollars_per_day is used up" in found.why.closed["far"]
        assert found.why.next_at is not None
        spent = line.results.ledger.spent()
        assert 0 < len(server.calls) < 5
        assert 0 < spent.cost <= 0.9
        line.results.close()
        line.results = Results(line.store.folder.parent)
        before = len(server.calls)
        limits = Limits(max_calls_per_run=1, dollars_per_day="unlimited")
        line.summarizer = Chain([priced], limits=limits, patience=QUICK)
        found = summarise(line, local_only=False)
        assert len(server.calls) == before + 1
        assert "max_calls_per_run" in found.why.closed["far"]


def test_a_provider_that_charges_three_times_the_input_is_left_after_twenty_calls(
    make_line: Callable[..., Line],
) -> None:
    files = {
        f"{n}.py": f"def work_{n}(value):\n    total = value + {n}\n    return total * {n}\n"
        for n in range(60)
    }
    with Simulator(remote=["far"]) as server:
        server.always(fault("counts", counts=8_000))
        far = ollama(server, "far", model="far", workers=1)
        line = make_line(files, Chain([far], limits=ANYWHERE, patience=QUICK))
        found = summarise(line, local_only=False)
    assert 20 <= len(server.calls) <= 21
    assert "billed 8,000 input tokens" in found.why.closed["far"]


def test_stand_ins_are_replaced_by_a_model_and_doc_stays(
    make_line: Callable[..., Line], server: Simulator
) -> None:
    line = make_line({**FILES, "wait.py": DOCUMENTED}, Chain([EXTRACTIVE]))
    line.summarise()
    before = texts(line)
    assert {grade for grade, *_ in before.values()} == {"stand_in", "doc"}
    assert not needs_summaries(line.store, line.results, "api", line.summarizer)
    line.summarizer = Chain([ollama(server), EXTRACTIVE], patience=QUICK)
    line.summarise()
    after = texts(line)
    assert after["wait.py"] == before["wait.py"]
    assert {after[path][0] for path in FILES} == {"model"}
    assert len(server.calls) == 5
    vectors = line.store.read(line.store.summary_vectors, ["chunk_id"]).num_rows
    assert vectors == len(after)


def test_without_its_tables_an_index_is_made_again_without_a_call(
    make_line: Callable[..., Line], server: Simulator, tmp_path: Path
) -> None:
    line = make_line(FILES, Chain([ollama(server)], patience=QUICK))
    line.summarise()
    before = texts(line)
    line.results.close()
    shutil.rmtree(tmp_path / "data" / "lancedb")
    again = Line(tmp_path / "data", WorkTree(tmp_path / "api"), summarizer=line.summarizer)
    again.run()
    assert texts(again) == before
    assert len(server.calls) == 5


def test_a_new_prompt_version_asks_nobody_until_an_upgrade(
    make_line: Callable[..., Line], server: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codesearch_resources.summarizers import prompt

    line = make_line(FILES, Chain([ollama(server)], patience=QUICK))
    line.summarise()
    before = texts(line)
    old = prompt.PROMPT_VERSION
    monkeypatch.setattr(prompt, "PROMPT_VERSION", "next")
    assert not needs_summaries(line.store, line.results, "api", line.summarizer)
    line.summarise()
    assert len(server.calls) == 5
    server.reply = lambda text: f"Adds a number that only version two knows, of {len(text)}."
    assert line.results.reopen(line.results.written_by(prompt_version=old)) == 5
    assert needs_summaries(line.store, line.results, "api", line.summarizer)
    assert texts(line) == before  # served meanwhile
    line.summarise()
    assert len(server.calls) == 10
    assert all("version two" in text for *_, text in texts(line).values())
    assert not needs_summaries(line.store, line.results, "api", line.summarizer)


def test_an_upgrade_for_one_repository_is_shown_by_all_that_have_the_same_code(
    make_tree: Callable[..., WorkTree], tmp_path: Path, server: Simulator
) -> None:
    chain = Chain([ollama(server)], patience=QUICK)
    one = Line(tmp_path / "data", make_tree("one", FILES), summarizer=chain)
    one.run()
    two = Line(tmp_path / "data", make_tree("two", FILES), summarizer=chain)
    two.run()
    assert len(server.calls) == 5  # equal content is paid once
    server.reply = lambda text: f"Does it in the newer way, for {len(text)} letters."
    one.results.reopen(one.results.written_by())
    one.summarise()
    assert len(server.calls) == 10
    assert needs_summaries(two.store, two.results, "two", chain)
    two.summarise()
    assert len(server.calls) == 10
    assert {text for *_, text in texts(two).values()} == {text for *_, text in texts(one).values()}


def test_one_line_changes_the_model_and_the_index_says_who_wrote_what(
    make_line: Callable[..., Line],
) -> None:
    with Simulator(remote=["qwen3.5:397b-cloud"]) as server:
        line = make_line(FILES, Chain([ollama(server, model="small:1b")], patience=QUICK))
        summarise(line)
        switched = Chain(
            [ollama(server, model="qwen3.5:397b-cloud")], limits=ANYWHERE, patience=QUICK
        )
        line.summarizer = switched
        assert not needs_summaries(line.store, line.results, "api", switched)
        tree = WorkTree(line.entry.path or Path())
        tree.commit({"more.py": "def more(v):\n    total = v + 9\n    return total * 9\n"})
        line.refresh()
        found = summarise(line)  # local_only: refused, and the sentence names the key
        assert found.remainder == 1
        assert "local_only" in found.why.closed["local"]
        summarise(line, local_only=False)
        models = {path: model for path, (_, _, model, _) in texts(line).items()}
        assert models.pop("more.py") == "qwen3.5:397b-cloud"
        assert set(models.values()) == {"small:1b"}
        tree.commit({"last.py": "def last(v):\n    total = v + 8\n    return total * 8\n"})
        line.refresh()
        line.summarizer = Chain([ollama(server, model="small:1b")], patience=QUICK)
        summarise(line)
        assert texts(line)["last.py"][2] == "small:1b"


def test_marked_files_are_never_paid_for_and_tests_come_last(
    make_line: Callable[..., Line], server: Simulator
) -> None:
    body = "(value):\n    total = value + {0}\n    return total * {0}\n"
    files = {
        "tests/test_a.py": "def test_a" + body.format(1),
        "vendor/lib.py": "def vendored" + body.format(2),
        "zed.py": "def zed" + body.format(3),
        "abc.py": "def _private" + body.format(4),
    }
    line = make_line(files, Chain([ollama(server, workers=1)], patience=QUICK))
    found = summarise(line)
    asked = [
        next(name for name in ("test_a", "vendored", "zed", "_private") if name + "(" in c.prompt)
        for c in server.calls
    ]
    assert asked == ["zed", "_private", "test_a"]
    assert (found.ended, found.remainder) == ("done", 0)
    assert texts(line)["vendor/lib.py"][0] == "stand_in"
    assert not needs_summaries(line.store, line.results, "api", line.summarizer)


def test_what_is_given_up_is_no_reason_to_begin_again(
    make_line: Callable[..., Line], server: Simulator
) -> None:
    server.always(lambda call: fault("too_long") if "alpha(" in call.prompt else None)
    line = make_line(FILES, Chain([ollama(server)], patience=QUICK))
    found = summarise(line)
    assert (found.remainder, found.grades) == (1, {"model": 4, "stand_in": 1})
    assert "given up" in "; ".join(found.why.lines())
    assert not needs_summaries(line.store, line.results, "api", line.summarizer)


# The commands


def run(workspace: Workspace, *arguments: str, answer: str = "") -> str:
    given = [*arguments, "--config", str(workspace.file)]
    done = CliRunner().invoke(main, given, input=answer, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def world(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: Simulator,
) -> Workspace:
    chain = f"""\
summarizers:
  - {{name: local, kind: ollama, url: "{server.url}", model: "small:1b"}}
  - {{name: extractive, kind: extractive}}
"""
    return make_workspace(make_tree("api", {**FILES, "wait.py": DOCUMENTED}), extra=chain)


def test_index_status_sample_and_upgrade_tell_the_same_story(
    world: Workspace, server: Simulator
) -> None:
    run(world, "index")
    assert len(server.calls) == 5
    status = run(world, "status")
    assert "5 small:1b (local), 1 extractive" in status
    assert "5 model, 1 doc" in status
    sample = run(world, "summaries", "sample", "--limit", "3", "--provider", "local")
    assert sample.count("[model by local small:1b, prompt") == 3
    assert "total = value" in sample
    plan = run(world, "summaries", "upgrade", "--where", "model=small:1b", answer="n\n")
    assert "5 summaries (5 api), written anew by local (small:1b)" in plan
    assert "no price is known" in plan
    run(world, "index")
    assert len(server.calls) == 5
    server.reply = lambda text: f"Says it in other words, {len(text)} letters."
    assert "5 are on the list again" in run(
        world, "summaries", "upgrade", "--where", "repo=api", "--where", "prompt=1", "--yes"
    )
    run(world, "index")
    assert len(server.calls) == 10
    assert "in other words" in run(world, "search", "alpha", "total", "--limit", "1")
    nothing = run(world, "summaries", "upgrade", "--where", "model=nobody")
    assert "no such summaries" in nothing


def test_a_remainder_is_green_and_status_says_why_until_a_person_has_acted(
    world: Workspace, server: Simulator
) -> None:
    server.models = set()
    run(world, "index")
    calls = len(server.calls)
    assert "small:1b" in run(world, "status")
    assert "waiting    local" in run(world, "status")
    server.models = {"small:1b"}  # `ollama pull`
    run(world, "index")
    assert len(server.calls) == calls + 5
    assert "waiting" not in run(world, "status")


@pytest.mark.parametrize("where", [[], ["--where", "size=3"], ["--where", "model="]])
def test_an_upgrade_of_nothing_in_particular_is_bad_usage(
    world: Workspace, where: list[str]
) -> None:
    done = CliRunner().invoke(main, ["summaries", "upgrade", *where, "--config", str(world.file)])
    assert done.exit_code == 2
    assert "--where" in done.output


def test_progress_tells_rate_provider_time_left_and_money(
    make_line: Callable[..., Line], server: Simulator
) -> None:
    from codesearch_resources.progress import watched_by

    told: list[tuple[str, int, int, str]] = []
    priced = ollama(server, price={"input": 100, "output": 100})
    line = make_line(FILES, Chain([priced], patience=QUICK))
    with watched_by(lambda *what: told.append(what)):
        summarise(line)
    stage, done, total, note = told[-1]
    assert (stage, done, total) == ("summaries", 5, 5)
    assert note.startswith("local: ")
    assert "a minute" in note
    assert "left" in note
    assert "$0." in note


def test_no_key_of_a_provider_is_in_the_ledger_or_a_log(
    make_line: Callable[..., Line],
    server: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-verysecret-0123456789abcdef")
    server.script(fault("auth"), None)
    line = make_line(FILES, Chain([ollama(server, api_key_env="SOME_KEY")], patience=QUICK))
    found = summarise(line)
    with closing(line.results):
        line.results.breakers.let_try()
        summarise(line)
    written = b"".join(f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())
    assert b"verysecret" not in written
    assert "verysecret" not in str(found.why.lines())


def test_upkeep_drops_what_no_chunk_has_wanted_for_ninety_days(
    make_line: Callable[..., Line], server: Simulator
) -> None:
    line = make_line(FILES, Chain([ollama(server)], patience=QUICK))
    line.run()
    WorkTree(line.entry.path or Path()).commit({"alpha.py": None})
    line.run()
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert drop_unwanted(line.store, line.results, now) == 0
    assert drop_unwanted(line.store, line.results, now + timedelta(days=89)) == 0
    assert drop_unwanted(line.store, line.results, now + timedelta(days=91)) == 1
    assert len(line.results.written_by()) == 4


def test_a_repository_may_have_a_chain_of_its_own_in_its_own_order(
    make_tree: Callable[..., WorkTree], tmp_path: Path, server: Simulator
) -> None:
    tree = make_tree("api", FILES)
    file = tmp_path / "codesearch.yaml"
    models = "".join(
        f'  - {{name: {name}, kind: ollama, url: "{server.url}", model: {name}-model}}\n'
        for name in ("one", "two", "three")
    )
    text = f"repositories:\n  - path: {tree.path}\n    summarizers: [NAMES]\nsummarizers:\n{models}"
    file.write_text(text.replace("NAMES", "three, one"))
    workspace = Workspace(file)
    server.models = {"one-model", "two-model"}
    run(workspace, "index")
    with closing(Results(workspace.settings.data_dir)) as results:
        assert [found.provider for found in results.breakers.all()] == ["three"]  # was asked first
    assert {call.model for call in server.calls} == {"one-model"}
    status = run(workspace, "status")
    assert "5 one-model (one)" in status
    assert "waiting" not in status
    file.write_text(text.replace("NAMES", "four"))
    done = CliRunner().invoke(main, ["status", "--config", str(file)])
    assert done.exit_code == 2
    assert "no model named four below summarizers; there is one, two, three" in done.output
