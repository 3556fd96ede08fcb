"""What a provider's refusal means: status, headers and body to one of the troubles of `calls`.

Pure, and by what the body says before what the status does: a 429 is a limit window at one server,
an empty account at another and haste at a third. The texts are those of real servers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from codesearch_resources import secrets
from codesearch_resources.calls import CallError, Trouble
from codesearch_resources.http import http_date
from codesearch_resources.retired import successor

Kind = Literal["ollama", "openai_chat", "openai_responses"]

# From this far off on, a clock breaks signatures and every reckoning of resets.
SKEW_SECONDS = 30
LONGEST_MESSAGE = 240
LONGEST_WAIT = 400 * 86_400.0  # seconds; a server may say anything

_MONEY = frozenset(
    """insufficient_quota credit_balance_exhausted organization_spend_limit_exceeded
    project_spend_limit_exceeded organization_usage_limit_exceeded billing_hard_limit_reached
    billing_not_active""".split()
)
_WINDOW = frozenset("usage_limit_reached usage_not_included".split())
_RATE = frozenset("rate_limit_exceeded slow_down rate_limit_error too_many_requests".split())
_OVERLOAD = frozenset("server_is_overloaded overloaded_error server_error".split())
_GONE = frozenset("model_not_found model_deprecated".split())
_WINDOW_TEXT = re.compile(
    r"reached your (?:session |weekly |monthly |daily |hourly |/ )*usage limit"
    r"|usage limit has been reached|quota window"
)
_SLOT_TEXT = re.compile(r"concurrent request slot|too many concurrent|concurrency limit")
_PLAN_TEXT = re.compile(
    r"requires? a subscription|upgrade for access|not (?:on|in) your plan|cloud is disabled"
)
_MODEL_TEXT = re.compile(r"model .{0,80}(?:not found|does not exist|retired|deprecated)")
_RUNNER_TEXT = re.compile(r"runner (?:process )?has|llama_decode|out of memory|cuda error")
_ITEM_TEXT = re.compile(
    r"too long|context length|maximum context|nan or inf|unsupported value: nan"
    r"|content[ _]policy|content[ _]filter|safety"
)


def classify(
    kind: Kind,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    provider: str = "the provider",
    model: str = "",
    now: datetime | None = None,
) -> CallError:
    """The error that a status other than 200 stands for; `headers` by lower-case names.

    `now` (aware) is this machine's clock, which the server's Date header is compared with.
    """
    now = now or datetime.now(UTC)
    said = _Said(body)
    trouble = _trouble(status, said)
    return CallError(
        trouble,
        f"{provider}: {_sentence(trouble, kind, status, headers, said, model, now)}",
        status=status,
        resets_at=said.resets_at(now),
        retry_after=retry_after(headers, now),
    )


class _Said:
    """What a body says: `code` and `type` of OpenAI's form, and its text in either form."""

    def __init__(self, body: bytes) -> None:
        text = body.decode("utf-8", "replace").strip()
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        error = value.get("error") if isinstance(value, dict) else None
        self.error: Mapping[str, Any] = error if isinstance(error, dict) else {}
        self.page = text.startswith("<")
        message = self.error.get("message", error if isinstance(error, str) else None)
        self.text = message if isinstance(message, str) else "" if self.page else text
        self.lowered = self.text.lower()
        self.names = {
            name for key in ("code", "type") if isinstance(name := self.error.get(key), str)
        }

    def resets_at(self, now: datetime) -> datetime | None:
        """When the refusal itself says the limit resets; the later where it says so twice."""
        told = []
        at, within = _number(self.error, "resets_at"), _number(self.error, "resets_in_seconds")
        if 1e9 < at < 1e11:
            told.append(datetime.fromtimestamp(at, UTC))
        if 0 < within < 400 * 86400:
            told.append(now + timedelta(seconds=within))
        return max(told, default=None)


def _number(error: Mapping[str, Any], key: str) -> float:
    """The number at a key, 0 where there is none."""
    value = error.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if math.isfinite(value) else 0.0


def _trouble(status: int, said: _Said) -> Trouble:
    by_words = _by_words(said)
    if by_words:
        return by_words
    if status in (401, 407) or 300 <= status < 400:
        return "auth"
    if status == 402:
        return "quota_money"
    if status == 403:
        return "auth"
    if status == 404:
        # A path that is not there is a wrong `url`; a model that is not there is named.
        return "model_gone" if "model" in said.lowered else "auth"
    if status == 405:
        return "auth"
    if status == 429:
        return "rate"
    if status in (408, 499) or status >= 500:
        return "overload"
    return "item"


def _by_words(said: _Said) -> Trouble | None:
    """What codes and texts say, whatever the status; None when they say nothing known."""
    words = said.lowered
    table: list[tuple[Trouble, bool]] = [
        ("quota_money", bool(said.names & _MONEY)),
        ("quota_window", bool(said.names & _WINDOW or _WINDOW_TEXT.search(words))),
        ("rate", bool(said.names & _RATE or _SLOT_TEXT.search(words))),
        ("overload", bool(said.names & _OVERLOAD or _RUNNER_TEXT.search(words))),
        ("model_plan", bool("model_not_available" in said.names or _PLAN_TEXT.search(words))),
        ("model_gone", bool(said.names & _GONE or _MODEL_TEXT.search(words))),
        ("item", bool("context_length_exceeded" in said.names or _ITEM_TEXT.search(words))),
    ]
    return next((trouble for trouble, holds in table if holds), None)


def _sentence(
    trouble: Trouble,
    kind: Kind,
    status: int,
    headers: Mapping[str, str],
    said: _Said,
    model: str,
    now: datetime,
) -> str:
    """What a person reads: what happened, what the server says, what to do."""
    told = f" ({clean(said.text)})" if said.text.strip() else ""
    if 300 <= status < 400:
        place = clean(re.sub(r"(://[^/?#]*)[^ ]*", r"\1", headers.get("location", "elsewhere")))
        return f"redirects to {place}, which is not followed: set url to the right address"
    if trouble == "model_gone":
        instead = successor(model)
        hint = f"use {instead}" if instead else "correct model in the settings"
        pull = " or pull it" if kind == "ollama" and not instead else ""
        return f"has no model {model}{told}: {hint}{pull}"
    if trouble == "model_plan":
        return f"does not serve {model}{told}: choose another model"
    if trouble == "auth" and status in (401, 403, 407):
        off = _clock_off(headers, now)
        clock = (
            f"; this machine's clock is {off:.0f} s off the server's: set it first" if off else ""
        )
        login = "ollama signin" if kind == "ollama" else "the key in api_key_env"
        return f"refuses the login, status {status}{told}: check {login}{clock}"
    if trouble == "auth":
        return f"does not know this path, status {status}{told}: check url"
    if trouble == "quota_money":
        return f"has no credit left{told}"
    if trouble == "quota_window":
        return f"has reached a usage limit{told}"
    return f"status {status}{told}"


def _clock_off(headers: Mapping[str, str], now: datetime) -> float:
    """Seconds between the clocks, 0 when they agree or the server does not tell."""
    date = http_date(headers.get("date"))
    off = abs((now - date).total_seconds()) if date else 0.0
    return off if off > SKEW_SECONDS else 0.0


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait as the headers say: `retry-after-ms`, `retry-after` (seconds or a date)."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return min(seconds, LONGEST_WAIT)
    date = http_date(headers.get("retry-after"))
    return min(max((date - now).total_seconds(), 0.0), LONGEST_WAIT) if date else None


def clean(text: str) -> str:
    """A server's words fit to be shown: one line, short, free of keys, accounts and queries."""
    text = secrets.redact(text)
    text = re.sub(r"\byou \([^)]*\)", "you", text)
    text = re.sub(r"(https?://[^\s?#\"']+)[?#][^\s\"']*", r"\1", text)
    text = re.sub(r"//[^\s/@]+@", "//", text)
    text = re.sub(r"[\w.+-]+@[\w-]+\.[\w.]+", "<address>", text)
    text = re.sub(r"\b(?:org|proj|user|acct)[-_][A-Za-z0-9]{6,}", "<account>", text)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"
