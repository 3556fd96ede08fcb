"""What every command has: its options, its log, its exit codes, and how it tells an error."""

import gc
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from codesearch.errors import BadQuery, NoConfiguration, SearchError
from codesearch_resources.data_dir import DataDirError, check_data_dir, storage_trouble
from codesearch_resources.git import GitError, scrub
from codesearch_resources.log_file import LOGGER, end_logs, log_to_file, log_to_terminal
from codesearch_resources.settings import Settings, SettingsError, UnknownRepository, find, load
from codesearch_resources.store import StoreError

if TYPE_CHECKING:
    from codesearch_assets.runs import Outcome

NEEDS_A_PERSON, BAD_USAGE = 1, 2
EXIT_CODES: dict[type[Exception], int] = {
    SettingsError: BAD_USAGE,
    UnknownRepository: BAD_USAGE,
    BadQuery: BAD_USAGE,
    NoConfiguration: BAD_USAGE,
    SearchError: NEEDS_A_PERSON,
    DataDirError: NEEDS_A_PERSON,
    StoreError: NEEDS_A_PERSON,
    GitError: NEEDS_A_PERSON,
}

log = logging.getLogger(LOGGER)


def command(function: Callable[..., Any]) -> Callable[..., Any]:
    """What every command has: --config, -v, a log, errors as one text and an exit code."""

    @click.option("--config", metavar="FILE", help="The codesearch.yaml to use.")
    @click.option("-v", "--verbose", is_flag=True, help="Say more on standard error.")
    @wraps(function)
    def run(*args: Any, verbose: bool, **options: Any) -> Any:
        if verbose:
            log_to_terminal()
        try:
            return function(*args, **options)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            sys.exit(_told(error, function.__name__, verbose=verbose))
        finally:
            end_logs()

    return run


def _told(error: Exception, name: str, *, verbose: bool) -> int:
    """Tell a person what went wrong; returns the exit code. The trace goes to the log."""
    code = next((EXIT_CODES[kind] for kind in type(error).__mro__ if kind in EXIT_CODES), None)
    if code is None and (advice := storage_trouble(str(error))):
        log.error("%s: %s", name, traceback.format_exc())
        code, text = NEEDS_A_PERSON, advice
    elif code is None:
        log.error("%s: %s", name, traceback.format_exc())
        text = f"{type(error).__name__}: {error}\nThis should not happen; -v shows where it did."
    else:
        log.error("%s: %s", name, error)
        text = str(error)
    click.echo(f"codesearch: {scrub(text)}", err=True)
    if verbose:
        click.echo(scrub(traceback.format_exc()), err=True)
    return NEEDS_A_PERSON if code is None else code


def settings_file(config: str | None) -> Path:
    """The configuration in force, which may be missing. Raises NoConfiguration for none."""
    file = find(config)
    if file is None:
        raise NoConfiguration("there is no codesearch.yaml here or above: run `codesearch init`")
    return file


def settings_of(config: str | None) -> Settings:
    """The settings in force, with this command's log begun under their data folder.

    A listed folder that is not there, or is no repository, costs that one alone: `index` names it.
    """
    settings = load(settings_file(config), absent_ok=True)
    check_data_dir(settings.data_dir, settings.file)
    log_to_file(settings.data_dir)
    return settings


@contextmanager
def uncollected() -> Iterator[None]:
    """Without garbage collection: while LanceDB is imported it is a tenth of the CPU."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def tell(outcome: "Outcome") -> None:
    """Log how a job went, and tell it when it went wrong."""
    what = f"{outcome.repo or 'all'}: {outcome.job}"
    if outcome.error:
        log.error("index: %s failed: %s", what, outcome.error)
        click.echo(f"codesearch: {what} failed: {scrub(outcome.error)}", err=True)
    else:
        log.info("index: %s done in %.1f s", what, outcome.seconds)
        if outcome.job == "remove":
            click.echo(f"removed {outcome.repo}: it is no longer in the settings")
