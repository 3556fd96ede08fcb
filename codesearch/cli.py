"""The command line: each command a few lines over the library.

Exit codes: 0 done (a remainder included), 1 something needs a person, 2 bad usage or settings.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Any

import click

from codesearch import terminal
from codesearch.search import BadQuery, Index, NoConfiguration, SearchError, open_index
from codesearch_resources.data_dir import DataDirError, log_to_file
from codesearch_resources.git import GitError
from codesearch_resources.settings import (
    FILE_NAME,
    Settings,
    SettingsError,
    UnknownRepository,
    find,
    load,
)

NEEDS_A_PERSON, BAD_USAGE = 1, 2
EXIT_CODES: dict[type[Exception], int] = {
    SettingsError: BAD_USAGE,
    UnknownRepository: BAD_USAGE,
    BadQuery: BAD_USAGE,
    NoConfiguration: BAD_USAGE,
    SearchError: NEEDS_A_PERSON,
    DataDirError: NEEDS_A_PERSON,
    GitError: NEEDS_A_PERSON,
}


def command(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every command has: --config, -v, errors as one text and an exit code."""

    @click.option("--config", metavar="FILE", help="The codesearch.yaml to use.")
    @click.option("-v", "--verbose", is_flag=True, help="Say more on standard error.")
    @wraps(function)
    def run(*args: Any, verbose: bool, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except tuple(EXIT_CODES) as error:
            click.echo(f"codesearch: {error}", err=True)
            if verbose:
                raise
            code = next(EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES)
            sys.exit(code)

    return run


def settings_of(config: str | None) -> Settings:
    """The settings in force, with this command's log begun under their data folder."""
    file = find(config)
    if file is None:
        raise NoConfiguration("there is no codesearch.yaml here or above: run `codesearch init`")
    settings = load(file)
    log_to_file(settings.data_dir)
    return settings


@click.group()
@click.version_option(package_name="dagster-codesearch", prog_name="codesearch")
def main() -> None:
    """Ask your repositories where something is done."""


@main.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@command
def init(paths: tuple[Path, ...], config: str | None) -> None:
    """Write a commented codesearch.yaml for the repositories at PATHS.

    Without PATHS it lists the repository you stand in, if you stand in one.

    Example: codesearch init ~/src/api ~/src/web
    """
    from codesearch_resources.git import git_dir
    from codesearch_resources.settings_file import starter

    file = Path(config or FILE_NAME)
    if file.exists():
        raise click.UsageError(f"{file} is there already; edit it, or use `codesearch repos add`")
    for path in paths:
        if git_dir(path) is None:
            raise click.UsageError(f"{path} is not a git repository")
    here = [Path.cwd()] if git_dir(Path.cwd()) is not None else []
    file.write_text(starter(paths or here), encoding="utf-8")
    click.echo(f"wrote {file}; now run `codesearch index`, then `codesearch search QUESTION`")


@main.group()
def repos() -> None:
    """List, add and remove repositories."""


@repos.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@command
def repos_list(config: str | None, as_json: bool) -> None:
    """The repositories of the settings, discovered ones too."""
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
    click.echo(f"added {added} to {settings.file}; `codesearch index {added}` indexes it")


@repos.command("remove")
@click.argument("names", nargs=-1, required=True)
@command
def repos_remove(names: tuple[str, ...], config: str | None) -> None:
    """Strike repositories from the settings, comments kept."""
    from codesearch_resources.settings_file import remove_repositories

    settings = settings_of(config)
    remove_repositories(settings.file, names)
    click.echo(f"removed {', '.join(names)} from {settings.file}")


@main.command()
@click.argument("names", metavar="[REPO]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Run every step, moved or not.")
@command
def index(names: tuple[str, ...], everything: bool, config: str | None) -> None:
    """Bring the index up to date: what has moved, or the named repositories.

    Runs the same Dagster jobs as the UI, in this process, and ends with a table.
    """
    settings = settings_of(config)
    entries = [settings.repository(name) for name in names] or list(settings.repositories)
    if not entries:
        raise NoConfiguration(
            f"{settings.file} lists no repository; `codesearch repos add PATH` adds one"
        )
    with terminal.progress():
        from codesearch_assets.runs import index as run_index  # Dagster: 1.2 CPU seconds

        outcomes = run_index(settings, entries, everything=everything)
    with open_index(settings.file) as opened:
        click.echo(terminal.outcomes(opened, entries, outcomes))
    for pattern in settings.missing_discover:
        click.echo(f"note: discover: {pattern} matches no git repository", err=True)
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        click.echo(f"codesearch: {outcome.repo or outcome.job}: {outcome.error}", err=True)
    if failed:
        sys.exit(NEEDS_A_PERSON)


@main.command()
@click.argument("query", nargs=-1, required=True)
@click.option("--repo", "repos", multiple=True, help="Only this repository; may be repeated.")
@click.option("--language", "languages", multiple=True, help="Only this language.")
@click.option("--path", "paths", multiple=True, metavar="GLOB", help="Only paths like this.")
@click.option("--kind", "kinds", multiple=True, help="Only chunks of this kind, e.g. function.")
@click.option("--per-file", default=1, show_default=True, help="Hits a file may have.")
@click.option("--limit", default=10, show_default=True, help="Hits in all.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--explain", is_flag=True, help="Say why each hit is here.")
@command
def search(
    query: tuple[str, ...], as_json: bool, explain: bool, config: str | None, **options: Any
) -> None:
    """Find the code that does what QUERY says.

    Example: codesearch search where do we back off after a quota error
    """
    settings = settings_of(config)
    with Index(settings) as opened:
        answer = opened.ask(" ".join(query), **options)
    if as_json:
        click.echo(json.dumps(answer.as_dict(explain=explain), indent=1, ensure_ascii=False))
    else:
        click.echo(terminal.answer(answer, explain=explain))


@main.command()
@click.argument("path")
@click.option("--repo", help="The repository the path is in.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@command
def chunks(path: str, repo: str | None, as_json: bool, config: str | None) -> None:
    """How a file is cut: lines, kind, symbol, grade of the summary, content hash.

    Example: codesearch chunks src/app/client.py
    """
    from codesearch.cut import cut_of

    settings = settings_of(config)
    with Index(settings) as opened:
        found = cut_of(settings, opened.store, path, repo)
    if as_json:
        click.echo(json.dumps([asdict(chunk) for chunk in found], indent=1))
    else:
        click.echo(terminal.cut(found))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@command
def status(as_json: bool, config: str | None) -> None:
    """How the index stands, repository by repository."""
    from codesearch.status import statuses

    settings = settings_of(config)
    with Index(settings) as opened:
        found = statuses(settings, opened.store)
    if as_json:
        click.echo(json.dumps([one.as_dict() for one in found], indent=1))
    else:
        click.echo(terminal.status(found))


@main.command("eval")
@click.argument("bench", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--clones",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder with a clone of each repository of the benchmark.",
)
@click.option(
    "--work",
    default=Path("eval"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the indexes are kept; asking again indexes only what changed.",
)
@click.option("--merged", default="", metavar="NAMES", help="Also ask these, as one index.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON here.")
@click.option("-v", "--verbose", is_flag=True, help="Say more on standard error.")
def evaluate(
    bench: Path, clones: Path, work: Path, merged: str, out: Path | None, verbose: bool
) -> None:
    """Measure retrieval on a benchmark, through the real pipeline.

    Example: codesearch eval open.json --clones ~/bench --merged "curl tokio gson"
    """
    from codesearch import evaluation

    try:
        wanted = evaluation.read_bench(bench)
        found = evaluation.find_clones(clones, wanted)
        results = evaluation.evaluate(
            wanted, found, work.absolute(), _names(merged, wanted), terminal.say
        )
    except (SearchError, GitError) as error:
        click.echo(f"codesearch: {error}", err=True)
        if verbose:
            raise
        sys.exit(NEEDS_A_PERSON)
    for way, asked in results.items():
        click.echo(terminal.metrics(way, evaluation.summary(asked)))
    if out:
        out.write_text(json.dumps(evaluation.as_json(results), indent=1))


def _names(merged: str, bench: Sequence[Any]) -> list[str]:
    names = merged.replace(",", " ").split()
    unknown = sorted(set(names) - {wanted.name for wanted in bench})
    if unknown:
        raise click.UsageError(f"the benchmark has no repository {', '.join(unknown)}")
    return names
