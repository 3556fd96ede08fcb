"""What a person sees: a Dagster webserver on loopback, and a headless Chromium to look at it."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

START_SECONDS = 90.0
STOP_SECONDS = 15.0
LOADED = "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus } } } }"
# Chromium's own traffic (updates, field trials, sync) is off: a test speaks to loopback only.
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
)
WINDOW = {"width": 1280, "height": 800}


@dataclass(frozen=True)
class Webserver:
    """A running `dagster-webserver` or `dagster dev`."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def ask(self, query: str, **variables: object) -> Any:
        """The data that GraphQL answers."""
        answer = httpx.post(
            f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60
        ).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]


@contextmanager
def webserver(
    command: str, *arguments: str, folder: Path, dagster_home: Path, log: Path
) -> Iterator[Webserver]:
    """`command` (dagster-webserver, or `dagster` with "dev") in `folder`, on a free port.

    Yields once the code location is loaded; ends the whole process group at exit.
    """
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name(command)), *arguments, "-p", str(port)],
            cwd=folder,
            env={**os.environ, "DAGSTER_HOME": str(dagster_home)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Webserver(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait_until_loaded(server)
        yield server
    finally:
        _end_group(process)


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_until_loaded(server: Webserver) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            entries = server.ask(LOADED)["workspaceOrError"]["locationEntries"]
            if entries and all(entry["loadStatus"] == "LOADED" for entry in entries):
                return
        except httpx.HTTPError:
            pass  # not listening yet
        time.sleep(0.1)
    raise AssertionError(f"the server did not load:\n{server.log.read_text()}")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Terminate the process and those it started, which live in its session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def group_members(process: subprocess.Popen[bytes]) -> list[int]:
    """The living processes of a process group, by /proc."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == process.pid and fields[0] != "Z":
            members.append(int(stat.parent.name))
    return members


def chromium() -> str:
    """The installed Chromium; skips the test without one, fails it where CODESEARCH_CI is set."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        message = "no Chromium here: install Debian's package chromium to run this test"
        if os.environ.get("CODESEARCH_CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@contextmanager
def browser_page() -> Iterator[Any]:
    """A blank page (playwright.sync_api.Page) of a headless Chromium with a fresh profile."""
    executable = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, headless=True, args=list(CHROMIUM_ARGUMENTS)
        )
        try:
            yield browser.new_page(viewport=WINDOW)
        finally:
            browser.close()
