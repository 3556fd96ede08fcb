"""A YAML file as text, plain values and the line each of them stands on.

    SettingsError           the settings cannot be used; holds every problem at once
      Problem               one of them: file, line, key, message (no exception itself)

Nothing here knows which keys exist: that is `settings.py`. The text is kept as it was read, because
`settings_file.py` edits it in place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesearch_resources.git import redact

if TYPE_CHECKING:
    from ruamel.yaml.nodes import MappingNode

Location = tuple[str | int, ...]

BOM = "\ufeff"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a settings file. `line` counts from 1, 0 is the whole file."""

    file: Path
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{shown(self.file)}:{self.line}" if self.line else shown(self.file)
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class SettingsError(Exception):
    """Raised when a settings file cannot be used: all of its problems, one per line of `str()`."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def shown(file: Path) -> str:
    """The path as a person would type it from here: relative below the working folder."""
    try:
        return str(file.absolute().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(file)


def key_text(location: Location) -> str:
    """`("repositories", 1, "path")` as `repositories[1].path`.

    A forgotten blank makes `url:https://me:password@host` a key: such a one is shown redacted.
    """
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{redact(part)}" if text else redact(part)
    return text


@dataclass(frozen=True)
class Document:
    """One YAML document: `text` without its byte order mark, `root` None when it holds nothing."""

    file: Path
    text: str
    has_bom: bool
    root: MappingNode | None

    def plain(self) -> dict[str, Any]:
        """The values as dict, list, str, bool, int, float and None.

        A value with a tag of its own (`!x`, a date) becomes an `Unusual`, which no setting accepts.
        """
        return {} if self.root is None else dict(_plain(self.root, {}))

    def node(self, location: Location) -> Any:
        """The node of the value at `location`, or None when there is no such place."""
        node: Any = self.root
        for part in location:
            node = _child(node, part)
        return node

    def line(self, location: Location) -> int:
        """The line of the innermost part of `location` that the file has; 0 when it has none."""
        line, node = 0, self.root
        for part in location:
            key = _key_node(node, part) if isinstance(part, str) else _child(node, part)
            node = _child(node, part)
            if key is None or node is None:
                break
            line = key.start_mark.line + 1
        return line

    def problem(self, location: Location, message: str) -> Problem:
        return Problem(self.file, self.line(location), key_text(location), message)


@dataclass(frozen=True)
class Unusual:
    """Stands for a value with a YAML tag that settings do not use."""

    tag: str


def read(file: Path) -> Document:
    """The parsed file. Raises SettingsError when it cannot be read or is not one YAML mapping."""
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise SettingsError([Problem(file, 0, "", "no such file")]) from None
    except IsADirectoryError:
        raise SettingsError([Problem(file, 0, "", "is a folder, not a file")]) from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SettingsError([Problem(file, 0, "", f"cannot be read: {reason}")]) from None
    return parse(file, content)


def parse(file: Path, content: bytes) -> Document:
    """The document that `content` holds; `file` is only its name. Raises SettingsError."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        problem = Problem(file, line, "", "is not UTF-8: save it with that encoding")
        raise SettingsError([problem]) from None
    has_bom = text.startswith(BOM)
    text = text.removeprefix(BOM)
    root = _compose(file, text)
    document = Document(file, text, has_bom, root)
    duplicates = [] if root is None else list(_duplicate_keys(document, root, (), set()))
    if duplicates:
        raise SettingsError(sorted(duplicates, key=lambda problem: problem.line))
    return document


def _compose(file: Path, text: str) -> MappingNode | None:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError
    from ruamel.yaml.nodes import MappingNode
    from ruamel.yaml.reader import ReaderError

    try:
        root = YAML(pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = min(mark.line + 1, len(text.splitlines())) if mark else 0
        # Only the parser's own words: its full text quotes the line, which may hold a password.
        words = [word for word in (error.context, error.problem) if word]
        problem = Problem(file, line, "", f"not valid YAML: {', '.join(words)}")
        raise SettingsError([problem]) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = Problem(file, line, "", "not valid YAML: holds a control character")
        raise SettingsError([problem]) from None
    except (YAMLError, RecursionError, ValueError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise SettingsError([Problem(file, 0, "", f"not valid YAML: {reason}")]) from None
    if root is None or root.tag == "tag:yaml.org,2002:null":
        return None
    if not isinstance(root, MappingNode):
        line = root.start_mark.line + 1
        problem = Problem(file, line, "", "must be a mapping of keys, such as `repositories:`")
        raise SettingsError([problem])
    return root


def _key_node(node: Any, key: str) -> Any:
    pairs = node.value if _is_mapping(node) else ()
    return next((name for name, _ in pairs if _key_name(name) == key), None)


def _child(node: Any, part: str | int) -> Any:
    if isinstance(part, str):
        pairs = node.value if _is_mapping(node) else ()
        return next((value for name, value in pairs if _key_name(name) == part), None)
    items = node.value if _is_sequence(node) else ()
    return items[part] if 0 <= part < len(items) else None


def _is_mapping(node: Any) -> bool:
    return node is not None and node.id == "mapping"


def _is_sequence(node: Any) -> bool:
    return node is not None and node.id == "sequence"


def _key_name(node: Any) -> str:
    return node.value if node.id == "scalar" else "?"


def _duplicate_keys(
    document: Document, node: Any, location: Location, seen: set[int]
) -> Iterator[Problem]:
    if id(node) in seen:  # an alias: already looked at, and it may contain itself
        return
    seen.add(id(node))
    first: dict[str, int] = {}
    children = node.value if _is_mapping(node) else ()
    for key, value in children:
        name, line = _key_name(key), key.start_mark.line + 1
        here = (*location, name)
        if name in first:
            message = f"the same key twice, first on line {first[name]}"
            yield Problem(document.file, line, key_text(here), message)
        first.setdefault(name, line)
        yield from _duplicate_keys(document, value, here, seen)
    for index, item in enumerate(node.value if _is_sequence(node) else ()):
        yield from _duplicate_keys(document, item, (*location, index), seen)


def _plain(node: Any, known: dict[int, Any]) -> Any:
    """`known` makes an alias the same object as its anchor, so that a cycle ends."""
    if id(node) in known:
        return known[id(node)]
    if _is_mapping(node):
        mapping: dict[str, Any] = known.setdefault(id(node), {})
        mapping.update((_key_name(key), _plain(value, known)) for key, value in node.value)
        return mapping
    if _is_sequence(node):
        items: list[Any] = known.setdefault(id(node), [])
        items.extend(_plain(item, known) for item in node.value)
        return items
    return _scalar(node)


def _scalar(node: Any) -> Any:
    kind = str(node.tag).removeprefix("tag:yaml.org,2002:")
    if kind == "str":
        return node.value
    if kind == "null":
        return None
    if kind == "bool":
        return node.value.lower() in ("true", "yes", "on")
    try:
        if kind == "int":
            digits = node.value.replace("_", "")
            return int(digits, 0 if digits.lstrip("+-")[:2].lower() in ("0x", "0o") else 10)
        if kind == "float":
            return float(node.value.replace("_", ""))
    except ValueError:
        pass
    return Unusual(str(node.tag))


def absolute(folder: Path, path: str) -> Path:
    """A path as written in a file of `folder`: `~` expanded, relative ones below that folder."""
    return Path(os.path.abspath(os.path.join(folder, os.path.expanduser(path))))
