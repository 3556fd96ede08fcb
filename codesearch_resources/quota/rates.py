"""The rate card: what tokens cost, in credits of a subscription or dollars of a key.

Rows are data with a source and the day they hold from (`rate_card.toml`). A model that is not on
the card has no price, which is not the same as being free.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Literal

from codesearch_resources.calls import Usage

CARD = Path(__file__).with_name("rate_card.toml")
CREDITS_PER_DOLLAR = 25.0
MILLION = 1_000_000
Unit = Literal["credits", "dollars"]
Task = Literal["local", "review", "cloud"]
_DATED = re.compile(r"-20\d\d-?\d\d-?\d\d$")


@dataclass(frozen=True, slots=True)
class Rate:
    """Prices of a million tokens of one model, in `unit`, from `since` on."""

    model: str
    unit: Unit
    input: float
    output: float
    source: str
    since: date
    cached: float | None = None
    write: float | None = None
    fast: float = 2.0
    peak: float = 1.0
    batch: float | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount in `unit`; `flags` say what of the usage could not be taken as it came."""

    amount: float
    unit: Unit
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RateCard:
    """All rows, and what else the card knows."""

    rates: tuple[Rate, ...]
    review_model: str
    plans: Mapping[tuple[str, str], float]  # (reader, kind of window) → credits a window holds

    def find(
        self, model: str, unit: Unit, *, task: Task = "local", on: date | None = None
    ) -> Rate | None:
        """The newest row of the model that holds on that day; None: the price is unknown.

        A row in the other unit serves as well, at 25 credits a dollar.
        """
        if task == "cloud":
            return None
        wanted = self.review_model if task == "review" else plain_name(model)
        day = on or date.today()
        rows = [r for r in self.rates if r.model == wanted and r.since <= day]
        same = [r for r in rows if r.unit == unit]
        newest = max(same or rows, key=lambda r: r.since, default=None)
        return newest and in_unit(newest, unit)

    def with_own(self, own: Iterable[Rate]) -> "RateCard":
        """The card with rows of the user's, which go before every row of the same model."""
        rows = tuple(own)
        named = {r.model for r in rows}
        kept = (r for r in self.rates if r.model not in named)
        return RateCard((*rows, *kept), self.review_model, self.plans)

    def knows(self, model: str) -> bool:
        """Whether any row is of that model."""
        return any(r.model == plain_name(model) for r in self.rates)


def own_rate(
    model: str, input: float, output: float, cached: float | None = None, unit: Unit = "dollars"
) -> Rate:
    """A user's own price in dollars for a million tokens, as a row in `unit`."""
    today = date.today()
    own = Rate(plain_name(model), "dollars", input, output, "codesearch.yaml", today, cached)
    return in_unit(own, unit)


def plain_name(model: str) -> str:
    """A model's name as the card writes it: lower case, without vendor, day or cloud tag."""
    name = model.strip().lower().replace(" ", "-").rpartition("/")[2]
    return _DATED.sub("", name.removesuffix(":cloud").removesuffix("-cloud"))


def in_unit(rate: Rate, unit: Unit) -> Rate:
    """The same prices in the other unit."""
    if rate.unit == unit:
        return rate
    by = CREDITS_PER_DOLLAR if unit == "credits" else 1 / CREDITS_PER_DOLLAR
    return Rate(
        rate.model,
        unit,
        rate.input * by,
        rate.output * by,
        rate.source,
        rate.since,
        None if rate.cached is None else rate.cached * by,
        None if rate.write is None else rate.write * by,
        rate.fast,
        rate.peak,
        rate.batch,
    )


def cost(rate: Rate, usage: Usage, *, fast: bool = False, batch: bool = False) -> Cost | None:
    """What a usage costs; None when it names no input or no output.

    Cached and written tokens are parts of the input, reasoning is a part of the output: parts that
    are larger than their whole are cut to it, and flagged.
    """
    if usage.input is None or usage.output is None:
        return None
    flags = []
    whole_input, whole_output = max(0, usage.input), max(0, usage.output)
    if (whole_input, whole_output) != (usage.input, usage.output):
        flags.append("negative_tokens")
    cached, write = max(0, usage.cached or 0), max(0, usage.cache_write or 0)
    if cached + write > whole_input:
        flags.append("cached_above_input")
        cached = min(cached, whole_input)
        write = min(write, whole_input - cached)
    if (usage.reasoning or 0) > whole_output:
        flags.append("reasoning_above_output")
    cached_price = rate.input if rate.cached is None else rate.cached
    write_price = rate.input if rate.write is None else rate.write
    amount = (
        (whole_input - cached - write) * rate.input
        + cached * cached_price
        + write * write_price
        + whole_output * rate.output
    ) / MILLION
    factor = rate.peak * (rate.fast if fast else 1.0)
    if batch and rate.batch is not None:
        factor *= rate.batch
    return Cost(amount * factor, rate.unit, tuple(flags))


@cache
def rate_card(file: Path = CARD) -> RateCard:
    """The card that ships with the package."""
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    return RateCard(
        tuple(_rate(row) for row in content["rates"]),
        content["tasks"]["review"],
        {(row["reader"], row["kind"]): float(row["credits"]) for row in content["plans"]},
    )


def _rate(row: Mapping[str, Any]) -> Rate:
    optional = {key: row[key] for key in ("cached", "write", "batch") if key in row}
    return Rate(
        model=row["model"],
        unit=row["unit"],
        input=row["input"],
        output=row["output"],
        source=row["source"],
        since=row["date"],
        fast=row.get("fast", 2.0),
        peak=row.get("peak", 1.0),
        **optional,
    )
