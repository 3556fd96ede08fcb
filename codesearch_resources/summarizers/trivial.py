"""Bodies that need no model: what they do is said by their names.

Getters, setters, empty and unimplemented bodies, lists of imports and re-exports. Narrow on
purpose: whatever calculates, decides or calls is worth a summary.
"""

import re

from codesearch_resources.summarizers.base import Piece

MOST_LINES = 8  # of a function, signature and decorators included
MOST_CHARACTERS = 6_000  # of a list of imports

_NOISE = re.compile(
    r'"""[\s\S]*?"""|\'\'\'[\s\S]*?\'\'\'|/\*[\s\S]*?\*/|^\s*(?://|#(?!include|\[)|--).*$',
    re.MULTILINE,
)
_NAME = r"[&*!]*[\w$@]+(?:(?:\.|->|::|\?\.)[\w$@]+)*"
_LITERAL = r"-?\d[\w.]*|\"[^\"\n]*\"|'[^'\n]*'|\[\]|\{\}|\(\)"
_BODY = re.compile(
    rf"(?:return\s+)?(?:{_NAME}|{_LITERAL})(?:\.clone\(\)|\.as_str\(\)|\.as_ref\(\))?\s*;?"
    rf"|(?:(?:self|this|@)\s*(?:\.|->)?\s*)[\w$]+\s*=\s*[\w$]+\s*;?(?:\s*return\s+(?:this|self)\s*;?)?"
    r"|pass|\.\.\.|return\s*;?"
    r"|raise NotImplementedError(?:\([^()]*\))?|(?:todo|unimplemented)!\([^()]*\)\s*;?"
    r"|throw new (?:NotImplemented|NotSupported|UnsupportedOperation)\w*\([^()]*\)\s*;?"
)
_PYTHON = re.compile(
    r"\bdef\s+\w+\s*(?:\[[^\]]*\])?\((?:[^()]|\([^()]*\))*\)\s*(?:->[^:]+)?:(.*)\Z", re.S
)
_BRACES = re.compile(r"\A[^{}]*\{([^{}]*)\}\s*;?\s*\Z")
_RUBY = re.compile(r"\A\s*def\s+[\w.?!=]+(?:\([^()]*\))?\s*\n(.*)\n\s*end\s*\Z", re.S)
_IMPORT = re.compile(
    r"\bfrom\s+[\w.]+\s+import\s*(?:\([^()]*\)|[^\n;]*)"
    r"|\b(?:import|export)\s+(?:type\s+)?[\w$*\s{},]*?\bfrom\s*['\"][^'\"\n]*['\"]"
    r"|\bimport\s*\([^()]*\)|\bimport\s+[^\n;]*|\bpackage\s+[\w.]+"
    r"|#\s*include\s*[<\"][^\n]*|\b(?:pub(?:\([^()]*\))?\s+)?(?:use|mod)\s+[^;]*;"
    r"|\busing\s+[^;\n]*;|\brequire(?:_relative)?\s*\(?\s*['\"][^'\"\n]*['\"]\s*\)?"
    r"|\b__all__\s*=\s*(?:\[[^\]]*\]|\([^()]*\))|\bmod(?:ule)?\.exports\s*=\s*[\w$.]+"
    r"|['\"]use (?:strict|client|server)['\"]"
)
_LEFT_OVER = re.compile(r"[^\s;]")


def is_trivial(piece: Piece) -> bool:
    """Whether the name of a piece says all of it."""
    if piece.kind in ("function", "method"):
        return _trivial_body(piece)
    if piece.kind != "module" or len(piece.text) > MOST_CHARACTERS:
        return False
    code = _NOISE.sub("", piece.text)
    return bool(code.strip()) and not _LEFT_OVER.search(_IMPORT.sub("", code))


def _trivial_body(piece: Piece) -> bool:
    code = _NOISE.sub("", piece.text)
    lines = [line for line in code.splitlines() if line.strip()]
    if not lines or len(lines) > MOST_LINES:
        return False
    form = {"python": _PYTHON, "ruby": _RUBY}.get(piece.language, _BRACES)
    found = form.search("\n".join(lines))
    if found is None:
        return False
    body = " ".join(found[1].split())
    # A docstring is all there is, or nothing at all.
    return not body or _BODY.fullmatch(body) is not None
