"""Whether the tables' files are all there: told before a run works on them, not in its middle."""

from functools import partial
from typing import Any

from codesearch_resources.schemas import TableSpec
from codesearch_resources.store import ALL_ROWS, Store


def check_tables(store: Store) -> None:
    """Touch every data file and every index that a search cannot do without.

    Reads one narrow column of each table. Raises DamagedTable for the first that lacks a file.
    """
    made = set(store.names())
    for name, spec in store.specs.items():
        if name in made:
            store.ask(name, partial(_touch, spec))


def _touch(spec: TableSpec, table: Any) -> None:
    from lancedb.query import MatchQuery

    narrow = "digest" if "digest" in spec.schema.names else spec.key
    table.search().select([narrow]).limit(ALL_ROWS).to_arrow()
    match: Any = MatchQuery  # a pydantic dataclass, whose defaults mypy does not see
    for column in spec.full_text:
        query = table.search(match("a", column), query_type="fts")
        query.select([spec.key, "_score"]).limit(1).to_arrow()
    if spec.vector and any(list(index.columns) == [spec.vector] for index in table.list_indices()):
        width = spec.schema.field(spec.vector).type.list_size
        query = table.search([1.0] * width, vector_column_name=spec.vector)
        query.distance_type("cosine").select([spec.key, "_distance"]).limit(1).to_arrow()
