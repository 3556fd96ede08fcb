"""Markdown, HTML and CSS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codesearch_assets.chunking.grammar import Definition, Grammar, first_of, text_of

if TYPE_CHECKING:
    from tree_sitter import Node

_HEADINGS = frozenset({"atx_heading", "setext_heading"})


def _heading(node: Node) -> str:
    content = node.child_by_field_name("heading_content")
    return " ".join(text_of(content).split())


def _read_markdown(node: Node, in_container: bool) -> list[Definition] | None:
    """A heading with all that stands under it, smaller headings included."""
    if node.type == "setext_heading":
        return [Definition(_heading(node), "section", node)]
    heading = first_of(node, _HEADINGS)
    if heading is None:
        return []
    return [Definition(_heading(heading), "section", node, node, True)]


MARKDOWN = Grammar(
    loader="tree_sitter_markdown:language",
    definitions={},
    comments=frozenset(),
    separator="",
    reads=frozenset({"section", "setext_heading"}),
    reader=_read_markdown,
)

HTML = Grammar(
    loader="tree_sitter_html:language",
    definitions={},
    guards=frozenset({"element"}),
)


def _read_css(node: Node, in_container: bool) -> list[Definition] | None:
    body = first_of(node, frozenset({"block", "keyframe_block_list"}))
    text = node.text or b""
    end = body.start_byte - node.start_byte if body is not None else len(text)
    name = " ".join(text[:end].decode("utf-8", "replace").split())
    container = node.type != "rule_set"
    return [Definition(name[:200], "section", node, body, container)]


CSS = Grammar(
    loader="tree_sitter_css:language",
    definitions={},
    imports=frozenset({"import_statement", "charset_statement"}),
    separator="",
    reads=frozenset(
        {"rule_set", "media_statement", "keyframes_statement", "supports_statement", "at_rule"}
    ),
    reader=_read_css,
)
