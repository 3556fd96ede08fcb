"""`codesearch.yaml` as typed settings: where it is found, what it may say, what is wrong with it.

SettingsError           the file cannot be used; holds every `Problem` at once
UnknownRepository       a name that no repository has; holds the near ones
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    ValidationError,
    ValidationInfo,
)

from codesearch_resources import settings_rules as rules
from codesearch_resources.repositories import discover, unique_slugs
from codesearch_resources.settings_base import Glob, Model, Section, Slug, Text
from codesearch_resources.settings_document import (
    Document,
    Location,
    Problem,
    SettingsError,
    absolute,
    read,
)
from codesearch_resources.settings_embedders import (
    EMBEDDERS_BY_KIND,
    EmbeddedSettings,
    EmbedderSettings,
)
from codesearch_resources.settings_limits import Limits
from codesearch_resources.settings_meters import READINGS_BY_KIND, MeterSettings
from codesearch_resources.settings_problems import (
    away_problems,
    cross_problems,
    entries_of,
    field_problems,
    own_name,
)
from codesearch_resources.settings_summarizers import (
    MODELS_BY_KIND,
    ExtractiveSettings,
    Price,
    SummarizerSettings,
)

__all__ = [
    "EmbedderSettings",
    "Nightly",
    "Problem",
    "RepositorySettings",
    "Settings",
    "SettingsError",
    "SummarizerSettings",
    "UnknownRepository",
    "find",
    "interpret",
    "listed_names",
    "load",
]

FILE_NAME = "codesearch.yaml"


class UnknownRepository(LookupError):
    """Raised for a name that no repository of the settings has. `near`: names it may have meant."""

    def __init__(self, name: str, names: Sequence[str]) -> None:
        self.name = name
        self.near = tuple(difflib.get_close_matches(name, names, n=3))
        hint = f"; did you mean {' or '.join(self.near)}?" if self.near else ""
        if not hint:
            hint = f"; there are: {', '.join(names)}" if names else "; none is configured"
        super().__init__(f"no repository named {name!r}{hint}")


def _path_is_repository(path: str, info: ValidationInfo) -> str:
    # Without a folder to start from (a model built in code) there is nothing to look up.
    return rules.repository_folder(path, info.context["folder"]) if info.context else path


class RepositorySettings(Model):
    """One repository: listed in the file, or found by a `discover` pattern (`discovered`).

    Exactly one of `path` (absolute) and `url` is set. `branch` None is the repository's HEAD,
    `root` "" is all of it.
    """

    name: str
    path: Path | None = None
    url: str | None = Field(default=None, repr=False)
    branch: str | None = None
    root: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    local_only: bool = True
    # Who writes its summaries, in order, by names below `summarizers`; empty: the whole chain.
    summarizers: tuple[str, ...] = ()
    discovered: bool = False


class Nightly(Section):
    """When the night begins: a cron line of five fields, read in an IANA time zone."""

    cron: Annotated[str, AfterValidator(rules.cron)] = "0 3 * * *"
    timezone: Annotated[str, AfterValidator(rules.timezone)] = "UTC"
    # A run of summaries ends after this long and hands the rest on to the next.
    slice_minutes: Annotated[int, Field(ge=1)] = 30


class Settings(Model):
    """All settings, defaults filled in, paths absolute; `repositories` have unique names."""

    file: Path
    data_dir: Path
    dagster_home: Path
    repositories: tuple[RepositorySettings, ...]
    missing_discover: tuple[str, ...]
    embedder: EmbedderSettings
    summarizers: tuple[SummarizerSettings, ...]
    limits: Limits
    meters: tuple[MeterSettings, ...]
    nightly: Nightly
    trusted_hosts: tuple[str, ...]
    grace_days: int
    keep_runs_days: int

    def repository(self, name: str) -> RepositorySettings:
        """The repository of that name. Raises UnknownRepository, which names the near ones."""
        for repository in self.repositories:
            if repository.name == name:
                return repository
        raise UnknownRepository(name, [repository.name for repository in self.repositories])


class _Defaults(Section):
    local_only: bool = True
    include: list[Glob] = []
    exclude: list[Glob] = []


class _Entry(Section):
    name: Slug | None = None
    path: Annotated[Text, AfterValidator(_path_is_repository)] | None = None
    url: Annotated[Text, AfterValidator(rules.url)] | None = None
    branch: Annotated[Text, AfterValidator(rules.branch)] | None = None
    root: Annotated[str, AfterValidator(rules.root)] = ""
    include: list[Glob] | None = None
    exclude: list[Glob] | None = None
    local_only: bool | None = None
    summarizers: list[Slug] = []


class _File(Section):
    data_dir: Text = "./data"
    dagster_home: Text = "./dagster_home"
    defaults: _Defaults = _Defaults()
    discover: list[Annotated[Text, AfterValidator(rules.discover)]] = []
    repositories: list[_Entry] = []
    nightly: Nightly = Nightly()
    embedder: EmbedderSettings = EmbeddedSettings(kind="embedded")
    summarizers: Annotated[list[SummarizerSettings], AfterValidator(rules.chain)] = [
        ExtractiveSettings(name="extractive", kind="extractive")
    ]
    limits: Limits = Limits()
    meters: list[MeterSettings] = []
    trusted_hosts: list[Annotated[Text, AfterValidator(rules.host)]] = []
    grace_days: Annotated[int, Field(ge=0)] = 7
    keep_runs_days: Annotated[int, Field(ge=1)] = 30


_SECTIONS: Mapping[str, type[BaseModel]] = {
    "defaults": _Defaults,
    "repositories": _Entry,
    "nightly": Nightly,
    "limits": Limits,
    "meters": MeterSettings,
}


def _known_keys(section: Location, kind: str | None) -> list[str]:
    """The keys of the mapping at a location; `kind` where a union is told apart by it."""
    if not section:
        return list(_File.model_fields)
    if section[0] == "embedder":
        embedder = EMBEDDERS_BY_KIND[kind or "embedded"]
        return list(Price.model_fields if section[-1] == "price" else embedder.model_fields)
    if section[0] == "summarizers":
        model: type[BaseModel] = MODELS_BY_KIND[kind or "extractive"]
        return list(Price.model_fields if section[-1] == "price" else model.model_fields)
    if section[0] == "meters" and "readings" in section:
        return list(READINGS_BY_KIND[kind or "file"].model_fields)
    return list(_SECTIONS[str(section[0])].model_fields)


def find(
    explicit: str | None = None, *, env: Mapping[str, str] = os.environ, cwd: Path | None = None
) -> Path | None:
    """The settings file to use, or None when there is none anywhere.

    In order: `explicit` (`--config`), `$CODESEARCH_CONFIG`, `codesearch.yaml` in `cwd` or a folder
    above it, the user's config folder. The first two are returned even if no such file exists:
    who names a file must hear that it is missing.
    """
    here = (cwd or Path.cwd()).absolute()
    named = explicit or env.get("CODESEARCH_CONFIG")
    if named:
        return absolute(here, named)
    config = env.get("XDG_CONFIG_HOME", "")
    home = env.get("HOME") or os.path.expanduser("~")
    # The XDG rules: a relative XDG_CONFIG_HOME is to be ignored.
    folder = Path(config) if os.path.isabs(config) else Path(home, ".config")
    places = [*(parent / FILE_NAME for parent in (here, *here.parents))]
    places.append(folder / "codesearch" / FILE_NAME)
    return next((place for place in places if os.path.isfile(place)), None)


def load(file: Path, *, absent_ok: bool = False) -> Settings:
    """The settings that `file` holds. Raises SettingsError with all of its problems.

    absent_ok: a listed folder that is not there is no problem. For what runs unattended: one
    unmounted disk must not keep every other repository from its night.
    """
    return interpret(read(file), absent_ok=absent_ok)


def interpret(document: Document, *, absent_ok: bool = False) -> Settings:
    """The settings that a parsed file holds; paths start at its folder. Raises SettingsError."""
    folder = document.file.absolute().parent
    data = document.plain()
    problems = cross_problems(document, data, folder)
    try:
        context = None if absent_ok else {"folder": folder}
        content = _File.model_validate(data, context=context)
    except ValidationError as error:
        problems += field_problems(document, error, _known_keys)
    else:
        problems += away_problems(
            document, content.embedder, content.trusted_hosts, _local_only(content)
        )
    if problems:
        raise SettingsError(sorted(problems, key=lambda problem: problem.line))
    names = listed_names(document)
    listed = [
        _repository(content, entry, str(name), absolute(folder, entry.path) if entry.path else None)
        for entry, name in zip(content.repositories, names, strict=True)
    ]
    found, missing = _discovered(content, folder, listed)
    return Settings(
        file=document.file.absolute(),
        data_dir=absolute(folder, content.data_dir),
        dagster_home=absolute(folder, content.dagster_home),
        repositories=(*listed, *found),
        missing_discover=tuple(missing),
        embedder=content.embedder,
        summarizers=tuple(content.summarizers),
        limits=content.limits,
        meters=tuple(content.meters),
        nightly=content.nightly,
        trusted_hosts=tuple(content.trusted_hosts),
        grace_days=content.grace_days,
        keep_runs_days=content.keep_runs_days,
    )


def _local_only(content: _File) -> tuple[str | int, ...] | None:
    """Where the file says that some repository stays on this machine, None where none does."""
    usual = content.defaults.local_only
    for index, entry in enumerate(content.repositories):
        if usual if entry.local_only is None else entry.local_only:
            own = entry.local_only is not None
            return ("repositories", index, "local_only") if own else ("defaults", "local_only")
    return ("defaults", "local_only") if usual and content.discover else None


def listed_names(document: Document) -> list[str | None]:
    """The name of each entry below `repositories`, None where an entry has nothing to name it by.

    Works on a file with problems as well, so that a repository whose folder is gone can be removed.
    A default name depends on the given names and on the entries above it, not on those below:
    appending an entry never renames one.
    """
    folder = document.file.absolute().parent
    entries = entries_of(document.plain(), "repositories")
    names = [own_name(entry) for entry in entries]
    taken = {name for name in names if name}
    for index, entry in enumerate(entries):
        source = _source(entry, folder)
        if names[index] is None and source is not None:
            (names[index],) = unique_slugs([source], taken).values()
            taken.add(str(names[index]))
    return names


def _source(entry: Any, folder: Path) -> Path | None:
    """What a default name is made from: the folder, or the URL's path without `.git`."""
    if not isinstance(entry, dict):
        return None
    path, url = entry.get("path"), entry.get("url")
    if isinstance(path, str):
        return absolute(folder, path)
    return Path(rules.url_path(url)) if isinstance(url, str) else None


def _repository(
    content: _File, entry: _Entry, name: str, path: Path | None, *, discovered: bool = False
) -> RepositorySettings:
    """An entry with the defaults filled in. An entry's list replaces the default one."""
    defaults = content.defaults
    include = defaults.include if entry.include is None else entry.include
    exclude = defaults.exclude if entry.exclude is None else entry.exclude
    return RepositorySettings(
        name=name,
        path=path,
        url=entry.url,
        branch=entry.branch,
        root=entry.root,
        include=tuple(include),
        exclude=tuple(exclude),
        local_only=defaults.local_only if entry.local_only is None else entry.local_only,
        summarizers=tuple(entry.summarizers),
        discovered=discovered,
    )


def _discovered(
    content: _File, folder: Path, listed: Sequence[RepositorySettings]
) -> tuple[list[RepositorySettings], list[str]]:
    """The repositories that only `discover` finds, and the patterns that found nothing."""
    found: dict[Path, Path] = {}  # by resolved path: two patterns may reach one repository
    missing = []
    for pattern in content.discover:
        excluded = pattern.startswith("!")
        matches = discover(rules.absolute_pattern(folder, pattern.removeprefix("!")))
        for path in matches:
            if excluded:
                found.pop(path.resolve(), None)
            else:
                found.setdefault(path.resolve(), path)
        if not matches and not excluded:
            missing.append(pattern)
    explicit = {repository.path.resolve() for repository in listed if repository.path}
    # Named among all that was found: listing one of them leaves the names of the others alone.
    taken = {repository.name for repository in listed}
    names = unique_slugs(list(found.values()), taken)
    return [
        _repository(content, _Entry(), names[path], path, discovered=True)
        for resolved, path in sorted(found.items())
        if resolved not in explicit
    ], missing
