"""Which trouble a refusal is: by its body first, then by its status; and what a person is told."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codesearch_resources.calls import CallError
from codesearch_resources.classify import (
    LONGEST_MESSAGE,
    LONGEST_WAIT,
    classify,
    clean,
    retry_after,
)
from codesearch_resources.retired import successor

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
LOGIN = "<!DOCTYPE html><title>Sign in</title>"


def of(status: int, body: Any = "", kind: str = "openai_chat", **headers: str) -> CallError:
    text = body if isinstance(body, str) else json.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return classify(kind, status, named, text.encode(), provider="p", model="m", now=NOW)  # type: ignore[arg-type]


def openai(code: str | None = None, kind: str | None = None, message: str = "x") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "code": code}}


CASES: list[tuple[str, int, Any, str]] = [
    # 429 is a window, an empty account, or haste
    ("quota_window", 429, openai(kind="usage_limit_reached"), "codex"),
    ("quota_window", 429, {"error": "you (me) have reached your session usage limit"}, "ollama"),
    ("quota_window", 429, {"error": "you (me) have reached your weekly usage limit"}, "ollama"),
    ("quota_window", 429, {"error": "you've reached your hourly usage limit, please"}, "ollama"),
    ("quota_money", 429, openai("credit_balance_exhausted", "insufficient_quota"), "openai"),
    ("quota_money", 429, openai("insufficient_quota", "insufficient_quota"), "openai"),
    ("quota_money", 429, openai("project_spend_limit_exceeded"), "openai"),
    ("quota_money", 402, {"error": "payment required"}, "any"),
    ("quota_money", 402, "", "any"),
    ("rate", 429, openai("rate_limit_exceeded", "requests"), "openai"),
    ("rate", 429, openai("slow_down"), "openai"),
    ("rate", 429, "", "any"),
    ("rate", 429, LOGIN, "a proxy"),
    ("rate", 503, openai("slow_down"), "openai"),
    ("rate", 429, {"error": "timed out waiting for a concurrent request slot"}, "ollama"),
    ("rate", 500, {"error": "timed out waiting for a concurrent request slot"}, "ollama"),
    ("overload", 503, {"error": "Server overloaded, please retry shortly (ref: 3)"}, "ollama"),
    ("overload", 503, {"error": "server busy, please try again.  maximum pending"}, "ollama"),
    ("overload", 503, openai("server_is_overloaded"), "openai"),
    ("overload", 502, LOGIN, "a proxy"),
    ("overload", 500, {"error": "model runner has unexpectedly stopped"}, "ollama"),
    ("overload", 500, {"error": "llama runner process has terminated: GGML_ASSERT"}, "ollama"),
    ("overload", 504, "", "any"),
    ("overload", 529, openai(kind="overloaded_error"), "openrouter"),
    ("overload", 408, "", "any"),
    ("auth", 401, {"error": "unauthorized", "signin_url": "https://ollama.com/c?key=1"}, "ollama"),
    ("auth", 401, openai("invalid_api_key"), "openai"),
    ("auth", 403, openai(message="Country not supported"), "openai"),
    ("auth", 404, "404 page not found", "ollama"),
    ("auth", 404, LOGIN, "a wrong path"),
    ("auth", 405, "405 method not allowed", "ollama"),
    ("auth", 307, "", "any"),
    ("model_gone", 404, {"error": "model 'm' not found"}, "ollama"),
    ("model_gone", 404, openai("model_not_found"), "openai"),
    ("model_gone", 404, openai(message="The model `m` does not exist"), "openai"),
    ("model_gone", 400, openai("model_not_found"), "vllm"),
    ("model_plan", 403, {"error": "this model requires a subscription, upgrade for"}, "ollama"),
    ("item", 400, openai("context_length_exceeded"), "llama.cpp"),
    ("item", 400, {"error": "the prompt is longer than the context length currently"}, "ollama"),
    ("item", 400, {"error": "embedding contains NaN or Inf values"}, "ollama"),
    ("item", 500, {"error": "failed to encode response: json: unsupported value: NaN"}, "ollama"),
    ("item", 400, openai("content_policy_violation", message="content policy"), "openai"),
    ("item", 413, "", "any"),
    ("item", 422, openai(message="bad"), "any"),
]


@pytest.mark.parametrize(("expected", "status", "body", "who"), CASES)
def test_a_refusal_has_one_trouble(expected: str, status: int, body: Any, who: str) -> None:
    error = of(status, body, "ollama" if who == "ollama" else "openai_chat")
    assert (error.trouble, error.status) == (expected, status)


def test_a_refusals_own_reset_is_read_and_the_later_counts() -> None:
    at = int((NOW + timedelta(hours=5)).timestamp())
    said = {"error": {"type": "usage_limit_reached", "resets_at": at, "resets_in_seconds": 30}}
    error = of(429, said, retry_after="30")
    assert error.resets_at == NOW + timedelta(hours=5)
    assert error.retry_after == 30  # a wait beside it: what resets later is the chain's to obey
    said["error"]["resets_at"] = 0
    assert of(429, said).resets_at == NOW + timedelta(seconds=30)


@pytest.mark.parametrize("at", [0, -1, "soon", None, True, 1e300, float("nan"), 5e12, []])
def test_a_reset_that_is_no_time_is_unknown(at: Any) -> None:
    body = json.dumps({"error": {"type": "usage_limit_reached", "resets_at": at}})
    assert of(429, body).resets_at is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Sun, 22 Nov 2026 09:00:20 GMT"}, 20),
        ({"retry-after": "Sun, 22 Nov 2026 08:00:00 GMT"}, 0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "1e300"}, LONGEST_WAIT),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_in_every_form(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


def test_a_person_is_told_what_to_do() -> None:
    assert "set url to the right address" in str(of(307, location="https://other.example/x?key=9"))
    assert "key=9" not in str(of(307, location="https://other.example/x?key=9"))
    assert "check the key in api_key_env" in str(of(401))
    assert "check url" in str(of(404, LOGIN))
    assert "use qwen3.5:397b-cloud" in str(
        classify("ollama", 404, {}, b"model", model="qwen3-coder:480b-cloud")
    )
    assert "clock is 7200 s off" in str(of(401, date="Sun, 22 Nov 2026 07:00:00 GMT"))
    assert "clock" not in str(of(401, date="Sun, 22 Nov 2026 08:59:45 GMT"))


def test_successors_keep_the_way_a_name_is_written() -> None:
    assert successor("qwen3-coder:480b-cloud") == "qwen3.5:397b-cloud"
    assert successor("qwen3-coder:480b") == "qwen3.5:397b"
    assert successor("qwen3-coder:30b") is None
    assert successor("") is None


def test_accounts_keys_and_queries_are_not_shown() -> None:
    text = clean(
        "you (jane doe) at jane@example.com, org-Abc123def, see "
        "https://user:pw@ollama.com/connect?name=jane&key=123 \x1b[31m Bearer "
        + "abcdefghijklmnopqrstuvwxyz0123"
    )
    for secret in ("jane", "org-Abc", "pw@", "key=123", "\x1b", "abcdefghijkl"):
        assert secret not in text
    assert "https://ollama.com/connect" in text


@given(st.integers(100, 599), st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_refusal_is_a_short_clean_error(status: int, body: bytes) -> None:
    error = classify("ollama", status, {}, body, provider="p", model="m", now=NOW)
    assert len(str(error)) < LONGEST_MESSAGE + 200
    assert str(error).isprintable()


Json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@given(st.integers(400, 599), Json)
def test_any_json_is_judged(status: int, value: Any) -> None:
    for body in (value, {"error": value}, {"error": {"message": value, "code": value}}):
        assert of(status, json.dumps(body)).status == status
