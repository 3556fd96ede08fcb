"""Writing `codesearch.yaml`: the commented file to start from, and edits that keep the rest.

The file is the user's: comments, order, quoting, blank lines and line ends stay as they are, and
an edit that cannot be made so is refused. Edits of two processes wait for each other.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from codesearch_resources import settings_rules as rules
from codesearch_resources import yaml_list
from codesearch_resources.repositories import unique_slugs
from codesearch_resources.settings import Settings, UnknownRepository, interpret, listed_names
from codesearch_resources.settings_document import (
    BOM,
    Document,
    Problem,
    SettingsError,
    parse,
    read,
)

T = TypeVar("T")

_LIST = "repositories"


def add_repository(
    file: Path,
    *,
    path: str | None = None,
    url: str | None = None,
    name: str | None = None,
    branch: str | None = None,
    root: str | None = None,
) -> str:
    """Append a repository to the list and return its name, which is written out.

    `path` is relative to the working folder, as on a command line; it is written from / or ~ on.
    Without `name` it is the one it was discovered under, else made from the folder or the URL.
    Raises SettingsError when the file has problems, or would have one with the new entry (line 0,
    and the entry's own key); the file is then as it was.
    """
    given = {"path": path, "url": url, "name": name, "branch": branch, "root": root}
    wanted = {key: value for key, value in given.items() if value is not None}
    if path:
        wanted["path"] = written_path(Path(os.path.abspath(os.path.expanduser(path))))
    for key, value in wanted.items():
        if not rules.is_text(value):
            message = "must not be empty, and must be UTF-8 without control characters"
            raise SettingsError([Problem(file, 0, key, message)])

    def change(document: Document) -> tuple[str, str]:
        settings = interpret(document)
        entry = _new_entry(file, settings, wanted)
        text = _edited(document, lambda: yaml_list.append(document, _LIST, entry), [entry], ())
        index = len(listed_names(document))
        try:
            interpret(parse(file, text.encode()))
        except SettingsError as error:
            raise SettingsError(
                [_of_new_entry(problem, index) for problem in error.problems]
            ) from None
        return text, entry["name"]

    return _rewrite(file, change)


def remove_repositories(file: Path, names: Sequence[str]) -> None:
    """Take the entries of these names out of the list: all of them or, with an error, none.

    Works on a file that has problems elsewhere. An entry that `discover` finds as well stays a
    repository, with the defaults. Raises UnknownRepository, and SettingsError for one that only
    `discover` finds, or when another entry would get a new name by it.
    """

    def change(document: Document) -> tuple[str, None]:
        present = listed_names(document)
        for name in names:
            _must_be_listed(document, name, present)
        gone = [index for index, name in enumerate(present) if name in names]

        def without() -> str:
            left = document
            for index in reversed(gone):
                left = parse(file, yaml_list.delete(left, _LIST, index).encode())
            return left.text

        text = _edited(document, without, [], gone)
        _same_names(document, present, gone, listed_names(parse(file, text.encode())))
        return text, None

    _rewrite(file, change)


def _new_entry(file: Path, settings: Settings, wanted: Mapping[str, str]) -> dict[str, str]:
    place = {key: wanted.get(key) for key in ("path", "url")}
    source = os.path.realpath(os.path.expanduser(place["path"])) if place["path"] else place["url"]
    taken, name = set(), wanted.get("name")
    for there in settings.repositories:
        same = source == (os.path.realpath(there.path) if there.path else there.url)
        if same and there.discovered:
            name = name or there.name
            continue
        taken.add(there.name)
        part = (there.branch, there.root)
        if same and part == (wanted.get("branch"), rules.root(wanted.get("root", ""))):
            raise SettingsError([Problem(file, 0, "", f"it is already listed, as {there.name}")])
    if name in taken:
        problem = Problem(file, 0, "name", f"there is another repository named {name}")
        raise SettingsError([problem])
    if name is None:
        origin = Path(str(source)) if place["path"] else Path(rules.url_path(str(source)))
        (name,) = unique_slugs([origin], taken).values()
    return {"name": name, **{key: value for key, value in wanted.items() if key != "name"}}


def _of_new_entry(problem: Problem, index: int) -> Problem:
    """A problem of an entry that is not in the file: without a line there."""
    key = problem.key.removeprefix(f"{_LIST}[{index}]").removeprefix(".")
    return Problem(problem.file, 0, key, problem.message)


def _must_be_listed(document: Document, name: str, present: Sequence[str | None]) -> None:
    if present.count(name) > 1:
        interpret(document)  # raises, and says where both of them are
    if name in present:
        return
    listed = [other for other in present if other]
    try:
        found = interpret(document).repository(name)
    except SettingsError:
        raise UnknownRepository(name, listed) from None
    message = (
        f"finds {name}, which is not listed and cannot be removed from the list: change the "
        f'pattern, or add "!{written_path(Path(str(found.path)))}" to it'
    )
    raise SettingsError([document.problem(("discover",), message)])


def _same_names(
    document: Document, before: Sequence[str | None], gone: Sequence[int], after: list[str | None]
) -> None:
    """A default name may depend on an entry above: no repository is renamed behind one's back."""
    stays = [(index, name) for index, name in enumerate(before) if index not in gone]
    problems = [
        document.problem((_LIST, index), f"would be renamed to {now}: add `name: {name}` first")
        for (index, name), now in zip(stays, after, strict=True)
        if name != now
    ]
    if problems:
        raise SettingsError(problems)


def _edited(
    document: Document,
    edit: Callable[[], str],
    added: Sequence[Mapping[str, str]],
    gone: Sequence[int],
) -> str:
    """The edited text, read back: it must differ by these entries and by nothing else."""
    wanted = document.plain()
    listed = wanted.pop(_LIST, None) or []
    kept = [entry for index, entry in enumerate(listed) if index not in gone]
    try:
        text = edit()
        result: dict[str, Any] = parse(document.file, text.encode()).plain()
    except (yaml_list.UneditableList, SettingsError):
        result = {}
    if (result.pop(_LIST, None) or []) != [*kept, *added] or result != wanted:
        message = "is laid out in a way that cannot be edited here; please edit the file by hand"
        raise SettingsError([document.problem((_LIST,), message)])
    return text


def written_path(path: Path) -> str:
    """An absolute path as it is put into the file: from ~ on below the home folder."""
    home = Path(os.path.expanduser("~"))
    if path != home and home != Path("/") and path.is_relative_to(home):
        return f"~/{path.relative_to(home).as_posix()}"
    return str(path)


def _rewrite(file: Path, change: Callable[[Document], tuple[str, T]]) -> T:
    """Replace the file by what `change` makes of it, at once or not at all; its mode stays.

    A link to the file stays a link. Raises SettingsError when it cannot be written.
    """
    target = Path(os.path.realpath(file))
    try:
        with _locked(target.parent):
            document = read(file)
            text, result = change(document)
            _replace(target, ((BOM if document.has_bom else "") + text).encode())
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError([Problem(file, 0, "", f"cannot be written: {reason}")]) from None
    return result


def _replace(target: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as temporary:
            temporary.write(content)
            temporary.flush()
            os.fchmod(temporary.fileno(), stat.S_IMODE(target.stat().st_mode))
            os.fsync(temporary.fileno())
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One edit at a time. The folder is locked, not the file, which the edit replaces."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
