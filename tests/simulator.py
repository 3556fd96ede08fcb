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

import hashlib
import json
import math
import random
import re
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

MODEL_PATHS = (
    "/api/chat",
    "/api/generate",
    "/api/embed",
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/embeddings",
)


def tokens(text: str) -> int:
    """What the simulator takes for tokens: words in pieces of six letters, and signs."""
    return sum(1 + (len(word) - 1) // 6 for word in re.findall(r"\w+|[^\w\s]", text))


@dataclass
class Call:
    """One call for a model as the server saw it."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    began: float  # monotonic seconds
    in_flight: int  # itself included
    prompt: str = ""
    ended: float | None = None
    status: int | None = None  # None: no status line was sent
    fault: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    text: str = ""

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))


@dataclass(frozen=True)
class Fault:
    """What one call meets instead of an answer; made by `fault`."""

    kind: str
    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    # Takes the answer that would have been given and returns the one that is.
    change: Callable[[dict[str, Any]], Any] | None = None
    seconds: float = 0.0


def _openai(kind: str | None, code: str | None, message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


_SESSION = "you (someone) have reached your session usage limit, upgrade for more (ref: 1)"
_SLOT = "timed out waiting for a concurrent request slot"
_PLAN = "this model requires a subscription, upgrade for access: https://ollama.com/up (ref: 2)"
_LOGIN = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in</body></html>"
# kind: (status, body as Ollama gives it, body as OpenAI does)
_REFUSALS: dict[str, tuple[int, Any, Any]] = {
    "quota_window": (429, {"error": _SESSION}, None),
    "quota_money": (
        402,
        {"error": "payment required"},
        _openai("insufficient_quota", "credit_balance_exhausted", "You exceeded your quota"),
    ),
    "rate": (
        429,
        {"error": _SLOT},
        _openai("requests", "rate_limit_exceeded", "Rate limit reached"),
    ),
    "overload": (
        503,
        {"error": "Server overloaded, please retry shortly (ref: 3)"},
        _openai("server_error", "server_is_overloaded", "The server is overloaded"),
    ),
    "busy": (
        503,
        {"error": "server busy, please try again.  maximum pending requests exceeded"},
        _openai("server_error", "slow_down", "Slow down"),
    ),
    "crash": (
        500,
        {"error": "model runner has unexpectedly stopped"},
        _openai("internal_server_error", None, "llama_decode returned -1"),
    ),
    "bad_gateway": (502, {"error": "dial tcp: lookup ollama.com: no such host"}, _LOGIN),
    "auth": (
        401,
        {"error": "unauthorized", "signin_url": "https://ollama.com/connect?name=me&key=secret"},
        _openai(None, "invalid_api_key", "Incorrect API key provided: sk-abc***xyz"),
    ),
    "model_gone": (
        404,
        {"error": "model 'gone' not found"},
        _openai("invalid_request_error", "model_not_found", "The model `gone` does not exist"),
    ),
    "model_plan": (
        403,
        {"error": _PLAN},
        _openai("invalid_request_error", "model_not_available", "Not on your plan"),
    ),
    "too_long": (
        400,
        {"error": "the prompt is longer than the context length currently available to the model"},
        _openai("invalid_request_error", "context_length_exceeded", "maximum context length"),
    ),
}


def fault(
    kind: str,
    *,
    status: int | None = None,
    body: Any = None,
    retry_after: float | None = None,
    resets_in: float | None = None,
    seconds: float = 60.0,
    text: str = "",
    to: str = "http://127.0.0.2:9/",
    counts: Any = None,
) -> Fault:
    """A fault by its name.

    Refusals: quota_window (`resets_in` seconds: the reset time that OpenAI's body gives),
    quota_money, rate, overload, busy, crash, bad_gateway, auth, model_gone, model_plan, too_long,
    each with `retry_after` seconds when given, and another `status` or `body` when given.
    The wire: hang (`seconds`, then closed), close (at once), cut (the connection in mid-answer),
    never_closes (`seconds`), trickle (a byte each 0.2 s), redirect (`to`).
    Bodies under status 200: html, cut_json, garbage, streaming, two_answers, huge (50 MB), empty,
    not_done, load, length, truncated, counts (the token counts are `counts`, absent when None),
    no_usage, text (`text` is the model's words), remote (a local answer that names a remote host).
    """
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    if kind in _REFUSALS:
        usual = _REFUSALS[kind][0]
        if kind == "quota_window" and resets_in is not None and body is None:
            body = {
                "error": {
                    "type": "usage_limit_reached",
                    "message": "The usage limit has been reached",
                    "resets_at": math.ceil(time.time() + resets_in),
                }
            }
        return Fault(kind, usual if status is None else status, body, headers)
    if kind == "redirect":
        return Fault(kind, 307, "", {"Location": to})
    changes: dict[str, Callable[[dict[str, Any]], Any]] = {
        "text": lambda answer: _with_text(answer, text),
        "empty": lambda answer: _with_text(answer, ""),
        "garbage": lambda answer: "\x00\xff not an answer",
        "html": lambda answer: _LOGIN,
        "cut_json": lambda answer: json.dumps(answer)[:-20],
        "two_answers": lambda answer: json.dumps(answer) + json.dumps(answer),
        "not_done": _not_done,
        "load": lambda answer: {**_with_text(answer, ""), "done_reason": "load"},
        "length": lambda answer: _cut(answer, text or "It adds two numbers. Then the second"),
        "truncated": lambda answer: {**answer, "prompt_eval_count": 40},
        "counts": lambda answer: _with_counts(answer, counts),
        "no_usage": lambda answer: _with_counts(answer, None),
        "remote": lambda answer: {**answer, "remote_host": "https://ollama.com:443"},
    }
    wire = ("hang", "close", "cut", "never_closes", "trickle", "streaming", "huge")
    if kind not in changes and kind not in wire:
        raise ValueError(f"no such fault: {kind}")
    return Fault(kind, status or 200, body, headers, changes.get(kind), seconds)


def _with_text(answer: dict[str, Any], text: str) -> dict[str, Any]:
    changed = json.loads(json.dumps(answer))
    if "message" in changed:
        changed["message"]["content"] = text
    elif "response" in changed:
        changed["response"] = text
    elif "choices" in changed:
        changed["choices"][0]["message"]["content"] = text
    elif "output" in changed:
        changed["output"][-1]["content"][0]["text"] = text
    return dict(changed)


def _cut(answer: dict[str, Any], text: str) -> dict[str, Any]:
    changed = _with_text(answer, text)
    if "done_reason" in changed:
        changed["done_reason"] = "length"
    elif "choices" in changed:
        changed["choices"][0]["finish_reason"] = "length"
    else:
        changed |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    return changed


def _not_done(answer: dict[str, Any]) -> dict[str, Any]:
    gone = ("done_reason", "prompt_eval_count", "eval_count")
    return {k: v for k, v in answer.items() if k not in gone} | {"done": False}


def _with_counts(answer: dict[str, Any], counts: Any) -> dict[str, Any]:
    changed = dict(answer)
    for key in ("prompt_eval_count", "eval_count"):
        if key in changed:
            del changed[key]
            if counts is not None:
                changed[key] = counts
    if "usage" in changed:
        if counts is None:
            del changed["usage"]
        else:
            changed["usage"] = dict.fromkeys(changed["usage"], counts)
    return changed


def sentence(prompt: str) -> str:
    """A summary that names the longest identifier of the prompt: the same for the same prompt."""
    names = re.findall(r"[A-Za-z_]{3,}", prompt.rpartition("\n\n")[2] or prompt) or ["nothing"]
    longest = max(names, key=len)
    number = int(hashlib.sha256(prompt.encode()).hexdigest()[:6], 16)
    return f"Works out {longest} from what it is given and returns it as variant {number}."


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
            call = Call(path, body, headers, time.monotonic(), self._in_flight, _prompt_of(body))
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
            return _embedded(call, self.dimensions)
        call.text = self.reply(call.prompt)
        call.output_tokens = tokens(call.text)
        made = {
            "/api/chat": _ollama,
            "/api/generate": _ollama,
            "/v1/chat/completions": _chat,
            "/v1/responses": _responses,
        }[call.path](call)
        if call.model in self.remote:
            made |= {"remote_model": call.model, "remote_host": "https://ollama.com:443"}
        return made


def _prompt_of(body: dict[str, Any]) -> str:
    parts = [body.get("system"), body.get("instructions"), body.get("prompt")]
    messages = body.get("messages") or []
    if isinstance(messages, list):
        parts += [m.get("content") for m in messages if isinstance(m, dict)]
    given = body.get("input")
    items = given if isinstance(given, list) else [given]
    parts += [item.get("content") if isinstance(item, dict) else item for item in items]
    return "\n".join(part for part in parts if isinstance(part, str))


def _ollama(call: Call) -> dict[str, Any]:
    words: dict[str, Any] = {"response": call.text, "context": [1, 4093]}
    if call.path == "/api/chat":
        words = {"message": {"role": "assistant", "content": call.text}}
    return {
        "model": call.model,
        "created_at": "2026-11-22T08:45:21.226191679Z",
        **words,
        "done_reason": "stop",
        "done": True,
        "total_duration": 2912943495,
        "load_duration": 311683532,
        "prompt_eval_count": call.input_tokens,
        "prompt_eval_duration": 1292730804,
        "eval_count": call.output_tokens,
        "eval_duration": 1305307343,
    }


def _chat(call: Call) -> dict[str, Any]:
    message = {"content": call.text, "role": "assistant"}
    return {
        "id": "chatcmpl-4809db25",
        "object": "chat.completion",
        "created": 1795338406,
        "model": call.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": call.input_tokens,
            "completion_tokens": call.output_tokens,
            "total_tokens": call.input_tokens + call.output_tokens,
        },
    }


def _responses(call: Call) -> dict[str, Any]:
    content = [{"type": "output_text", "text": call.text, "annotations": []}]
    return {
        "id": "resp_4809db25",
        "object": "response",
        "created_at": 1795338406,
        "status": "completed",
        "model": call.model,
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "message", "status": "completed", "role": "assistant", "content": content},
        ],
        "usage": {
            "input_tokens": call.input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": call.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": call.input_tokens + call.output_tokens,
        },
    }


def _embedded(call: Call, dimensions: int) -> dict[str, Any]:
    given = call.body.get("input")
    texts = [given] if isinstance(given, str) else list(given or [])
    width = call.body.get("dimensions") or dimensions
    vectors = [_vector(text, width) for text in texts]
    if call.path == "/api/embed":
        counts = {"prompt_eval_count": call.input_tokens} if texts else {}
        return {"model": call.model, "embeddings": vectors, "total_duration": 25677148, **counts}
    rows = [
        {"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": call.input_tokens, "total_tokens": call.input_tokens}
    return {"object": "list", "data": rows, "model": call.model, "usage": usage}


def _vector(text: str, width: int) -> list[float]:
    drawn = random.Random(hashlib.sha256(text.encode()).digest())
    numbers = [drawn.gauss(0, 1) for _ in range(width)]
    norm = math.sqrt(sum(number * number for number in numbers))
    return [number / norm for number in numbers]


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
        if met and met.kind in _REFUSALS:
            self._refuse(call, met.kind, met)
        elif not simulator.knows(call.model):
            quoted = f'model "{call.model}" not found, try pulling it first'
            local = call.path.startswith("/api/")
            self._reply(
                call, 404, {"error": quoted} if local else _openai("api_error", None, quoted)
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
        _, ollama, openai = _REFUSALS[kind]
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
            self._reply(call, 200, _streamed(call, answer), {"Content-Type": _stream_type(call)})
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


def _stream_type(call: Call) -> str:
    return "application/x-ndjson" if call.path.startswith("/api/") else "text/event-stream"


def _streamed(call: Call, answer: dict[str, Any]) -> str:
    if call.path.startswith("/api/"):
        first = {**_with_text(answer, "The"), "done": False}
        return json.dumps(first) + "\n" + json.dumps(_with_text(answer, "")) + "\n"
    delta = {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"content": "The"}}]}
    return f"data: {json.dumps(delta)}\n\ndata: [DONE]\n\n"
