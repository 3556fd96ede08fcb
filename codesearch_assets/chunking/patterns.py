"""Definitions by regular expression, for languages without a grammar.

A row finds one shape of definition in one line; which rows a language uses stands in its row of
`languages.LANGUAGES`. Approximate by nature: names and first lines, no ends.
"""

import re
from dataclasses import dataclass
from functools import cache

_MODIFIER = (
    r"(?:(?:pub(?:\([^)]*\))?|public|private|protected|internal|fileprivate|open|static|final"
    r"|abstract|sealed|override|virtual|async|unsafe|extern(?:\s+\"[^\"]*\")?|export|default"
    r"|partial|inline|const|constexpr|data|case|companion|suspend|readonly|local|mutating|convenience"
    r"|required|operator|infix|tailrec|lazy|implicit|native|synchronized|new|declare|global|comptime"
    r"|unowned|weak|indirect|nonisolated|distributed|rethrows|value|annotation|inner|ref|record"
    r"|typedef|friend|template\s*<[^>]*>|@[\w.]+(?:\([^)]*\))?)\s+)*"
)
_NAME = r"(?P<name>(?>[\w$]+(?:[.:]{1,2}[\w$]+)*[!?]?))"
_TYPE = r"[\w$][\w$.:]*(?:<[^()=;]*>)?[\[\]?*&]*"
_NOT_CALL = r"(?!\s*(?:return|throw|new|else|if|for|while|switch|catch|do|case|goto|await|yield|using|lock|not|assert|delete|typeof|import|package)\b)"  # noqa: E501


SCOPE = ""  # the kind of what qualifies the definitions in it but defines nothing (`impl Foo`)
_KIND_OF_WORD = {
    "interface": "interface",
    "trait": "interface",
    "protocol": "interface",
    "defprotocol": "interface",
    "@protocol": "interface",
    "enum": "type",
    "union": "type",
    "type": "type",
    "typealias": "type",
    "newtype": "type",
    "input": "type",
    "scalar": "type",
    "namespace": "module",
    "mod": "module",
    "extension": SCOPE,
    "defimpl": SCOPE,
    "@implementation": SCOPE,
}
CONTAINERS = frozenset({"class", "interface", "type", SCOPE})  # these qualify names


@dataclass(frozen=True, slots=True)
class Pattern:
    """kind: of the symbol, unless the match has a `word` that says better.

    block: the match counts only if a "{" (or "=>", "->", ":") follows before the next ";".
    """

    kind: str
    regex: str
    block: bool = False


PATTERNS: dict[str, Pattern] = {
    "keyword": Pattern(
        "function",
        rf"\s*{_MODIFIER}(?:fn|fun|func|def|defp|defmacrop?|defguard|defdelegate|function[!*]?|sub"
        rf"|proc|method|macro|task|constructor|subroutine)\s+&?(?:<[^>]*>\s*)?(?:\([^)]*\)\s*)?"
        rf"(?:self\.)?(?P<name>[\w$]+(?:[.:]{{1,2}}[\w$]+)*[!?=]?|`[^`]+`)",
    ),
    "type": Pattern(
        "class",
        rf"\s*{_MODIFIER}(?P<word>class|struct|@?interface|trait|enum(?:\s+(?:class|struct))?"
        rf"|protocol|extension|object|record|union|module|defmodule|defprotocol|defimpl|namespace"
        rf"|mixin|actor|contract|type|typealias|newtype|@implementation|@protocol"
        rf"|mod|input|scalar|service|message|role)\s+"
        rf"(?:\w+\s+(?=[A-Z]\w*\s*[:{{]))?{_NAME}(?!\s*[(]\s*[)]?\s*;|\s*;\s*$|\s*[,)]"
        rf"|[ \t*&]*\s*\w+\s*[,;()=\[])",
    ),
    "impl": Pattern(
        SCOPE,
        r"(?:unsafe\s+)?impl\b(?:<.*?>(?=\s))?\s+(?:.*?\sfor\s+)?[&(]*(?P<name>\w+(?:::\w+)*)",
    ),
    "macro_rules": Pattern("function", r"\s*macro_rules!\s*(?P<name>\w+)"),
    "typedef": Pattern("type", r"(?:typedef\b.*\W|\}\s*)(?P<name>[A-Za-z_]\w*)\s*;\s*$"),
    "define": Pattern("constant", r"[ \t]*#[ \t]*define[ \t]+(?P<name>\w+)(?:\(|[ \t]+\S)"),
    "c_function": Pattern(
        "function",
        rf"{_NOT_CALL}(?=[A-Za-z_~])(?![A-Z_0-9]+\s*\(|template\b.*>$)(?:[\w$][\w$:<>,\s*&\[\]~]*?[\s*&]|)(?P<name>~?\w+(?:::~?\w+)*)"
        r"[ \t]*\((?!.*[;\\]\s*$)",
        block=True,
    ),
    "method": Pattern(
        "method",
        rf"\s+{_NOT_CALL}(?:{_MODIFIER}(?:<[^()]*>\s*)?{_TYPE}\s+|(?:public|private|protected"
        rf"|internal)\s+)(?P<name>(?!if\b|for\b|while\b|switch\b|catch\b|return\b)[\w$~]+)"
        r"(?:<[\w, ]*>)?\s*\((?!(?:(?!=>).)*;\s*$)",
        block=True,
    ),
    "swift_init": Pattern(
        "method", rf"\s*{_MODIFIER}(?P<name>init|deinit|subscript)\b[?!]?\s*[(<{{]"
    ),
    "objc": Pattern("method", r"[-+]\s*\([^)]*\)\s*(?P<name>\w+)"),
    "arrow": Pattern(
        "function",
        r"\s*(?:export\s+)?(?:const|let|var)\s+(?P<name>[\w$]+)\s*(?::[^=]+)?=\s*(?:async\s*)?"
        r"(?:function\b|\([^)]*\)\s*(?::[^=]+)?=>|[\w$]+\s*=>)",
    ),
    "let": Pattern("function", r"(?:let|and)\s+(?:rec\s+|inline\s+)*(?P<name>[\w']+)"),
    "perl": Pattern("module", r"package\s+(?P<name>[\w:]+)"),
    "lua": Pattern("function", r"(?:local\s+)?(?P<name>[\w.:]+)\s*=\s*function\b"),
    "r": Pattern("function", r"(?P<name>[\w.]+)\s*(?:<-|=)\s*function\s*\("),
    "shell": Pattern(
        "function",
        r"\s*(?:function\s+(?P<name>[\w:.+@-]+)|(?P<name2>[\w:.+@-]+)\s*\(\s*\)"
        r"|@test\s+[\"'](?P<name3>[^\"']+)[\"'])",
    ),
    "haskell": Pattern("function", r"(?P<name>[a-z_][\w']*)(?:\s*,\s*[\w']+)*\s*(?:::|:(?=\s))"),
    "haskell_type": Pattern(
        "type",
        r"(?:data|newtype|type(?:\s+(?:family|alias))?|class)\s+(?:instance\s+)?"
        r"(?:[^=:]*?=>\s*)?(?P<name>[A-Z][\w']*)",
    ),
    "exunit": Pattern("function", r"\s*(?:test|describe)\s+\"(?P<name>[^\"]+)\""),
    "erlang": Pattern("function", r"(?P<name>[a-z]\w*)\s*\([^;]*->"),
    "lisp": Pattern("function", r"\(def\S*\s+(?:\^\S+\s+)*\(?(?P<name>[^\s()]+)"),
    "zig": Pattern(
        "class",
        r"\s*(?:pub\s+)?const\s+(?P<name>\w+)\s*=\s*(?:extern\s+|packed\s+)?"
        r"(?:struct|enum|union)\b",
    ),
    "vhdl": Pattern(
        "class",
        r"(?i:\s*(?:entity|architecture|package|procedure|function|component)\s+(?P<name>\w+))",
    ),
    "fortran": Pattern(
        "function",
        r"(?i:\s*(?:[\w()]+\s+)*?(?:subroutine|function|procedure|program|package)\s+(?P<name>\w+))",
    ),
    "label": Pattern("function", r"(?P<name>[A-Za-z_]\w*):"),
    "sql": Pattern(
        "type",
        r"(?i:\s*create\s+(?:or\s+replace\s+)?(?:\w+\s+){0,3}?(?:table|view|function|procedure"
        r"|trigger|type|index|schema|sequence)\s+(?:if\s+not\s+exists\s+)?(?P<name>[\w.\"\[\]`]+))",
    ),
    "graphql": Pattern(
        "function", r"(?:query|mutation|subscription|fragment|directive)\s+@?(?P<name>\w+)"
    ),
    "proto": Pattern("method", r"\s*rpc\s+(?P<name>\w+)"),
    "hcl": Pattern(
        "type",
        r"(?:resource|data|module|variable|output|provider)\s+"
        r"\"(?P<name>[^\"]+(?:\"\s+\"[^\"]+)?)\"",
    ),
    "cmake": Pattern("function", r"(?i:\s*(?:function|macro)\s*\(\s*(?P<name>\w+))"),
    "make": Pattern("function", r"(?P<name>[A-Za-z_][\w./-]*)(?:\s+[\w.-]+)*\s*:(?!=)"),
    "ini": Pattern("section", r"\[+(?P<name>[^\[\]#=]+)\]+\s*(?:[#;].*)?$"),
    "heading": Pattern("section", r"(?:#{1,6}|={1,6}|\*+)\s+(?P<name>\S.*?)\s*#*$"),
    "tex": Pattern("section", r"\\(?:part|chapter|(?:sub)*section)\*?\{(?P<name>[^}]+)\}"),
}

_LOOK_AHEAD = 15  # lines in which the body of a `block` definition must open
_FENCE = re.compile(r"\s*(?:```|~~~)")


@dataclass(frozen=True, slots=True)
class Found:
    """A definition that begins in line `line` (from 0), `indent` columns in."""

    line: int
    indent: int
    name: str
    kind: str


@cache
def _compiled(names: str) -> tuple[tuple[Pattern, re.Pattern[str]], ...]:
    return tuple((PATTERNS[name], re.compile(PATTERNS[name].regex)) for name in names.split())


def find(lines: list[str], names: str) -> list[Found]:
    """The definitions in lines (without trailing blanks), by the rows named, in order of lines."""
    rows = _compiled(names)
    prose = "heading" in names.split()
    found: list[Found] = []
    constants: set[str] = set()
    fenced = False
    for number, line in enumerate(lines):
        if prose and _FENCE.match(line):
            fenced = not fenced
        if not line or fenced or len(line) > 400:
            continue
        for pattern, regex in rows:
            match = regex.match(line)
            if match and (not pattern.block or _opens(lines, number, match.end())):
                one = _found(number, line, pattern.kind, match.groupdict())
                if one.kind != "constant" or one.name not in constants:
                    found.append(one)
                if one.kind == "constant":  # macros are defined again for each platform
                    constants.add(one.name)
                break
    return found


def _found(number: int, line: str, kind: str, groups: dict[str, str | None]) -> Found:
    word = groups.pop("word", None)
    name = next(value for value in groups.values() if value)
    kind = _KIND_OF_WORD.get(word.split()[0], kind) if word else kind
    return Found(number, len(line) - len(line.lstrip()), _plain(name), kind)


def _plain(name: str) -> str:
    """The name as it would be asked for: Foo.bar for Foo::bar, no quotes."""
    return re.sub(r"\"\s+\"", ".", name).replace("::", ".").strip('"`[]').rstrip("=:.")


def _opens(lines: list[str], number: int, column: int) -> bool:
    """True if a body opens after this place before the statement ends."""
    depth = 1  # the match ends behind the opening parenthesis
    for offset in range(_LOOK_AHEAD):
        if number + offset >= len(lines):
            return False
        line = lines[number + offset]
        for char in line[column:]:
            if char == "(":
                depth += 1
            elif char == ")":
                depth -= 1
            elif depth <= 0:
                if char == "{":
                    return True
                if char in ";}=#":
                    return char == "=" and "=>" in line
        column = 0
    return False
