"""OpenAI's chat completions: any server that speaks them (vLLM, llama.cpp, LM Studio, …)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from codesearch_resources.calls import Usage
from codesearch_resources.egress import Gate
from codesearch_resources.http import count
from codesearch_resources.settings_summarizers import OpenAIChatSettings
from codesearch_resources.summarizers.adapter import Prompt
from codesearch_resources.summarizers.openai import OpenAIServer, part


class OpenAIChat(OpenAIServer):
    """One model of one server."""

    path = "/chat/completions"

    def __init__(self, settings: OpenAIChatSettings, gate: Gate) -> None:
        super().__init__(settings, gate)

    def request(self, prompt: Prompt) -> dict[str, Any]:
        return {
            "messages": [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.user},
            ],
            "max_tokens": prompt.output_cap,
            "temperature": prompt.temperature,
        }

    def usage(self, body: Mapping[str, Any]) -> Usage:
        said = part(body, "usage")
        given, made = part(said, "prompt_tokens_details"), part(said, "completion_tokens_details")
        return Usage(
            input=count(said.get("prompt_tokens")),
            cached=count(given.get("cached_tokens")),
            cache_write=count(given.get("cache_write_tokens")),
            output=count(said.get("completion_tokens")),
            reasoning=count(made.get("reasoning_tokens")),
        )

    def text(self, body: Mapping[str, Any], usage: Usage) -> tuple[str, bool]:
        choices = body.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            raise self.unusable("the answer has no choices", usage)
        reason = choice.get("finish_reason")
        if reason == "content_filter":
            raise self.unusable("its filter refuses this text", usage)
        content = part(choice, "message").get("content")
        return content if isinstance(content, str) else "", reason == "length"
