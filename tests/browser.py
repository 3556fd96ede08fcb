"""What a person sees: a Dagster webserver on loopback, and a headless Chromium to look at it."""

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

CHECKOUT = Path(__file__).parent.parent
START_SECONDS = 180.0
STOP_SECONDS = 15.0
LOADED = """{ workspaceOrError { ... on Workspace { locationEntries { loadStatus
    locationOrLoadError { __typename ... on PythonError { message } } } } } }"""
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
    """A running webserver of Dagster, with or without the daemon beside it."""

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
    *command: str, folder: Path, environment: Mapping[str, str], by_script: bool = False
) -> Iterator[Webserver]:
    """`dagster dev …`, `dagster_webserver …` or `codesearch ui …` in `folder`, on a free port.

    by_script: with SIGINT ignored, as a shell script starts what it puts into the background.
    Yields once the code location is loaded; ends the whole process group at exit.
    """
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"] if by_script else []
    port, log = free_port(), folder / f"{command[0]}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*ignoring, sys.executable, "-m", *command, "--port", str(port)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), **environment},
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
                found = entries[0]["locationOrLoadError"]
                assert found["__typename"] == "RepositoryLocation", found["message"]
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


def open_sockets(process: subprocess.Popen[bytes]) -> set[tuple[str, str]]:
    """Both ends of every TCP socket that the process's group has now, addresses in hexadecimal."""
    inodes = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # a process may end while it is looked at
            if os.getpgid(int(folder.name)) == process.pid:
                inodes |= {os.readlink(link) for link in (folder / "fd").iterdir()}
    lines = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path("/proc/net", table).read_text().splitlines()[1:]
    ]
    return {(line[1], line[2]) for line in lines if f"socket:[{line[9]}]" in inodes}


def chromium() -> str | None:
    """The installed Chromium. Playwright's own download is not wanted: the system's is kept safe
    by the system."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def missing_for_browser() -> str:
    """What this machine lacks for tests in a browser; "" when nothing."""
    if chromium() is None:
        return "no Chromium here: install Debian's package chromium to run this test"
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed; it is in the development dependencies"
    return ""


@contextmanager
def browser_page() -> Iterator[Any]:
    """A blank page (playwright.sync_api.Page) of a headless Chromium with a fresh profile.

    Skips the test where that is not to be had, and fails it where CODESEARCH_CI is set.
    """
    if missing := missing_for_browser():
        (pytest.fail if os.environ.get("CODESEARCH_CI") else pytest.skip)(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), headless=True, args=list(CHROMIUM_ARGUMENTS)
        )
        try:
            yield browser.new_page(viewport=WINDOW)
        finally:
            browser.close()


def see(page: Any, *texts: str) -> None:
    """Wait until each of the texts stands on the page by itself, and can be seen."""
    for text in texts:
        page.get_by_text(text, exact=True).locator("visible=true").first.wait_for()


def materialise(page: Any, address: str, *partitions: str) -> str:
    """Materialise what the page at `address` shows, for partitions chosen in its dialog.

    Returns the run or the backfill that the UI then names: the first characters of its id.
    """
    page.goto(address)
    page.get_by_role("button", name="Materialize").first.click()
    choice = page.get_by_text("Select a partition").first
    # Dagster asks whether it is meant when what comes before was never materialised.
    confirm = page.get_by_role("button", name="Confirm")
    choice.or_(confirm).wait_for()
    if confirm.is_visible():
        confirm.click()
    choice.click()
    for partition in partitions:
        name = page.get_by_text(partition, exact=True)
        page.get_by_role("menuitem").filter(has=name).click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Launch").click()
    told = page.get_by_text(re.compile(r"^(Launched run|Created backfill)"))
    told.wait_for()
    return str(told.inner_text().split()[2])


def switch(page: Any, server: Webserver, sensor: str) -> None:
    """Click the switch of a sensor on the automation page: after the one that selects its row."""
    page.goto(f"{server.url}/automation")
    link = page.locator(f"a[href$='/sensors/{sensor}']")
    page.locator("[data-index]", has=link).locator("label").nth(1).click()
