"""How central files are, for ranking: how much of its repository leans on each."""

import math

import numpy as np

from codesearch.candidates import Candidates, File, Floats, Known
from codesearch_resources.store import State, Store


class Centrality:
    """How central files are, kept in memory: one number a file, read when the table has moved."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: tuple[State, dict[File, float]] | None = None
        self._looked: tuple[int, dict[File, float]] = (-1, {})
        self._files: tuple[Known, dict[File, float], Floats] | None = None

    def of(self, candidates: Candidates, look: int) -> Floats:
        """The logarithm of each file's mentions against the most mentioned of these, 0..1; once a
        look is enough to find out whether the table has moved."""
        looked = self._looked
        if looked[0] != look:
            self._looked = looked = (look, self._now())
        logs = self._of_all(candidates.known, looked[1])[candidates.numbers]
        against: Floats = logs / (logs.max(initial=0.0) or 1.0)
        return against

    def _of_all(self, among: Known, logs: dict[File, float]) -> Floats:
        files = self._files
        if files is None or files[0] is not among or files[1] is not logs:
            found = np.array([logs.get(file, 0.0) for file in among.files], np.float64)
            self._files = files = (among, logs, found)
        return files[2]

    def _now(self) -> dict[File, float]:
        if not self._store.has("centrality"):
            return {}
        held, state = self._held, self._store.state("centrality")
        if held is None or held[0] != state:
            rows = self._store.read("centrality", ["repo", "path", "mentions"], "mentions > 0")
            keys = zip(rows["repo"].to_pylist(), rows["path"].to_pylist(), strict=True)
            logs = map(math.log1p, rows["mentions"].to_pylist())
            held = (state, dict(zip(keys, logs, strict=True)))
            if self._store.state("centrality") == state:
                self._held = held
        return held[1]
