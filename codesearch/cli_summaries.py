"""`codesearch summaries`: look at them, and have some written anew."""

from contextlib import closing

import click

from codesearch import terminal
from codesearch.command import command, log, settings_of
from codesearch.search import Index


@click.group()
def summaries() -> None:
    """Judge what was written, and have some of it written anew.

    Example: codesearch summaries sample --repo api
    """


@summaries.command("sample")
@click.option("--repo", help="Only this repository.")
@click.option("--provider", help="Only what this provider wrote.")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1), help="How many.")
@command
def sample(repo: str | None, provider: str | None, limit: int, config: str | None) -> None:
    """Chunks with their summaries, for a person to judge.

    Example: codesearch summaries sample --provider local --limit 20
    """
    from codesearch.judging import samples

    settings = settings_of(config)
    if repo is not None:
        settings.repository(repo)
    with Index(settings) as opened:
        found = samples(opened.store, repo=repo, provider=provider, limit=limit)
    click.echo(terminal.samples(found) or "there are no such summaries")


@summaries.command("upgrade")
@click.option("--where", multiple=True, metavar="model=X|prompt=N|repo=R", help="Which; all hold.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def upgrade(where: tuple[str, ...], yes: bool, config: str | None) -> None:
    """Put summaries that were paid for back on the list; shows what that would cost first.

    The old ones are served until the new ones are written, by the next `codesearch index` or night.

    Example: codesearch summaries upgrade --where model=qwen3-coder:30b
    """
    from codesearch.judging import conditions, plan
    from codesearch_resources.results import Results

    wanted = conditions(where)
    settings = settings_of(config)
    with Index(settings) as opened, closing(Results(settings.data_dir)) as results:
        found = plan(settings, opened.store, results, wanted)
        click.echo(terminal.upgrade(found))
        if not found.keys or not (yes or click.confirm("Have them written anew?")):
            return
        count = results.reopen(found.keys)
        results.quarantine.forget(found.keys)
    log.info("summaries upgrade: %s: %d", ", ".join(where), count)
    click.echo(f"{count} are on the list again; `codesearch index` has them written")
