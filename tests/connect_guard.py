"""Fails whatever opens a way out of this machine, wherever in the process it does."""

import ipaddress
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_active: list[list[str]] = []
_installed = False


def _is_way_out(address: Any) -> bool:
    """Whether a socket address is beyond loopback; paths of Unix sockets and netlink are not."""
    if not isinstance(address, tuple) or not address or not isinstance(address[0], str):
        return False
    try:
        parsed = ipaddress.ip_address(address[0].partition("%")[0])
    except ValueError:
        return address[0] != "localhost"
    return not (getattr(parsed, "ipv4_mapped", None) or parsed).is_loopback


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in ("socket.connect", "socket.sendto", "socket.sendmsg") or not _active:
        return
    if _is_way_out(arguments[1]):
        for seen in _active:
            seen.append(f"{event} {arguments[1]}")
        raise AssertionError(f"{event} to {arguments[1]}: beyond this machine")


@contextmanager
def guarded() -> Iterator[list[str]]:
    """Refuse every connect beyond loopback in this process, and fail at the end if one was tried.

    By the interpreter's audit events, so that no library gets round it; child processes are their
    own. Yields the list of what was tried.
    """
    global _installed
    if not _installed:
        sys.addaudithook(_watch)  # there is no way to take one away: it sleeps between guards
        _installed = True
    seen: list[str] = []
    _active.append(seen)
    try:
        yield seen
    finally:
        # By identity: two guards that have seen nothing are equal.
        _active[:] = [each for each in _active if each is not seen]
    assert not seen, f"a way out was tried: {seen}"
