"""Ollama's and OpenAI's bodies as recorded from real servers, for `simulator.Simulator`."""

import hashlib
import json
import math
import random
import re
from dataclasses import dataclass
from typing import Any

from provider_faults import with_text


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


def sentence(prompt: str) -> str:
    """A summary that names the longest identifier of the prompt: the same for the same prompt."""
    marked = re.search(
        r"^----- BEGIN (\w+) -----\n(.*)\n----- END \1 -----$", prompt, re.DOTALL | re.MULTILINE
    )
    names = re.findall(r"[A-Za-z_]{3,}", marked[2] if marked else prompt) or ["nothing"]
    longest = max(names, key=len)
    number = int(hashlib.sha256(prompt.encode()).hexdigest()[:6], 16)
    return f"Works out {longest} from what it is given and returns it as variant {number}."


def prompt_of(body: dict[str, Any]) -> str:
    parts = [body.get("system"), body.get("instructions"), body.get("prompt")]
    messages = body.get("messages") or []
    if isinstance(messages, list):
        parts += [m.get("content") for m in messages if isinstance(m, dict)]
    given = body.get("input")
    items = given if isinstance(given, list) else [given]
    parts += [item.get("content") if isinstance(item, dict) else item for item in items]
    return "\n".join(part for part in parts if isinstance(part, str))


def answered(call: Call) -> dict[str, Any]:
    """The body with `call.text`, in the format of the path."""
    formats = {"/v1/chat/completions": _chat, "/v1/responses": _responses}
    return formats.get(call.path, _ollama)(call)


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


def embedded(call: Call, dimensions: int) -> dict[str, Any]:
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


def stream_type(call: Call) -> str:
    return "application/x-ndjson" if call.path.startswith("/api/") else "text/event-stream"


def streamed(call: Call, answer: dict[str, Any]) -> str:
    if call.path.startswith("/api/"):
        first = {**with_text(answer, "The"), "done": False}
        return json.dumps(first) + "\n" + json.dumps(with_text(answer, "")) + "\n"
    delta = {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"content": "The"}}]}
    return f"data: {json.dumps(delta)}\n\ndata: [DONE]\n\n"
