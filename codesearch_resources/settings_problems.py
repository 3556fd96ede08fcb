"""What is wrong in a settings file beyond one value, and pydantic's errors in a person's words."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from codesearch_resources import settings_rules as rules
from codesearch_resources.git import redact, scrub
from codesearch_resources.settings_document import Document, Location, Problem, absolute
from codesearch_resources.settings_embedders import EmbeddedSettings, EmbedderSettings


def entries_of(data: Mapping[str, Any], key: str) -> list[Any]:
    """The list at a key of a file that may be wrong there: empty when it is none."""
    entries = data.get(key)
    return entries if isinstance(entries, list) else []


def own_name(entry: Any) -> str | None:
    """The name an entry gives itself, if it does."""
    name = entry.get("name") if isinstance(entry, dict) else None
    return name if isinstance(name, str) else None


def cross_problems(document: Document, data: Mapping[str, Any], folder: Path) -> list[Problem]:
    """What no single key can tell. Works on plain values: other keys may be wrong as well."""
    problems = [
        *_same_names(document, data, "repositories"),
        *_same_names(document, data, "summarizers"),
        *_same_names(document, data, "meters"),
        *_unknown_meters(document, data),
        *_unknown_summarizers(document, data),
        *_same_folders(document, data, folder),
        *_keys_in_the_clear(document, data),
    ]
    for index, entry in enumerate(entries_of(data, "repositories")):
        if isinstance(entry, dict):
            given = [key for key in ("path", "url") if entry.get(key) is not None]
            if len(given) != 1:
                message = "has both path and url: keep one" if given else "needs a path or a url"
                problems.append(document.problem(("repositories", index), message))
    return problems


def _unknown_summarizers(document: Document, data: Mapping[str, Any]) -> list[Problem]:
    """Names in the chain of one repository that no model below `summarizers` has."""
    chain = [link for link in entries_of(data, "summarizers") if isinstance(link, dict)]
    models = [own_name(link) for link in chain if link.get("kind") != "extractive"]
    problems = []
    for index, entry in enumerate(entries_of(data, "repositories")):
        given = entry.get("summarizers") if isinstance(entry, dict) else None
        for at, name in enumerate(given if isinstance(given, list) else []):
            if isinstance(name, str) and name not in models:
                there = ", ".join(str(model) for model in models) or "none"
                message = f"no model named {redact(name)} below summarizers; there is {there}"
                place = ("repositories", index, "summarizers", at)
                problems.append(document.problem(place, message))
    return problems


def away_problems(
    document: Document,
    embedder: EmbedderSettings,
    trusted_hosts: Sequence[str],
    local_only: Location | None,
) -> list[Problem]:
    """A repository that stays on this machine, and an embedder that is not on it. What an address
    turns out to be is checked again for each call."""
    if isinstance(embedder, EmbeddedSettings):
        return []
    if embedder.local_only:
        local_only = ("embedder", "local_only")
    if local_only is None:
        return []
    host = (urlsplit(embedder.url).hostname or "").rstrip(".")
    tag = embedder.model.rpartition(":")[2]
    passes_on = embedder.kind == "ollama" and (tag == "cloud" or tag.endswith("-cloud"))
    trusted = {name.strip("[]").rstrip(".").lower() for name in trusted_hosts}
    if not passes_on and (host in trusted or rules.is_own_host(host)):
        return []
    key = "model" if passes_on else "url"
    where = f"{host} is not this machine"
    if passes_on:
        where = f"{embedder.model} runs in Ollama's cloud"
    key_of, line = ".".join(map(str, local_only)), document.line(local_only)
    message = (
        f"{where}, and {key_of} is true{f' (line {line})' if line else ''}: code would be sent "
        "there to be embedded. Choose an embedder on this machine, add the host to trusted_hosts "
        "if it is yours, or set local_only: false for the embedder and for every repository"
    )
    return [document.problem(("embedder", key), message)]


def _same_names(document: Document, data: Mapping[str, Any], key: str) -> list[Problem]:
    problems: list[Problem] = []
    first: dict[str, int] = {}
    for index, entry in enumerate(entries_of(data, key)):
        name, place = own_name(entry), (key, index, "name")
        if name and name in first:
            message = f"two are named {redact(name)}, the other on line {first[name]}"
            problems.append(document.problem(place, message))
        elif name:
            first[name] = document.line(place)
    return problems


def _unknown_meters(document: Document, data: Mapping[str, Any]) -> list[Problem]:
    """A meter that is misspelt would guard nothing."""
    known = {own_name(entry) for entry in entries_of(data, "meters")}
    return [
        document.problem(
            (*place, "meter"),
            f"there is no meter of that name: add one named {entry['meter']} to `meters`",
        )
        for place, entry in _callers(data)
        if isinstance(entry.get("meter"), str)
        and rules.is_text(entry["meter"])
        and entry["meter"] not in known
    ]


def _callers(data: Mapping[str, Any]) -> list[tuple[Location, dict[str, Any]]]:
    """The entries that describe a server that is called, and where they stand."""
    listed = enumerate(entries_of(data, "summarizers"))
    found: list[tuple[Location, Any]] = [(("summarizers", index), entry) for index, entry in listed]
    found.append((("embedder",), data.get("embedder")))
    return [(place, entry) for place, entry in found if isinstance(entry, dict)]


def _keys_in_the_clear(document: Document, data: Mapping[str, Any]) -> list[Problem]:
    """An API key goes over plain http to one's own machines only."""
    own = {"localhost", "127.0.0.1", "::1", *map(str, entries_of(data, "trusted_hosts"))}
    problems = []
    for place, entry in _callers(data):
        if not entry.get("api_key_env"):
            continue
        url = entry.get("url")
        if isinstance(url, str) and url.startswith("http://") and _host(url) not in own:
            message = "would send the key in the clear: use https, or add the host to trusted_hosts"
            problems.append(document.problem((*place, "url"), message))
    return problems


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _same_folders(document: Document, data: Mapping[str, Any], folder: Path) -> list[Problem]:
    folders = {"data_dir": "./data", "dagster_home": "./dagster_home"}
    for key in folders:
        value = data.get(key)
        folders[key] = value if isinstance(value, str) and rules.is_text(value) else folders[key]
    resolved = {key: os.path.realpath(absolute(folder, value)) for key, value in folders.items()}
    if resolved["data_dir"] == resolved["dagster_home"]:
        key = "dagster_home" if data.get("dagster_home") else "data_dir"
        other = "data_dir" if key == "dagster_home" else "dagster_home"
        message = f"the same folder as {other}: keep them apart"
        return [document.problem((key,), message)]
    return [
        document.problem((key,), f"is a file, not a folder: {folders[key]}")
        for key, path in resolved.items()
        if os.path.isfile(path)
    ]


def field_problems(
    document: Document,
    failure: ValidationError,
    known_keys: Callable[[Location, str | None], list[str]],
) -> list[Problem]:
    """pydantic's errors as problems; `known_keys` gives the keys of the mapping at a location,
    told its `kind` where that decides which keys there are.
    """
    errors = failure.errors(include_url=False, include_input=False)
    # Of a kind that does not exist (yet) the other keys are not wrong, they are not known.
    strange = {error["loc"][:-1] for error in errors if _is_kind(error)}
    problems = []
    for error in errors:
        place, kind = _in_the_file(error["loc"])
        if error["type"] == "extra_forbidden":
            if place[:-1] not in strange:
                problems.append(_unknown_key(document, place, known_keys(place[:-1], kind)))
        elif error["type"].startswith("union_tag"):
            problems.append(document.problem((*place, "kind"), _message(error)))
        else:
            problems.append(document.problem(place, _message(error)))
    return problems


def _in_the_file(location: Location) -> tuple[Location, str | None]:
    """A location as pydantic gives it without the kind it puts behind each of a union."""
    if location[:1] == ("summarizers",) and len(location) > 2:
        return (*location[:2], *location[3:]), str(location[2])
    if location[:1] == ("embedder",) and len(location) > 1:
        return (*location[:1], *location[2:]), str(location[1])
    if location[:1] == ("meters",) and location[2:3] == ("readings",) and len(location) > 4:
        return (*location[:4], *location[5:]), str(location[4])
    return location, None


def _unknown_key(document: Document, place: Location, known: list[str]) -> Problem:
    near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return document.problem(place, f"unknown key; {hint}")


_TYPES = {
    "model_attributes_type": "must be a mapping of keys",
    "string_type": "must be text; put it in quotes if it is",
    "bool_type": "must be true or false",
    "list_type": "must be a list, such as [a, b]",
    "model_type": "must be a mapping of keys",
    "missing": "is missing",
    "union_tag_not_found": "is missing",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "dict_type": "must be a mapping of keys",
}


def _is_kind(error: ErrorDetails) -> bool:
    return error["type"] == "literal_error" and error["loc"][-1] == "kind"


def _message(error: ErrorDetails) -> str:
    if error["type"] == "value_error":
        return scrub(str(error["ctx"]["error"]))  # a URL may stand where it does not belong
    if error["type"] == "literal_error":
        begin = "there is no such kind; there is" if _is_kind(error) else "must be"
        return f"{begin} {error['ctx']['expected']}"
    if error["type"] == "union_tag_invalid":
        return f"there is no such kind; there is {error['ctx']['expected_tags']}"
    return _TYPES.get(error["type"], error["msg"])
