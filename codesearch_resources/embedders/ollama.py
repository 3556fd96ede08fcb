"""Ollama's `/api/embed`: models on this machine, by the same server that writes summaries."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence

from codesearch_resources.calls import CallError, Usage
from codesearch_resources.classify import classify, clean
from codesearch_resources.egress import Gate
from codesearch_resources.embedders.wire import Embedded, Place, rows_of
from codesearch_resources.http import Http, Reply, count, parsed
from codesearch_resources.settings_embedders import PROVIDER, OllamaEmbedderSettings
from codesearch_resources.summarizers.keys import bearer

BYTES_A_NUMBER = 40  # of JSON, blanks included
SHOWN_SECONDS = 300.0  # a model's place is asked again after this long
NO_EMBEDDER = re.compile(r"does not support embed|embedding=True")


class OllamaWire:
    """One embedding model of one Ollama."""

    def __init__(
        self, settings: OllamaEmbedderSettings, gate: Gate, *, local_only: bool, timeout: float
    ) -> None:
        self._settings, self._gate, self._local_only = settings, gate, local_only
        self._http = Http(
            settings.base_url,
            who=PROVIDER,
            permit=gate.admit,
            timeout=timeout,
            connections=settings.workers,
            headers=lambda: bearer(settings),
        )
        self.shown = self._http.shown
        self._lock = threading.Lock()
        self._told: tuple[str | None, float] | None = None

    def place(self) -> Place:
        return Place(
            PROVIDER, self._settings.model, self._http.host, self._http.addresses(), self._remote()
        )

    def embed(self, texts: Sequence[str]) -> Embedded:
        request = {
            "model": self._settings.model,
            "input": list(texts),
            # Cut on our side and counted; what the server would cut silently is an error.
            "truncate": False,
            "dimensions": self._settings.dimensions,
            "options": {"num_ctx": self._settings.context},
            "keep_alive": self._settings.keep_alive,
        }
        most = 1_000_000 + len(texts) * self._settings.dimensions * BYTES_A_NUMBER
        reply = self._http.post("/api/embed", request, local_only=self._local_only, most_bytes=most)
        if reply.status != 200:
            raise self._refused(reply)
        body = parsed(reply, self.shown)
        usage = Usage(input=count(body.get("prompt_eval_count")), output=0)
        if remote := body.get("remote_host"):
            self._remember(clean(str(remote)))
            if self._local_only:
                raise self._away(clean(str(remote)), usage)
        rows = rows_of(body.get("embeddings"), texts, self._settings.dimensions, self.shown, usage)
        return Embedded(rows, usage, reply.headers, reply.seconds)

    def close(self) -> None:
        self._http.close()

    def _remote(self) -> str | None:
        """The host that the server passes this model on to, None when it runs it itself."""
        http, model = self._http, self._settings.model
        if any(self._gate.reach_of(http.host, each) == "cloud" for each in http.addresses()):
            return None  # the address itself is beyond this machine: there is nothing to ask it
        tag = model.rpartition(":")[2] if ":" in model else ""
        if tag == "cloud" or tag.endswith("-cloud"):
            return "ollama.com"
        with self._lock:
            told = self._told
        if told is None or time.monotonic() - told[1] > SHOWN_SECONDS:
            return self._remember(self._ask_model())
        return told[0]

    def _remember(self, remote: str | None) -> str | None:
        with self._lock:
            self._told = (remote, time.monotonic())
        return remote

    def _ask_model(self) -> str | None:
        """Where the model runs. Raises CallError for one that writes and embeds nothing."""
        reply = self._http.post("/api/show", {"model": self._settings.model}, local_only=True)
        if reply.status != 200:
            raise self._refused(reply)
        body = parsed(reply, self.shown)
        can = body.get("capabilities")
        if isinstance(can, list) and "completion" in can and "embedding" not in can:
            raise self._language_model()
        remote = body.get("remote_host")
        return clean(str(remote)) if remote else None

    def _refused(self, reply: Reply) -> CallError:
        if NO_EMBEDDER.search(reply.body.decode("utf-8", "replace")):
            return self._language_model()
        model = self._settings.model
        return classify(
            "ollama", reply.status, reply.headers, reply.body, provider=self.shown, model=model
        )

    def _language_model(self) -> CallError:
        return CallError(
            "model_gone",
            f"{self.shown}: {self._settings.model} is a language model and embeds nothing: choose "
            "an embedding model, such as qwen3-embedding",
        )

    def _away(self, remote: str, usage: Usage) -> CallError:
        return CallError(
            "policy",
            f"{self.shown}: {self._settings.model} runs on {remote}, and local_only is set",
            usage=usage,
        )
