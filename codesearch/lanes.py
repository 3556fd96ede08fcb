"""The lanes: each asks one table in one way and says which chunks it found, with scores."""

import math
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codesearch.errors import BadQuery
from codesearch.query import MOST_TERMS, Query
from codesearch.ranking import Candidate, Evidence, File, LaneName
from codesearch_resources.embedders.base import Embedder, EmbeddingError
from codesearch_resources.store import Store, of_repo, sql

DEPTH = 200  # chunks a lane contributes
SYMBOL_DEPTH = 50
MOST_FILES = 5  # that a message names
REFINE = 10  # one bit a dimension in the index, so look at ten times as many real vectors
ROWS_PER_PARTITION = 8_192  # LanceDB's default for IVF
BELOW = 0.7  # of the last found similarity: what a chunk that only words found is taken to have
SELECTIVE = 0.05  # below this share of the rows an exact scan is as fast, and exact

COLUMNS = (
    "chunk_id", "repo", "path", "language", "kind", "marks", "symbol", "names",
    "start_line", "end_line",
)  # fmt: skip

NEAR = pa.schema({"chunk_id": pa.string(), "_distance": pa.float32()})


@dataclass
class Found:
    """What the lanes found: candidates by id, evidence, each lane's order, and notices."""

    candidates: dict[str, Candidate] = field(default_factory=dict)
    evidence: Evidence = field(default_factory=lambda: Evidence({}))
    order: dict[LaneName, list[str]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


class Lanes:
    """All lanes over one store."""

    def __init__(self, store: Store, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder
        self._central = Centrality(store)
        self.pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="lane")

    def close(self) -> None:
        self.pool.shutdown()

    def find(self, query: Query, where: str) -> Found:
        """Ask every lane for `query` under the SQL filter `where` (empty: everything)."""
        found = Found()
        if query.cut:
            found.notices.append(f"the question is long: its first {MOST_TERMS} words were used")
        text = " ".join(query.terms)
        chunks = self.pool.submit(self._text, "chunks", text, where, COLUMNS)
        summaries = self.pool.submit(self._text, "summaries", text, where, ("chunk_id",))
        symbols = self.pool.submit(self._symbols, query, where)
        vector = self._vector(query, found)
        by_code = self.pool.submit(self._nearest, self._store.code_vectors, vector, where)
        by_summary = self.pool.submit(self._nearest, self._store.summary_vectors, vector, where)
        self._collect(found, chunks.result())
        self._collect(found, symbols.result())
        lanes: dict[LaneName, dict[str, float]] = {
            "bm25": _scores(chunks.result(), "_score"),
            "vectors": _similarities(by_code.result()),
            "summary_bm25": _scores(summaries.result(), "_score"),
            "summary_vectors": _similarities(by_summary.result()),
            "symbol": dict.fromkeys(symbols.result()["chunk_id"].to_pylist(), 1.0),
        }
        self._complete(found, lanes)
        return found

    def near(self, chunk_id: str, where: str) -> Found:
        """The chunks whose code lies nearest to a stored chunk's, that chunk left out.

        Nothing is found where the chunk has no vector yet.
        """
        found = Found()
        vectors = self._store.code_vectors
        stored = self._store.read_keys(vectors, ["chunk_id", "vector"], "chunk_id", [chunk_id])
        stored = stored.filter(stored["vector"].is_valid())  # a text that was refused has none
        if stored.num_rows:
            vector = stored["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            rows = self._nearest(vectors, vector.astype(np.float32), where)
            near = {key: score for key, score in _similarities(rows).items() if key != chunk_id}
            self._complete(found, {"vectors": near})
        else:
            found.notices.append("this chunk has no vector yet: run `codesearch index`")
        return found

    def _vector(self, query: Query, found: Found) -> NDArray[np.float32] | None:
        """The question's vector; without one the lanes of words go on alone."""
        missing = {self._store.code_vectors, self._store.summary_vectors} - set(self._store.names())
        if missing:
            found.notices.append("no vectors of this embedder yet: run `codesearch index`")
            return None
        try:
            vector: NDArray[np.float32] = self._embedder.embed([query.text], "query")[0]
        except EmbeddingError as error:
            found.notices.append(f"asked without vectors: {error}")
            return None
        return vector

    def _text(self, name: str, text: str, where: str, columns: Sequence[str]) -> pa.Table:
        from lancedb.query import MatchQuery

        match: Any = MatchQuery  # a pydantic dataclass, whose defaults mypy does not see

        def question(table: Any) -> pa.Table:
            query = table.search(match(text, "fts_text"), query_type="fts")
            query = query.select([*columns, "_score"]).limit(DEPTH)
            return (query.where(where) if where else query).to_arrow()

        return self._store.ask(name, question)

    def _symbols(self, query: Query, where: str) -> pa.Table:
        if not query.names:
            return self._store.specs["chunks"].schema.empty_table()
        asked = f"array_has_any(names, [{', '.join(map(sql, query.names))}])"
        wanted = f"{asked} AND ({where})" if where else asked
        return self._store.ask(
            "chunks",
            lambda t: t.search().select(list(COLUMNS)).limit(SYMBOL_DEPTH).where(wanted).to_arrow(),
        )

    def _nearest(self, name: str, vector: NDArray[np.float32] | None, where: str) -> pa.Table:
        if vector is None:
            return NEAR.empty_table()  # made here: it imports pandas
        rows = self._store.count(name)

        def question(table: Any) -> pa.Table:
            query = (
                table.search(vector, vector_column_name="vector")
                .distance_type("cosine")  # else the metric changes when the index appears
                .select(["chunk_id", "_distance"])
                .limit(DEPTH)
            )
            if where:
                query = query.where(where)
                if table.count_rows(where) < SELECTIVE * rows:
                    return query.bypass_vector_index().to_arrow()
            partitions = rows // ROWS_PER_PARTITION
            return query.nprobes(max(20, partitions // 2)).refine_factor(REFINE).to_arrow()

        return self._store.ask(name, question)

    def _collect(self, found: Found, rows: pa.Table) -> None:
        rows = rows.select(COLUMNS)
        columns = [column.to_pylist() for column in rows.columns]
        for chunk_id, repo, path, language, kind, marks, symbol, names, start, end in zip(
            *columns, strict=True
        ):
            found.candidates[chunk_id] = Candidate(
                chunk_id, repo, path, language, kind, tuple(marks or ()), symbol,
                tuple(names or ()), start, end,
            )  # fmt: skip

    def _complete(self, found: Found, lanes: dict[LaneName, dict[str, float]]) -> None:
        """Read the candidates that only vectors or summaries found, and make scores evidence.

        A chunk that only words found has a similarity too, just none among the nearest: it is
        taken to be a little below the last of those, since reading the vectors of hundreds of
        chunks costs as much as a lane (NDCG@10 of six repositories as one: .7993, exact .7990).
        A hit whose chunk is gone drops out here.
        """
        found.order = {lane: sorted(s, key=lambda c: (-s[c], c)) for lane, s in lanes.items()}
        missing = sorted({key for s in lanes.values() for key in s} - found.candidates.keys())
        if missing:
            self._collect(found, self._store.read_keys("chunks", COLUMNS, "chunk_id", missing))
        for lane in ("vectors", "summary_vectors"):
            if scores := lanes.get(lane):
                below = BELOW * min(scores.values())
                unknown = found.candidates.keys() - scores.keys()
                lanes[lane] = scores | dict.fromkeys(unknown, below)
        found.evidence = Evidence(
            {lane: _normalised(scores) for lane, scores in lanes.items()},
            self._central.of({one.file for one in found.candidates.values()}),
        )


class Centrality:
    """How central files are, kept in memory: one number a file, read when the table has moved."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._version = -1
        self._mentions: dict[File, int] = {}

    def of(self, files: Collection[File]) -> dict[File, float]:
        """The logarithm of each file's mentions against the most mentioned of these, 0..1."""
        if "centrality" not in self._store.names():
            return {}
        version = self._store.ask("centrality", lambda table: int(table.version))
        if version != self._version:
            rows = self._store.read("centrality", ["repo", "path", "mentions"], "mentions > 0")
            keys = zip(rows["repo"].to_pylist(), rows["path"].to_pylist(), strict=True)
            self._mentions = dict(zip(keys, rows["mentions"].to_pylist(), strict=True))
            self._version = version
        logs = {file: math.log1p(self._mentions.get(file, 0)) for file in files}
        most = max(logs.values(), default=0.0)
        return {file: value / most for file, value in logs.items()} if most else {}


def _scores(rows: pa.Table, column: str) -> dict[str, float]:
    return dict(zip(rows["chunk_id"].to_pylist(), rows[column].to_pylist(), strict=True))


def _similarities(rows: pa.Table) -> dict[str, float]:
    return {chunk_id: 1 - distance for chunk_id, distance in _scores(rows, "_distance").items()}


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
