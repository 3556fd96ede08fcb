"""What a single value of `codesearch.yaml` must look like.

Each function returns the value to use and raises ValueError with the sentence a person reads.
No sentence quotes the value of `url`: it may hold a password. In the others URLs are redacted.
"""

from __future__ import annotations

import glob as globbing
import ipaddress
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from codesearch_resources import repositories
from codesearch_resources.git import git_dir
from codesearch_resources.settings_document import absolute

Link = TypeVar("Link")

_SLUG = re.compile(r"[a-z0-9_][a-z0-9_-]{0,99}")
_URL = re.compile(r"(https?|ssh|git|git\+ssh|ssh\+git|file)://\S+")
_SCP = re.compile(r"([\w.+-]+@)?[\w.-]+:(?![:/]{2})\S+")  # git@host:owner/repository.git
_NO_BRANCH = re.compile(r"^[-/]|[\s~^:?*\[\\]|\.\.|@\{|//|/$|\.lock$|\.$")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_CRON = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
_LONGEST_MONTH = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


def is_text(value: str) -> bool:
    """Whether a value can be a path, a name or a pattern: not empty, no control characters."""
    return bool(value.strip()) and not any(
        unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in value
    )


def text(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    if not is_text(value):
        raise ValueError("holds a control character")
    return value


def slug(value: str) -> str:
    if not _SLUG.fullmatch(value):
        wanted = "must be up to 100 of a-z, 0-9, _ and -, and not begin with -"
        hint = "" if "://" in value or not value.strip() else f"; try {repositories.slug(value)}"
        raise ValueError(wanted + hint)
    return value


def repository_folder(value: str, folder: Path) -> str:
    """A path, from `folder` on, at which there is a git repository, bare ones included."""
    if "://" in value:
        raise ValueError("is a URL, not a folder: give it as url")
    path = absolute(folder, value)
    if not os.path.isdir(path):
        raise ValueError(f"{'is a file' if os.path.isfile(path) else 'no such folder'}: {value}")
    if not git_dir(path):
        above = next((parent for parent in path.parents if git_dir(parent)), None)
        hint = f"; it is part of {above}: use that, with this folder as root" if above else ""
        raise ValueError(f"not a git repository: {value}{hint}")
    return value


def url(value: str) -> str:
    if not (_URL.fullmatch(value) or (_SCP.fullmatch(value) and "://" not in value)):
        raise ValueError(
            "must be a URL git can clone: https://…, ssh://…, git@host:…; a folder goes into path"
        )
    return value


def url_path(value: str) -> str:
    """The path in a git URL without `.git`: `https://host/owner/api.git` gives `owner/api`."""
    rest = value.split("://", 1)[1].partition("/")[2] if "://" in value else value.split(":")[-1]
    return rest.rstrip("/").removesuffix(".git").rstrip("/") or "repository"


def branch(value: str) -> str:
    if _NO_BRANCH.search(value):
        raise ValueError(f"cannot be the name of a branch: {value}")
    return value


def root(value: str) -> str:
    """A folder of the repository, `/` between its parts; "" is the whole repository."""
    if value.startswith(("/", "~")) or ".." in value.split("/"):
        raise ValueError(f"must be a folder inside the repository, such as src/server: {value}")
    if "\\" in value or (value and not is_text(value)):
        raise ValueError("must be written with / between folders")
    return "/".join(part for part in value.split("/") if part not in ("", "."))


def glob(value: str) -> str:
    """A pattern as in `.gitignore`, from the repository's top folder on."""
    import pathspec

    text(value)
    if value.startswith("!"):
        raise ValueError(f"cannot begin with !; use include and exclude: {value}")
    if ".." in value.split("/"):
        raise ValueError(f"cannot leave the repository: {value}")
    if _open_bracket(value):
        raise ValueError(f"bad pattern, [ without ]: {value}")
    try:
        (pattern,) = pathspec.GitIgnoreSpec.from_lines([value]).patterns
    except ValueError:
        raise ValueError(f"bad pattern: {value}") from None
    if not pattern.include:
        raise ValueError(f"matches nothing: {value}")
    return value


def _open_bracket(value: str) -> bool:
    """Whether a character class is begun and not ended: `[` … `]`, where `[]…]` and `[!]…]` hold
    a `]` themselves and a backslash takes the meaning from what follows."""
    bare = re.sub(r"\\.", "x", value)
    return "[" in re.sub(r"\[[!^]?\]?[^\]]*\]", "", bare)


def discover(value: str) -> str:
    """A glob over folders; with `!` in front it takes back what patterns above it found."""
    pattern = value.removeprefix("!")
    text(pattern)
    if _open_bracket(pattern):
        raise ValueError(f"bad pattern, [ without ]: {value}")
    return value


def absolute_pattern(folder: Path, pattern: str) -> str:
    """A discover pattern as it starts at `/`: what `~` and `folder` stand for is no pattern."""
    if pattern.startswith("~"):
        home, slash, rest = pattern.partition("/")
        return globbing.escape(os.path.expanduser(home)) + slash + rest
    return os.path.join(globbing.escape(str(folder)), pattern)


def chain(value: list[Link]) -> list[Link]:
    if not value:
        raise ValueError("must not be empty; without this key it is one extractive summarizer")
    return value


def host(value: str) -> str:
    if re.search(r"[\s/@]", value):
        raise ValueError("must be a host name or an address, without scheme, port or path")
    return value


def cron(value: str) -> str:
    """Five fields: minute, hour, day of the month, month, day of the week."""
    fields = value.lower().split()
    if len(fields) != len(_CRON):
        raise ValueError(f"must have 5 fields, such as 0 3 * * *, and has {len(fields)}: {value}")
    _, _, days, months, _ = (
        _cron_field(field, *limits) for field, limits in zip(fields, _CRON, strict=True)
    )
    if all(min(days) > _LONGEST_MONTH.get(month, 31) for month in months):
        raise ValueError(f"never comes: {value}")
    return value


def _cron_field(field: str, what: str, low: int, high: int, names: Sequence[str]) -> set[int]:
    numbers: set[int] = set()
    for item in field.split(","):
        span, slash, step = item.partition("/")
        first, dash, last = span.partition("-")
        if slash and not (step.isdecimal() and int(step)):
            raise ValueError(f"{what}: no such step: {item}")
        if span == "*":
            start, end = low, high
        else:
            start = _cron_number(first, what, low, high, names)
            end = _cron_number(last, what, low, high, names) if dash else start
            end = high if slash and not dash else end
        if end < start:
            raise ValueError(f"{what}: ends before it begins: {item}")
        numbers.update(range(start, end + 1, int(step) if slash else 1))
    return numbers


def _cron_number(word: str, what: str, low: int, high: int, names: Sequence[str]) -> int:
    number = low + names.index(word) if word in names else int(word) if word.isdecimal() else -1
    if not low <= number <= high:
        raise ValueError(f"{what}: must be {low} to {high}: {word or 'nothing'}")
    return number


def timezone(value: str) -> str:
    import difflib
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        near = difflib.get_close_matches(value, sorted(zoneinfo.available_timezones()), n=1)
        hint = f"; did you mean {near[0]}?" if near else "; one is Europe/Berlin"
        raise ValueError(f"no such time zone: {value}{hint}") from None
    return value


def server_url(value: str) -> str:
    """The address of a server: scheme, host, port and path, nothing secret in it."""
    from urllib.parse import urlsplit

    wanted = "must be the address of a server, such as http://localhost:11434"
    try:
        parts = urlsplit(value)
        host, _port, user = parts.hostname, parts.port, parts.username or parts.password
    except ValueError:
        raise ValueError(wanted) from None
    if user is not None:
        raise ValueError("must not hold a user or a password: name a variable in api_key_env")
    if parts.scheme not in ("http", "https") or not host or re.search(r"\s", value):
        raise ValueError(wanted)
    if parts.query or parts.fragment:
        raise ValueError("must end with its path: no ? and no #")
    return value


def environment_name(value: str) -> str:
    """The name of an environment variable. Not quoted when wrong: it may be the key itself."""
    if not re.fullmatch(r"[A-Z][A-Z0-9_]{1,99}", value):
        raise ValueError(
            "must be the name of an environment variable, such as OPENAI_API_KEY, never the key"
        )
    return value


def is_own_host(host: str) -> bool:
    """Whether a host name or address can only be this machine."""
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
