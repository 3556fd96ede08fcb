"""The lanes: each asks one table in one way and says which chunks it found, with scores."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from codesearch.candidates import Candidate, Evidence, File, LaneName
from codesearch.errors import BadQuery
from codesearch.filters import Filters
from codesearch.held import Held
from codesearch.in_memory import (
    COLUMNS,
    DEFINES,
    SHOWN,
    Allowed,
    Chunks,
    Floats,
    Matrix,
    Rows,
    candidates,
)
from codesearch.query import MOST_TERMS, Query
from codesearch_resources.embedders.base import Embedder, EmbeddingError
from codesearch_resources.store import State, Store, of_repo, sql

DEPTH = 200  # chunks a lane contributes
SYMBOL_DEPTH = 50
LIMITS = 8  # filters that are kept ready
MOST_FILES = 5  # that a message names
REFINE = 10  # one bit a dimension in the index, so look at ten times as many real vectors
ROWS_PER_PARTITION = 8_192  # LanceDB's default for IVF
BELOW = 0.7  # of the last found similarity: what a chunk that only words found is taken to have
SELECTIVE = 0.05  # below this share of the rows an exact scan is as fast, and exact

# A lane that was begun: calling it gives what it found. A thread asks where a table must be asked.
Begun = Callable[[], dict[str, float]]


@dataclass
class Found:
    """What the lanes found: candidates by id, evidence, each lane's order, and notices."""

    candidates: dict[str, Candidate] = field(default_factory=dict)
    evidence: Evidence = field(default_factory=lambda: Evidence({}))
    order: dict[LaneName, list[str]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Limit:
    """What a question is limited to: as SQL, and among the chunks that are held."""

    where: str
    allowed: Allowed | None  # None where nothing is filtered, or no chunks are held

    @property
    def in_memory(self) -> bool:
        """Whether what is held can answer."""
        return not self.where or self.allowed is not None


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
        found = Found()
        if query.cut:
            found.notices.append(f"the question is long: its first {MOST_TERMS} words were used")
        chunks = self._words("chunks", query, limit)
        summaries = self._words("summaries", query, limit)
        symbols = self._symbols(query, limit)
        vector = self._vector(query, found)
        by_code = self.pool.submit(self._nearest, self._store.code_vectors, vector, limit)
        by_summary = self.pool.submit(self._nearest, self._store.summary_vectors, vector, limit)
        lanes: dict[LaneName, dict[str, float]] = {
            "bm25": chunks(),
            "summary_bm25": summaries(),
            "symbol": symbols(),
            "vectors": by_code.result(),
            "summary_vectors": by_summary.result(),
        }
        self._complete(found, lanes, look)
        return found

    def near(self, chunk_id: str, filters: Filters) -> Found:
        """The chunks whose code lies nearest to a stored chunk's, that chunk left out.

        Nothing is found where the chunk has no vector yet.
        """
        look = self._held.look()
        limit = self._limit(filters)
        found = Found()
        vectors = self._store.code_vectors
        stored = self._store.read_keys(vectors, ["chunk_id", "vector"], "chunk_id", [chunk_id])
        stored = stored.filter(stored["vector"].is_valid())  # a text that was refused has none
        if stored.num_rows:
            vector = stored["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            scores = self._nearest(vectors, vector.astype(np.float32), limit)
            near = {key: score for key, score in scores.items() if key != chunk_id}
            self._complete(found, {"vectors": near}, look)
        else:
            found.notices.append("this chunk has no vector yet: run `codesearch index`")
        return found

    def _limit(self, filters: Filters) -> Limit:
        """The filters made ready; those asked last are kept while the chunks stand as they are."""
        chunks = self._held.chunks() if filters else None
        if chunks is None:
            return Limit(filters.where, None)
        limits = self._limits
        if limits is None or limits[0] is not chunks or len(limits[1]) > LIMITS:
            limits = self._limits = (chunks, {})
        if filters not in limits[1]:
            allowed = Allowed(filters.fitting(chunks.candidates.values()))
            limits[1][filters] = Limit(filters.where, allowed)
        return limits[1][filters]

    def shown(self, ids: Sequence[str]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        """What is shown of chunks: rows with text, lines and symbols, each from one row, without
        those that are gone; and the summaries of those that have one."""
        reading = self._read("summaries", ["summary"], ids)
        rows = self._read("chunks", SHOWN, ids)()
        return rows, {key: row["summary"] or "" for key, row in reading().items()}

    def _read(
        self, name: str, columns: Sequence[str], ids: Sequence[str]
    ) -> Callable[[], dict[str, dict[str, Any]]]:
        held = self._held.words(name)
        if held is not None and held.shown is not None:
            return partial(held.read, held.shown, ids)
        rows = held.rows if held is not None else None
        return self.pool.submit(self._read_table, name, columns, ids, rows).result

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

    def _vector(self, query: Query, found: Found) -> Floats | None:
        """The question's vector; without one the lanes of words go on alone."""
        missing = {self._store.code_vectors, self._store.summary_vectors} - set(self._store.names())
        if missing:
            found.notices.append("no vectors of this embedder yet: run `codesearch index`")
            return None
        try:
            vector: Floats = self._embedder.embed([query.text], "query")[0]
        except EmbeddingError as error:
            found.notices.append(f"asked without vectors: {error}")
            return None
        return vector

    def _words(self, name: str, query: Query, limit: Limit) -> Begun:
        held = self._held.words(name)
        if held is not None and held.postings is not None and limit.in_memory:
            return partial(held.best, held.postings, query.terms, DEPTH, limit.allowed)
        rows, text = held.rows if held is not None else None, " ".join(query.terms)
        return self.pool.submit(self._full_text, name, text, limit.where, rows).result

    def _full_text(self, name: str, text: str, where: str, rows: Rows | None) -> dict[str, float]:
        from lancedb.query import MatchQuery

        match: Any = MatchQuery  # a pydantic dataclass, whose defaults mypy does not see

        def question(table: Any) -> Any:
            query = table.search(match(text, "fts_text"), query_type="fts").limit(DEPTH)
            return query.where(where) if where else query

        return _best_first(self._scores(name, question, "_score", rows))

    def _symbols(self, query: Query, limit: Limit) -> Begun:
        if not query.names:
            return dict
        held = self._held.chunks()
        if held is not None and limit.in_memory:
            return partial(held.defining, query.names, SYMBOL_DEPTH, limit.allowed)
        return self.pool.submit(self._defining, query, limit.where).result

    def _defining(self, query: Query, where: str) -> dict[str, float]:
        asked = f"array_has_any(names, [{', '.join(map(sql, query.names))}])"
        wanted = f"{asked} AND ({where})" if where else asked
        found: pa.Table = self._store.ask(
            "chunks",
            lambda t: t.search().select(["chunk_id"]).limit(SYMBOL_DEPTH).where(wanted).to_arrow(),
        )
        return dict.fromkeys(sorted(found["chunk_id"].to_pylist()), DEFINES)

    def _nearest(self, name: str, vector: Floats | None, limit: Limit) -> dict[str, float]:
        if vector is None:
            return {}
        held = self._held.vectors(name)
        if isinstance(held, Matrix) and limit.in_memory:
            return held.nearest(vector, DEPTH, limit.allowed)
        rows, where = self._store.count(name), limit.where

        def question(table: Any) -> Any:
            query = (
                table.search(vector, vector_column_name="vector")
                .distance_type("cosine")  # else the metric changes when the index appears
                .limit(DEPTH)
            )
            if where:
                query = query.where(where)
                if table.count_rows(where) < SELECTIVE * rows:
                    return query.bypass_vector_index()
            partitions = rows // ROWS_PER_PARTITION
            return query.nprobes(max(20, partitions // 2)).refine_factor(REFINE)

        by = held if isinstance(held, Rows) else None
        distances = self._scores(name, question, "_distance", by)
        return _best_first({key: 1 - distance for key, distance in distances.items()})

    def _scores(
        self, name: str, question: Callable[[Any], Any], column: str, rows: Rows | None
    ) -> dict[str, float]:
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

    def _complete(self, found: Found, lanes: dict[LaneName, dict[str, float]], look: int) -> None:
        """Learn what the candidates are, and make scores evidence.

        A chunk that only words found has a similarity too, just none among the nearest: it is
        taken to be a little below the last of those, since reading the vectors of hundreds of
        chunks costs as much as a lane (NDCG@10 of six repositories as one: .7993, exact .7990).
        A hit whose chunk is gone drops out here.
        """
        found.order = {lane: list(scores) for lane, scores in lanes.items()}
        wanted = sorted({key for scores in lanes.values() for key in scores})
        held = self._held.chunks()
        known = held.candidates if held is not None else {}
        found.candidates = {key: one for key in wanted if (one := known.get(key)) is not None}
        if missing := [key for key in wanted if key not in known]:
            rows = self._store.read_keys("chunks", COLUMNS, "chunk_id", missing)
            found.candidates |= candidates(rows)
        said = {lane: _normalised(scores) for lane, scores in lanes.items()}
        for lane in ("vectors", "summary_vectors"):
            if scores := said.get(lane):
                below = BELOW * min(scores.values())
                said[lane] = dict.fromkeys(found.candidates, below) | scores
        found.evidence = Evidence(
            said,
            self._central.of({one.file for one in found.candidates.values()}, look),
        )


class Centrality:
    """How central files are, kept in memory: one number a file, read when the table has moved."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: tuple[State, dict[File, float]] | None = None
        self._looked: tuple[int, dict[File, float]] = (-1, {})

    def of(self, files: Collection[File], look: int) -> dict[File, float]:
        """The logarithm of each file's mentions against the most mentioned of these, 0..1; once a
        look is enough to find out whether the table has moved."""
        looked = self._looked
        if looked[0] != look:
            self._looked = looked = (look, self._now())
        logs = {file: looked[1].get(file, 0.0) for file in files}
        most = max(logs.values(), default=0.0)
        return {file: value / most for file, value in logs.items()} if most else {}

    def _now(self) -> dict[File, float]:
        if "centrality" not in self._store.names():
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


def _best_first(scores: Mapping[str, float]) -> dict[str, float]:
    """Equally good ones by id."""
    return dict(sorted(scores.items(), key=lambda one: (-one[1], one[0])))


def _normalised(scores: Mapping[str, float]) -> dict[str, float]:
    """Divided by the query's best; nothing below 0."""
    best = max(scores.values(), default=0.0)
    return {chunk: max(score, 0.0) / best for chunk, score in scores.items()} if best > 0 else {}


def chunk_at(store: Store, place: str, repo: str = "", prefer: Sequence[str] = ()) -> str:
    """The id of the chunk at PATH:LINE; the last folders of a path are enough. Where several
    repositories have it, one of `prefer` is meant.

    Raises BadQuery when none is there, or when several repositories or files have such a path.
    """
    path, _, line = place.rpartition(":")
    if not path or not line.isdecimal():
        raise BadQuery(f"{place!r} is not PATH:LINE")
    fits = f"(path = {sql(path)} OR ends_with(path, {sql('/' + path)}))"
    where = f"{fits} AND start_line <= {int(line)} AND end_line >= {int(line)}"
    if repo:
        where += f" AND {of_repo(repo)}"
    rows = store.read("chunks", ["chunk_id", "repo", "path"], where).to_pylist()
    exact = [row for row in rows if row["path"] == path] or rows
    if not exact:
        raise BadQuery(f"no chunk of an indexed file is at {place}")
    if len({row["repo"] for row in exact}) > 1:
        exact = [row for row in exact if row["repo"] in prefer] or exact
    files = sorted({f"{row['repo']} {row['path']}" for row in exact})
    if len(files) > 1:
        raise BadQuery(f"{place} may be in: {', '.join(files[:MOST_FILES])}; name one with --repo")
    return str(exact[0]["chunk_id"])
