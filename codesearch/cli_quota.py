"""`codesearch plan` and `codesearch quota`: what a run would take, and how the limits stand."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import click

from codesearch import quota_text
from codesearch.command import command, log, settings_of
from codesearch.errors import NoConfiguration
from codesearch.search import Index
from codesearch_resources.settings import Settings

if TYPE_CHECKING:
    from codesearch_assets.plan import Plan
    from codesearch_resources.quota.metered import MeteredGuard
    from codesearch_resources.results import Results
    from codesearch_resources.summarizers.chain import Chain


@contextmanager
def _at_work(settings: Settings) -> Iterator[tuple["Results", "Chain"]]:
    from codesearch_resources.results import Results
    from codesearch_resources.summarizers.chain import make_chain

    chain = make_chain(settings, beyond_limits=True)
    with closing(Results(settings.data_dir)) as results, closing(chain):
        yield results, chain


@click.command("plan")
@click.argument("names", metavar="[REPO]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@command
def plan_summaries(names: tuple[str, ...], as_json: bool, config: str | None) -> None:
    """What the summaries would take, before anything is sent.

    Calls, tokens, money or credits, hours, and the share of each limit window, by provider.

    Example: codesearch plan --json
    """
    from codesearch_assets.plan import make_plan

    settings = settings_of(config)
    entries = [settings.repository(name) for name in dict.fromkeys(names)]
    entries = entries or list(settings.repositories)
    with Index(settings) as opened, _at_work(settings) as (results, chain):
        found = make_plan(settings, opened.store, results, chain, entries, time.time())
    click.echo(json.dumps(found.as_dict(), indent=1) if as_json else quota_text.plan(found))


@click.group()
def quota() -> None:
    """The limits that providers draw on: how they stand, and stopping and starting by hand.

    Example: codesearch quota status
    """


@quota.command("status")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@command
def status(as_json: bool, config: str | None) -> None:
    """Each window with its use, reserve, reset, age, source and our own share.

    Example: codesearch quota status --json
    """
    _show(settings_of(config), as_json=as_json, probe=False)


@quota.command("probe")
@command
def probe(config: str | None) -> None:
    """Read every meter now, let go on whom a reset has freed, and show how they stand.

    Example: codesearch quota probe
    """
    _show(settings_of(config), as_json=False, probe=True)


def _show(settings: Settings, *, as_json: bool, probe: bool) -> None:
    from codesearch.quota_status import meter_statuses

    with _at_work(settings) as (results, chain):
        guard, now = chain.guard(results), time.time()
        if probe:
            for desk in guard.desks.values():
                desk.poll(now, force=True)
            if guard.reopen():
                results.let_follow()
        found = meter_statuses(guard, results, time.time())
    if as_json:
        click.echo(json.dumps([one.as_dict() for one in found], indent=1))
    else:
        click.echo(quota_text.meters(found) or "no provider draws on anything")


@quota.command("pause")
@click.argument("meter", required=False)
@command
def pause(meter: str | None, config: str | None) -> None:
    """Send nothing more to METER (all of them without it), also after a restart, until resumed.

    Example: codesearch quota pause codex
    """
    settings = settings_of(config)
    with _at_work(settings) as (results, chain):
        for name in _named(chain.guard(results), meter):
            results.meters.mark(
                name, "paused", "paused by hand: codesearch quota resume", time.time()
            )
            log.info("quota: %s paused", name)
            click.echo(f"{name} is paused; calls under way end as they are")


@quota.command("resume")
@click.argument("meter", required=False)
@command
def resume(meter: str | None, config: str | None) -> None:
    """Let METER (all of them without it) go on: pauses and what the guard stopped are closed.

    It starts slowly again. Limit windows, reserves and budgets hold as before.

    Example: codesearch quota resume codex
    """
    settings = settings_of(config)
    with _at_work(settings) as (results, chain):
        guard = chain.guard(results)
        for name in _named(guard, meter):
            closed = results.meters.resume(name, time.time())
            for provider, limit in guard.meter_of.items():
                if limit == name:
                    results.breakers.close(provider)
            log.info("quota: %s resumed (%s)", name, ", ".join(closed))
            click.echo(f"{name} goes on" + (f"; closed: {', '.join(closed)}" if closed else ""))
        results.let_follow()


def _named(guard: "MeteredGuard", meter: str | None) -> list[str]:
    names = list(guard.desks)
    if meter is None:
        return names
    if meter not in names:
        there = f"there are {', '.join(names)}" if names else "no provider draws on any"
        raise NoConfiguration(f"no meter is named {meter!r}; {there}")
    return [meter]


def agrees(yes: bool) -> "Callable[[Plan], bool]":
    """Ask about summaries beyond the limits of a run; nobody to ask is no agreement."""

    def ask(found: "Plan") -> bool:
        click.echo(quota_text.plan(found), err=True)
        if yes:
            return True
        if not sys.stdin.isatty():
            click.echo("not agreed to: the run keeps to its limits, or give --yes", err=True)
            return False
        return click.confirm("Have all of it written?", err=True)

    return ask
