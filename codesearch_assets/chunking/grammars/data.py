"""YAML, TOML and JSON: their top-level keys are the sections of a file."""

from __future__ import annotations

from codesearch_assets.chunking.grammar import Grammar

YAML = Grammar(
    loader="tree_sitter_yaml:language",
    definitions={"block_mapping_pair": "section"},
    inlined=frozenset({"document", "block_node", "block_mapping", "block_sequence"}),
    name_fields=("key",),
    body_fields=("value",),
)

TOML = Grammar(
    loader="tree_sitter_toml:language",
    definitions={"table": "section", "table_array_element": "section", "pair": "section"},
    name_fields=(),
    name_types=frozenset({"bare_key", "dotted_key", "quoted_key"}),
)

JSON = Grammar(
    loader="tree_sitter_json:language",
    definitions={"pair": "section"},
    inlined=frozenset({"object"}),
    name_fields=("key",),
    body_fields=("value",),
)
