"""The Ollama adapter against a server that speaks as Ollama does, each of its traps by name."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pieces import link, prompt
from simulator import Simulator, fault

from codesearch_resources.calls import CallError, Usage
from codesearch_resources.classify import classify
from codesearch_resources.egress import Gate
from codesearch_resources.summarizers.adapter import Adapter, Answer
from codesearch_resources.summarizers.make import make_adapter

RECORDED = {
    case["name"]: case
    for case in json.loads(
        (Path(__file__).parent / "fixtures/providers/ollama-0.9.3.json").read_text("utf-8")
    )
}


@pytest.fixture
def server() -> Iterator[Simulator]:
    with Simulator() as made:
        yield made


def ollama(server: Simulator, **more: Any) -> Adapter:
    return make_adapter(link("ollama", server.url, **more), Gate())


def trouble(adapter: Adapter, local_only: bool = True) -> CallError:
    with pytest.raises(CallError) as caught:
        adapter.ask(prompt(local_only=local_only))
    return caught.value


def recorded(server: Simulator, name: str) -> Answer:
    """The adapter's answer when the server says what Ollama 0.9.3 said."""
    case = RECORDED[name]
    # What was asked then was shorter than our prompt: only the counts are set to it.
    body = case["body"].replace('"prompt_eval_count":38', '"prompt_eval_count":238')
    server.script(fault("say", status=case["status"], body=body))
    return ollama(server).ask(prompt())


def test_ollama_gives_text_tokens_model_and_time(server: Simulator) -> None:
    answer = ollama(server).ask(prompt())
    (call,) = server.calls
    assert answer.text == call.text
    assert answer.usage == Usage(input=call.input_tokens, output=call.output_tokens)
    assert (answer.model, answer.cut) == ("smol:F16", False)
    assert 0 < answer.seconds < 5
    assert answer.headers["content-type"] == "application/json"


def test_ollama_understands_what_a_real_server_said(server: Simulator) -> None:
    answer = recorded(server, "chat non-stream")
    assert answer.text.startswith("The function `add` takes two arguments")
    assert answer.usage == Usage(input=238, output=25)


def test_ollama_sends_instruction_and_code_apart(server: Simulator) -> None:
    asked = prompt()
    ollama(server).ask(asked)
    assert server.calls[0].path == "/api/chat"
    assert [(m["role"], m["content"]) for m in server.calls[0].body["messages"]] == [
        ("system", asked.system),
        ("user", asked.user),
    ]


# What Ollama does silently


@pytest.mark.parametrize("size", [4096, 8192])
def test_ollama_num_ctx(server: Simulator, size: int) -> None:
    """Its default context depends on the graphics card: it is set, and cutting is switched off."""
    ollama(server, num_ctx=size).ask(prompt())
    body = server.calls[0].body
    assert body["options"]["num_ctx"] == size
    assert (body["truncate"], body["shift"], body["stream"]) == (False, False, False)
    assert body["options"]["num_predict"] == prompt().output_cap


def test_ollama_silent_truncation(server: Simulator) -> None:
    """A server that cuts all the same (0.9.3 does) tells by its count: 0.6 of what was sent."""
    asked = prompt()
    for count, refused in (
        (int(0.6 * asked.input_tokens) - 1, True),
        (int(0.6 * asked.input_tokens) + 1, False),
    ):
        said = {"message": {"content": "Adds."}, "done": True, "done_reason": "stop"}
        server.script(fault("say", body={**said, "prompt_eval_count": count, "eval_count": 3}))
        if not refused:
            assert ollama(server).ask(asked).usage.input == count
            continue
        with pytest.raises(CallError, match=f"cut the prompt: read {count} tokens of") as caught:
            ollama(server).ask(asked)
        assert caught.value.trouble == "item"
        assert caught.value.usage == Usage(input=count, output=3)  # it was charged all the same


def test_ollama_recorded_truncation_is_refused(server: Simulator) -> None:
    case = RECORDED["over-long chat num_ctx=512"]
    server.script(fault("say", body=case["body"]))
    with pytest.raises(CallError, match="cut the prompt: read 512 tokens"):
        ollama(server).ask(prompt("x = 1\n" * 900))


def test_ollama_done_false(server: Simulator) -> None:
    """Status 200, and the runner gave up on a token it repeated."""
    server.script(fault("not_done"))
    error = trouble(ollama(server))
    assert (error.trouble, "gave up" in str(error)) == ("item", True)


@pytest.mark.parametrize("reason", ["load", "unload"])
def test_ollama_done_reason_load(server: Simulator, reason: str) -> None:
    name = {
        "load": "generate empty prompt (load)",
        "unload": "generate keep_alive 0 empty (unload)",
    }
    server.script(fault("say", body=RECORDED[name[reason]]["body"]))
    error = trouble(ollama(server))
    assert (error.trouble, "only loaded the model" in str(error)) == ("item", True)


def test_ollama_done_reason_length(server: Simulator) -> None:
    """The cap was reached: the contract takes whole sentences only."""
    server.script(fault("length", text="It adds two numbers. Then it"))
    answer = ollama(server).ask(prompt())
    assert (answer.cut, answer.text) == (True, "It adds two numbers. Then it")


def test_ollama_thinking_off(server: Simulator) -> None:
    """A model that can think does, unless told not to."""
    ollama(server).ask(prompt())
    assert server.calls[0].body["think"] is False
    said = {"content": "Adds.", "thinking": "The user wants …"}
    server.script(fault("say", body={"message": said, "done": True, "done_reason": "stop"}))
    assert ollama(server).ask(prompt()).text == "Adds."


def test_ollama_remote_host(connect_guard: list[str]) -> None:
    """A plain name on a local address, and the model is on another machine: it counts as cloud."""
    with Simulator(remote=["smol:F16"]) as server:
        adapter = ollama(server)
        assert adapter.destination().remote == "https://ollama.com:443"
        assert Gate().reach(adapter.destination()) == "cloud"
        error = trouble(adapter)
        assert error.trouble == "policy"
        assert "smol:F16 runs on https://ollama.com:443, and local_only is set" in str(error)
        assert server.calls == []
        assert adapter.ask(prompt(local_only=False)).text  # where it may, it does


def test_ollama_remote_host_told_only_by_the_answer(server: Simulator) -> None:
    """What changed behind the name since it was asked about is seen at the first answer."""
    adapter = ollama(server)
    assert adapter.destination().remote is None
    server.script(fault("remote"))
    assert trouble(adapter).trouble == "policy"
    assert adapter.destination().remote == "https://ollama.com:443"
    assert trouble(adapter).trouble == "policy"
    assert len(server.calls) == 1


@pytest.mark.parametrize("name", ["qwen3.5:cloud", "gpt-oss:120b-cloud"])
def test_ollama_cloud_suffix(server: Simulator, name: str) -> None:
    adapter = ollama(server, model=name)
    assert adapter.destination().remote == "ollama.com"
    assert trouble(adapter).trouble == "policy"
    assert (server.calls, sum(server.asked.values())) == ([], 0)


def test_ollama_asks_where_a_model_runs_once(server: Simulator) -> None:
    adapter = ollama(server)
    for _ in range(3):
        adapter.destination()
        adapter.ask(prompt())
    assert server.asked == {"/api/show": 1}


def test_ollama_wrong_clock() -> None:
    """Ollama signs its cloud calls with this machine's clock: a 401 may be the clock's."""
    with Simulator(clock=7200) as server:
        server.script(fault("auth"))
        error = trouble(ollama(server))
        assert error.trouble == "auth"
        assert "clock is 7200 s off" in str(error) or "clock is 7199 s off" in str(error)
        assert "ollama signin" in str(error)
        answer = ollama(server).ask(prompt())
        assert answer.server_date is not None
        ahead = answer.server_date - datetime.now(UTC)
        assert timedelta(seconds=7190) < ahead < timedelta(seconds=7205)
    with Simulator() as right:
        right.script(fault("auth"))
        assert "clock" not in str(trouble(ollama(right)))


def test_ollama_model_gone() -> None:
    """404; for a model that was retired the error names what to use instead."""
    with Simulator(models=["smol:F16"]) as server:
        error = trouble(ollama(server, model="nope"))
        assert error.trouble == "model_gone"
        assert "has no model nope" in str(error)
        assert "correct model in the settings or pull it" in str(error)
        error = trouble(ollama(server, model="qwen3-coder:480b-cloud"), local_only=False)
        assert error.trouble == "model_gone"
        assert "use qwen3.5:397b-cloud" in str(error)


def test_ollama_model_not_on_the_plan(server: Simulator) -> None:
    """403 for a model is about that model, not about the login."""
    server.script(fault("model_plan"))
    error = trouble(ollama(server))
    assert (error.trouble, error.status) == ("model_plan", 403)
    assert "does not serve smol:F16 (this model requires a subscription" in str(error)


def test_ollama_cloud_switched_off_is_respected(server: Simulator) -> None:
    said = {"error": "ollama cloud is disabled: remote model is unavailable"}
    server.script(fault("say", status=403, body=said))
    error = trouble(ollama(server))
    assert error.trouble == "model_plan"
    assert "ollama cloud is disabled" in str(error)


def test_ollama_legacy_stub_refusal(server: Simulator) -> None:
    """Older stubs wrap the cloud's refusal in a body of their own."""
    said = {"StatusCode": 429, "Status": "429 Too Many Requests", "error": "you've reached your "}
    said["error"] = "you've reached your hourly usage limit, please wait or upgrade to continue"
    server.script(fault("say", status=429, body=said))
    assert trouble(ollama(server)).trouble == "quota_window"


@pytest.mark.parametrize("counts", [-5, None, "many", 1.5e300])
def test_ollama_counts_that_are_none(server: Simulator, counts: Any) -> None:
    """Absent, negative or strange counts are unknown, never zero."""
    server.script(fault("counts", counts=counts))
    usage = ollama(server).ask(prompt()).usage
    assert usage.output is None or counts == 1.5e300
    assert usage.input is None or counts == 1.5e300


def test_ollama_error_under_status_200(server: Simulator) -> None:
    server.script(fault("say", body={"error": "model runner has unexpectedly stopped"}))
    error = trouble(ollama(server))
    assert "broke off (model runner has unexpectedly stopped)" in str(error)


def test_ollama_keep_alive_is_sent_when_set(server: Simulator) -> None:
    ollama(server).ask(prompt())
    ollama(server, keep_alive="30m").ask(prompt())
    assert [call.body.get("keep_alive") for call in server.calls] == [None, "30m"]


def test_ollama_an_address_that_is_no_own_machine_is_not_even_asked(
    connect_guard: list[str],
) -> None:
    adapter = make_adapter(link("ollama", "http://203.0.113.7:11434"), Gate())
    where = adapter.destination()
    assert (where.addresses, Gate().reach(where)) == (("203.0.113.7",), "cloud")
    assert trouble(adapter).trouble == "policy"


# Everything that was recorded


TROUBLES = {
    "unknown chat": "model_gone",
    "unknown generate": "model_gone",
    "missing model field": "model_gone",
    "unknown path": "auth",
    "GET on /api/generate": "auth",
    "bad json": "item",
    "bad option type": "overload",
    "generate with embed model": "item",
    "embed with LLM": "overload",
    "think true": "item",
    "over-long, num_predict > ctx": "overload",
    "embed long truncate false": "item",
    "embed number in list": "item",
}


@pytest.mark.parametrize("name", TROUBLES)
def test_ollama_recorded_refusals(name: str) -> None:
    case = RECORDED[name]
    error = classify("ollama", case["status"], {}, case["body"].encode(), model="smol")
    assert (error.trouble, error.status) == (TROUBLES[name], case["status"])


@pytest.mark.parametrize("name", ["generate stream", "chat stream"])
def test_ollama_recorded_streams_are_refused(server: Simulator, name: str) -> None:
    server.script(fault("say", body=RECORDED[name]["body"]))
    with pytest.raises(CallError, match="streams its answer"):
        ollama(server).ask(prompt())
