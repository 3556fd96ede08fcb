"""Questions to an embedding server: one request each, remembered, and never waited for long.

A server that is down, asleep or loading a model must not hold up a search. The request goes on
behind it: where it ends well after all, the next time the question is asked its vector is there.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TookTooLong
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from codesearch_resources.egress import Gate
from codesearch_resources.embedders.base import EmbeddingError
from codesearch_resources.embedders.fingerprint import FINGERPRINT, PROBE, same
from codesearch_resources.embedders.wire import Embedded, Wire
from codesearch_resources.http import load
from codesearch_resources.settings_embedders import ServerSettings

PATIENCE = 0.6  # seconds that a search waits
TIMEOUT = 60.0  # seconds that a request goes on behind it; a model is loaded meanwhile
REMEMBERED = 512  # questions
MOST_BEHIND = 4  # requests at once

Vector = NDArray[np.float32]


class Questions:
    """The asking side of one server; used by several threads at once."""

    def __init__(
        self,
        settings: ServerSettings,
        *,
        wire: Callable[[float], Wire],
        gate: Gate,
        local_only: bool,
        fingerprint: Callable[[], NDArray[np.float16] | None],
        booked: Callable[[Wire, Sequence[str]], Embedded],
    ) -> None:
        """`fingerprint` reads what the set's fixed text looked like when it was filled; `booked`
        sends what leaves one's own machines through guard and ledger."""
        self._settings, self._make, self._booked = settings, wire, booked
        self._gate, self._local_only, self._fingerprint = gate, local_only, fingerprint
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Vector] = OrderedDict()
        self._asked: dict[str, Future[Vector]] = {}
        self._made: Wire | None = None
        self._proven = False

    def ask(self, text: str) -> Vector:
        """The vector of a question. Raises EmbeddingError, within about a second."""
        load()  # in no server's time
        with self._lock:
            if text in self._known:
                self._known.move_to_end(text)
                return self._known[text]
            under_way = self._asked.get(text)
            if under_way is None:
                if len(self._asked) >= MOST_BEHIND:
                    raise EmbeddingError(f"{self._settings.model} has not answered the last ones")
                under_way = self._asked[text] = Future()
                # A daemon: a program that has its answer does not wait for this one to end.
                threading.Thread(
                    target=self._answer, args=(text, under_way), daemon=True, name="question"
                ).start()
        try:
            return under_way.result(PATIENCE)
        except TookTooLong:
            raise EmbeddingError(
                f"{self._settings.model} did not answer within {PATIENCE:g} s"
            ) from None
        except EmbeddingError:
            raise
        except Exception as error:  # whatever it is, it costs these lanes and not the search
            raise EmbeddingError(f"{self._settings.model}: {error}") from error

    def _answer(self, text: str, future: "Future[Vector]") -> None:
        try:
            vector = self._embedded(text)
        except BaseException as error:
            with self._lock:
                self._asked.pop(text, None)
            future.set_exception(error)
            return
        with self._lock:
            self._asked.pop(text, None)
            self._known[text] = vector
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        future.set_result(vector)

    def _embedded(self, text: str) -> Vector:
        wire = self._wire()
        reach = self._gate.check(wire.place(), self._local_only, [text])
        sent = self._settings.prefixes[0] + text
        with self._lock:
            known = None if self._proven else self._fingerprint()
        texts = [sent] if known is None else [sent, PROBE]
        answer = self._booked(wire, texts) if reach == "cloud" else wire.embed(texts)
        if known is not None:
            again = answer.rows[1]
            same(known, np.zeros_like(known) if again is None else again, self._settings.model)
        with self._lock:
            self._proven = True
        row = answer.rows[0]
        if row is None:
            raise EmbeddingError(f"{self._settings.model} has no vector for this question")
        return row

    def _wire(self) -> Wire:
        with self._lock:
            if self._made is None:
                self._made = self._make(TIMEOUT)
            return self._made


def stored_fingerprint(results: Path, set_name: str) -> NDArray[np.float16] | None:
    """The fingerprint of a set in results.db, None where there is none.

    Read by the standard library: a search does not pay for SQLAlchemy.
    """
    import sqlite3
    from contextlib import closing

    try:
        with closing(sqlite3.connect(f"file:{results}?mode=ro", uri=True)) as connection:
            row = connection.execute(
                "SELECT vector FROM vectors WHERE [set] = ? AND text_hash = ?",
                (set_name, FINGERPRINT),
            ).fetchone()
    except sqlite3.DatabaseError:  # none yet, or damaged: the next run tells
        return None
    return np.frombuffer(row[0], np.float16) if row else None
