"""The readers of a meter by its settings: those that are asked, and those of answers' headers."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from codesearch_resources.calls import CallError
from codesearch_resources.egress import Gate
from codesearch_resources.http import Http
from codesearch_resources.quota.readers import (
    codex_app_server,
    codex_headers,
    codex_usage,
    ollama_usage,
    openai_headers,
)
from codesearch_resources.quota.readers.base import Reader, ReadingError
from codesearch_resources.quota.readers.file import MeterFile
from codesearch_resources.quota.windows import Report
from codesearch_resources.settings_meters import (
    CodexAppServerReading,
    CodexUsageReading,
    FileReading,
    OllamaUsageReading,
    Reading,
)

TIMEOUT = 10.0  # seconds
CLOUD = Gate()  # a usage page is asked for nothing of a repository's

Parse = Callable[[Mapping[str, str], float], Report | None]
HEADERS: dict[str, Parse] = {
    "codex_headers": codex_headers.parse,
    "openai_headers": openai_headers.parse,
}


@dataclass(frozen=True)
class UsagePage:
    """A JSON page over HTTP; the key is looked up at each reading and held nowhere."""

    url: str
    path: str
    key_env: str
    parse: Callable[..., Report]
    source: str

    def read(self, now: float) -> Report:
        """The usage now. Raises ReadingError for whatever is no usage."""
        key = os.environ.get(self.key_env)
        if not key:
            raise ReadingError(f"the environment has no {self.key_env} for {self.source}")
        server = Http(
            self.url,
            who=self.source,
            permit=CLOUD.admit,
            timeout=TIMEOUT,
            connections=1,
            headers=lambda: {"Authorization": f"Bearer {key}"},
        )
        try:
            reply = server.get(self.path, local_only=False)
        except CallError as error:
            raise ReadingError(str(error)) from None
        finally:
            server.close()
        if reply.status != 200:
            raise ReadingError(f"{self.source} answered {reply.status}")
        try:
            body = json.loads(reply.body)
        except (ValueError, RecursionError):
            raise ReadingError(f"{self.source} did not answer with JSON") from None
        clock = reply.date.timestamp() if reply.date else None
        return self.parse(body, now, server_clock=clock)


def polled(readings: Sequence[Reading], folder: Path) -> list[Reader]:
    """The readers that are asked; relative paths start at `folder`."""
    return [reader for reading in readings if (reader := _polled(reading, folder)) is not None]


def _polled(reading: Reading, folder: Path) -> Reader | None:
    match reading:
        case CodexAppServerReading():
            return codex_app_server.CodexAppServer(
                tuple(reading.command or codex_app_server.COMMAND)
            )
        case CodexUsageReading():
            return UsagePage(
                reading.url, "", reading.token_env, codex_usage.parse, codex_usage.SOURCE
            )
        case OllamaUsageReading():
            base = reading.url.rstrip("/")
            key = reading.api_key_env
            return UsagePage(base, "/api/usage", key, ollama_usage.parse, ollama_usage.SOURCE)
        case FileReading():
            return MeterFile(folder / Path(reading.path).expanduser())
    return None


def from_headers(readings: Sequence[Reading]) -> list[Parse]:
    """What reads an answer's headers."""
    return [HEADERS[reading.kind] for reading in readings if reading.kind in HEADERS]
