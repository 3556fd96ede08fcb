"""The lanes: each asks one table in one way and says which chunks it found, with scores."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from codesearch import in_memory
from codesearch.candidates import (
    Candidate,
    Candidates,
    Evidence,
    Floats,
    Known,
    LaneName,
    Placed,
    Places,
    known,
    placed,
    some,
)
from codesearch.centrality import Centrality
from codesearch.filters import Filters
from codesearch.held import Held
from codesearch.in_memory import (
    COLUMNS,
    DEFINES,
    Chunks,
    Mask,
    Rows,
)
from codesearch.matrix import Matrix, Vector
from codesearch.query import MOST_TERMS, Query
from codesearch.symbols import SHOWN, Shown, shown
from codesearch_resources.embedders.base import Embedder, EmbeddingError
from codesearch_resources.store import Store, sql

# Chunks a lane contributes; what lies deeper makes no answer better: docs/retrieval.md.
DEPTHS: Mapping[LaneName, int] = {
    "bm25": 150, "vectors": 200, "summary_bm25": 50, "summary_vectors": 150, "symbol": 50,
}  # fmt: skip
SIMILARITIES: Collection[LaneName] = ("vectors", "summary_vectors")
LIMITS = 8  # filters that are kept ready
REFINE = 10  # one bit a dimension in the index, so look at ten times as many real vectors
ROWS_PER_PARTITION = 8_192  # LanceDB's default for IVF
BELOW = 0.7  # of the last found similarity: what a chunk that only words found is taken to have
SELECTIVE = 0.05  # below this share of the rows an exact scan is as fast, and exact

Scores = dict[str, float]  # by chunk id: what a table says; what is held says places
# A lane that was begun: calling it gives what it found. A thread asks where a table must be asked.
Begun = Callable[[], Placed | Scores]


@dataclass
class Found:
    """What the lanes found: candidates, evidence, which of them each lane found, best first, and
    notices."""

    candidates: Candidates
    evidence: Evidence
    order: Mapping[LaneName, Places]
    notices: Sequence[str] = ()

    def ranks(self, chunks: Sequence[Candidate]) -> list[dict[str, int]]:
        """The rank of each of these candidates in each lane that found it."""
        places = self.candidates.known.places
        at = np.searchsorted(self.candidates.places, [places[one.chunk_id] for one in chunks])
        found: list[dict[str, int]] = [{} for _ in chunks]
        for lane, order in self.order.items():
            ranks = np.zeros(len(self.candidates), np.intp)
            ranks[order] = np.arange(1, len(order) + 1)
            for one, rank in zip(found, ranks[at].tolist(), strict=True):
                if rank:
                    one[lane] = rank
        return found


@dataclass(frozen=True, slots=True)
class Limit:
    """What a question is limited to: as SQL, and among the chunks that are held."""

    where: str
    chunks: Chunks | None = None
    allowed: Mask | None = None  # [chunks and one that is not known]; None: all are

    def among(self, ids: Sequence[str]) -> Mask | None:
        """Which of a table's rows are allowed."""
        if self.allowed is None or self.chunks is None:
            return None
        return self.allowed[self.chunks.places(ids)]

    @property
    def in_memory(self) -> bool:
        """Whether what is held can answer."""
        return not self.where or self.allowed is not None

    def told(self, ids: Sequence[str], rows: Places, scores: Vector) -> Placed | Scores:
        """What rows of a held table say, of known chunks where all of them are."""
        wide = scores.astype(np.float64)
        if self.chunks is not None:
            places = self.chunks.places(ids)[rows]
            if not (places < 0).any():
                return Placed(self.chunks.known, places, wide)
        return dict(zip((ids[row] for row in rows.tolist()), wide.tolist(), strict=True))


class Lanes:
    """All lanes over one store."""

    def __init__(self, store: Store, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder
        self._held = Held(store)
        self._central = Centrality(store)
        self._limits: tuple[Chunks, dict[Filters, Limit]] | None = None
        self.pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="lane")

    def close(self) -> None:
        self._held.close()
        self.pool.shutdown()

    def leave(self) -> None:
        """Read nothing more into memory; questions under way go on."""
        self._held.close()

    def warm(self) -> None:
        """Hold now what would be held after some seconds of questions."""
        self._held.warm()

    def find(self, query: Query, filters: Filters) -> Found:
        """Ask every lane for `query` among the chunks that `filters` let through."""
        look = self._held.look()
        limit = self._limit(filters)
        notices: list[str] = []
        if query.cut:
            notices.append(f"the question is long: its first {MOST_TERMS} words were used")
        chunks = self._words("chunks", query, limit, DEPTHS["bm25"])
        summaries = self._words("summaries", query, limit, DEPTHS["summary_bm25"])
        symbols = self._symbols(query, limit)
        vector = self._vector(query, notices)
        by_code = self._nearest(self._store.code_vectors, vector, limit, DEPTHS["vectors"])
        by_summary = self._nearest(
            self._store.summary_vectors, vector, limit, DEPTHS["summary_vectors"]
        )
        lanes: dict[LaneName, Placed | Scores] = {
            "bm25": chunks(),
            "summary_bm25": summaries(),
            "symbol": symbols(),
            "vectors": by_code(),
            "summary_vectors": by_summary(),
        }
        return self._complete(lanes, limit, look, notices)

    def near(self, chunk_id: str, filters: Filters) -> Found:
        """The chunks whose code lies nearest to a stored chunk's, that chunk left out.

        Nothing is found where the chunk has no vector yet.
        """
        look = self._held.look()
        limit = self._limit(filters)
        vectors = self._store.code_vectors
        stored = self._store.read_keys(vectors, ["chunk_id", "vector"], "chunk_id", [chunk_id])
        stored = stored.filter(stored["vector"].is_valid())  # a text that was refused has none
        if not stored.num_rows:
            notice = "this chunk has no vector yet: run `codesearch index`"
            return self._complete({"vectors": {}}, limit, look, [notice])
        vector = stored["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        depth = DEPTHS["vectors"]
        near = _by_id(self._nearest(vectors, vector.astype(np.float32), limit, depth)())
        near.pop(chunk_id, None)
        return self._complete({"vectors": near}, limit, look, [])

    def _limit(self, filters: Filters) -> Limit:
        """The filters made ready; those asked last are kept while the chunks stand as they are."""
        chunks, limits = self._held.chunks(), self._limits
        if limits is not None and limits[0] is not chunks:  # let go of what was held
            limits = self._limits = None
        if chunks is None or not filters:
            return Limit(filters.where, chunks)
        if limits is None or len(limits[1]) > LIMITS:
            limits = self._limits = (chunks, {})
        if filters not in limits[1]:
            fitting = [*filters.fitting(chunks.known.chunks), False]
            limits[1][filters] = Limit(filters.where, chunks, np.array(fitting))
        return limits[1][filters]

    def shown(self, ids: Sequence[str]) -> tuple[dict[str, Shown], dict[str, str]]:
        """What is shown of chunks, each from one row, without those that are gone; and the
        summaries of those that have one."""
        summaries = self._summaries(ids)
        return self._chunks(ids), summaries()

    def _summaries(self, ids: Sequence[str]) -> Callable[[], dict[str, str]]:
        held = self._held.words("summaries")
        if held is not None and held.texts is not None:
            return partial(held.read, held.texts, ids)
        rows = held.rows if held is not None else None
        reading = self.pool.submit(self._read_table, "summaries", ["summary"], ids, rows)
        return lambda: {key: row["summary"] or "" for key, row in reading.result().items()}

    def _chunks(self, ids: Sequence[str]) -> dict[str, Shown]:
        held = self._held.chunks()
        if held is not None and held.words.texts is not None:
            return held.read(held.words.texts, ids)
        rows = held.words.rows if held is not None else None
        found = self._read_table("chunks", SHOWN, ids, rows)
        return {key: shown(row) for key, row in found.items()}

    def _read_table(
        self, name: str, columns: Sequence[str], ids: Sequence[str], held: Rows | None
    ) -> dict[str, dict[str, Any]]:
        found = self._taken(name, columns, ids, held) if held is not None else {}
        if missing := [key for key in ids if key not in found]:
            rows = self._store.read_keys(name, ["chunk_id", *columns], "chunk_id", missing)
            found |= {row["chunk_id"]: row for row in rows.to_pylist()}
        return found

    def _taken(
        self, name: str, columns: Sequence[str], ids: Sequence[str], rows: Rows
    ) -> dict[str, dict[str, Any]]:
        """Rows by their addresses, those that are still there."""
        addresses = rows.of(ids)
        if not addresses:
            return {}
        taken: pa.Table = self._store.ask(
            name, lambda t: t.take_row_ids(addresses).select(["chunk_id", *columns]).to_arrow()
        )
        return {row["chunk_id"]: row for row in taken.to_pylist()}

    def _vector(self, query: Query, notices: list[str]) -> Vector | None:
        """The question's vector; without one the lanes of words go on alone."""
        if not all(map(self._store.has, (self._store.code_vectors, self._store.summary_vectors))):
            notices.append("no vectors of this embedder yet: run `codesearch index`")
            return None
        try:
            vector: Vector = self._embedder.embed([query.text], "query")[0]
        except EmbeddingError as error:
            notices.append(f"asked without vectors: {error}")
            return None
        return vector

    def _words(self, name: str, query: Query, limit: Limit, depth: int) -> Begun:
        held = self._held.words(name)
        if held is not None and held.postings is not None and limit.in_memory:
            ids, postings = held.rows.ids, held.postings
            return lambda: limit.told(ids, *postings.best(query.terms, depth, limit.among(ids)))
        rows, text = held.rows if held is not None else None, " ".join(query.terms)
        return self.pool.submit(self._full_text, name, text, limit.where, rows, depth).result

    def _full_text(self, name: str, text: str, where: str, rows: Rows | None, depth: int) -> Scores:
        from lancedb.query import MatchQuery

        match: Any = MatchQuery  # a pydantic dataclass, whose defaults mypy does not see

        def question(table: Any) -> Any:
            query = table.search(match(text, "fts_text"), query_type="fts").limit(depth)
            return query.where(where) if where else query

        return self._scores(name, question, "_score", rows)

    def _symbols(self, query: Query, limit: Limit) -> Begun:
        if not query.names:
            return dict
        if limit.chunks is not None:
            return partial(limit.chunks.defining, query.names, DEPTHS["symbol"], limit.allowed)
        return self.pool.submit(self._defining, query, limit.where).result

    def _defining(self, query: Query, where: str) -> Scores:
        asked = f"array_has_any(names, [{', '.join(map(sql, query.names))}])"
        wanted = f"{asked} AND ({where})" if where else asked
        found: pa.Table = self._store.ask(
            "chunks",
            lambda t: (
                t.search().select(["chunk_id"]).limit(DEPTHS["symbol"]).where(wanted).to_arrow()
            ),
        )
        return dict.fromkeys(found["chunk_id"].to_pylist(), DEFINES)

    def _nearest(self, name: str, vector: Vector | None, limit: Limit, depth: int) -> Begun:
        if vector is None:
            return dict
        held = self._held.vectors(name)
        if isinstance(held, Matrix) and limit.in_memory:
            ids, best = held.ids, held.best
            return lambda: limit.told(ids, *best(vector, depth, limit.among(ids)))
        rows = held if isinstance(held, Rows) else None
        return self.pool.submit(self._by_vector, name, vector, limit.where, rows, depth).result

    def _by_vector(
        self, name: str, vector: Vector, where: str, held: Rows | None, depth: int
    ) -> Scores:
        rows = self._store.count(name)

        def question(table: Any) -> Any:
            query = (
                table.search(vector, vector_column_name="vector")
                .distance_type("cosine")  # else the metric changes when the index appears
                .limit(depth)
            )
            if where:
                query = query.where(where)
                if table.count_rows(where) < SELECTIVE * rows:
                    return query.bypass_vector_index()
            partitions = rows // ROWS_PER_PARTITION
            return query.nprobes(max(20, partitions // 2)).refine_factor(REFINE)

        distances = self._scores(name, question, "_distance", held)
        return {key: 1 - distance for key, distance in distances.items()}

    def _scores(
        self, name: str, question: Callable[[Any], Any], column: str, rows: Rows | None
    ) -> Scores:
        """What a ranked look-up gives each chunk. By addresses that are held nothing but the
        index is read."""
        if rows is not None:
            found: pa.Table = self._store.ask(
                name, lambda t: question(t).select([column]).with_row_id(True).to_arrow()
            )
            ids = rows.at(found["_rowid"].to_numpy())
            if ids is not None:
                return dict(zip(ids, found[column].to_pylist(), strict=True))
        found = self._store.ask(name, lambda t: question(t).select(["chunk_id", column]).to_arrow())
        return dict(zip(found["chunk_id"].to_pylist(), found[column].to_pylist(), strict=True))

    def _complete(
        self,
        lanes: Mapping[LaneName, Placed | Scores],
        limit: Limit,
        look: int,
        notices: Sequence[str],
    ) -> Found:
        """Learn what the candidates are, and make scores evidence.

        A chunk that only words found has a similarity too, just none among the nearest: it is
        taken to be a little below the last of those, since reading the vectors of hundreds of
        chunks costs as much as a lane (NDCG@10 of six repositories as one: .7993, exact .7990).
        A hit whose chunk is gone drops out here.
        """
        among, told = self._known(lanes, limit)
        places = np.unique(np.concatenate([one.places for one in told.values()]))
        candidates = some(among, places)
        said: dict[LaneName, Floats] = {}
        order: dict[LaneName, Places] = {}
        for lane, one in told.items():
            best_first = np.lexsort((one.places, -one.scores))  # equally good ones by their place
            order[lane] = places.searchsorted(one.places[best_first])
            scores = _normalised(one.scores[best_first])
            below = BELOW * scores[-1] if lane in SIMILARITIES and len(scores) else 0.0
            said[lane] = np.full(len(places), below)
            said[lane][order[lane]] = scores
        evidence = Evidence(said, self._central.of(candidates, look))
        return Found(candidates, evidence, order, notices)

    def _known(
        self, lanes: Mapping[LaneName, Placed | Scores], limit: Limit
    ) -> tuple[Known, Mapping[LaneName, Placed]]:
        """What all lanes found among the same chunks: those that are held, or just these, read."""
        held = limit.chunks.known if limit.chunks is not None else known(())
        if all(isinstance(one, Placed) or not one for one in lanes.values()):
            none = placed(held, {})
            told = {lane: one if isinstance(one, Placed) else none for lane, one in lanes.items()}
            return held, told
        scores = {lane: _by_id(one) for lane, one in lanes.items()}
        wanted = sorted({key for one in scores.values() for key in one})
        chunks = [held.chunks[held.places[key]] for key in wanted if key in held.places]
        if missing := [key for key in wanted if key not in held.places]:
            chunks += in_memory.candidates(
                self._store.read_keys("chunks", COLUMNS, "chunk_id", missing)
            )
        among = known(chunks)
        return among, {lane: placed(among, one) for lane, one in scores.items()}


def _by_id(found: Placed | Scores) -> Scores:
    return found.by_id() if isinstance(found, Placed) else found


def _normalised(scores: Floats) -> Floats:
    """Divided by the query's best, which comes first; nothing below 0."""
    best = scores[0] if len(scores) else 0.0
    return np.maximum(scores, 0) / best if best > 0 else np.zeros_like(scores)
