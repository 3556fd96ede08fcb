"""HTTP to a provider: the one module that imports httpx, so that a successor can take its place.

One `Http` is one server. It connects only to an address that its `permit` allowed in that very
call: the name is looked up here, never by the library. Nothing is followed, nothing is repeated,
no proxy and no credentials are taken from the environment, and an answer has a size and an end.

Whatever goes wrong is a CallError: `overload` when nothing can have been worked on, `ambiguous`
when the request was sent and no answer came, `auth` when settings have to change first.
"""

from __future__ import annotations

import json
import math
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from codesearch_resources.calls import CallError

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 5.0
WRITE_SECONDS = 30.0
POOL_SECONDS = 30.0
# A name is looked up again after this long, and whenever none of its addresses answered.
LOOKUP_SECONDS = 60.0
MOST_BYTES = 4_000_000
SHORTEST_KEY = 6  # characters; anything shorter stands in every text

# (host, address, local_only): raises CallError("policy") where the text must not go there.
Permit = Callable[[str, str, bool], None]
Lookup = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, whatever its status; header names in lower case.

    `date` is the server's clock (aware, UTC), `seconds` from sending to the last byte.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float
    date: datetime | None


def load() -> None:
    """Pay now for what the first call would pay for: 0.1 CPU seconds."""
    import httpx  # noqa: F401


def lookup(host: str, port: int) -> tuple[str, ...]:
    """The addresses of a name, in the system's order. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
    return tuple(address for address in addresses if "%" not in address)


class Http:
    """A server at `base_url`, `connections` kept alive between calls; for several threads at once.

    `who` names the provider in messages. `headers` is asked before each call, so that a key is
    held nowhere. A call takes at most twice `timeout` seconds.
    """

    def __init__(
        self,
        base_url: str,
        *,
        who: str,
        permit: Permit,
        timeout: float,
        connections: int,
        headers: Callable[[], Mapping[str, str]] = dict,
        lookup: Lookup = lookup,
    ) -> None:
        parts = urlsplit(base_url)
        self.scheme, self.host = parts.scheme, parts.hostname or ""
        self.port = parts.port or (443 if self.scheme == "https" else 80)
        self._path = parts.path.rstrip("/")
        self._authority = parts.netloc
        self._who, self._permit, self._timeout = who, permit, timeout
        self._connections, self._headers, self._lookup = connections, headers, lookup
        self._lock = threading.Lock()
        # One each call in flight, never shared: httpcore 1.0.9's pool now and then takes an answer
        # that arrives in one thread for a dead idle connection in another, and closes it.
        self._idle: list[httpx.Client] = []
        self._tls: ssl.SSLContext | None = None
        self._found: tuple[tuple[str, ...], float] | None = None
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._closed = False

    @property
    def shown(self) -> str:
        """The server as messages name it."""
        return f"{self._who} ({self.scheme}://{self._authority})"

    def addresses(self) -> tuple[str, ...]:
        """Where the name leads. Raises CallError("overload") when it leads nowhere."""
        with self._lock:
            if self._found and time.monotonic() - self._found[1] < LOOKUP_SECONDS:
                return self._found[0]
        try:
            found = tuple(self._lookup(self.host, self.port))
        except (OSError, UnicodeError) as error:  # the latter: a name that is none, `a..b`
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise CallError(
                "overload", f"{self.shown}: the host name leads nowhere ({reason})"
            ) from None
        if not found:
            raise CallError("overload", f"{self.shown}: the host name leads nowhere")
        with self._lock:
            self._found = (found, time.monotonic())
        return found

    def post(
        self, path: str, body: Mapping[str, Any], *, local_only: bool, most_bytes: int = MOST_BYTES
    ) -> Reply:
        """Send JSON and wait for the whole answer. Raises CallError; statuses are not judged."""
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "replace"
        )
        return self._send("POST", path, content, local_only=local_only, most_bytes=most_bytes)

    def get(self, path: str, *, local_only: bool) -> Reply:
        """Ask for a path. Raises CallError; statuses are not judged."""
        return self._send("GET", path, None, local_only=local_only, most_bytes=MOST_BYTES)

    def close(self) -> None:
        """End the calls in flight and every connection."""
        with self._lock:
            self._closed = True
            idle, sockets = self._idle, list(self._sockets)
            self._idle = []
        for each in sockets:  # a reader that waits is woken by this, not by closing
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for client in idle:  # one in use is closed by its own call
            client.close()

    def _send(
        self, method: str, path: str, content: bytes | None, *, local_only: bool, most_bytes: int
    ) -> Reply:
        import httpx

        refused = None
        for address in self.addresses():
            self._permit(self.host, address, local_only)
            client = self._take()
            try:
                return self._once(client, method, address, path, content, most_bytes)
            except httpx.ConnectError as error:
                refused = self._not_reached(error)
            except httpx.ConnectTimeout:
                refused = self._trouble("overload", f"no connection in {CONNECT_SECONDS:g} s")
            finally:
                self._give(client)
        with self._lock:
            self._found = None
        raise refused or self._trouble("overload", "no address to connect to")

    def _once(
        self,
        client: httpx.Client,
        method: str,
        address: str,
        path: str,
        content: bytes | None,
        most_bytes: int,
    ) -> Reply:
        """One request to one address. Lets httpx's connect errors through: nothing was sent."""
        import httpx

        place = f"[{address}]" if ":" in address else address
        request = client.build_request(
            method,
            f"{self.scheme}://{place}:{self.port}{self._path}{path}",
            content=content,
            headers=self._request_headers(content),
            extensions={"sni_hostname": self.host, "trace": self._trace},
        )
        began = time.monotonic()
        try:
            response = client.send(request, stream=True)
            try:
                body = self._body(response, began + self._timeout, most_bytes)
            finally:
                response.close()
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise
        except (httpx.WriteTimeout, httpx.WriteError):
            raise self._trouble("overload", "stopped taking the request") from None
        except httpx.TimeoutException:
            raise self._trouble("ambiguous", f"no answer in {self._timeout:g} s") from None
        except httpx.LocalProtocolError:
            raise self._trouble(
                "auth", "the request cannot be sent: is its key one line?"
            ) from None
        except (httpx.HTTPError, RuntimeError, OSError):
            why = "closed" if self._closed else "the connection ended before the answer did"
            raise self._trouble("ambiguous", why) from None
        headers = {name.lower(): value for name, value in response.headers.items()}
        # Some servers quote the key that they refuse.
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if len(key) >= SHORTEST_KEY:
            body = body.replace(key.encode(), b"<key>")
            headers = {name: value.replace(key, "<key>") for name, value in headers.items()}
        seconds = time.monotonic() - began
        return Reply(response.status_code, headers, body, seconds, http_date(headers.get("date")))

    def _request_headers(self, content: bytes | None) -> dict[str, str]:
        headers = {
            "Host": self._authority,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "codesearch",
            **self._headers(),
        }
        return headers if content is None else {**headers, "Content-Type": "application/json"}

    def _body(self, response: httpx.Response, deadline: float, most_bytes: int) -> bytes:
        """The bytes as sent. What cannot be read to its end counts when it is enough as it is."""
        import httpx

        body = bytearray()
        try:
            for part in _parts(response):
                body += part
                if len(body) > most_bytes:
                    size = f"{most_bytes / 1e6:g} MB"
                    why = f"{self.shown}: answered with more than {size}"
                    raise CallError("item", why, status=response.status_code)
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout("the answer never ended")
        except httpx.HTTPError as error:
            timed_out = isinstance(error, httpx.TimeoutException)
            if response.status_code == 200 and not (timed_out and _is_json(bytes(body))):
                raise
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise self._trouble("overload", f"answered in {encoding:.20}, asked not to")
        return bytes(body)

    def _take(self) -> httpx.Client:
        """A client of one connection that no other call uses; a kept-alive one where there is."""
        import httpx

        with self._lock:
            if self._closed:
                raise self._trouble("overload", "closed")
            if self._idle:
                return self._idle.pop()
            if self._tls is None:
                self._tls = httpx.create_ssl_context(trust_env=False)
            return httpx.Client(
                trust_env=False,
                verify=self._tls,
                follow_redirects=False,
                limits=httpx.Limits(max_connections=1),
                timeout=httpx.Timeout(
                    connect=CONNECT_SECONDS,
                    read=self._timeout,
                    write=WRITE_SECONDS,
                    pool=POOL_SECONDS,
                ),
            )

    def _give(self, client: httpx.Client) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < self._connections:
                self._idle.append(client)
                return
        client.close()

    def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Remember the sockets, so that `close` can wake who waits on one."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            opened = info["return_value"].get_extra_info("socket")
            if opened is not None:
                self._sockets.add(opened)

    def _not_reached(self, error: httpx.ConnectError) -> CallError:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return self._trouble(
                    "auth", f"its certificate does not hold: {cause.verify_message}"
                )
            cause = cause.__cause__ or cause.__context__
        return self._trouble("overload", "does not answer: is it running?")

    def _trouble(self, trouble: Any, why: str) -> CallError:
        return CallError(trouble, f"{self.shown}: {why}")


def _parts(response: httpx.Response) -> Iterator[bytes]:
    # Raw: what is compressed all the same is refused, not blown up.
    yield from response.iter_raw()


def parsed(reply: Reply, shown: str) -> dict[str, Any]:
    """The JSON object of an answer with status 200. Raises CallError.

    `overload` for what no model wrote (a web page, a stream): it would be so for each text.
    `item` for JSON that is cut, doubled or none.
    """
    text = reply.body.decode("utf-8", "replace").strip()
    if text.startswith("<") or "text/html" in reply.headers.get("content-type", ""):
        raise CallError(
            "overload", f"{shown}: answered with a web page: is url the address of a model server?"
        )
    if text.startswith(("data:", "event:")) or _is_ndjson(text):
        raise CallError("overload", f"{shown}: streams its answer, asked not to")
    try:
        value = _loads(text)
    except (ValueError, RecursionError):
        why = f"{shown}: the answer is not JSON, or cut off"
        raise CallError("item", why, status=reply.status) from None
    if not isinstance(value, dict):
        raise CallError("item", f"{shown}: the answer is not a JSON object", status=reply.status)
    return value


def _loads(text: str) -> Any:
    def refuse(name: str) -> float:
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def _is_json(body: bytes) -> bool:
    try:
        _loads(body.decode())
    except (ValueError, RecursionError):
        return False
    return True


def _is_ndjson(text: str) -> bool:
    """Whether it is a stream as Ollama sends it: lines, of which the first is not `done`."""
    first, newline, _ = text.partition("\n")
    if not newline or not first.endswith("}"):
        return False
    try:
        value = _loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("done") is False


def http_date(value: str | None) -> datetime | None:
    """The time in a Date or Retry-After header (aware, UTC), None when it is none."""
    try:
        when = parsedate_to_datetime(value or "")
    except (ValueError, TypeError):
        return None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def count(value: Any) -> int | None:
    """A number of tokens as a server reports it: None for what is absent, negative or no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if math.isfinite(value) and value >= 0 else None
