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
from contextlib import AbstractContextManager
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codesearch_resources.calls import CallError
from codesearch_resources.egress import Gate
from codesearch_resources.embedders.base import Document, EmbeddingError, Kind, TextsRefused
from codesearch_resources.embedders.identity import identity, view
from codesearch_resources.embedders.ollama import OllamaWire
from codesearch_resources.embedders.openai_compatible import OpenAICompatibleWire
from codesearch_resources.embedders.proof import prove
from codesearch_resources.embedders.questions import Questions, stored_fingerprint
from codesearch_resources.embedders.wire import Embedded, Wire
from codesearch_resources.quota.base import Tally, tally_of
from codesearch_resources.settings import Settings
from codesearch_resources.settings_embedders import OllamaEmbedderSettings, ServerSettings
from codesearch_resources.summarizers.prompt import estimate
from codesearch_resources.text import key

if TYPE_CHECKING:
    from codesearch_resources.embedders.booked import Booked, Books, Clerk

BATCH_BYTES, BATCH_TEXTS = 48_000, 64
SPARE = 2  # threads beyond the workers: they book and keep while the next are under way
# Seconds before a request is repeated: a server restarts, a laptop wakes, a model is loaded.
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
AT_FIRST = 4  # of them, before anything has been answered: more likely nobody is there
ONCE_MORE = 1  # for an answer that is wrong, or did not come within the time-out
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
        books: Callable[[], "AbstractContextManager[Books]"],
        questions: Questions,
    ) -> None:
        """`wire` makes a connection with a time-out in seconds; `books` opens results.db, which
        takes documents and is never needed for a question."""
        self.id, self.dimensions = identity(settings)
        self.settings = settings
        self.cut = 0  # texts that did not fit the model's context, so far
        self._wire, self._books, self._questions = wire, books, questions
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
        refused: dict[str, str] = {}
        with self._books() as books:
            kept = books.kept.find(self.set_name, hashes)
            found = {h: vector.astype(np.float32) for h, vector in kept.items()}
            todo = {h: text for h, text in zip(hashes, texts, strict=True) if h not in found}
            if todo:
                self._all(todo, books, found, refused)
        nothing = np.zeros(self.dimensions, np.float32)
        vectors = np.stack([found.get(h, nothing) for h in hashes] or [nothing])[: len(texts)]
        if refused:
            raise TextsRefused(
                vectors, {n: refused[h] for n, h in enumerate(hashes) if h in refused}
            )
        return vectors

    def _all(
        self,
        todo: Mapping[str, str],
        books: "Books",
        found: dict[str, Vector],
        refused: dict[str, str],
    ) -> None:
        """Embed texts by hash into `found`, kept as they come; `refused` takes those without."""

        def done(vectors: Mapping[str, Vector]) -> None:
            books.kept.keep(self.set_name, {h: v.astype(np.float16) for h, v in vectors.items()})
            found.update(vectors)

        wire = self._wire(self.settings.timeout_seconds)
        work = _Work(self.settings, books.booked(wire), done, refused)
        try:
            if not self._proven:
                prove(self.settings, self.set_name, work.ask_first, books.kept)
                self._proven = True
            _in_flight(work, list(batches(todo)), self.settings.workers)
        except CallError as error:
            raise EmbeddingError(str(error)) from error
        finally:
            wire.close()
            self.cut += work.cut


def _in_flight(work: "_Work", waiting: list[list[tuple[str, str]]], workers: int) -> None:
    """Work off the batches. The first error ends it; what was under way is waited for and kept."""
    pool = ThreadPoolExecutor(workers + SPARE, thread_name_prefix="embed")
    try:
        asked = [pool.submit(work.batch, batch) for batch in waiting]
        ended, _ = wait(asked, return_when=FIRST_EXCEPTION)
        for one in ended:
            one.result()
    except CallError:
        work.stop()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    except BaseException:  # told to end: the caller closes the wire, which ends every request
        work.stop()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


class _Work:
    """The requests of one call of `embed`; used by several threads."""

    def __init__(
        self,
        settings: ServerSettings,
        booked: "Booked",
        done: Callable[[Mapping[str, Vector]], None],
        refused: dict[str, str],
    ) -> None:
        self._settings, self._booked = settings, booked
        self._done, self._refused = done, refused
        self._lock = threading.Lock()
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

        def keep(answer: Embedded) -> None:
            rows = zip(texts, answer.rows, strict=True)
            self._done({h: row for (h, _), row in rows if row is not None})

        try:
            answer = self.ask([text for _, text in texts], keep=keep)
        except CallError as error:
            if error.trouble != "item":
                raise
            self._refuse_or_halve(texts, cuts, str(error))
            return
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
            self._count_cut()
            self._halved([(text_hash, text[: len(text) // 2])], cuts - 1)
        else:
            self._refused[text_hash] = f"{why}: {text[:60]!r}"

    def ask_first(self, texts: Sequence[str]) -> Embedded:
        """`ask` of a server that has not answered yet in this run."""
        return self.ask(texts, AT_FIRST)

    def ask(
        self,
        texts: Sequence[str],
        times: int | None = None,
        keep: Callable[[Embedded], None] = lambda _: None,
    ) -> Embedded:
        """One request, repeated at most so often while the trouble is one that passes.

        Raises CallError.
        """
        times = len(PAUSES) if times is None else times
        for tried in range(times + 1):
            began = time.monotonic()
            try:
                return self._booked.send(texts, keep)
            except CallError as error:
                if error.trouble not in PASSES or self._stopped.is_set():
                    raise
                slow = time.monotonic() - began > self._settings.timeout_seconds / 2
                if tried >= (min(times, ONCE_MORE) if slow or error.status == 200 else times):
                    raise self._beaten(error) from error
                pause = max(PAUSES[tried], error.retry_after or 0.0)
                self._stopped.wait(min(pause, PAUSES[-1]))
        raise AssertionError("unreachable")

    def _beaten(self, error: CallError) -> CallError:
        """A server that answers others and fails for these each time: it is the texts."""
        if error.status is None or error.trouble == "rate" or self._stopped.is_set():
            return error
        try:
            self._booked.send(["canary"])
        except CallError:
            return error
        return CallError("item", str(error), status=error.status)

    def _count_cut(self) -> None:
        with self._lock:
            self.cut += 1

    def _fitted(self, text: str) -> str:
        """The beginning of a text that fits the model's context."""
        most = self._settings.context
        tokens = estimate(text)
        if tokens <= most:
            return text
        self._count_cut()
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


def server_embedder(settings: ServerSettings, around: Settings) -> ServerEmbedder:
    """The embedder that these settings describe, in a configuration; nothing is asked of it yet."""
    name, width = identity(settings)
    gate = Gate(around.trusted_hosts)
    # Its server sees the code of all: what holds for one repository holds for it.
    repos = any(entry.local_only for entry in around.repositories)
    local_only = settings.local_only or repos

    @cache
    def clerk(kind: Kind) -> "Clerk":
        from codesearch_resources.embedders.booked import Clerk  # SQLAlchemy

        # An embedder is made for a run, and asked for its documents in batches.
        tally = tally_of("embedding") if kind == "document" else Tally()
        return Clerk(settings, around, gate, local_only, tally, each_alone=kind == "query")

    def booked(used: Wire, texts: Sequence[str]) -> Embedded:
        with clerk("query").books() as opened:
            return opened.booked(used).send(texts)

    wire = partial(_wire, settings, gate, local_only)
    results = around.data_dir / "results.db"
    questions = Questions(
        settings,
        wire=wire,
        gate=gate,
        local_only=local_only,
        fingerprint=partial(stored_fingerprint, results, f"{name}_{width}"),
        booked=booked,
    )
    return ServerEmbedder(
        settings, wire=wire, books=lambda: clerk("document").books(), questions=questions
    )


def _wire(settings: ServerSettings, gate: Gate, local_only: bool, timeout: float) -> Wire:
    if isinstance(settings, OllamaEmbedderSettings):
        return OllamaWire(settings, gate, local_only=local_only, timeout=timeout)
    return OpenAICompatibleWire(settings, gate, local_only=local_only, timeout=timeout)
