"""Readers at work: a program over its stdio, a page over HTTP, and both going wrong."""

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from codesearch_resources.quota.readers import ollama_usage
from codesearch_resources.quota.readers.base import ReadingError
from codesearch_resources.quota.readers.codex_app_server import CodexAppServer
from codesearch_resources.quota.readers.make import UsagePage, polled
from codesearch_resources.settings_meters import MeterSettings

NOW = 1_795_291_000.0
FIXTURES = Path(__file__).parent / "fixtures" / "quota"

APP_SERVER = """
import json, sys
content = json.load(open(sys.argv[1]))
asked = []
for line in sys.stdin:
    message = json.loads(line)
    asked.append(message["method"])
    if message["method"] == "account/rateLimits/read":
        assert asked == ["initialize", "initialized", "account/read", "account/rateLimits/read"]
        print(json.dumps({"method": "account/updated", "params": {}}), flush=True)
        print("a line that is no JSON", flush=True)
        print(json.dumps({"id": message["id"], "result": content["limits"]}), flush=True)
    elif message["method"] == "account/read":
        print(json.dumps({"id": message["id"], "result": content["account"]}), flush=True)
    elif "id" in message:
        print(json.dumps({"id": message["id"], "result": {}}), flush=True)
"""


def program(folder: Path, text: str) -> CodexAppServer:
    script = folder / "app_server.py"
    script.write_text(text)
    command = (sys.executable, str(script), str(FIXTURES / "codex_app_server.json"))
    return CodexAppServer(command, timeout=20.0)


def test_the_app_server_is_asked_and_ended(tmp_path: Path) -> None:
    report = program(tmp_path, APP_SERVER).read(NOW)
    assert {(w.feature, w.kind): w.used for w in report.windows} == {
        (None, "5h"): 0.25,
        (None, "week"): 0.31,
        ("GPT-5.3-Codex-Spark", "week"): 0.03,
    }
    assert "somebody" not in json.dumps(report.raw)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import time; time.sleep(60)", "did not answer in time"),
        ("", "ended"),
        (
            'import sys\nfor line in sys.stdin: print(\'{"id": 0, "error": {"code": -1}}\','
            " flush=True)",
            "refused to tell",
        ),
    ],
)
def test_an_app_server_that_fails_is_a_reading_error(tmp_path: Path, text: str, why: str) -> None:
    reader = program(tmp_path, text)
    with pytest.raises(ReadingError, match=why):
        CodexAppServer(reader.command, timeout=2.0).read(NOW)


def test_a_program_that_is_not_there_is_a_reading_error() -> None:
    with pytest.raises(ReadingError, match="cannot be started"):
        CodexAppServer(("/no/such/codex",)).read(NOW)


class Page(BaseHTTPRequestHandler):
    answer: tuple[int, bytes] = (200, b"{}")
    keys: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        Page.keys.append(self.headers.get("Authorization"))
        status, body = Page.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    Page.keys = []
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_usage_page_is_read_with_the_key_of_the_environment(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = UsagePage(url, "/api/usage", "A_KEY", ollama_usage.parse, "ollama_usage")
    monkeypatch.delenv("A_KEY", raising=False)
    with pytest.raises(ReadingError, match="no A_KEY"):
        page.read(NOW)
    monkeypatch.setenv("A_KEY", "secret")
    Page.answer = 200, (FIXTURES / "ollama_usage.json").read_bytes()
    assert {w.kind for w in page.read(NOW).windows} == {"5h", "week"}
    assert Page.keys == ["Bearer secret"]


@pytest.mark.parametrize(
    "answer", [(401, b"{}"), (429, b"{}"), (500, b""), (200, b"<html>"), (200, b'{"x": 1}')]
)
def test_11_a_usage_page_that_fails_is_a_reading_error(
    url: str, monkeypatch: pytest.MonkeyPatch, answer: tuple[int, bytes]
) -> None:
    monkeypatch.setenv("A_KEY", "secret")
    Page.answer = answer
    page = UsagePage(url, "/api/usage", "A_KEY", ollama_usage.parse, "ollama_usage")
    with pytest.raises(ReadingError) as failed:
        page.read(NOW)
    assert "secret" not in str(failed.value)


def test_nothing_is_read_that_is_not_configured(tmp_path: Path) -> None:
    assert polled([], tmp_path) == []
    named = MeterSettings(
        name="codex",
        readings=[
            {"kind": "codex_app_server"},
            {"kind": "codex_headers"},
            {"kind": "file", "path": "usage.json"},
        ],
    )
    assert [reader.source for reader in polled(named.readings, tmp_path)] == [
        "codex_app_server",
        "file",
    ]
