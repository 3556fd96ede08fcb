"""What a provider may do instead of answering: the faults of `simulator.Simulator`."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fault:
    """What one call meets instead of an answer; made by `fault`."""

    kind: str
    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    # Takes the answer that would have been given and returns the one that is.
    change: Callable[[dict[str, Any]], Any] | None = None
    seconds: float = 0.0


def openai_error(kind: str | None, code: str | None, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


_SESSION = "you (someone) have reached your session usage limit, upgrade for more (ref: 1)"
_SLOT = "timed out waiting for a concurrent request slot"
_PLAN = "this model requires a subscription, upgrade for access: https://ollama.com/up (ref: 2)"
_LOGIN = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in</body></html>"
# kind: (status, body as Ollama gives it, body as OpenAI does)
REFUSALS: dict[str, tuple[int, Any, Any]] = {
    "quota_window": (429, {"error": _SESSION}, None),
    "quota_money": (
        402,
        {"error": "payment required"},
        openai_error("insufficient_quota", "credit_balance_exhausted", "You exceeded your quota"),
    ),
    "rate": (
        429,
        {"error": _SLOT},
        openai_error("requests", "rate_limit_exceeded", "Rate limit reached"),
    ),
    "overload": (
        503,
        {"error": "Server overloaded, please retry shortly (ref: 3)"},
        openai_error("server_error", "server_is_overloaded", "The server is overloaded"),
    ),
    "busy": (
        503,
        {"error": "server busy, please try again.  maximum pending requests exceeded"},
        openai_error("server_error", "slow_down", "Slow down"),
    ),
    "crash": (
        500,
        {"error": "model runner has unexpectedly stopped"},
        openai_error("internal_server_error", None, "llama_decode returned -1"),
    ),
    "bad_gateway": (502, {"error": "dial tcp: lookup ollama.com: no such host"}, _LOGIN),
    "auth": (
        401,
        {"error": "unauthorized", "signin_url": "https://ollama.com/connect?name=me&key=secret"},
        openai_error(None, "invalid_api_key", "Incorrect API key provided: sk-abc***xyz"),
    ),
    "model_gone": (
        404,
        {"error": "model 'gone' not found"},
        openai_error("invalid_request_error", "model_not_found", "The model `gone` does not exist"),
    ),
    "model_plan": (
        403,
        {"error": _PLAN},
        openai_error("invalid_request_error", "model_not_available", "Not on your plan"),
    ),
    "too_long": (
        400,
        {"error": "the prompt is longer than the context length currently available to the model"},
        openai_error("invalid_request_error", "context_length_exceeded", "maximum context length"),
    ),
}


def fault(
    kind: str,
    *,
    status: int | None = None,
    body: Any = None,
    retry_after: float | None = None,
    resets_in: float | None = None,
    seconds: float = 60.0,
    text: str = "",
    to: str = "http://127.0.0.2:9/",
    counts: Any = None,
) -> Fault:
    """A fault by its name.

    Refusals: quota_window (`resets_in` seconds: the reset time that OpenAI's body gives),
    quota_money, rate, overload, busy, crash, bad_gateway, auth, model_gone, model_plan, too_long,
    each with `retry_after` seconds when given, and another `status` or `body` when given.
    The wire: hang (`seconds`, then closed), close (at once), cut (the connection in mid-answer),
    never_closes (`seconds`), trickle (a byte each 0.2 s), redirect (`to`).
    Bodies under status 200: html, cut_json, garbage, streaming, two_answers, huge (50 MB), empty,
    not_done, load, length, truncated, counts (the token counts are `counts`, absent when None),
    no_usage, text (`text` is the model's words), remote (an answer that names a remote host),
    say (`body` as it stands, under `status`).
    """
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    if kind in REFUSALS:
        usual = REFUSALS[kind][0]
        if kind == "quota_window" and resets_in is not None and body is None:
            body = {
                "error": {
                    "type": "usage_limit_reached",
                    "message": "The usage limit has been reached",
                    "resets_at": math.ceil(time.time() + resets_in),
                }
            }
        return Fault(kind, usual if status is None else status, body, headers)
    if kind == "redirect":
        return Fault(kind, 307, "", {"Location": to})
    changes: dict[str, Callable[[dict[str, Any]], Any]] = {
        "text": lambda answer: with_text(answer, text),
        "empty": lambda answer: with_text(answer, ""),
        "garbage": lambda answer: "\x00\xff not an answer",
        "html": lambda answer: _LOGIN,
        "cut_json": lambda answer: json.dumps(answer)[:-20],
        "two_answers": lambda answer: json.dumps(answer) + json.dumps(answer),
        "not_done": _not_done,
        "load": lambda answer: {**with_text(answer, ""), "done_reason": "load"},
        "length": lambda answer: _cut(answer, text or "It adds two numbers. Then the second"),
        "truncated": lambda answer: {**answer, "prompt_eval_count": 40},
        "counts": lambda answer: _with_counts(answer, counts),
        "no_usage": lambda answer: _with_counts(answer, None),
        "remote": lambda answer: {**answer, "remote_host": "https://ollama.com:443"},
    }
    wire = ("say", "hang", "close", "cut", "never_closes", "trickle", "streaming", "huge")
    if kind not in changes and kind not in wire:
        raise ValueError(f"no such fault: {kind}")
    return Fault(kind, status or 200, body, headers, changes.get(kind), seconds)


def with_text(answer: dict[str, Any], text: str) -> dict[str, Any]:
    changed = json.loads(json.dumps(answer))
    if "message" in changed:
        changed["message"]["content"] = text
    elif "response" in changed:
        changed["response"] = text
    elif "choices" in changed:
        changed["choices"][0]["message"]["content"] = text
    elif "output" in changed:
        changed["output"][-1]["content"][0]["text"] = text
    return dict(changed)


def _cut(answer: dict[str, Any], text: str) -> dict[str, Any]:
    changed = with_text(answer, text)
    if "done_reason" in changed:
        changed["done_reason"] = "length"
    elif "choices" in changed:
        changed["choices"][0]["finish_reason"] = "length"
    else:
        changed |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    return changed


def _not_done(answer: dict[str, Any]) -> dict[str, Any]:
    gone = ("done_reason", "prompt_eval_count", "eval_count")
    return {k: v for k, v in answer.items() if k not in gone} | {"done": False}


def _with_counts(answer: dict[str, Any], counts: Any) -> dict[str, Any]:
    changed = dict(answer)
    for key in ("prompt_eval_count", "eval_count"):
        if key in changed:
            del changed[key]
            if counts is not None:
                changed[key] = counts
    if "usage" in changed:
        if counts is None:
            del changed["usage"]
        else:
            changed["usage"] = dict.fromkeys(changed["usage"], counts)
    return changed
