"""What tests ask of a chain of providers: pieces, a chain on simulators, what came of it."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from simulator import Simulator

from codesearch_resources.data_dir import RESULTS_FILE
from codesearch_resources.results import Results
from codesearch_resources.settings_limits import Limits
from codesearch_resources.settings_summarizers import OllamaSettings, OpenAIChatSettings
from codesearch_resources.summarizers.base import Piece, Summary
from codesearch_resources.summarizers.chain import Chain
from codesearch_resources.summarizers.order import Order
from codesearch_resources.summarizers.troubles import Patience

# The real waits in the hundredth of their time.
QUICK = Patience(
    backoff=0.005,
    longest_backoff=0.05,
    overload=timedelta(seconds=0.3),
    longest_overload=timedelta(seconds=9),
    pause=0.6,
    soon=1.2,
    no_slot=0.01,
    taken=0.02,
    grace=0.5,
)


def piece(name: str) -> Piece:
    """A function that is like no other."""
    text = f"def {name}(value):\n    total_{name} = value + 1\n    return total_{name} * 2\n"
    return Piece(f"hash-of-{name}", "python", "function", name, "", "", text)


def pieces(count: int, prefix: str = "work") -> list[Piece]:
    return [piece(f"{prefix}_{number}") for number in range(count)]


def ollama(server: Simulator | str, name: str = "local", **values: Any) -> OllamaSettings:
    url = server if isinstance(server, str) else server.url
    given = {"model": "smol:F16", "timeout_seconds": 5, **values}
    return OllamaSettings(name=name, kind="ollama", url=url, **given)


def openai(server: Simulator, name: str = "chat", **values: Any) -> OpenAIChatSettings:
    given = {"model": "gpt-small", "timeout_seconds": 5, **values}
    return OpenAIChatSettings(name=name, kind="openai_chat", url=server.url, **given)


@dataclass
class Desk:
    """A results.db and chains that use it."""

    folder: Path
    results: Results

    def time_has_come(self) -> None:
        """The time of every breaker is over."""
        with closing(sqlite3.connect(self.folder / RESULTS_FILE)) as connection, connection:
            connection.execute("UPDATE breakers SET until = '2020-01-01 00:00:00.000000'")

    def chain(self, *links: Any, patience: Patience = QUICK, **limits: Any) -> Chain:
        return Chain(links, limits=Limits(**limits) if limits else None, patience=patience)

    def ask(
        self, chain: Chain, wanted: Sequence[Piece], **order: Any
    ) -> tuple[dict[str, Summary], Order]:
        """One slice: the summaries by name of the piece, and the order with its remainder."""
        given = Order(self.results, **order)
        with closing(chain.summarize(wanted, given)) as work:
            return {found.symbol: summary for found, summary in work}, given


@contextmanager
def desk(folder: Path) -> Iterator[Desk]:
    with closing(Results(folder)) as results:
        yield Desk(folder, results)
