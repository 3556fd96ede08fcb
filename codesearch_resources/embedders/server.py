"""The embedder behind a server: batches in flight, trouble told apart, nothing asked for twice.

A text that was embedded once is looked up in results.db. The rest goes out in batches by bytes,
`workers` at a time, and each batch is kept as it comes. Every request passes the egress gate, the
guard and the ledger. What goes wrong with a server is retried here and nowhere else; a text that
makes a batch fail is found by halving, and is refused alone.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

import numpy as np
from numpy.typing import NDArray

from codesearch_resources.calls import CallError
from codesearch_resources.embedders.base import Document, EmbeddingError, Kind, TextsRefused
from codesearch_resources.embedders.booked import Booked
from codesearch_resources.embedders.identity import identity, view
from codesearch_resources.embedders.proof import prove
from codesearch_resources.embedders.questions import Questions
from codesearch_resources.embedders.wire import Embedded, Wire
from codesearch_resources.kept_vectors import KeptVectors
from codesearch_resources.settings_embedders import ServerSettings
from codesearch_resources.summarizers.prompt import estimate
from codesearch_resources.text import key

BATCH_BYTES, BATCH_TEXTS = 48_000, 64
# Seconds before a request is repeated: a server restarts, a laptop wakes, a model is loaded.
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
PASSES = frozenset(("rate", "overload", "ambiguous"))  # troubles that do not last
CUTS = 3  # times that a text the server finds too long is halved
TOO_LONG = ("length exceeds", "too long", "context length", "maximum context")

Vector = NDArray[np.float32]


class ServerEmbedder:
    """An embedding model behind Ollama or an OpenAI-compatible server."""

    def __init__(
        self,
        settings: ServerSettings,
        *,
        wire: Callable[[float], Wire],
        booked: Callable[[Wire], Booked],
        kept: Callable[[], KeptVectors],
        questions: Questions,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """`wire` makes a connection with a time-out in seconds; `booked` and `kept` are asked for
        when a document is embedded, and never for a question."""
        self.id, self.dimensions = identity(settings)
        self.settings = settings
        self.cut = 0  # texts that did not fit the model's context, so far
        self._wire, self._booked, self._kept = wire, booked, kept
        self._questions, self._pause = questions, pause
        self._lock = threading.Lock()
        self._proven = False

    @property
    def set_name(self) -> str:
        return f"{self.id}_{self.dimensions}"

    def view(self, document: Document) -> str:
        """Path and names, then the text as it is."""
        return view(document, self.settings.prefixes[1])

    def embed(self, texts: Sequence[str], kind: Kind) -> Vector:
        """Unit vectors [len(texts), dimensions], in order.

        A question is given up after about a second. Raises TextsRefused, EmbeddingError.
        """
        if kind == "query":
            return np.stack([self._questions.ask(text) for text in texts])
        hashes = [key((text,)) for text in texts]
        kept = self._kept()
        found: dict[str, Vector] = {
            h: vector.astype(np.float32) for h, vector in kept.find(self.set_name, hashes).items()
        }
        todo = {h: text for h, text in zip(hashes, texts, strict=True) if h not in found}
        refused: dict[str, str] = {}
        if todo:
            found |= self._all(todo, kept, refused)
        nothing = np.zeros(self.dimensions, np.float32)
        vectors = np.stack([found.get(h, nothing) for h in hashes] or [nothing])[: len(texts)]
        if refused:
            raise TextsRefused(
                vectors, {n: refused[h] for n, h in enumerate(hashes) if h in refused}
            )
        return vectors

    def _all(
        self, todo: Mapping[str, str], kept: KeptVectors, refused: dict[str, str]
    ) -> dict[str, Vector]:
        """The vectors of texts by hash, kept as they come; `refused` takes those without."""
        found: dict[str, Vector] = {}

        def done(vectors: Mapping[str, Vector]) -> None:
            kept.keep(self.set_name, {h: v.astype(np.float16) for h, v in vectors.items()})
            with self._lock:
                found.update(vectors)

        wire = self._wire(self.settings.timeout_seconds)
        try:
            work = _Work(self, self._booked(wire), done, refused, self._pause)
            if not self._proven:
                prove(self.settings, self.set_name, work.ask, kept)
                self._proven = True
            self._in_flight(work, list(batches(todo)))
        except CallError as error:
            raise EmbeddingError(str(error)) from error
        finally:
            wire.close()
            self.cut += work.cut
        return found

    def _in_flight(self, work: "_Work", waiting: list[list[tuple[str, str]]]) -> None:
        """Work off the batches, the first error ends it; what came until then is kept."""
        pool = ThreadPoolExecutor(self.settings.workers, thread_name_prefix="embed")
        try:
            asked = [pool.submit(work.batch, batch) for batch in waiting]
            ended, _ = wait(asked, return_when=FIRST_EXCEPTION)
            for one in ended:
                one.result()
        finally:
            work.stop()
            pool.shutdown(wait=True, cancel_futures=True)


class _Work:
    """The requests of one call of `embed`; used by several threads."""

    def __init__(
        self,
        embedder: ServerEmbedder,
        booked: Booked,
        done: Callable[[Mapping[str, Vector]], None],
        refused: dict[str, str],
        pause: Callable[[float], None],
    ) -> None:
        self._embedder, self._booked = embedder, booked
        self._done, self._refused, self._pause = done, refused, pause
        self._stopped = threading.Event()
        self.cut = 0

    def stop(self) -> None:
        """No request is begun from now on."""
        self._stopped.set()

    def batch(self, texts: Sequence[tuple[str, str]]) -> None:
        """Embed texts given with their hashes. Raises CallError for a server that cannot."""
        fit = []
        for text_hash, text in texts:
            if reason := self._booked.forbids(text):
                self._refused[text_hash] = reason
            else:
                fit.append((text_hash, self._fitted(text)))
        if fit and not self._stopped.is_set():
            self._halved(fit, CUTS)

    def _halved(self, texts: Sequence[tuple[str, str]], cuts: int) -> None:
        """Embed texts; where the server refuses them together, the halves one by one."""
        try:
            answer = self.ask([text for _, text in texts])
        except CallError as error:
            if error.trouble != "item":
                raise
            self._refuse_or_halve(texts, cuts, str(error))
            return
        rows = zip(texts, answer.rows, strict=True)
        self._done({h: row for (h, _), row in rows if row is not None})
        for (text_hash, text), row in zip(texts, answer.rows, strict=True):
            if row is None:
                self._refused[text_hash] = f"the model gives no direction for {text[:60]!r}"

    def _refuse_or_halve(self, texts: Sequence[tuple[str, str]], cuts: int, why: str) -> None:
        if len(texts) > 1:
            middle = len(texts) // 2
            self._halved(texts[:middle], cuts)
            self._halved(texts[middle:], cuts)
            return
        ((text_hash, text),) = texts
        if cuts and any(words in why for words in TOO_LONG):
            self.cut += 1
            self._halved([(text_hash, text[: len(text) // 2])], cuts - 1)
        else:
            self._refused[text_hash] = f"{why}: {text[:60]!r}"

    def ask(self, texts: Sequence[str]) -> Embedded:
        """One request, repeated while the trouble is one that passes. Raises CallError."""
        for pause in (*PAUSES, None):
            try:
                return self._booked.send(texts)
            except CallError as error:
                if error.trouble not in PASSES or self._stopped.is_set():
                    raise
                if pause is None:
                    raise self._beaten(error, texts) from error
                self._pause(min(max(pause, error.retry_after or 0.0), PAUSES[-1]))
        raise AssertionError("unreachable")

    def _beaten(self, error: CallError, texts: Sequence[str]) -> CallError:
        """A server that answers others and fails for these each time: it is the texts."""
        if error.status is None or error.trouble != "overload" or self._stopped.is_set():
            return error
        try:
            self._booked.send(["canary"])
        except CallError:
            return error
        return CallError("item", str(error), status=error.status)

    def _fitted(self, text: str) -> str:
        """The beginning of a text that fits the model's context."""
        most = self._embedder.settings.context
        tokens = estimate(text)
        if tokens <= most:
            return text
        self.cut += 1
        while tokens > most:
            text = text[: max(1, int(len(text) * most / tokens * 0.98))]
            tokens = estimate(text)
        return text


def batches(todo: Mapping[str, str]) -> list[list[tuple[str, str]]]:
    """Texts of like length together, the longest first: the last to end are then short."""
    made: list[list[tuple[str, str]]] = []
    room, places = 0, 0
    for text_hash, text in sorted(todo.items(), key=lambda item: (-len(item[1]), item[0])):
        size = len(text.encode("utf-8", "replace"))
        if not made or size > room or not places:
            made.append([])
            room, places = BATCH_BYTES, BATCH_TEXTS
        made[-1].append((text_hash, text))
        room, places = room - size, places - 1
    return made
