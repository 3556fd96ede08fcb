"""The command line: each command a few lines over the library.

Exit codes: 0 done (a remainder included), 1 something needs a person, 2 bad usage or settings.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import click

from codesearch import terminal
from codesearch.cli_embedder import embedder
from codesearch.cli_quota import agrees, plan_summaries, quota
from codesearch.cli_repos import repos
from codesearch.cli_summaries import summaries
from codesearch.command import NEEDS_A_PERSON, command, log, settings_of, tell, uncollected
from codesearch.errors import NoConfiguration
from codesearch.search import Index
from codesearch.status import statuses
from codesearch_resources.catalog import struck
from codesearch_resources.log_file import log_to_file
from codesearch_resources.settings import FILE_NAME, load

MOST_LOGGED = 200  # characters of a question


@click.group()
@click.version_option(package_name="dagster-codesearch", prog_name="codesearch")
def main() -> None:
    """Ask your repositories where something is done.

    Example: codesearch init && codesearch index && codesearch search where are retries done
    """


main.add_command(repos)
main.add_command(embedder)
main.add_command(summaries)
main.add_command(plan_summaries)
main.add_command(quota)


@main.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--profile",
    type=click.Choice(["local", "cloud", "hybrid", "extractive"]),
    default="extractive",
    show_default=True,
    help="Who writes the summaries: a model on this machine, one in the cloud, or no model; "
    "hybrid: one in the cloud, with a local model for the vectors.",
)
@click.option("--yes", is_flag=True, help="Do not ask before code may leave this machine.")
@command
def init(paths: tuple[Path, ...], profile: str, yes: bool, config: str | None) -> None:
    """Write a commented codesearch.yaml for the repositories at PATHS.

    Without PATHS it lists the repository you stand in, if you stand in one.

    Example: codesearch init --profile local ~/src/api ~/src/web
    """
    from codesearch_resources.git import git_dir
    from codesearch_resources.starter import MAY_LEAVE, starter

    file = Path(config or FILE_NAME)
    if file.exists():
        raise click.UsageError(f"{file} is there already; edit it, or use `codesearch repos add`")
    for path in paths:
        if git_dir(path) is None:
            raise click.UsageError(f"{path} is not a git repository")
    above = (folder for folder in (Path.cwd(), *Path.cwd().parents) if git_dir(folder) is not None)
    try:
        text = starter(paths or list(islice(above, 1)), profile)
        if profile in MAY_LEAVE and not yes:
            click.confirm(
                f"{file} will say local_only: false: code of every repository in it may be sent to "
                "the cloud. Write it?",
                abort=True,
            )
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"cannot write {file}: {error.strerror}") from None
    click.echo(f"wrote {file}; now run `codesearch index`, then `codesearch search QUESTION`")


@main.command()
@click.option("--port", default=3000, show_default=True, help="On 127.0.0.1.")
@command
def ui(port: int, config: str | None) -> None:
    """Open Dagster on this configuration: partitions, runs, backfills, the night.

    Example: codesearch ui --port 3001
    """
    from codesearch_assets.ui import serve

    serve(settings_of(config), port)


@main.command()
@click.argument("names", metavar="[REPO]...", nargs=-1)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Run every step, moved or not; ask again for texts that the embedder refused.",
)
@click.option("--yes", is_flag=True, help="Go beyond the limits of a run without asking.")
@command
def index(names: tuple[str, ...], everything: bool, yes: bool, config: str | None) -> None:
    """Bring the index up to date: what has moved, or the named repositories.

    Runs the same Dagster jobs as the UI, in this process, and ends with a table.

    Example: codesearch index api web
    """
    settings = settings_of(config)
    entries = [settings.repository(name) for name in dict.fromkeys(names)]
    entries = entries or list(settings.repositories)
    if not entries and not struck(settings):  # what was struck goes first
        raise NoConfiguration(
            f"{settings.file} lists no repository; `codesearch repos add PATH` adds one"
        )
    log.info("index: %s", ", ".join(entry.name for entry in entries))
    with terminal.progress():
        from codesearch_assets.runs import index as run_index  # Dagster: 1.2 CPU seconds

        outcomes = run_index(
            settings, entries, everything=everything, agrees=agrees(yes), beyond_limits=yes
        )
    with Index(settings) as opened:
        found = statuses(settings, opened.store)
        about_vectors = opened.notices()
    standing = [one for one in found if one.repo in names or not names]
    click.echo(terminal.outcomes(standing, outcomes))
    for warning in [*terminal.warnings(settings, standing), *about_vectors]:
        log.warning("index: %s", warning)
        click.echo(f"note: {warning}", err=True)
    for outcome in outcomes:
        tell(outcome)
    if any(outcome.error for outcome in outcomes):
        sys.exit(NEEDS_A_PERSON)


@main.command()
@click.argument("query", nargs=-1)
@click.option("--repo", "repos", multiple=True, help="Only this repository; may be repeated.")
@click.option("--language", "languages", multiple=True, help="Only this language.")
@click.option("--path", "paths", multiple=True, metavar="GLOB", help="Only paths like this.")
@click.option("--kind", "kinds", multiple=True, help="Only chunks of this kind, e.g. function.")
@click.option("--per-file", default=1, show_default=True, help="Hits a file may have.")
@click.option("--limit", default=10, show_default=True, help="Hits in all.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--like", metavar="PATH:LINE", help="Code near the one there, instead of QUERY.")
@click.option("--explain", is_flag=True, help="Say why each hit is here.")
@click.option("--expect", metavar="GLOB", help="Say of these files why they are not higher.")
@command
def search(
    query: tuple[str, ...],
    as_json: bool,
    like: str | None,
    explain: bool,
    expect: str | None,
    config: str | None,
    **options: Any,
) -> None:
    """Find the code that does what QUERY says.

    Example: codesearch search where do we back off after a quota error
    """
    if bool(query) == bool(like):
        raise click.UsageError("ask with a QUERY or with --like, one of them")
    settings = settings_of(config)
    with uncollected(), Index(settings) as opened:
        if like:
            answer = opened.like(like, **options)
        else:
            answer = opened.ask(" ".join(query), expect=expect or "", **options)
    explain = explain or bool(expect)
    asked = answer.query[:MOST_LOGGED]
    log.info("search: %d hits in %.0f ms: %r", len(answer.hits), answer.took_ms, asked)
    for notice in answer.notices:
        log.warning("search: %s", notice)
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
    """How the index stands, repository by repository.

    Example: codesearch status --json
    """
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
@command
def evaluate(
    bench: Path, clones: Path, work: Path, merged: str, out: Path | None, config: str | None
) -> None:
    """Measure retrieval on a benchmark, through the real pipeline.

    With --config the embedder and the summarizers are those of that file.

    Example: codesearch eval open.json --clones ~/bench --merged "curl tokio gson"
    """
    from codesearch import evaluation

    like = load(Path(config)) if config else None
    wanted = evaluation.read_bench(bench)
    together = _names(merged, wanted)
    found = evaluation.find_clones(clones, wanted)
    log_to_file(work)
    results = evaluation.evaluate(wanted, found, work.absolute(), together, terminal.say, like=like)
    for way, asked in results.items():
        figures = evaluation.summary(asked)
        log.info("eval: %s: %s", way, figures["all"]["all"])
        click.echo(terminal.metrics(way, figures))
    if out:
        out.write_text(json.dumps(evaluation.as_json(results), indent=1), encoding="utf-8")


def _names(merged: str, bench: Sequence[Any]) -> list[str]:
    names = merged.replace(",", " ").split()
    unknown = sorted(set(names) - {wanted.name for wanted in bench})
    if unknown:
        raise click.UsageError(f"the benchmark has no repository {', '.join(unknown)}")
    return names
