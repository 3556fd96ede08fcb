"""The lanes: each asks one table in one way and says which chunks it found, with scores."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codesearch.ranking import Candidate, Evidence, LaneName, Query
from codesearch_resources.embedders.base import Embedder, EmbeddingError
from codesearch_resources.store import Store, among, sql
from codesearch_resources.text import tokens

DEPTH = 200  # chunks a lane contributes
SYMBOL_DEPTH = 50
MOST_TOKENS = 256  # of a query; a pasted file is cut, and a notice says so
REFINE = 10  # one bit a dimension in the index, so look at ten times as many real vectors
ROWS_PER_PARTITION = 8_192  # LanceDB's default for IVF
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
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="lane")

    def close(self) -> None:
        self._pool.shutdown()

    def find(self, query: Query, where: str) -> Found:
        """Ask every lane for `query` under the SQL filter `where` (empty: everything)."""
        found = Found()
        asked = list(dict.fromkeys(tokens(query.text)))
        if len(asked) > MOST_TOKENS:
            found.notices.append(f"the question is long: its first {MOST_TOKENS} words were used")
        text = " ".join(asked[:MOST_TOKENS])
        chunks = self._pool.submit(self._text, "chunks", text, where, COLUMNS)
        summaries = self._pool.submit(self._text, "summaries", text, where, ("chunk_id",))
        symbols = self._pool.submit(self._symbols, query, where)
        vector = self._vector(query, found)
        by_code = self._pool.submit(self._nearest, self._store.code_vectors, vector, where)
        by_summary = self._pool.submit(self._nearest, self._store.summary_vectors, vector, where)
        rows = pa.concat_tables(
            [chunks.result().select(COLUMNS), symbols.result()], promote_options="permissive"
        )
        self._collect(found, rows)
        lanes: dict[LaneName, dict[str, float]] = {
            "bm25": _scores(chunks.result(), "_score"),
            "summary_bm25": _scores(summaries.result(), "_score"),
            "vectors": _similarities(by_code.result()),
            "summary_vectors": _similarities(by_summary.result()),
            "symbol": dict.fromkeys(symbols.result()["chunk_id"].to_pylist(), 1.0),
        }
        found.order = {lane: sorted(s, key=lambda c: (-s[c], c)) for lane, s in lanes.items()}
        self._complete(found, lanes, vector)
        found.evidence = Evidence({lane: _normalised(scores) for lane, scores in lanes.items()})
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
        names = ", ".join(map(sql, query.names))
        asked = f"array_has_any(names, [{names}])" if names else "false"
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
        for row in rows.to_pylist():
            row["marks"], row["names"] = tuple(row["marks"] or ()), tuple(row["names"] or ())
            found.candidates[row["chunk_id"]] = Candidate(**row)

    def _complete(
        self,
        found: Found,
        lanes: Mapping[LaneName, dict[str, float]],
        vector: NDArray[np.float32] | None,
    ) -> None:
        """Read the candidates that only other lanes found, and everyone's exact similarity.

        A chunk that BM25 found has a similarity too, just not among the nearest; without it the
        product of the two would be nothing. A hit whose chunk is gone drops out here.
        """
        ids = {chunk_id for scores in lanes.values() for chunk_id in scores}
        missing = sorted(ids - found.candidates.keys())
        if missing:
            self._collect(found, self._by_id("chunks", COLUMNS, missing))
        if vector is None:
            return
        for lane, table in (
            ("vectors", self._store.code_vectors),
            ("summary_vectors", self._store.summary_vectors),
        ):
            scores = lanes[lane]  # type: ignore[index]
            unknown = sorted(found.candidates.keys() - scores.keys())
            if unknown:
                rows = self._by_id(table, ("chunk_id", "vector"), unknown)
                scores |= _exact(rows, vector)

    def _by_id(self, name: str, columns: Sequence[str], ids: Sequence[str]) -> pa.Table:
        return self._store.read(name, columns, among("chunk_id", ids))


def _scores(rows: pa.Table, column: str) -> dict[str, float]:
    return dict(zip(rows["chunk_id"].to_pylist(), rows[column].to_pylist(), strict=True))


def _similarities(rows: pa.Table) -> dict[str, float]:
    return {chunk_id: 1 - distance for chunk_id, distance in _scores(rows, "_distance").items()}


def _exact(rows: pa.Table, vector: NDArray[np.float32]) -> dict[str, float]:
    rows = rows.filter(rows["vector"].is_valid())  # a text that was refused has no vector
    if not rows.num_rows:
        return {}
    flat: Any = rows["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    cosines = flat.reshape(rows.num_rows, -1).astype(np.float32) @ vector
    return dict(zip(rows["chunk_id"].to_pylist(), cosines.tolist(), strict=True))


def _normalised(scores: Mapping[str, float]) -> dict[str, float]:
    """Divided by the query's best; nothing below 0."""
    best = max(scores.values(), default=0.0)
    return {chunk: max(score, 0.0) / best for chunk, score in scores.items()} if best > 0 else {}
