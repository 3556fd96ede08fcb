"""The outside world as Dagster resources: thin wrappers, read at the start of each run.

Each names the configuration file it reads, so that an edit of that file needs no reload, and so
that the UI shows which one is in force. The classes behind them work without Dagster.
"""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Self

import dagster as dg
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from codesearch_resources.data_dir import (
    Busy,
    DataDirError,
    forget_lock,
    lock,
    open_data_dir,
    run_lock,
)
from codesearch_resources.embedders.base import Document, Embedder, Kind
from codesearch_resources.embedders.make import set_of, wanted_embedder
from codesearch_resources.repositories import Repository
from codesearch_resources.results import Results
from codesearch_resources.sets import follow
from codesearch_resources.settings import RepositorySettings, Settings, SettingsError, find, load
from codesearch_resources.store import Store
from codesearch_resources.summarizers.base import Grade, Piece, Summary
from codesearch_resources.summarizers.chain import Chain, make_chain
from codesearch_resources.summarizers.order import Order

NO_CONFIGURATION = (
    "There is no codesearch.yaml yet. Run `codesearch init` in the folder you start Dagster from, "
    "or set CODESEARCH_CONFIG to one, and reload."
)
MIRRORS = "mirrors"
BEYOND_LIMITS = (
    "A person agreed to a run beyond limits.max_calls_per_run and limits.max_spend_per_run."
)


def git_repository(settings: Settings, entry: RepositorySettings) -> Repository:
    """The git side of a configured repository; bare mirrors of URLs lie under the data folder."""
    return Repository(
        name=entry.name,
        path=entry.path,
        url=entry.url,
        branch=entry.branch,
        root=entry.root,
        mirrors=settings.data_dir / MIRRORS,
    )


class FromConfiguration(dg.ConfigurableResource):  # type: ignore[type-arg]
    """What every resource has: the configuration file it reads."""

    configuration: str = Field(
        default="",
        description="Path of a codesearch.yaml. Empty: CODESEARCH_CONFIG, else the nearest "
        "codesearch.yaml upwards from the working folder, else the user's config folder.",
    )

    def file(self) -> Path | None:
        """The configuration file in force, None when there is none."""
        return find(self.configuration or None)

    def settings(self) -> Settings:
        """The settings as they stand in the file now.

        A listed folder that is not there is no problem here: it must not keep the others from
        their run. Raises SettingsError for a file with problems, dagster.Failure without one.
        """
        file = self.file()
        if file is None:
            raise dg.Failure(NO_CONFIGURATION, allow_retries=False)
        return load(file, absent_ok=True)


class RepositoriesResource(FromConfiguration):
    """The git repositories: `repositories`, `discover` and `defaults` of codesearch.yaml."""

    def entry(self, name: str) -> RepositorySettings:
        """The settings of one repository."""
        return self.settings().repository(name)

    def open(self, name: str) -> Repository:
        """One repository, ready to be read."""
        settings = self.settings()
        return git_repository(settings, settings.repository(name))


class StoreResource(FromConfiguration):
    """The LanceDB tables and results.db under `data_dir` of codesearch.yaml."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Self]:
        """Hold the run's own lock while it lasts: whether it is alive is asked of that."""
        with ExitStack() as held:
            # Of what is wrong with the settings or the folder its steps tell, in a sentence.
            with suppress(SettingsError, DataDirError, Busy, OSError, dg.Failure):
                if context.run is not None:
                    name, data_dir = run_lock(context.run.run_id), self.data_dir()
                    held.callback(forget_lock, data_dir, name)
                    held.enter_context(lock(data_dir, name))
            yield self

    def data_dir(self) -> Path:
        """The data folder, made and checked."""
        settings = self.settings()
        open_data_dir(settings.data_dir, settings.dagster_home, settings.file)
        return settings.data_dir

    def open(self, embedder: Embedder) -> Store:
        """The tables for vectors of this embedder; makes those that are missing."""
        data_dir = self.data_dir()
        follow(data_dir, set_of(self.settings().embedder))
        store = Store(data_dir, embedder.id, embedder.dimensions)
        store.create()
        return store

    def results(self) -> Results:
        """What was paid for."""
        return Results(self.data_dir())


class EmbedderResource(FromConfiguration):
    """What turns text into vectors: `embedder` of codesearch.yaml, or the one that was chosen by
    hand instead. It is an Embedder itself."""

    beyond_limits: bool = Field(default=False, description=BEYOND_LIMITS)

    @cached_property
    def _embedder(self) -> Embedder:
        settings = self.settings()
        if self.beyond_limits:
            settings = settings.model_copy(update={"limits": settings.limits.lifted()})
        return wanted_embedder(settings)

    @property
    def id(self) -> str:
        return self._embedder.id

    @property
    def dimensions(self) -> int:
        return self._embedder.dimensions

    def view(self, document: Document) -> str:
        return self._embedder.view(document)

    def embed(self, texts: Sequence[str], kind: Kind) -> NDArray[np.float32]:
        return self._embedder.embed(texts, kind)


class SummarizerResource(FromConfiguration):
    """The chain of summarizers: `summarizers` of codesearch.yaml. It is a Summarizer itself."""

    beyond_limits: bool = Field(default=False, description=BEYOND_LIMITS)

    @cached_property
    def _chain(self) -> Chain:
        return make_chain(self.settings(), beyond_limits=self.beyond_limits)

    @property
    def name(self) -> str:
        return self._chain.name

    @property
    def grade(self) -> Grade:
        return self._chain.grade

    def summarize(
        self, pieces: Sequence[Piece], order: Order
    ) -> Generator[tuple[Piece, Summary], None, None]:
        return self._chain.summarize(pieces, order)

    def given_up(self, results: Results, keys: Sequence[str]) -> set[str]:
        return self._chain.given_up(results, keys)


def configured(configuration: str = "") -> dict[str, object]:
    """The four resources of a code location, all reading one configuration."""
    return {
        "repositories": RepositoriesResource(configuration=configuration),
        "store": StoreResource(configuration=configuration),
        "embedder": EmbedderResource(configuration=configuration),
        "summarizer": SummarizerResource(configuration=configuration),
    }
