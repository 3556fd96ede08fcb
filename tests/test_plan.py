"""`codesearch plan` against what the run then does, and consent for runs beyond their limits."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import Workspace, WorkTree
from simulator import Simulator

from codesearch.cli import main
from codesearch_assets.plan import Plan
from codesearch_assets.runs import index
from codesearch_resources.quota.kept import Refusal
from codesearch_resources.results import Results
from codesearch_resources.results_copy import FOLDER

FILES = {
    f"{name}.py": f"def {name}(value):\n"
    + "".join(f"    value = value * {n} + step_{name}_{n}(value)\n" for n in range(6))
    + "    return value\n"
    for name in ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot")
}
TWICE = {f"copy/{name}": text for name, text in list(FILES.items())[:2]}
DOCUMENTED = {
    "wait.py": 'def wait(s):\n    """Wait until the server takes the next request of it."""\n'
    "    for n in range(s):\n        sleep(n)\n        poll(n)\n        log(n)\n    return s\n"
}


@pytest.fixture
def server() -> Iterator[Simulator]:
    with Simulator() as found:
        found.remote.add("far-model")
        yield found


def chain(server: Simulator, **limits: Any) -> str:
    lines = "".join(f"  {key}: {value}\n" for key, value in limits.items())
    return (
        "defaults: {local_only: false}\n"
        "summarizers:\n"
        f"  - {{name: far, kind: ollama, url: {server.url}, model: far-model, "
        "price: {input: 1, output: 2}}\n"
        f"limits:\n  dollars_per_day: 50\n{lines}"
    )


def planned(workspace: Workspace) -> dict[str, Any]:
    done = CliRunner().invoke(main, ["plan", "--json", "--config", str(workspace.file)])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.output)
    return found


def test_a_plan_is_what_the_run_then_does(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: Simulator,
) -> None:
    tree = make_tree("api", {**FILES, **TWICE, **DOCUMENTED})
    workspace = make_workspace(tree, extra=chain(server, max_calls_per_run=0))
    workspace.index()
    assert server.calls == []
    plan = planned(workspace)
    (far,) = plan["providers"]
    assert plan["calls"] == far["calls"] == len(FILES)
    assert plan["needed"] == len(FILES) + len(TWICE)
    assert plan["repositories"][0]["chunks"] == len(FILES) + len(TWICE) + len(DOCUMENTED)
    assert plan["beyond"] == ["6 calls to the cloud, limits.max_calls_per_run is 0"]
    workspace.file.write_text(
        workspace.file.read_text().replace("max_calls_per_run: 0", "max_calls_per_run: 100")
    )
    workspace.index()
    assert len(server.calls) == plan["calls"]
    given, taken = server.counted
    assert far["input_tokens"] == pytest.approx(given, rel=0.5)
    least, most = far["output_tokens"]
    assert least <= taken <= most
    assert planned(workspace)["calls"] == 0


def test_a_run_beyond_its_limits_is_asked_about_and_keeps_to_them_without_a_yes(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: Simulator,
) -> None:
    workspace = make_workspace(make_tree("api", FILES), extra=chain(server, max_calls_per_run=2))
    asked: list[Plan] = []

    def refuse(plan: Plan) -> bool:
        asked.append(plan)
        return False

    settings = workspace.settings
    outcomes = index(settings, settings.repositories, agrees=refuse)
    assert not any(outcome.error for outcome in outcomes)
    assert (asked[0].calls, asked[0].cloud_calls, len(server.calls)) == (6, 6, 2)
    index(settings, settings.repositories, agrees=lambda _: True)
    assert len(server.calls) == 6


def test_a_run_within_its_limits_is_not_asked_about(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: Simulator,
) -> None:
    workspace = make_workspace(make_tree("api", FILES), extra=chain(server))
    settings = workspace.settings
    index(settings, settings.repositories, agrees=lambda _: pytest.fail("asked"))
    assert len(server.calls) == 6
    # What was sent is copied once a day.
    copies = list((settings.data_dir / FOLDER).glob("results-*.db"))
    assert len(copies) == 1
    with closing(Results(settings.data_dir)) as results:
        assert len(results.ledger.entries()) == 6


def test_pause_and_resume_by_the_command_line(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: Simulator,
) -> None:
    workspace = make_workspace(make_tree("api", FILES), extra=chain(server))
    run = CliRunner()
    file = ["--config", str(workspace.file)]
    workspace.settings.data_dir.mkdir(parents=True)
    assert run.invoke(main, ["quota", "pause", "far", *file]).exit_code == 0
    workspace.index()
    assert server.calls == []
    told = run.invoke(main, ["quota", "status", *file]).output
    assert "far (key; far)" in told
    assert "stopped (paused): paused by hand" in told
    wrong = run.invoke(main, ["quota", "pause", "near", *file])
    assert "there are far" in wrong.output
    assert run.invoke(main, ["quota", "resume", *file]).exit_code == 0
    workspace.index()
    assert len(server.calls) == 6


def test_the_embedders_meter_is_paused_and_shown_as_the_others(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: Simulator,
) -> None:
    extra = chain(server) + (
        f"embedder: {{kind: ollama, url: {server.url}, model: nomen-embed, dimensions: 64, "
        "local_only: false, meter: vectors}\n"
        "meters:\n  - {name: vectors, subscription: false}\n"
    )
    workspace = make_workspace(make_tree("api", FILES), extra=extra)
    workspace.settings.data_dir.mkdir(parents=True)
    run, file = CliRunner(), ["--config", str(workspace.file)]
    assert run.invoke(main, ["quota", "pause", "vectors", *file]).exit_code == 0
    told = run.invoke(main, ["quota", "status", *file]).output
    assert "vectors (key; embedder)" in told
    assert "stopped (paused): paused by hand" in told
    assert "far (key; far)" in told
    assert "closed: paused" in run.invoke(main, ["quota", "resume", "vectors", *file]).output


def test_a_plan_gives_nothing_to_a_provider_whose_price_nobody_agreed_to(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: Simulator,
) -> None:
    """Though another on the same meter has its yes; and what has no price spreads over no days."""
    server.remote.add("other-model")
    links = (
        "summarizers:\n"
        f"  - {{name: far, kind: ollama, url: {server.url}, model: far-model, meter: pool}}\n"
        f"  - {{name: agreed, kind: ollama, url: {server.url}, model: other-model, meter: pool,"
        " price_unknown_ok: true}\n"
        "meters:\n  - {name: pool, subscription: false}\n"
        "limits: {dollars_per_day: 0.0001, max_calls_per_run: 0}\n"
    )
    extra = "defaults: {local_only: false}\n" + links
    workspace = make_workspace(make_tree("api", FILES), extra=extra)
    workspace.index()
    far, agreed = planned(workspace)["providers"]
    assert (far["calls"], agreed["calls"], agreed["why"]) == (0, len(FILES), "")
    assert "no price is known" in far["why"]
    workspace.file.write_text(
        workspace.file.read_text().replace("max_calls_per_run: 0", "max_calls_per_run: 100")
    )
    workspace.index()
    assert [call.model for call in server.calls] == ["other-model"] * len(FILES)


@pytest.mark.parametrize("whose", ["provider", "meter"])
def test_a_plan_gives_nothing_to_who_is_left_alone(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: Simulator,
    whose: str,
) -> None:
    extra = chain(server, max_calls_per_run=0)
    workspace = make_workspace(make_tree("api", FILES), extra=extra)
    workspace.index()
    until = datetime.now(UTC) + timedelta(days=1)
    with closing(Results(workspace.settings.data_dir)) as results:
        if whose == "provider":
            why = "the limit is reached"
            results.breakers.open("far", "", "quota_window", why, until=until, settings="")
        else:  # an embedder on the same meter met it
            now = time.time()
            results.meters.refuse("far", Refusal("the limit is reached", now, until.timestamp()))
    (far,) = planned(workspace)["providers"]
    assert far["calls"] == 0
    assert far["why"] == f"the limit is reached; from {until:%a %H:%M} UTC on"


def test_the_status_says_until_when_a_refusal_holds_and_no_longer_than_that(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: Simulator,
) -> None:
    workspace = make_workspace(make_tree("api", FILES), extra=chain(server))
    workspace.settings.data_dir.mkdir(parents=True)
    asked, now = ["quota", "status", "--config", str(workspace.file)], time.time()
    until = datetime.fromtimestamp(now + 7_200, UTC)
    with closing(Results(workspace.settings.data_dir)) as results:
        results.meters.refuse("far", Refusal("the limit is reached", now, until.timestamp()))
        told = CliRunner().invoke(main, asked).output
        assert f"stopped (refused): the limit is reached (until {until:%Y-%m-%d %H:%M} UTC)" in told
        results.meters.resume("far", now)
        results.meters.refuse("far", Refusal("the limit is reached", now - 60, now - 1))
        results.breakers.open(
            "far",
            "",
            "quota_window",
            "the limit is reached",
            until=datetime.fromtimestamp(now - 1, UTC),
            settings="",
        )
        assert "stopped" not in CliRunner().invoke(main, asked).output


def test_the_status_of_a_subscription_says_all_of_a_window(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: Simulator,
    tmp_path: Path,
) -> None:
    extra = chain(server).replace("model: far-model,", "model: far-model, meter: plan,")
    extra = extra.replace("price:", "allow_subscription: true, price:")
    extra += "meters:\n  - name: plan\n    readings: [{kind: file, path: usage.json}]\n"
    extra += "    window_credits: {week: 4000}\n"
    workspace = make_workspace(make_tree("api", FILES), extra=extra)
    raw = {"limit_window_seconds": 604_800, "used_percent": 12, "reset_after_seconds": 86_400}
    (workspace.file.parent / "usage.json").write_text(json.dumps({"windows": [raw]}))
    workspace.index()
    assert len(server.calls) == 6
    run = CliRunner()
    told = run.invoke(main, ["quota", "status", "--config", str(workspace.file)]).output
    assert "plan (subscription; far)" in told
    assert "week: 12% used, 0." in told
    assert "by us, 40% kept for you, resets" in told
    (plan,) = json.loads(
        run.invoke(main, ["quota", "status", "--json", "--config", str(workspace.file)]).output
    )
    assert plan["windows"][0]["source"] == "file"
    (workspace.file.parent / "usage.json").write_text("<html>")
    probed = run.invoke(main, ["quota", "probe", "--config", str(workspace.file)]).output
    assert "is not JSON" in probed


def test_all_denied_is_green_with_a_remainder_and_search_works(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    server: Simulator,
) -> None:
    extra = chain(server).replace("model: far-model,", "model: far-model, meter: plan,")
    extra = extra.replace("price:", "allow_subscription: true, price:")
    extra += "meters:\n  - name: plan\n    readings: [{kind: file, path: usage.json}]\n"
    workspace = make_workspace(make_tree("api", FILES), extra=extra)
    raw = {"limit_window_seconds": 604_800, "used_percent": 72, "reset_after_seconds": 86_400}
    (workspace.file.parent / "usage.json").write_text(json.dumps({"windows": [raw]}))
    assert not any(outcome.error for outcome in workspace.index())
    assert server.calls == []
    with closing(Results(workspace.settings.data_dir)) as results:
        (last,) = results.slices().values()
    assert last.ended == "denied"
    assert abs((last.next_at - last.served_at).total_seconds() - 86_400) < 60
    assert "72% of the week window of plan is used, 40% is kept for you" in last.why
    with workspace.open() as opened:
        assert opened.search("charlie value")[0].path == "charlie.py"


def test_planned_tokens_are_those_of_another_tokenizer() -> None:
    """By the vocabulary of Llama 2, which the plan does not use, on this project's own code."""
    import wordllama
    from tokenizers import Tokenizer

    from codesearch_assets.plan import TYPICAL
    from codesearch_resources.summarizers.base import Piece
    from codesearch_resources.summarizers.prompt import build

    (file,) = Path(wordllama.__file__).parent.glob("tokenizers/*.json")
    tokenizer = Tokenizer.from_file(str(file))
    estimated = real = 0
    for source in sorted((Path(__file__).parent.parent / "codesearch_resources").glob("*.py")):
        for number, text in enumerate(source.read_text().split("\n\n\n")):
            piece = Piece(f"{source.name}{number}", "python", "function", "f", "", "", text)
            prompt = build(piece, 8192)
            estimated += prompt.input_tokens
            real += len(tokenizer.encode(prompt.system + prompt.user).ids)
    assert TYPICAL * estimated == pytest.approx(real, rel=0.15)
