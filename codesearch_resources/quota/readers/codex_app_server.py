"""The limits of a Codex subscription from `codex app-server`, the documented way to ask.

JSON-RPC over the program's own stdio. The program owns the sign-in: nothing here reads or renews
its credentials, and only `account/read` and `account/rateLimits/read` are called.
"""

import json
import queue
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from codesearch_resources.quota import fields
from codesearch_resources.quota.readers.base import ReadingError, mapping, optional
from codesearch_resources.quota.readers.raw import account_mark, redacted
from codesearch_resources.quota.windows import Report, Window, stamped, window

SOURCE = "codex_app_server"
COMMAND = ("codex", "-s", "read-only", "-a", "never", "app-server")
_LONGEST_LINE = 1_000_000
_MAIN = "codex"


@dataclass(frozen=True)
class CodexAppServer:
    """Runs `command`, asks twice, and ends it; `timeout` in seconds for all of it."""

    command: Sequence[str] = COMMAND
    timeout: float = 20.0
    source: str = SOURCE

    def read(self, now: float) -> Report:
        """The limits now. Raises ReadingError when the program does not answer in time."""
        try:
            process = subprocess.Popen(
                list(self.command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise ReadingError(f"{self.command[0]} cannot be started: {error.strerror}") from None
        with process:
            try:
                account, limits = _ask(process, time.monotonic() + self.timeout)
            finally:
                process.kill()
        return parse(limits, now, account=account)


def parse(result: object, heard_at: float, *, account: object = None) -> Report:
    """The report in the result of `account/rateLimits/read`. Raises ReadingError."""
    limits = mapping(result, "the answer to account/rateLimits/read")
    by_id = optional(limits.get("rateLimitsByLimitId"))
    main = optional(limits.get("rateLimits")) or optional(by_id.get(_MAIN))
    if not main and not by_id:
        raise ReadingError("the answer to account/rateLimits/read names no limit")
    main_id = main.get("limitId") or _MAIN
    found = _pair(main, heard_at, None)
    for name, extra in by_id.items():
        if name != main_id:
            limit = optional(extra)
            found += _pair(limit, heard_at, str(limit.get("limitName") or name))
    reached = main.get("rateLimitReachedType")
    bought = optional(main.get("credits"))
    plan = main.get("planType")
    return Report(
        SOURCE,
        heard_at,
        stamped(found, SOURCE, heard_at),
        account=_account_of(account),
        plan=plan if isinstance(plan, str) else None,
        refused=f"the provider says {reached}" if isinstance(reached, str) and reached else None,
        credits=fields.number(bought.get("balance")) if bought.get("hasCredits") else None,
        raw=redacted(limits),
    )


def _pair(limit: Mapping[str, object], clock: float, feature: str | None) -> list[Window]:
    return [
        window(raw, label=label, now=clock, feature=feature)
        for label in ("primary", "secondary")
        if isinstance(raw := limit.get(label), Mapping) and raw
    ]


def _account_of(result: object) -> str | None:
    account = optional(optional(result).get("account"))
    return account_mark(account.get("id") or account.get("email"))


def _ask(process: "subprocess.Popen[str]", deadline: float) -> tuple[object, object]:
    assert process.stdin is not None
    assert process.stdout is not None
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True).start()
    info = {"clientInfo": {"name": "codesearch", "version": "1"}}
    _send(process.stdin, {"id": 0, "method": "initialize", "params": info})
    _answer(lines, 0, deadline)
    _send(process.stdin, {"method": "initialized"})
    _send(process.stdin, {"id": 1, "method": "account/read", "params": {"refreshToken": False}})
    account = _answer(lines, 1, deadline)
    _send(process.stdin, {"id": 2, "method": "account/rateLimits/read"})
    return account, _answer(lines, 2, deadline)


def _send(to: IO[str], message: Mapping[str, object]) -> None:
    try:
        to.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        to.flush()
    except OSError:
        raise ReadingError("codex app-server ended before it was asked") from None


def _pump(out: IO[str], lines: "queue.Queue[str | None]") -> None:
    while line := out.readline(_LONGEST_LINE):
        lines.put(line)
    lines.put(None)


def _answer(lines: "queue.Queue[str | None]", wanted: int, deadline: float) -> object:
    """The result with that id; notifications and other lines before it are passed over."""
    while True:
        try:
            line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise ReadingError("codex app-server did not answer in time") from None
        if line is None:
            raise ReadingError("codex app-server ended without an answer")
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if not isinstance(message, dict) or message.get("id") != wanted:
            continue
        if "error" in message:
            code = optional(message["error"]).get("code")
            raise ReadingError(f"codex app-server refused to tell its limits (code {code})")
        return message.get("result")
