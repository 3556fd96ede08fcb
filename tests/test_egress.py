"""Who may get what: by address, by what runs behind it, by what is in the text."""

import socket
from dataclasses import dataclass
from functools import partial

import pytest
from connect_guard import guarded
from hypothesis import given
from hypothesis import strategies as st

from codesearch_resources.calls import CallError
from codesearch_resources.egress import Gate, SecretFound

AWS = "AKIA" + "Q3ZL7T2MWX5B4N6R"


@dataclass(frozen=True)
class Place:
    host: str = "localhost"
    addresses: tuple[str, ...] = ("127.0.0.1",)
    remote: str | None = None
    provider: str = "p"
    model: str = "m"


@pytest.mark.parametrize(
    ("host", "address", "reach"),
    [
        ("localhost", "127.0.0.1", "own"),
        ("localhost", "127.8.9.10", "own"),
        ("localhost", "::1", "own"),
        ("anything.example", "127.0.0.1", "own"),
        ("x", "::ffff:127.0.0.1", "own"),
        ("localhost", "192.168.1.5", "cloud"),  # a name proves nothing
        ("localhost", "203.0.113.7", "cloud"),
        ("127.0.0.1.example", "203.0.113.7", "cloud"),
        ("x", "0.0.0.0", "cloud"),
        ("x", "::ffff:203.0.113.7", "cloud"),
        ("x", "not an address", "cloud"),
        ("gpu.lan", "192.168.1.5", "trusted"),
        ("GPU.lan.", "10.0.0.3", "trusted"),
        ("gpu.lan", "100.101.102.103", "trusted"),
        ("gpu.lan", "fd00::5", "trusted"),
        ("gpu.lan", "203.0.113.7", "cloud"),  # whoever answers for the name decides nothing
        ("gpu.lan", "0.0.0.0", "cloud"),
        ("other.lan", "192.168.1.5", "cloud"),
        ("other.lan", "192.168.7.7", "trusted"),
        ("server.example", "198.51.100.4", "trusted"),  # listed by its address
        ("fine.example", "2001:db8::9", "trusted"),
    ],
)
def test_an_address_decides(host: str, address: str, reach: str) -> None:
    gate = Gate(["gpu.lan", "192.168.7.7", "198.51.100.4", "2001:db8::9"])
    assert gate.reach_of(host, address) == reach
    if reach == "cloud":
        with pytest.raises(CallError, match="local_only is set") as caught:
            gate.admit(host, address, True)
        assert caught.value.trouble == "policy"
    else:
        gate.admit(host, address, True)
    gate.admit(host, address, False)


def test_the_farthest_address_counts() -> None:
    gate = Gate(["gpu.lan"])
    assert gate.reach(Place(addresses=("127.0.0.1", "203.0.113.7"))) == "cloud"
    assert gate.reach(Place("gpu.lan", ("127.0.0.1", "192.168.1.5"))) == "trusted"
    assert gate.reach(Place(addresses=())) == "cloud"


def test_a_model_that_is_remote_behind_a_local_server_is_in_the_cloud() -> None:
    with pytest.raises(CallError, match=r"p passes m on to ollama.com") as caught:
        Gate().check(Place(remote="ollama.com"), True, ["x"])
    assert (caught.value.trouble, "local_only" in str(caught.value)) == ("policy", True)


def test_local_only_holds_for_the_cloud_alone() -> None:
    gate, cloud = Gate(["192.168.1.5"]), Place("api.example", ("203.0.113.7",))
    assert gate.check(Place(), True, ["x"]) == "own"
    assert gate.check(Place("gpu", ("192.168.1.5",)), True, ["x"]) == "trusted"
    assert gate.check(cloud, False, ["x"]) == "cloud"
    with pytest.raises(CallError, match=r"p sends to api.example \(203.0.113.7\)"):
        gate.check(cloud, True, ["x"])


def test_a_secret_goes_to_no_cloud_and_is_not_shown() -> None:
    gate, text = Gate(["192.168.1.5"]), f"client = Client('{AWS}')"
    with pytest.raises(SecretFound) as caught:
        gate.check(Place(remote="ollama.com"), False, ["fine", text])
    assert (caught.value.trouble, caught.value.rules) == ("policy", ("aws-key-id",))
    assert AWS not in str(caught.value)
    assert gate.check(Place(), False, [text]) == "own"
    assert gate.check(Place("gpu", ("192.168.1.5",)), False, [text]) == "trusted"


@given(st.ip_addresses(), st.sampled_from(["localhost", "gpu.lan", "x"]))
def test_nothing_public_is_ever_admitted(address: object, host: str) -> None:
    gate = Gate(["gpu.lan"])
    if getattr(address, "is_global", False):
        with pytest.raises(CallError):
            gate.admit(host, str(address), True)


# The guard that the tests of local_only stand under


def test_the_connect_guard_sees_every_way_out() -> None:
    for family, kind, address in (
        (socket.AF_INET, socket.SOCK_STREAM, ("203.0.113.7", 80)),
        (socket.AF_INET6, socket.SOCK_STREAM, ("2001:db8::1", 80)),
        (socket.AF_INET, socket.SOCK_DGRAM, ("203.0.113.7", 53)),
    ):
        with pytest.raises(AssertionError, match="a way out was tried"):
            _try(family, kind, address)


def _try(family: int, kind: int, address: tuple[str, int]) -> None:
    with guarded(), socket.socket(family, kind) as out:
        out.settimeout(0.1)
        datagram = kind == socket.SOCK_DGRAM
        send = partial(out.sendto, b"x", address) if datagram else partial(out.connect, address)
        with pytest.raises(AssertionError, match="beyond this machine"):
            send()


def test_the_connect_guard_leaves_this_machine_alone() -> None:
    with guarded() as seen, socket.create_server(("127.0.0.1", 0)) as listening:
        socket.create_connection(listening.getsockname()).close()
    assert seen == []
