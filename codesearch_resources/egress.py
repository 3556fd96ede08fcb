"""The one gate for whatever leaves this machine: address check, `local_only`, secret scan.

    CallError("policy")     the text may not go there
      SecretFound           because of what is in it: it stays local, wherever else others may go

An address decides, never a name or a provider's label: a server counts as own when it listens on
this machine's loopback, or when it is one of `trusted_hosts`. A model that a local server passes on
to another machine is in the cloud. Checked twice: `check` before a call is booked, `admit` where
the socket opens, for the very address it opens to.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from codesearch_resources import secrets
from codesearch_resources.calls import CallError

# own: this machine. trusted: a machine of one's own on the network. cloud: anyone else's.
Reach = Literal["own", "trusted", "cloud"]

# Networks of one's own: what a trusted *name* may lead to. Not `is_private`, which takes in
# networks set aside for examples and tests, wherever they are routed to.
_HOME = tuple(
    ipaddress.ip_network(network)
    for network in """10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 100.64.0.0/10
    fc00::/7 fe80::/10""".split()
)


class Place(Protocol):
    """What the gate has to know of where a call would go."""

    @property
    def provider(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def addresses(self) -> tuple[str, ...]: ...
    @property
    def remote(self) -> str | None: ...


class SecretFound(CallError):
    """The text holds what looks like a secret. `rules` names what was found, never its value."""

    def __init__(self, message: str, rules: Sequence[str]) -> None:
        super().__init__("policy", message)
        self.rules = tuple(rules)


class Gate:
    """Who may get what. `trusted_hosts` are names or addresses, as in the settings."""

    def __init__(self, trusted_hosts: Iterable[str] = ()) -> None:
        self._names = {host.strip("[]").rstrip(".").lower() for host in trusted_hosts}
        self._addresses = {
            address for name in self._names if (address := _address(name)) is not None
        }

    def reach(self, place: Place) -> Reach:
        """The farthest that a call to `place` may get."""
        if place.remote is not None or not place.addresses:
            return "cloud"
        found = {self.reach_of(place.host, address) for address in place.addresses}
        return "cloud" if "cloud" in found else "trusted" if "trusted" in found else "own"

    def reach_of(self, host: str, address: str) -> Reach:
        """What one address of a host is. A trusted name does not make a public address trusted."""
        parsed = _address(address)
        if parsed is None:
            return "cloud"
        if parsed.is_loopback:
            return "own"
        if parsed in self._addresses:
            return "trusted"
        at_home = any(parsed in network for network in _HOME)
        return "trusted" if at_home and host.rstrip(".").lower() in self._names else "cloud"

    def admit(self, host: str, address: str, local_only: bool) -> None:
        """Called where a socket is about to be used. Raises CallError("policy")."""
        if local_only and self.reach_of(host, address) == "cloud":
            raise CallError("policy", _forbidden(f"{host} is at {address}"))

    def check(self, place: Place, repo_local_only: bool, texts: Iterable[str]) -> Reach:
        """Whether `texts` may go to `place`; how far they get. Raises CallError("policy")."""
        reach = self.reach(place)
        if reach != "cloud":
            return reach
        if repo_local_only:
            raise CallError("policy", _forbidden(_why_cloud(place)))
        found = sorted({rule for text in texts for rule in secrets.find(text)})
        if found:
            message = f"{place.provider}: not sent, it seems to hold a secret ({', '.join(found)})"
            raise SecretFound(message, found)
        return reach


def _why_cloud(place: Place) -> str:
    if place.remote is not None:
        return f"{place.provider} passes {place.model} on to {place.remote}"
    return f"{place.provider} sends to {place.host} ({', '.join(place.addresses)})"


def _forbidden(why: str) -> str:
    return (
        f"{why}, which is not this machine, and local_only is set: choose a local model, "
        "add the host to trusted_hosts if it is yours, or set local_only: false for the repository"
    )


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    mapped = getattr(parsed, "ipv4_mapped", None)
    return mapped or parsed
