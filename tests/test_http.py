"""The one way out: which address it connects to, and what it makes of servers that misbehave."""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from connect_guard import guarded
from simulator import Simulator, fault

from codesearch_resources.calls import CallError
from codesearch_resources.egress import Gate
from codesearch_resources.http import MOST_BYTES, Http, count, http_date, lookup, parsed

PATH = "/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


@pytest.fixture
def server() -> Iterator[Simulator]:
    with Simulator() as made:
        yield made


def http(url: str, timeout: float = 5.0, **more: Any) -> Http:
    more = {"permit": Gate().admit, "connections": 3, **more}
    return Http(url, who="p", timeout=timeout, **more)


def trouble(client: Http, **more: Any) -> CallError:
    with pytest.raises(CallError) as caught:
        client.post(PATH, BODY, local_only=more.pop("local_only", True))
    return caught.value


def test_it_posts_json_and_gives_back_the_whole_answer(server: Simulator) -> None:
    reply = http(server.url).post(PATH, BODY, local_only=True)
    assert (reply.status, parsed(reply, "p")["model"]) == (200, "m")
    assert reply.date is not None
    assert abs(reply.date.timestamp() - time.time()) < 5
    assert server.calls[0].body == BODY


def test_connections_are_kept_alive(server: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    connect = socket.create_connection
    monkeypatch.setattr(
        socket, "create_connection", lambda *a, **k: opened.append(a) or connect(*a, **k)
    )
    client = http(server.url)
    for _ in range(5):
        client.post(PATH, BODY, local_only=True)
    assert (len(opened), len(server.calls)) == (1, 5)


def test_calls_of_several_threads_never_end_one_another(server: Simulator) -> None:
    """A pool that threads share did so about once in a hundred calls."""
    server.latency, server.slots = 0.005, 3
    failed: list[CallError] = []

    def call(client: Http) -> None:
        try:
            for path in ("/api/show", "/api/chat", "/api/chat"):
                client.post(path, BODY, local_only=True)
        except CallError as error:
            failed.append(error)

    for _ in range(8):
        client = http(server.url)
        threads = [threading.Thread(target=call, args=(client,)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        client.close()
    assert failed == []
    assert len(server.calls) == 8 * 12 * 2


def test_no_proxy_is_taken_from_the_environment(
    server: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert http(server.url).post(PATH, BODY, local_only=True).status == 200


def test_nothing_listens_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    error = trouble(http(url))
    assert error.trouble == "overload"
    assert f"p ({url}): does not answer: is it running?" in str(error)


def test_a_name_that_leads_nowhere() -> None:
    def nowhere(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(-2, "Name or service not known")

    error = trouble(http("http://gone.example", lookup=nowhere))
    assert (error.trouble, "leads nowhere" in str(error)) == ("overload", True)


def test_the_next_address_is_tried_when_the_first_does_not_answer(server: Simulator) -> None:
    port = server.url.rpartition(":")[2]
    client = http(f"http://box.example:{port}", lookup=lambda h, p: ("127.0.0.9", "127.0.0.1"))
    assert client.post(PATH, BODY, local_only=True).status == 200
    assert server.calls[0].headers["Host"] == f"box.example:{port}"


# DNS rebinding: the address that is connected to is the one that was judged


def test_a_name_that_changes_its_address_after_the_check_is_refused(server: Simulator) -> None:
    answers = [("127.0.0.1",), ("203.0.113.7",)]
    asked = []

    def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return answers[min(len(asked), 2) - 1]

    port = server.url.rpartition(":")[2]
    client = http(f"http://local.example:{port}", lookup=rebinding)
    with guarded():
        assert client.addresses() == ("127.0.0.1",)  # what a check before the call is told
        client._found = None  # and the name is looked up again before the socket opens
        error = trouble(client)
    assert error.trouble == "policy"
    assert "local.example is at 203.0.113.7" in str(error)
    assert len(asked) == 2


def test_the_library_never_looks_a_name_up(
    server: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[Any] = []
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *a, **k: names.append(host) or real(host, *a, **k)
    )
    port = server.url.rpartition(":")[2]
    client = http(f"http://some.example:{port}", lookup=lambda h, p: ("127.0.0.1",))
    client.post(PATH, BODY, local_only=True)
    assert set(names) <= {"127.0.0.1"}


def test_a_redirect_to_another_host_is_not_followed(server: Simulator) -> None:
    with Simulator() as other:
        server.script(fault("redirect", to=f"{other.url}/v1/chat/completions?key=1"))
        reply = http(server.url).post(PATH, BODY, local_only=True)
        assert (reply.status, len(other.calls), sum(other.asked.values())) == (307, 0, 0)


# Servers that misbehave


@pytest.mark.parametrize(
    ("kind", "expected", "says"),
    [
        ("html", "overload", "web page"),
        ("streaming", "overload", "streams its answer"),
        ("cut_json", "item", "not JSON, or cut off"),
        ("garbage", "item", "not JSON, or cut off"),
        ("two_answers", "item", "not JSON, or cut off"),
        ("close", "ambiguous", "ended before the answer"),
        ("cut", "ambiguous", "ended before the answer"),
        ("huge", "item", "more than 4 MB"),
    ],
)
@pytest.mark.parametrize("path", ["/api/chat", PATH, "/v1/responses"])
def test_an_answer_that_is_none(
    server: Simulator, kind: str, expected: str, says: str, path: str
) -> None:
    server.script(fault(kind))
    client = http(server.url)
    with pytest.raises(CallError, match=says) as caught:
        parsed(client.post(path, BODY, local_only=True), "p")
    assert caught.value.trouble == expected
    assert parsed(client.post(path, BODY, local_only=True), "p")  # and the next one is served


def test_fifty_megabytes_are_not_read(server: Simulator) -> None:
    import tracemalloc

    server.script(fault("huge"))
    client = http(server.url)
    tracemalloc.start()
    assert trouble(client).trouble == "item"
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 6 * MOST_BYTES


@pytest.mark.parametrize("value", ["[1]", "null", "3", '"x"', "[" * 100_000, '{"a": NaN}'])
def test_json_that_is_no_object_is_refused(server: Simulator, value: str) -> None:
    server.script(fault("say", body="{}"), fault("say", body=value))
    client = http(server.url)
    assert parsed(client.post(PATH, BODY, local_only=True), "p") == {}
    with pytest.raises(CallError, match="JSON") as caught:
        parsed(client.post(PATH, BODY, local_only=True), "p")
    assert caught.value.trouble == "item"


def test_a_server_that_hangs_is_left_after_the_time_out(server: Simulator) -> None:
    server.script(fault("hang", seconds=30))
    began = time.monotonic()
    error = trouble(http(server.url, timeout=0.3))
    assert (error.trouble, "no answer in 0.3 s" in str(error)) == ("ambiguous", True)
    assert time.monotonic() - began < 3


def test_a_whole_answer_counts_even_if_the_connection_is_never_closed(server: Simulator) -> None:
    server.script(fault("never_closes", seconds=30))
    reply = http(server.url, timeout=0.5).post(PATH, BODY, local_only=True)
    assert parsed(reply, "p")["model"] == "m"


def test_an_answer_byte_by_byte_has_an_end(server: Simulator) -> None:
    server.script(fault("trickle"))
    began = time.monotonic()
    assert trouble(http(server.url, timeout=0.5)).trouble == "ambiguous"
    assert time.monotonic() - began < 3


def test_a_key_that_a_server_quotes_is_taken_out_of_its_answer() -> None:
    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        connection.recv(65536)
        said = b"Invalid API key: f00dcafe2b00b5"
        size = str(len(said)).encode()
        connection.sendall(
            b"HTTP/1.1 401 No\r\nX-Echo: f00dcafe2b00b5\r\nContent-Length: " + size + b"\r\n\r\n"
        )
        connection.sendall(said)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        client = http(
            f"http://127.0.0.1:{listening.getsockname()[1]}",
            headers=lambda: {"Authorization": "Bearer f00dcafe2b00b5"},
        )
        reply = client.post(PATH, BODY, local_only=True)
        thread.join()
    assert reply.body == b"Invalid API key: <key>"
    assert reply.headers["x-echo"] == "<key>"


def test_a_host_name_that_is_none_is_a_trouble_of_its_own() -> None:
    assert trouble(http("http://a..b:1")).trouble == "overload"


def test_a_refusal_with_a_broken_body_is_still_a_refusal() -> None:
    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 402 Payment Required\r\nContent-Length: 999\r\n\r\n{")
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        client = http(f"http://127.0.0.1:{listening.getsockname()[1]}")
        assert client.post(PATH, BODY, local_only=True).status == 402
        thread.join()


def test_a_compressed_answer_is_refused_unread() -> None:
    import gzip

    bomb = gzip.compress(b" " * 50_000_000)

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        connection.recv(65536)
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
        connection.sendall(head.encode() + bomb)
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        error = trouble(http(f"http://127.0.0.1:{listening.getsockname()[1]}"))
        thread.join()
    assert (error.trouble, "answered in gzip" in str(error)) == ("overload", True)


def test_close_ends_the_calls_in_flight(server: Simulator) -> None:
    server.always(fault("hang", seconds=30))
    client = http(server.url, timeout=30)
    errors: list[CallError] = []
    threads = [threading.Thread(target=lambda: errors.append(trouble(client))) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(server.calls) < 3:
        time.sleep(0.01)
    began = time.monotonic()
    client.close()
    for thread in threads:
        thread.join(10)
    assert time.monotonic() - began < 3
    assert [error.trouble for error in errors] == ["ambiguous"] * 3
    assert trouble(client).trouble == "overload"  # and it stays closed


# Small parts


@pytest.mark.parametrize(
    ("said", "tokens"),
    [(0, 0), (7, 7), (7.0, 7), (None, None), (-1, None), ("7", None), (True, None), ([], None)],
)
def test_a_count_is_a_number_or_unknown(said: Any, tokens: int | None) -> None:
    assert count(said) == tokens


def test_dates_are_read_leniently() -> None:
    assert str(http_date("Sun, 22 Nov 2026 08:45:16 GMT")) == "2026-11-22 08:45:16+00:00"
    assert http_date("soon") is http_date("") is http_date(None) is None


def test_a_name_is_looked_up_by_the_system() -> None:
    assert "127.0.0.1" in lookup("localhost", 80)
    with pytest.raises(OSError, match=r"."):
        lookup("no such name", 80)
