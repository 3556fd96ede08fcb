"""A provider on loopback: a real HTTP server that speaks Ollama's and OpenAI's formats.

    with Simulator(latency=0.02, slots=3) as server:
        server.script(fault("quota_window", resets_in=60), None, fault("hang"))
        ...                        # the first call is refused, the second served, the third hangs
        assert len(server.calls) == 3

The bodies are those that were recorded from Ollama 0.9.3 and llama-cpp-python 0.3.36, and, for what
only a cloud says, those of the issues where users showed them. Paths: /api/{chat,generate,embed,
show,tags,version,ps}, /v1/{chat/completions,responses,embeddings,models}. Only calls that a model
would answer are logged, wait, take a slot and meet faults; `asked` counts the others by path.
"""

import json
import random
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from provider_faults import REFUSALS, Fault, fault, openai_error
from provider_formats import (
    Call,
    answered,
    embedded,
    prompt_of,
    sentence,
    stream_type,
    streamed,
    tokens,
)

__all__ = ["Call", "Fault", "Simulator", "fault", "sentence", "tokens"]

MODEL_PATHS = (
    "/api/chat",
    "/api/generate",
    "/api/embed",
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/embeddings",
)


Latency = float | Callable[[random.Random], float]


class Simulator:
    """The server. `calls` is its log; everything else may be set at any time.

    latency  seconds of one answer, or a function of a seeded generator that draws them
    slots    answers it works on at once; None is any number. Beyond: `over` "queue" waits its
             turn, "refuse" is answered 429 `timed out waiting for a concurrent request slot`
    models   the names it knows; None knows all
    remote   names that it passes on to a cloud, and says so in /api/show and in each answer
    reply    from the prompt's whole text to the model's words
    clock    seconds its Date header is off
    """

    def __init__(
        self,
        *,
        latency: Latency = 0.0,
        slots: int | None = None,
        over: str = "queue",
        models: Iterable[str] | None = None,
        remote: Iterable[str] = (),
        reply: Callable[[str], str] = sentence,
        clock: float = 0.0,
        seed: int = 0,
        dimensions: int = 8,
    ) -> None:
        self.latency, self.slots, self.over, self.reply = latency, slots, over, reply
        self.models = None if models is None else set(models)
        self.remote = set(remote)
        self.clock, self.dimensions = clock, dimensions
        self.calls: list[Call] = []
        self.asked: Counter[str] = Counter()
        self.most_in_flight = 0
        self._random = random.Random(seed)
        self._faults: deque[Fault | None] = deque()
        self._always: Fault | Callable[[Call], Fault | None] | None = None
        self._changed = threading.Condition()
        self._in_flight = self._working = 0
        self._stopping = threading.Event()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        self._server.shutdown()
        self._server.close_connections()
        self._server.server_close()
        self._thread.join(10)

    def script(self, *faults: Fault | None) -> None:
        """The next calls meet these in order, None is served as usual; then `always` holds."""
        with self._changed:
            self._faults.extend(faults)

    def always(self, what: Fault | Callable[[Call], Fault | None] | None) -> None:
        """Every call beyond the script meets this; None ends it."""
        with self._changed:
            self._always = what

    @property
    def served(self) -> list[Call]:
        """The calls that were answered with a summary or a vector."""
        return [call for call in self.calls if call.status == 200 and call.fault is None]

    @property
    def counted(self) -> tuple[int, int]:
        """Tokens in and out that the server would charge: all calls that a model worked on."""
        return (
            sum(call.input_tokens for call in self.calls),
            sum(call.output_tokens for call in self.calls),
        )

    # What the handler asks

    def enter(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> Call:
        with self._changed:
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
            call = Call(path, body, headers, time.monotonic(), self._in_flight, prompt_of(body))
            self.calls.append(call)
            return call

    def leave(self, call: Call) -> None:
        with self._changed:
            call.ended = time.monotonic()
            self._in_flight -= 1
            self._changed.notify_all()

    def next_fault(self, call: Call) -> Fault | None:
        with self._changed:
            if self._faults:
                return self._faults.popleft()
            return self._always(call) if callable(self._always) else self._always

    def take_slot(self) -> bool:
        """Wait for a slot; False when there is none and callers are refused."""
        with self._changed:
            while self.slots is not None and self._working >= self.slots:
                if self.over == "refuse" or self._stopping.is_set():
                    return False
                self._changed.wait(0.5)
            self._working += 1
            return True

    def give_slot(self) -> None:
        with self._changed:
            self._working -= 1
            self._changed.notify_all()

    def work(self) -> None:
        with self._changed:
            drawn = self.latency(self._random) if callable(self.latency) else self.latency
        self.sleep(drawn)

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._stopping.wait(seconds)

    def date(self) -> str:
        return format_datetime(datetime.now(UTC) + timedelta(seconds=self.clock), usegmt=True)

    def knows(self, model: str) -> bool:
        return self.models is None or model in self.models

    def answer(self, call: Call) -> dict[str, Any]:
        """The answer of a healthy server, its tokens noted on the call."""
        call.input_tokens = tokens(call.prompt) + 10
        if call.path.endswith(("embed", "embeddings")):
            return embedded(call, self.dimensions)
        call.text = self.reply(call.prompt)
        call.output_tokens = tokens(call.text)
        made = answered(call)
        if call.model in self.remote:
            made |= {"remote_model": call.model, "remote_host": "https://ollama.com:443"}
        return made


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some tests are about."""

    def close_connections(self) -> None:
        for request in tuple(self._open):
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._free("GET", {})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(raw)
        except ValueError:
            self._send(400, {"error": "invalid character 'b' looking for beginning of object key"})
            return
        if self.path not in MODEL_PATHS:
            self._free("POST", body)
            return
        simulator = self.server.simulator
        call = simulator.enter(self.path, body, dict(self.headers.items()))
        try:
            self._serve(simulator, call)
        finally:
            simulator.leave(call)

    def _serve(self, simulator: Simulator, call: Call) -> None:
        met = simulator.next_fault(call)
        call.fault = met.kind if met else None
        if met and met.kind in REFUSALS:
            self._refuse(call, met.kind, met)
        elif not simulator.knows(call.model):
            quoted = f'model "{call.model}" not found, try pulling it first'
            local = call.path.startswith("/api/")
            self._reply(
                call, 404, {"error": quoted} if local else openai_error("api_error", None, quoted)
            )
        elif met and met.kind == "close":
            self._hang_up()
        elif not simulator.take_slot():
            call.fault = "rate"
            self._refuse(call, "rate", fault("rate"))
        else:
            try:
                simulator.work()
                answer = simulator.answer(call)
            finally:
                simulator.give_slot()
            self._answer(call, met, answer)

    def _refuse(self, call: Call, kind: str, met: Fault) -> None:
        _, ollama, openai = REFUSALS[kind]
        usual = ollama if call.path.startswith("/api/") or openai is None else openai
        body = usual if met.body is None else met.body
        self._reply(call, met.status, body, met.headers)

    def _answer(self, call: Call, met: Fault | None, answer: dict[str, Any]) -> None:
        simulator = self.server.simulator
        if met is None:
            self._reply(call, 200, answer)
        elif met.change is not None:
            self._reply(call, met.status, met.change(answer), met.headers)
        elif met.kind == "hang":
            simulator.sleep(met.seconds)
            self._hang_up()
        elif met.kind in ("never_closes", "cut", "trickle"):
            self._crippled(call, met, json.dumps(answer).encode())
        elif met.kind == "huge":
            self._huge(call, answer)
        elif met.kind == "streaming":
            self._reply(call, 200, streamed(call, answer), {"Content-Type": stream_type(call)})
        else:
            self._reply(call, met.status, met.body, met.headers)

    def _crippled(self, call: Call, met: Fault, content: bytes) -> None:
        call.status = 200
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        if met.kind == "cut":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        simulator = self.server.simulator
        if met.kind == "trickle":
            for byte in content:
                self.wfile.write(bytes([byte]))
                simulator.sleep(0.2)
            return
        self.wfile.write(content[: len(content) // 2] if met.kind == "cut" else content)
        self.wfile.flush()
        if met.kind == "never_closes":
            simulator.sleep(met.seconds)

    def _huge(self, call: Call, answer: dict[str, Any]) -> None:
        call.status = 200
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        block = b"x" * 1_000_000
        try:
            self.wfile.write(json.dumps(answer).encode()[:-1] + b', "more": "')
            for _ in range(50):
                self.wfile.write(block)
            self.wfile.write(b'"}')
        except OSError:
            pass  # the client has had enough

    def _free(self, method: str, body: dict[str, Any]) -> None:
        """What costs nothing and reaches no model."""
        simulator = self.server.simulator
        path = self.path.partition("?")[0]
        simulator.asked[path] += 1
        names = sorted(simulator.models or {"smol:F16"})
        if path == "/":
            self._send(200, "Ollama is running")
        elif path == "/api/version":
            self._send(200, {"version": "0.9.3"})
        elif path in ("/api/tags", "/api/ps"):
            self._send(200, {"models": [{"name": name, "model": name} for name in names]})
        elif path == "/v1/models":
            listed = [{"id": name, "object": "model", "owned_by": "library"} for name in names]
            self._send(200, {"object": "list", "data": listed})
        elif path == "/api/show" and method == "POST":
            self._show(str(body.get("model")))
        else:
            self._send(404, "404 page not found")

    def _show(self, model: str) -> None:
        simulator = self.server.simulator
        if not simulator.knows(model):
            self._send(404, {"error": f"model '{model}' not found"})
            return
        shown: dict[str, Any] = {
            "capabilities": ["embedding" if "embed" in model else "completion"],
            "model_info": {"general.architecture": "llama", "llama.context_length": 8192},
        }
        if model in simulator.remote:
            shown |= {"remote_model": model, "remote_host": "https://ollama.com:443"}
        self._send(200, shown)

    def _reply(
        self, call: Call, status: int, body: Any, headers: Mapping[str, str] | None = None
    ) -> None:
        call.status = status
        self._send(status, body, headers)

    def _send(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        page = text.startswith("<")
        plain = isinstance(body, str) and not text.startswith("{")
        usual = "text/html" if page else "text/plain" if plain else "application/json"
        content = text.encode("utf-8", "replace")
        self.send_response(status)
        for name, value in {"Content-Type": usual, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return self.server.simulator.date()

    def _hang_up(self) -> None:
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
