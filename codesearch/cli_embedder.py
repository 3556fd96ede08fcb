"""`codesearch embedder`: the sets of vectors that there are, and which one is searched."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click

from codesearch import terminal
from codesearch.command import command, log, settings_of
from codesearch_resources.coverage import Coverage, coverage, size, store_of, switch_when_covered
from codesearch_resources.embedders.make import set_of
from codesearch_resources.sets import Sets, choose, read_sets
from codesearch_resources.settings import Settings


@dataclass(frozen=True, slots=True)
class Standing:
    """A set of vectors as `embedder list` shows it."""

    name: str
    state: str
    coverage: Coverage
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        """In the form of the JSON output."""
        return {**asdict(self), "share": round(self.coverage.share, 4)}


def standings(settings: Settings) -> list[Standing]:
    """Every set of an index, the one that serves first."""
    found = read_sets(settings.data_dir)
    repos = [entry.name for entry in settings.repositories]
    wanted = found.wanted(set_of(settings.embedder).name)
    listed = sorted(found.sets.values(), key=lambda one: (one.name != found.serving, one.name))
    return [
        Standing(one.name, _state(found, one.name, wanted), coverage(store, repos), size(store))
        for one in listed
        for store in [store_of(settings.data_dir, one)]
    ]


def _state(found: Sets, name: str, wanted: str) -> str:
    if name == found.serving:
        return "searched" if name == wanted else "searched until the next is filled"
    return "being filled" if name == wanted else f"left {found.sets[name].left_at[:10]}"


def told(listed: Sequence[Standing]) -> str:
    """The sets as a table."""
    rows = [
        (
            one.name,
            one.state,
            f"{one.coverage.share:.1%}",
            one.coverage.code_vectors,
            one.coverage.summary_vectors,
            f"{one.bytes / 1e6:,.1f}",
        )
        for one in listed
    ]
    header = ("vectors of", "state", "covers", "of code", "of summaries", "MB")
    return terminal.table(header, rows) if rows else "no vectors yet; run `codesearch index`"


@click.group()
def embedder() -> None:
    """List the sets of vectors, and say which one is to be searched.

    Example: codesearch embedder list
    """


@embedder.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@command
def embedder_list(as_json: bool, config: str | None) -> None:
    """The sets of vectors: which is searched, how much of the index each covers, its size.

    Example: codesearch embedder list --json
    """
    listed = standings(settings_of(config))
    if as_json:
        click.echo(json.dumps([one.as_dict() for one in listed], indent=1))
    else:
        click.echo(told(listed))


@embedder.command("use")
@click.argument("name")
@command
def embedder_use(name: str, config: str | None) -> None:
    """Search the vectors of NAME, a set of `codesearch embedder list`, from now on.

    What it lacks is filled by the next `codesearch index`; only then is it searched. It holds until
    the embedder of the settings is changed.

    Example: codesearch embedder use wordllama_words1_256
    """
    settings = settings_of(config)
    configured = set_of(settings.embedder).name
    names = sorted(read_sets(settings.data_dir).sets)
    if name not in names:
        there = ", ".join(names) or "none; run `codesearch index`"
        raise click.UsageError(f"there are no vectors of {name}; there are: {there}")
    choose(settings.data_dir, name, configured)
    repos = [entry.name for entry in settings.repositories]
    switch_when_covered(settings.data_dir, configured, repos)
    found = read_sets(settings.data_dir)
    log.info("embedder use: %s, search uses %s", name, found.serving)
    if found.serving == name:
        click.echo(f"search uses the vectors of {name}")
    else:
        click.echo(
            f"{name} does not cover the index yet: `codesearch index` fills it; until then search "
            f"uses {found.serving}"
        )
    if name != configured:
        click.echo(
            f"the settings still name {configured}: this holds until their `embedder` is changed"
        )
