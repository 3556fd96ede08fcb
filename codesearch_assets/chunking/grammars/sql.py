"""SQL."""

from __future__ import annotations

from codesearch_assets.chunking.grammar import LAST, Grammar

_KINDS = {
    "create_table": "class",
    "create_view": "class",
    "create_materialized_view": "class",
    "create_type": "type",
    "create_index": "type",
    "create_schema": "module",
    "create_sequence": "type",
    "create_function": "function",
    "create_procedure": "function",
    "create_trigger": "function",
    "create_policy": "type",
    "create_role": "type",
    "create_database": "module",
    "create_extension": "module",
}

SQL = Grammar(
    loader="tree_sitter_sql:language",
    definitions=_KINDS,
    wrappers={"statement": (LAST,)},
    transparent=frozenset({"block", "transaction"}),
    comments=frozenset({"comment", "marginalia"}),
    name_fields=("column",),
    name_types=frozenset({"object_reference", "identifier"}),
    body_fields=(),
    body_types=frozenset({"column_definitions", "create_query", "function_body"}),
)
