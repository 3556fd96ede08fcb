"""OpenAI's responses API: the models that take nothing else, and every newer one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codesearch_resources.calls import Usage
from codesearch_resources.egress import Gate
from codesearch_resources.http import count
from codesearch_resources.settings_summarizers import OpenAIResponsesSettings
from codesearch_resources.summarizers.adapter import Prompt
from codesearch_resources.summarizers.openai import OpenAIServer, part


class OpenAIResponses(OpenAIServer):
    """One model of one server."""

    path = "/responses"

    def __init__(self, settings: OpenAIResponsesSettings, gate: Gate) -> None:
        super().__init__(settings, gate)

    def request(self, prompt: Prompt) -> dict[str, Any]:
        # No temperature: the reasoning models, which are most of those served here, refuse it.
        return {
            "instructions": prompt.system,
            "input": prompt.user,
            "max_output_tokens": prompt.output_cap,
            "store": False,
        }

    def usage(self, body: Mapping[str, Any]) -> Usage:
        said = part(body, "usage")
        given, made = part(said, "input_tokens_details"), part(said, "output_tokens_details")
        return Usage(
            input=count(said.get("input_tokens")),
            cached=count(given.get("cached_tokens")),
            cache_write=count(given.get("cache_write_tokens")),
            output=count(said.get("output_tokens")),
            reasoning=count(made.get("reasoning_tokens")),
        )

    def text(self, body: Mapping[str, Any], usage: Usage) -> tuple[str, bool]:
        status = body.get("status")
        why = part(body, "incomplete_details").get("reason")
        if status == "failed" or why == "content_filter":
            raise self.unusable("could not do this text", usage)
        if status not in ("completed", "incomplete"):
            raise self.unusable("gave up before the answer was done", usage)
        output = body.get("output")
        parts = [
            piece.get("text")
            for item in (output if isinstance(output, list) else [])
            if isinstance(item, dict) and item.get("type") == "message"
            for piece in (item.get("content") or [])
            if isinstance(piece, dict) and piece.get("type") == "output_text"
        ]
        return "".join(each for each in parts if isinstance(each, str)), status == "incomplete"
