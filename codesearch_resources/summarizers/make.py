"""The adapter that the settings of a link ask for."""

from codesearch_resources.egress import Gate
from codesearch_resources.settings_summarizers import (
    ModelSettings,
    OllamaSettings,
    OpenAIChatSettings,
)
from codesearch_resources.summarizers.adapter import Adapter
from codesearch_resources.summarizers.ollama import Ollama
from codesearch_resources.summarizers.openai_chat import OpenAIChat
from codesearch_resources.summarizers.openai_responses import OpenAIResponses


def make_adapter(settings: ModelSettings, gate: Gate) -> Adapter:
    """One adapter by its kind; `gate` decides where its sockets may open to."""
    if isinstance(settings, OllamaSettings):
        return Ollama(settings, gate)
    if isinstance(settings, OpenAIChatSettings):
        return OpenAIChat(settings, gate)
    return OpenAIResponses(settings, gate)
