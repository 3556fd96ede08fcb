"""The two OpenAI adapters: formats, token counts, and what other servers make of them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pieces import link, prompt
from simulator import Simulator, fault

from codesearch_resources.calls import CallError, Usage
from codesearch_resources.classify import classify
from codesearch_resources.egress import Gate
from codesearch_resources.summarizers.adapter import Adapter
from codesearch_resources.summarizers.make import make_adapter

KINDS = ("openai_chat", "openai_responses")
RECORDED = {
    case["name"]: case
    for case in json.loads(
        (Path(__file__).parent / "fixtures/providers/llama-cpp-python-0.3.36.json").read_text(
            "utf-8"
        )
    )
}


@pytest.fixture
def server() -> Iterator[Simulator]:
    with Simulator() as made:
        yield made


def adapter(server: Simulator, kind: str = "openai_chat", **more: Any) -> Adapter:
    return make_adapter(link(kind, server.url, **more), Gate())


def trouble(made: Adapter) -> CallError:
    with pytest.raises(CallError) as caught:
        made.ask(prompt())
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
def test_openai_gives_text_tokens_and_model(server: Simulator, kind: str) -> None:
    answer = adapter(server, kind).ask(prompt())
    (call,) = server.calls
    assert (answer.text, answer.model, answer.cut) == (call.text, "smol:F16", False)
    assert (answer.usage.input, answer.usage.output) == (call.input_tokens, call.output_tokens)


def test_openai_chat_request(server: Simulator) -> None:
    asked = prompt()
    adapter(server).ask(asked)
    (call,) = server.calls
    assert (call.path, call.body) == (
        "/v1/chat/completions",
        {
            "model": "smol:F16",
            "messages": [
                {"role": "system", "content": asked.system},
                {"role": "user", "content": asked.user},
            ],
            "max_tokens": asked.output_cap,
            "temperature": 0.0,
            "stream": False,
        },
    )


def test_openai_responses_request(server: Simulator) -> None:
    """Nothing is stored there, and no temperature is sent: reasoning models refuse one."""
    asked = prompt()
    adapter(server, "openai_responses").ask(asked)
    (call,) = server.calls
    assert (call.path, call.body) == (
        "/v1/responses",
        {
            "model": "smol:F16",
            "instructions": asked.system,
            "input": asked.user,
            "max_output_tokens": asked.output_cap,
            "store": False,
            "stream": False,
        },
    )


def test_extra_keys_are_added_taken_away_and_never_make_it_stream(server: Simulator) -> None:
    extra = {"max_completion_tokens": 9, "max_tokens": None, "stream": True}
    adapter(server, extra=extra).ask(prompt())
    body = server.calls[0].body
    assert (body["max_completion_tokens"], "max_tokens" in body, body["stream"]) == (
        9,
        False,
        False,
    )


@pytest.mark.parametrize(
    ("url", "path"),
    [("", "/v1/chat/completions"), ("/", "/v1/chat/completions"), ("/v1/", "/v1/chat/completions")],
)
def test_openai_chat_address_with_and_without_its_path(
    server: Simulator, url: str, path: str
) -> None:
    make_adapter(link("openai_chat", server.url + url), Gate()).ask(prompt())
    assert server.calls[0].path == path


def test_openai_chat_understands_what_a_real_server_said(server: Simulator) -> None:
    server.script(
        fault("say", body=RECORDED["chat"]["body"]),
        fault("say", body=RECORDED["unknown model"]["body"]),
    )
    answer = adapter(server).ask(prompt())
    assert answer.text.startswith("The function `add` takes two arguments, a and b.")
    assert answer.usage == Usage(input=48, output=31)
    cut = adapter(server).ask(prompt())
    assert (cut.cut, cut.model) == (True, "nope")  # it answers for any name and echoes it


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("too long", "item"),
        ("embeddings on LLM server", "overload"),
        ("emb empty list", "overload"),
    ],
)
def test_openai_recorded_refusals(name: str, expected: str) -> None:
    case = RECORDED[name]
    error = classify("openai_chat", case["status"], {}, case["body"].encode(), model="smol")
    assert error.trouble == expected


def test_openai_chat_recorded_stream_is_refused(server: Simulator) -> None:
    server.script(fault("say", body=RECORDED["chat stream"]["body"]))
    assert trouble(adapter(server)).trouble == "overload"


@pytest.mark.parametrize("kind", KINDS)
def test_openai_length(server: Simulator, kind: str) -> None:
    server.script(fault("length", text="It adds. Then"))
    answer = adapter(server, kind).ask(prompt())
    assert (answer.text, answer.cut) == ("It adds. Then", True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("counts", [-3, None, "7", [1]])
def test_openai_counts_that_are_none(server: Simulator, kind: str, counts: Any) -> None:
    server.script(fault("counts", counts=counts))
    assert adapter(server, kind).ask(prompt()).usage == Usage()


def chat_with(usage: Any) -> dict[str, Any]:
    choice = {"message": {"content": "Adds."}, "finish_reason": "stop"}
    return {"choices": [choice], "usage": usage}


def test_openai_chat_counts_of_every_kind(server: Simulator) -> None:
    said = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    server.script(fault("say", body=chat_with(said)))
    assert adapter(server).ask(prompt()).usage == Usage(100, 60, 10, 50, 30)


def test_openai_responses_counts_of_every_kind(server: Simulator) -> None:
    body = {
        "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "Adds."}]}],
        "usage": {
            "input_tokens": 100,
            "output_tokens": 50,
            "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
            "output_tokens_details": {"reasoning_tokens": 30},
        },
    }
    server.script(fault("say", body=body))
    assert adapter(server, "openai_responses").ask(prompt()).usage == Usage(100, 60, 10, 50, 30)


def test_openai_parts_larger_than_their_whole_are_held_to_it(server: Simulator) -> None:
    said = {
        "prompt_tokens": 100,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 900, "cache_write_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }
    server.script(fault("say", body=chat_with(said)))
    assert adapter(server).ask(prompt()).usage == Usage(100, 100, 0, 5, 5)


@pytest.mark.parametrize(
    "body",
    [
        {"choices": []},
        {"choices": None},
        {"choices": [3]},
        {"choices": [{"message": {"content": "x"}, "finish_reason": "content_filter"}]},
        {"error": {"message": "it broke"}},
        {"error": "it broke"},
    ],
)
def test_openai_chat_answers_without_words(server: Simulator, body: Any) -> None:
    server.script(fault("say", body=body))
    assert trouble(adapter(server)).trouble == "item"


@pytest.mark.parametrize(
    "body",
    [
        {"status": "failed", "error": None},
        {"status": "in_progress"},
        {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
        {},
    ],
)
def test_openai_responses_answers_without_words(server: Simulator, body: Any) -> None:
    server.script(fault("say", body=body))
    assert trouble(adapter(server, "openai_responses")).trouble == "item"


@pytest.mark.parametrize("content", [None, 3, ["x"]])
def test_openai_chat_content_that_is_no_text_is_empty(server: Simulator, content: Any) -> None:
    said = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}
    server.script(fault("say", body=said))
    assert adapter(server).ask(prompt()).text == ""


def test_openai_thinking_tokens_are_on_top_of_the_cap(server: Simulator) -> None:
    from pieces import piece

    from codesearch_resources.summarizers.prompt import OUTPUT_CAP, build

    adapter(server).ask(build(piece(), 8192, thinking_tokens=500))
    assert server.calls[0].body["max_tokens"] == OUTPUT_CAP + 500


# Keys


KEY = "k3y" + "-of-nobody-" + "42"


@pytest.mark.parametrize("kind", ["ollama", *KINDS])
def test_the_key_comes_from_the_named_variable_at_each_call(
    server: Simulator, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = adapter(server, kind, api_key_env="SOME_KEY")
    monkeypatch.delenv("SOME_KEY", raising=False)
    error = trouble(made)
    assert error.trouble == "auth"
    assert "the environment variable SOME_KEY is not set" in str(error)
    assert server.calls == []
    monkeypatch.setenv("SOME_KEY", KEY)
    made.ask(prompt())
    assert server.calls[0].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("kind", ["ollama", *KINDS])
def test_no_key_is_sent_where_none_is_named(
    server: Simulator, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)
    adapter(server, kind).ask(prompt())
    assert "Authorization" not in server.calls[0].headers


@pytest.mark.parametrize("key", ["two\nlines", "späße", "with blank"])
def test_a_variable_that_holds_no_key(
    server: Simulator, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", key)
    error = trouble(adapter(server, api_key_env="SOME_KEY"))
    assert (error.trouble, key in str(error)) == ("auth", False)


def test_the_key_is_in_no_error_log_or_repr(
    server: Simulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    key = "sk-" + "proj-" + "Ab3dEf6hIj9lMn2pQr5tUv8xYz1" * 2
    monkeypatch.setenv("SOME_KEY", key)
    caplog.set_level("DEBUG")
    seen = []
    for kind in ("ollama", *KINDS):
        made = adapter(server, kind, api_key_env="SOME_KEY")
        seen += [repr(made), repr(vars(made)), repr(made.settings)]
        echo = {"error": {"message": f"Incorrect API key provided: {key}", "code": "x"}}
        for met in (
            fault("say", status=401, body=echo),
            fault("say", status=500, body=f"Authorization: Bearer {key}"),
            fault("close"),
            fault("html"),
        ):
            server.script(met)
            error = trouble(made)
            seen += [str(error), repr(error), repr(error.__dict__), repr(error.__cause__)]
        answer = made.ask(prompt())
        seen.append(repr(answer))
    assert len(server.calls) == 15
    assert all(call.headers["Authorization"] == f"Bearer {key}" for call in server.calls)
    assert key not in "".join(seen) + caplog.text
    assert key[:20] not in "".join(seen) + caplog.text
