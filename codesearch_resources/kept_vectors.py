"""Vectors that a server computed, in results.db: what cost time or money is not asked for twice.

By (set, text hash), float16, written batch by batch. A removed repository that comes back, or
LanceDB tables that are made anew, cost no call.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.dialects import sqlite

from codesearch_resources import results_tables as tables
from codesearch_resources.embedders.fingerprint import FINGERPRINT
from codesearch_resources.results_tables import batched_keys, present, stored, writing

_t = tables.vectors.c


class KeptVectors:
    """The vectors of one results.db."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine, self._writer = engine, writing(engine)

    def find(self, of: str, hashes: Iterable[str]) -> dict[str, NDArray[np.float16]]:
        """The vectors of a set among these texts, by their hash."""
        found: dict[str, NDArray[np.float16]] = {}
        with self._engine.connect() as connection:
            for batch in batched_keys(hashes):
                query = sa.select(_t.text_hash, _t.vector)
                rows = connection.execute(query.where(_t.set == of, _t.text_hash.in_(batch)))
                found.update((row[0], np.frombuffer(row[1], np.float16)) for row in rows)
        return found

    def keep(self, of: str, vectors: Mapping[str, NDArray[np.float16]]) -> None:
        """Store vectors in one transaction; a text that has one keeps it."""
        if not vectors:
            return
        now = present()
        rows = [
            {"set": of, "text_hash": text, "vector": vector.tobytes(), "kept_at": now}
            for text, vector in vectors.items()
        ]
        with self._writer.begin() as connection:
            connection.execute(sqlite.insert(tables.vectors).on_conflict_do_nothing(), rows)

    def fingerprint(self, of: str) -> NDArray[np.float16] | None:
        """The vector of the fixed text as the model of this set gave it first."""
        return self.find(of, [FINGERPRINT]).get(FINGERPRINT)

    def counts(self) -> dict[str, int]:
        """How many texts are kept of each set."""
        query = sa.select(_t.set, sa.func.count()).where(_t.text_hash != FINGERPRINT)
        with self._engine.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(query.group_by(_t.set))}

    def drop_unreferenced(
        self, of: str, referenced: Iterable[str], unused: timedelta, now: datetime
    ) -> int:
        """Drop what no row of the index has wanted for `unused` before `now` (aware); how many.

        `referenced` are the text hashes of all rows of that set there are.
        """
        wanted = {FINGERPRINT, *referenced}
        with self._writer.begin() as connection:
            rows = connection.execute(
                sa.select(_t.text_hash, _t.unreferenced_since).where(_t.set == of)
            ).all()
            back = [r.text_hash for r in rows if r.unreferenced_since and r.text_hash in wanted]
            out = [
                r.text_hash for r in rows if not r.unreferenced_since and r.text_hash not in wanted
            ]
            for hashes, since in ((back, None), (out, stored(now))):
                for batch in batched_keys(hashes):
                    which = (_t.set == of) & _t.text_hash.in_(batch)
                    marked = sa.update(tables.vectors).where(which)
                    connection.execute(marked.values(unreferenced_since=since))
            old = (_t.set == of) & (_t.unreferenced_since <= stored(now - unused))
            return int(connection.execute(sa.delete(tables.vectors).where(old)).rowcount)
