"""C and C++."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from codesearch_assets.chunking.grammar import (
    LAST,
    Definition,
    Grammar,
    Visibility,
    first_named,
    text_of,
)

if TYPE_CHECKING:
    from tree_sitter import Node

# What the preprocessor would take away before a parser sees it; blanked, so that no line moves.
# Patterns begin with a line end, which is found ten times as fast as ^; one is put before the text.
_ALONE = re.compile(r"\n[A-Z][A-Z0-9_]{3,}(?:\([^()\n]*\))?;?[ \t]*$", re.MULTILINE)
_OPEN_LINKAGE = re.compile(
    r"^#[ \t]*if(?:def|[ \t]+defined)?[ \t(]*__cplusplus\)?[^\n]*\n"
    r"\s*extern[ \t]+\"C\"\s*\{[^\n]*\n(?=\s*#[ \t]*endif)",
    re.MULTILINE,
)
_CLOSE_LINKAGE = re.compile(
    r"^#[ \t]*if(?:def|[ \t]+defined)?[ \t(]*__cplusplus\)?[^\n]*\n"
    r"\s*\}[^\n]*(?=\n\s*#[ \t]*endif)",
    re.MULTILINE,
)
_CLASS_MACRO = re.compile(
    r"(\n[ \t]*(?:(?:template[ \t]*<[^\n]*>|typedef)[ \t]*)?(?:class|struct|union)[ \t]+)"
    r"[A-Z][A-Z0-9_]*(?:\([^()\n]*\))?(?=[ \t]+[A-Za-z_][\w:]*)(?![ \t]+(?:final|override)\b)"
)
_FUNCTION_MACRO = re.compile(
    r"(\n[ \t]*)[A-Z][A-Z0-9]*_[A-Z0-9_]+[ \t]+(?=(?:auto|inline|constexpr|static|explicit|template"
    r"|virtual|void|int|bool|char|unsigned|const|operator|friend|struct|enum|class|size_t)\b)"
)
_CHARACTER = re.compile(r"[^\n]")
_ARGUMENTS = re.compile(r"<[^<>]*>")
_WORDS = re.compile(r"\w+")
_MACRO = re.compile(r"[A-Z][A-Z0-9_]+")


def _blank(found: re.Match[str]) -> str:
    return _CHARACTER.sub(" ", found.group())


def _prepare_c(text: str) -> str:
    if "__cplusplus" in text:
        text = _OPEN_LINKAGE.sub(_blank, text)
        text = _CLOSE_LINKAGE.sub(_blank, text)
    text = _ALONE.sub("\n", f"\n{text}")
    return _FUNCTION_MACRO.sub(r"\1", text)[1:]


def _prepare_cpp(text: str) -> str:
    return _CLASS_MACRO.sub(r"\1", f"\n{_prepare_c(text)}")[1:]


_NAMES = frozenset(
    """identifier field_identifier type_identifier qualified_identifier destructor_name
    operator_name operator_cast template_function template_method""".split()
)


def _declared(node: Node | None) -> tuple[Node | None, bool]:
    """The name that a declarator declares, and whether as a function."""
    function = False
    for _ in range(20):
        if node is None or node.type in _NAMES:
            return node, function
        if node.type == "function_declarator":
            inner = node.child_by_field_name("declarator")
            function = inner is not None and inner.type != "parenthesized_declarator"
        node = node.child_by_field_name("declarator") or first_named(node)
    return None, function


def _plain(node: Node) -> str:
    """``Box::total`` for ``Box<T>::total``."""
    text = " ".join(text_of(node).split())
    if node.type == "operator_cast":
        return text.partition("(")[0]
    if "operator" in text:
        return text.replace("operator ", "operator", 1) if node.type == "operator_name" else text
    for _ in range(8 if "<" in text else 0):
        text, count = _ARGUMENTS.subn("", text)
        if not count:
            break
    return text.replace(" ", "")


def _typed(node: Node) -> list[Definition]:
    """The struct, union or enum that a declaration or typedef defines on the way."""
    kind = node.child_by_field_name("type")
    if kind is None or kind.type not in _TYPES or kind.child_by_field_name("body") is None:
        return []
    return _read_type(kind, node)


_TYPES = {
    "struct_specifier": "class",
    "class_specifier": "class",
    "union_specifier": "class",
    "enum_specifier": "type",
}


def _read_type(node: Node, where: Node, name: str = "") -> list[Definition]:
    body = node.child_by_field_name("body")
    named = node.child_by_field_name("name")
    name = name or (_plain(named) if named is not None else "")
    if body is None or not name:
        return []
    kind = _TYPES[node.type]
    return [Definition(name, kind, where, body, kind == "class")]


def _read_typedef(node: Node) -> list[Definition]:
    kind = node.child_by_field_name("type")
    names = [_declared(one)[0] for one in node.children_by_field_name("declarator")]
    name = next((_plain(one) for one in names if one is not None), "")
    if kind is not None and kind.type in _TYPES:
        found = _read_type(kind, node, name)
        if found:
            return found
    return [Definition(name, "type", node)] if name else []


def _read_declaration(node: Node, in_container: bool) -> list[Definition]:
    """Types, and values that are given where they are declared; not what is only announced."""
    found = _typed(node)
    if found or in_container:
        return found
    for one in node.children_by_field_name("declarator"):
        name, _ = _declared(one)
        if one.type == "init_declarator" and name is not None:
            found.append(Definition(_plain(name), "constant", node))
    return found


def _read(node: Node, in_container: bool) -> list[Definition] | None:
    kind = node.type
    if kind in _TYPES:
        return _read_type(node, node)
    if kind == "function_definition":
        name, function = _declared(node.child_by_field_name("declarator"))
        if name is None:
            return _typed(node)
        return _read_function(node, name, function or name.type == "operator_cast", in_container)
    if kind == "preproc_def":
        if node.child_by_field_name("value") is None:
            return []
        return [Definition(text_of(node.child_by_field_name("name")), "constant", node)]
    if kind == "type_definition":
        return _read_typedef(node)
    if kind == "namespace_definition":
        named = node.child_by_field_name("name")
        body = node.child_by_field_name("body")
        return [Definition(text_of(named), "module", node, body, True)]
    return _read_declaration(node, in_container)


def _read_function(node: Node, name: Node, function: bool, in_container: bool) -> list[Definition]:
    body = node.child_by_field_name("body")
    kind = node.child_by_field_name("type")
    called = _plain(name)
    if not function and kind is not None and kind.type in _TYPES:
        return [Definition(called, "class", node, body, True)]  # class MACRO Name {...}
    if not function and not (kind is not None and _MACRO.fullmatch(text_of(kind))):
        return []  # else TEST_IMPL(name) {...}
    if kind is None and _MACRO.fullmatch(called):  # TEST(suite, name) {...}
        called = ".".join(_WORDS.findall(text_of(node.child_by_field_name("declarator")))[1:])
    method = in_container or name.type == "qualified_identifier"
    return [Definition(called, "method" if method else "function", node, body)]


_READS = frozenset(
    """function_definition declaration field_declaration type_definition preproc_def
    struct_specifier union_specifier enum_specifier""".split()
)
_PREPROCESSOR = frozenset(
    "preproc_if preproc_ifdef preproc_else preproc_elif preproc_elifdef linkage_specification "
    "declaration_list".split()
)

C = Grammar(
    loader="tree_sitter_c:language",
    definitions={"preproc_function_def": "function"},
    transparent=_PREPROCESSOR,
    guards=_PREPROCESSOR,
    imports=frozenset({"preproc_include"}),
    overloads=True,
    visibility=Visibility(hidden=r"^static\b"),
    prepare=_prepare_c,
    reads=_READS,
    reader=_read,
)

CPP = Grammar(
    loader="tree_sitter_cpp:language",
    definitions={
        "preproc_function_def": "function",
        "alias_declaration": "type",
        "concept_definition": "type",
    },
    wrappers={"template_declaration": (LAST,)},
    transparent=_PREPROCESSOR,
    guards=_PREPROCESSOR,
    imports=frozenset({"preproc_include", "using_declaration"}),
    separator="::",
    overloads=True,
    visibility=Visibility(hidden=r"^static\b"),
    prepare=_prepare_cpp,
    reads=_READS | {"class_specifier", "namespace_definition"},
    reader=_read,
)
