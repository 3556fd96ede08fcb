"""Ollama's own API (`/api/chat`): local models and cloud models through the same address.

What Ollama does silently is refused aloud here: a prompt it cut, an answer it gave up on, a model
that is not on this machine although the address is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

from codesearch_resources.calls import CallError, Usage
from codesearch_resources.classify import classify, clean
from codesearch_resources.egress import Gate
from codesearch_resources.http import Http, Reply, count, parsed
from codesearch_resources.settings_summarizers import ModelSettings, OllamaSettings
from codesearch_resources.summarizers.adapter import Answer, Destination, Prompt
from codesearch_resources.summarizers.keys import bearer

# Below this share of the estimate the server has seen less than was sent.
TRUNCATED_BELOW = 0.6
# A model's place (/api/show) is asked again after this long.
SHOWN_SECONDS = 300.0


class Ollama:
    """One model of one Ollama."""

    def __init__(self, settings: OllamaSettings, gate: Gate) -> None:
        self.settings: ModelSettings = settings
        self._own, self._gate = settings, gate
        self._http = Http(
            settings.base_url,
            who=settings.name,
            permit=gate.admit,
            timeout=settings.timeout_seconds,
            connections=settings.workers,
            headers=lambda: bearer(settings),
        )
        self._lock = threading.Lock()
        self._shown: tuple[str | None, float] | None = None

    def destination(self) -> Destination:
        return Destination(
            provider=self.settings.name,
            model=self.settings.model,
            host=self._http.host,
            port=self._http.port,
            addresses=self._http.addresses(),
            remote=self._remote(),
        )

    def ask(self, prompt: Prompt) -> Answer:
        if prompt.local_only and (remote := self._remote()):
            raise self._away(remote)
        reply = self._http.post("/api/chat", self._request(prompt), local_only=prompt.local_only)
        if reply.status != 200:
            raise self._refused(reply)
        body = parsed(reply, self._http.shown)
        usage = Usage(
            input=count(body.get("prompt_eval_count")), output=count(body.get("eval_count"))
        )
        self._check(body, usage, prompt)
        return Answer(
            text=_text(body),
            usage=usage,
            model=str(body.get("model") or self.settings.model),
            headers=reply.headers,
            seconds=reply.seconds,
            server_date=reply.date,
            cut=body.get("done_reason") == "length",
        )

    def close(self) -> None:
        self._http.close()

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.settings.model,
            "messages": [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.user},
            ],
            "stream": False,
            "think": False,
            # A prompt that does not fit is to be an error, not half a prompt.
            "truncate": False,
            "shift": False,
            "options": {
                "num_ctx": self._own.num_ctx,
                "num_predict": prompt.output_cap,
                "temperature": prompt.temperature,
            },
        }
        if self._own.keep_alive is not None:
            request["keep_alive"] = self._own.keep_alive
        return request

    def _check(self, body: Mapping[str, Any], usage: Usage, prompt: Prompt) -> None:
        """Refuse what is an answer by its status only. Raises CallError."""
        if (remote := body.get("remote_host")) is not None:
            with self._lock:
                self._shown = (clean(str(remote)), time.monotonic())
            if prompt.local_only:
                raise self._away(clean(str(remote)), usage)
        if isinstance(said := body.get("error"), str):
            raise self._item(f"broke off ({clean(said)})", usage)
        if body.get("done") is not True:
            raise self._item("gave up before the answer was done", usage)
        if body.get("done_reason") in ("load", "unload"):
            raise self._item("only loaded the model and wrote nothing", usage)
        if usage.input is not None and usage.input < TRUNCATED_BELOW * prompt.input_tokens:
            read = f"read {usage.input} tokens of about {prompt.input_tokens}"
            raise self._item(f"cut the prompt: {read}; set num_ctx higher, or lower", usage)

    def _remote(self) -> str | None:
        """The host that the server passes this model on to, None when it runs it itself."""
        http, model = self._http, self.settings.model
        if any(self._gate.reach_of(http.host, each) == "cloud" for each in http.addresses()):
            return None  # the address itself is beyond this machine: there is nothing to ask it
        tag = model.rpartition(":")[2] if ":" in model else ""
        if tag == "cloud" or tag.endswith("-cloud"):
            return "ollama.com"
        with self._lock:
            shown = self._shown
        if shown is None or time.monotonic() - shown[1] > SHOWN_SECONDS:
            shown = (self._ask_where(), time.monotonic())
            with self._lock:
                self._shown = shown
        return shown[0]

    def _ask_where(self) -> str | None:
        reply = self._http.post("/api/show", {"model": self.settings.model}, local_only=True)
        if reply.status != 200:
            raise self._refused(reply)
        remote = parsed(reply, self._http.shown).get("remote_host")
        return clean(str(remote)) if remote else None

    def _refused(self, reply: Reply) -> CallError:
        return classify(
            "ollama",
            reply.status,
            reply.headers,
            reply.body,
            provider=self._http.shown,
            model=self.settings.model,
        )

    def _item(self, why: str, usage: Usage) -> CallError:
        return CallError("item", f"{self._http.shown}: {why}", status=200, usage=usage)

    def _away(self, remote: str, usage: Usage | None = None) -> CallError:
        return CallError(
            "policy",
            f"{self._http.shown}: {self.settings.model} runs on {remote}, and local_only is set",
            usage=usage,
        )


def _text(body: Mapping[str, Any]) -> str:
    message = body.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, str) else ""
