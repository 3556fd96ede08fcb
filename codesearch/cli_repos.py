"""`codesearch repos`: which repositories the settings list."""

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import click

from codesearch import terminal
from codesearch.command import command, log, settings_file, settings_of
from codesearch_resources.catalog import plan, read_catalog, struck
from codesearch_resources.data_dir import DataDirError
from codesearch_resources.log_file import log_to_file
from codesearch_resources.settings import SettingsError, load


@click.group()
def repos() -> None:
    """List, add and remove repositories.

    Example: codesearch repos add ~/src/api
    """


@repos.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@command
def repos_list(config: str | None, as_json: bool) -> None:
    """The repositories of the settings, discovered ones too.

    Example: codesearch repos list --json
    """
    settings = settings_of(config)
    if as_json:
        rows = [entry.model_dump(mode="json") for entry in settings.repositories]
        click.echo(json.dumps([terminal.without_secrets(row) for row in rows], indent=1))
        return
    click.echo(terminal.repositories(settings))


@repos.command("add")
@click.argument("where", metavar="PATH_OR_URL")
@click.option("--name", help="Its short name; by default the folder's.")
@click.option("--branch", help="The branch to index; by default HEAD.")
@click.option("--root", help="Index only this folder of it.")
@command
def repos_add(
    where: str, name: str | None, branch: str | None, root: str | None, config: str | None
) -> None:
    """Add a repository to the settings, comments kept.

    Example: codesearch repos add https://example.com/team/api.git --name api
    """
    from codesearch_resources.settings_file import add_repository

    settings = settings_of(config)
    is_url = "://" in where or (":" in where and not Path(where).expanduser().exists())
    place: dict[str, str] = {"url": where} if is_url else {"path": where}
    added = add_repository(
        settings.file,
        path=place.get("path"),
        url=place.get("url"),
        name=name,
        branch=branch,
        root=root,
    )
    log.info("repos add: %s from %s", added, where)
    click.echo(f"added {added} to {settings.file}; `codesearch index {added}` indexes it")


@repos.command("remove")
@click.argument("names", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Delete their rows now, however many they are.")
@command
def repos_remove(names: tuple[str, ...], yes: bool, config: str | None) -> None:
    """Strike repositories from the settings, comments kept.

    Search no longer shows them. The next `codesearch index`, or the catalog sensor, deletes their
    rows, unless that would be more than half of all repositories: then it takes --yes. What was
    paid for is kept.

    Example: codesearch repos remove api --yes
    """
    from codesearch_resources.settings_file import remove_repositories

    file = settings_file(config)  # not loaded yet: other things in it may be wrong
    if yes:
        _remove_now(file, names)
        return
    remove_repositories(file, names)
    with suppress(SettingsError, DataDirError):  # of what else is wrong the next command tells
        settings = settings_of(config)
        refused = plan(read_catalog(settings.data_dir), settings, datetime.now(UTC)).refused
        for name in set(names) & set(refused):
            click.echo(f"{name}: removing it takes more than half of all; add --yes if it is meant")
    log.info("repos remove: %s", ", ".join(names))
    click.echo(
        f"removed {', '.join(names)} from {file}; search no longer shows its rows, and the "
        "next `codesearch index` deletes them"
    )


def _remove_now(file: Path, names: Sequence[str]) -> None:
    """Strike repositories that are not struck yet, and delete their rows."""
    from codesearch_assets.runs import remove_now  # imports Dagster: 1.2 CPU seconds
    from codesearch_resources.settings_file import remove_repositories

    gone = struck(load(file, absent_ok=True))
    remove_repositories(file, [name for name in names if name not in gone])
    settings = load(file, absent_ok=True)
    log_to_file(settings.data_dir)
    removed = remove_now(settings, names)
    log.info("repos remove --yes: %s", ", ".join(names))
    present = {entry.name for entry in settings.repositories}
    for name in names:
        if name in removed:
            click.echo(f"{name}: {removed[name]} rows deleted")
        elif name in present:
            click.echo(f'{name} is still found by `discover`; put "!" and its path there')
        else:
            click.echo(f"{name} is being worked on; the next `codesearch index` deletes its rows")
