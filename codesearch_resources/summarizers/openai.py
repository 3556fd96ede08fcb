"""What OpenAI's two formats have in common: the call, its refusals, its token counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from codesearch_resources.calls import CallError, Usage
from codesearch_resources.classify import classify, clean
from codesearch_resources.egress import Gate
from codesearch_resources.http import Http, parsed
from codesearch_resources.settings_summarizers import (
    ModelSettings,
    OpenAIChatSettings,
    OpenAIResponsesSettings,
)
from codesearch_resources.summarizers.adapter import Answer, Destination, Prompt
from codesearch_resources.summarizers.keys import bearer


class OpenAIServer:
    """One model of one server; the formats say what is sent and where the words stand."""

    path: ClassVar[str]

    def __init__(self, settings: OpenAIChatSettings | OpenAIResponsesSettings, gate: Gate) -> None:
        self.settings: ModelSettings = settings
        self._extra = settings.extra
        self._http = Http(
            settings.base_url,
            who=settings.name,
            permit=gate.admit,
            timeout=settings.timeout_seconds,
            connections=settings.workers,
            headers=lambda: bearer(settings),
        )

    @property
    def shown(self) -> str:
        """The provider as messages name it."""
        return self._http.shown

    def request(self, prompt: Prompt) -> dict[str, Any]:
        """The body, without the model's name."""
        raise NotImplementedError

    def usage(self, body: Mapping[str, Any]) -> Usage:
        """The token counts of an answer as they stand there."""
        raise NotImplementedError

    def text(self, body: Mapping[str, Any], usage: Usage) -> tuple[str, bool]:
        """The words of an answer, and whether the output cap ended them. Raises CallError."""
        raise NotImplementedError

    def destination(self) -> Destination:
        return Destination(
            provider=self.settings.name,
            model=self.settings.model,
            host=self._http.host,
            port=self._http.port,
            addresses=self._http.addresses(),
        )

    def ask(self, prompt: Prompt) -> Answer:
        body = {"model": self.settings.model, **self.request(prompt), **self._extra}
        body = {key: value for key, value in body.items() if value is not None} | {"stream": False}
        reply = self._http.post(self.path, body, local_only=prompt.local_only)
        if reply.status != 200:
            raise classify(
                self.settings.kind,
                reply.status,
                reply.headers,
                reply.body,
                provider=self.shown,
                model=self.settings.model,
            )
        answer = parsed(reply, self.shown)
        usage = bounded(self.usage(answer))
        if error := answer.get("error"):
            said = part(answer, "error").get("message", error)
            why = f"{self.shown}: broke off ({clean(str(said))})"
            raise CallError("item", why, status=reply.status, usage=usage)
        text, cut = self.text(answer, usage)
        return Answer(
            text=text,
            usage=usage,
            model=str(answer.get("model") or self.settings.model),
            headers=reply.headers,
            seconds=reply.seconds,
            server_date=reply.date,
            cut=cut,
        )

    def unusable(self, why: str, usage: Usage) -> CallError:
        """An answer that was given, and charged, and is of no use."""
        return CallError("item", f"{self.shown}: {why}", status=200, usage=usage)

    def close(self) -> None:
        self._http.close()


def part(body: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping at a key, an empty one where there is none."""
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def bounded(usage: Usage) -> Usage:
    """Parts held to the whole they are parts of: more cached than given would price it below 0."""
    cached, wrote, reasoning = usage.cached, usage.cache_write, usage.reasoning
    if usage.input is not None and cached is not None:
        cached = min(cached, usage.input)
    if usage.input is not None and wrote is not None:
        wrote = min(wrote, usage.input - (cached or 0))
    if usage.output is not None and reasoning is not None:
        reasoning = min(reasoning, usage.output)
    return replace(usage, cached=cached, cache_write=wrote, reasoning=reasoning)
