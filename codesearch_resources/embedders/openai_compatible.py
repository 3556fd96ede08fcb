"""OpenAI's `/v1/embeddings`, as its many servers speak it.

They differ where it is not seen: some do not normalise, some ignore `dimensions`, some cut an
over-long text at 512 tokens without a word, some answer in another order, or an empty list with an
error. Rows are put in order, made unit length, and their width is checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from codesearch_resources.calls import CallError, Usage
from codesearch_resources.classify import classify
from codesearch_resources.egress import Gate
from codesearch_resources.embedders.ollama import BYTES_A_NUMBER, NO_EMBEDDER
from codesearch_resources.embedders.wire import Embedded, Place, rows_of
from codesearch_resources.http import Http, Reply, count, parsed
from codesearch_resources.settings_embedders import PROVIDER, OpenAICompatibleSettings
from codesearch_resources.summarizers.keys import bearer


class OpenAICompatibleWire:
    """One embedding model of one such server."""

    def __init__(
        self, settings: OpenAICompatibleSettings, gate: Gate, *, local_only: bool, timeout: float
    ) -> None:
        self._settings, self._local_only = settings, local_only
        self._http = Http(
            settings.base_url,
            who=PROVIDER,
            permit=gate.admit,
            timeout=timeout,
            connections=settings.workers,
            headers=lambda: bearer(settings),
        )
        self.shown = self._http.shown

    def place(self) -> Place:
        return Place(PROVIDER, self._settings.model, self._http.host, self._http.addresses())

    def embed(self, texts: Sequence[str]) -> Embedded:
        request = {
            "model": self._settings.model,
            "input": list(texts),
            "dimensions": self._settings.dimensions,
            "encoding_format": "float",  # base64 is not understood everywhere
        }
        most = 1_000_000 + len(texts) * self._settings.dimensions * BYTES_A_NUMBER
        reply = self._http.post(
            "/embeddings", request, local_only=self._local_only, most_bytes=most
        )
        if reply.status != 200:
            raise self._refused(reply)
        body = parsed(reply, self.shown)
        usage = _usage(body)
        rows = rows_of(
            _in_order(body.get("data")), texts, self._settings.dimensions, self.shown, usage
        )
        return Embedded(rows, usage, reply.headers, reply.seconds)

    def close(self) -> None:
        self._http.close()

    def _refused(self, reply: Reply) -> CallError:
        model = self._settings.model
        if NO_EMBEDDER.search(reply.body.decode("utf-8", "replace")):
            return CallError(
                "model_gone",
                f"{self.shown}: {model} is a language model and embeds nothing: choose an "
                "embedding model, or start the server with one",
                status=reply.status,
            )
        return classify(
            "openai_chat", reply.status, reply.headers, reply.body, provider=self.shown, model=model
        )


def _usage(body: Mapping[str, Any]) -> Usage:
    said = body.get("usage")
    given = count(said.get("prompt_tokens")) if isinstance(said, dict) else None
    return Usage(input=given, output=0)


def _in_order(data: Any) -> Any:
    """The vectors by their `index`; as they stand where the indices are no permutation."""
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        return None
    places = [row.get("index") for row in data]
    if sorted(place for place in places if isinstance(place, int)) == list(range(len(data))):
        data = sorted(data, key=lambda row: row["index"])
    return [row.get("embedding") for row in data]
