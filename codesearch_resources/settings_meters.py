"""`meters` of codesearch.yaml: the limits that providers draw on, and how each is read."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from codesearch_resources.settings_base import Section, Slug, Text
from codesearch_resources.settings_summarizers import EnvName, Url

Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False, strict=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=False)]
WindowKind = Literal["5h", "day", "week", "month", "year"]
DEFAULT_RESERVE: dict[WindowKind, float] = {"5h": 50, "week": 40, "month": 30}


class CodexAppServerReading(Section):
    """`codex app-server`, the documented way to ask; the program owns its sign-in."""

    kind: Literal["codex_app_server"]
    command: list[Text] | None = None


class CodexUsageReading(Section):
    """The usage endpoint of Codex, with a token that the user puts into the environment."""

    kind: Literal["codex_usage"]
    url: Url
    token_env: EnvName


class CodexHeadersReading(Section):
    """The limits in the headers of each answer of the provider itself."""

    kind: Literal["codex_headers"]


class OpenAIHeadersReading(Section):
    """The rate limits in the headers of each answer of the provider itself."""

    kind: Literal["openai_headers"]


class OllamaUsageReading(Section):
    """The usage of Ollama's cloud."""

    kind: Literal["ollama_usage"]
    url: Url = "https://ollama.com"
    api_key_env: EnvName = "OLLAMA_API_KEY"


class FileReading(Section):
    """A JSON file that a script of the user's keeps up to date."""

    kind: Literal["file"]
    path: Text


Reading = Annotated[
    CodexAppServerReading
    | CodexUsageReading
    | CodexHeadersReading
    | OpenAIHeadersReading
    | OllamaUsageReading
    | FileReading,
    Field(discriminator="kind"),
]
READINGS_BY_KIND: dict[str, type[Section]] = {
    "codex_app_server": CodexAppServerReading,
    "codex_usage": CodexUsageReading,
    "codex_headers": CodexHeadersReading,
    "openai_headers": OpenAIHeadersReading,
    "ollama_usage": OllamaUsageReading,
    "file": FileReading,
}


def _hours(value: str) -> str:
    begin, dash, end = value.partition("-")
    try:
        start, stop = time.fromisoformat(begin.strip()), time.fromisoformat(end.strip())
    except ValueError:
        raise ValueError("must be two times of the day, such as 22:00-07:00") from None
    if not dash or start == stop or start.tzinfo or stop.tzinfo:
        raise ValueError("must be two different times of the day, such as 22:00-07:00")
    return value


class MeterSettings(Section):
    """One limit that one or more providers draw on."""

    name: Slug
    # A person works with it too: it keeps a reserve, and is used only where an entry of
    # `summarizers` says `allow_subscription: true`. Else it is a key with a budget.
    subscription: bool = True
    readings: list[Reading] = []
    # Percent of each kind of window that are left to the person.
    reserve: dict[WindowKind, Percent] = {}
    # How long the meter may take to show what was sent.
    settle_minutes: Annotated[int, Field(ge=1, le=240)] = 15
    # Spread the allowance evenly over the window.
    pace: bool = False
    # Batches draw on it only between these hours, in the time zone of `nightly`.
    hours: Annotated[Text, AfterValidator(_hours)] | None = None
    # Credits that were bought beside the plan and may be spent a day; 0: none.
    bought_credits_per_day: Amount = 0.0
    # What a whole window is thought to hold, in credits; a wrong guess is found out.
    window_credits: dict[WindowKind, Amount] = {}
    dollars_per_day: Amount | None = None

    @property
    def kept(self) -> dict[str, float]:
        """The reserve as shares, defaults filled in."""
        return {kind: share / 100 for kind, share in {**DEFAULT_RESERVE, **self.reserve}.items()}

    def span(self) -> tuple[time, time] | None:
        """The hours as times of the day."""
        if self.hours is None:
            return None
        begin, _, end = self.hours.partition("-")
        return time.fromisoformat(begin.strip()), time.fromisoformat(end.strip())
