"""The Arrow schema of every LanceDB table, and what each table is keyed and indexed by.

Filter columns (repo, path, language, kind) repeat in every searched table, so that a filter is a
prefilter in each lane. `digest` is a hash of the row's other columns: replacing a partition reads
ids and digests only, and writes the rows whose digest moved. In `files` it stands for what was
cut and for the chunks that came of it.
"""

from dataclasses import dataclass

import pyarrow as pa

SYMBOL = pa.struct(
    [
        pa.field("name", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("start_line", pa.int32()),
        pa.field("end_line", pa.int32()),
        pa.field("exported", pa.bool_()),
    ]
)


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A table: its schema, its key column and the columns that get an index when it is made."""

    schema: pa.Schema
    key: str
    btree: tuple[str, ...] = ()
    bitmap: tuple[str, ...] = ()
    label_list: tuple[str, ...] = ()
    full_text: tuple[str, ...] = ()
    vector: str = ""


def _required(name: str, kind: pa.DataType | None = None) -> pa.Field:
    return pa.field(name, kind or pa.string(), nullable=False)


def _text(*names: str) -> list[pa.Field]:
    return [pa.field(name, pa.string()) for name in names]


def _integers(*names: str) -> list[pa.Field]:
    return [pa.field(name, pa.int32()) for name in names]


_WHEN = pa.timestamp("us", tz="UTC")
_DIGEST = _required("digest", pa.int64())
_FILTERS = [_required("repo"), _required("path"), *_text("language", "kind")]

REPOSITORIES = TableSpec(
    pa.schema(
        [
            _required("repo"),
            *_text("repo_snapshots_commit", "repo_snapshots_fingerprint"),
            *_text("chunks_commit", "chunks_fingerprint"),
            *_text("code_embeddings_commit", "code_embeddings_fingerprint"),
            pa.field("committed_at", _WHEN),
            *_text("subject"),
            pa.field("indexed_at", _WHEN),
        ]
    ),
    key="repo",
)

REPO_SNAPSHOTS = TableSpec(
    pa.schema(
        [
            _required("file_id"),
            _required("repo"),
            _required("path"),
            *_text("blob_id"),
            pa.field("size", pa.int64()),
            *_text("language"),
            pa.field("marks", pa.list_(pa.string())),
            *_text("skip_reason"),
            _DIGEST,
        ]
    ),
    key="file_id",
    bitmap=("repo",),
)

FILES = TableSpec(
    pa.schema(
        [
            _required("file_id"),
            _required("repo"),
            _required("path"),
            *_text("blob_id", "language"),
            *_integers("chunker_version"),
            *_text("outcome", "reason"),
            *_integers("chunks"),
            *_text("fts_text"),
            _DIGEST,
        ]
    ),
    key="file_id",
    bitmap=("repo",),
)

CENTRALITY = TableSpec(
    pa.schema(
        [
            _required("file_id"),
            _required("repo"),
            _required("path"),
            *_integers("mentions"),  # other files that mention a name only this one defines
            _DIGEST,
        ]
    ),
    key="file_id",
    bitmap=("repo",),
)

CHUNKS = TableSpec(
    pa.schema(
        [
            _required("chunk_id"),
            *_FILTERS,
            pa.field("marks", pa.list_(pa.string())),
            *_text("symbol"),
            pa.field("symbols", pa.list_(SYMBOL)),
            pa.field("names", pa.list_(pa.string())),  # lower-case look-up keys of the symbols
            *_integers("start_line", "end_line", "start_byte", "end_byte"),
            *_text("header", "doc", "text", "fts_text"),
            _required("content_hash"),
            _DIGEST,
        ]
    ),
    key="chunk_id",
    btree=("chunk_id", "path"),
    bitmap=("repo", "language"),
    label_list=("names",),
    full_text=("fts_text",),
)

SUMMARIES = TableSpec(
    pa.schema(
        [
            _required("chunk_id"),
            *_FILTERS,
            *_text("summary_key", "summary", "fts_text", "grade", "provider", "model"),
            *_text("prompt_version"),
            pa.field("created_at", _WHEN),
            _DIGEST,
        ]
    ),
    key="chunk_id",
    btree=("chunk_id", "path"),
    bitmap=("repo", "language"),
    full_text=("fts_text",),
)


def embeddings(dimensions: int) -> TableSpec:
    """Unit vectors of `dimensions` float16 numbers, one row a chunk."""
    return TableSpec(
        pa.schema(
            [
                _required("chunk_id"),
                *_FILTERS,
                *_text("text_hash"),
                pa.field("vector", pa.list_(pa.float16(), dimensions)),
                _DIGEST,
            ]
        ),
        key="chunk_id",
        btree=("chunk_id", "path"),
        bitmap=("repo", "language"),
        vector="vector",
    )


def embedding_table(of: str, embedder_id: str, dimensions: int) -> str:
    """The name of a vector table: `of` is `code` or `summary`."""
    return f"{of}_embeddings__{embedder_id}_{dimensions}"


def table_specs(embedder_id: str, dimensions: int) -> dict[str, TableSpec]:
    """Every table of an index whose vectors come from the given embedder, by name."""
    vectors = embeddings(dimensions)
    return {
        "repositories": REPOSITORIES,
        "repo_snapshots": REPO_SNAPSHOTS,
        "files": FILES,
        "centrality": CENTRALITY,
        "chunks": CHUNKS,
        "summaries": SUMMARIES,
        embedding_table("code", embedder_id, dimensions): vectors,
        embedding_table("summary", embedder_id, dimensions): vectors,
    }
