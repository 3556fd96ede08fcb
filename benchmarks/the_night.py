"""The night that must not happen again, on a fake clock: 70,000 calls against a subscription.

python benchmarks/the_night.py                 the matrix, and the matrix without each part
python benchmarks/the_night.py --docs docs/quota.md   writes its tables between the markers there

A window of 5 hours holds 800 credits, the week 4,000, and a tenth of each is used at the start. A
call is sent each second and truly costs a factor of what is expected of it; the factor shows in
the usage that is reported, or only in the meter, which counts whole percents and lags behind.
"""

import argparse
import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from codesearch_resources.calls import Allow, Deny, Estimate, Usage
from codesearch_resources.quota.books import Books
from codesearch_resources.quota.guard import decide
from codesearch_resources.quota.meter import MeterState, merge
from codesearch_resources.quota.rates import cost, rate_card
from codesearch_resources.quota.readers import codex_usage
from codesearch_resources.quota.rules import PARTS, Part, Rules

FACTORS = (1.0, 6.8, 12.9, 50.0)
LAGS = (0, 10, 30)  # minutes
CALLS = 70_000
SIZES = {"primary": (18_000.0, 800.0), "secondary": (604_800.0, 4_000.0)}  # seconds, credits
USED_AT_START = 0.1
BEGIN = 1_795_000_000.0  # of the fake clock
POLL = 60.0
LEFT = 6 * 3600.0  # a wait longer than this leaves the subscription
MODEL = "gpt-5.3-codex"
ESTIMATE = Estimate("codex", MODEL, "codex", "summary", 300, 50)
PERSON = 60 / 3600  # credits a second, in working hours
MARKS = ("<!-- the night -->", "<!-- end of the night -->")


@dataclass(frozen=True)
class Cell:
    """One night."""

    factor: float
    visible: bool
    lag: int
    person: bool = False
    off: frozenset[Part] = frozenset()
    calls: int = CALLS


@dataclass(frozen=True)
class Outcome:
    """How it ended. `week` and `five` are the true shares at the last call that was sent."""

    cell: Cell
    calls: int
    week: float
    five: float
    hours: float
    why: str


class Subscription:
    """The provider: what is truly used, and what its meter says of it."""

    def __init__(self, lag: float) -> None:
        self.lag = lag
        self.used = {name: size * USED_AT_START for name, (_, size) in SIZES.items()}
        self.ends = {name: BEGIN + length for name, (length, _) in SIZES.items()}
        self._past: list[tuple[float, dict[str, float], dict[str, float]]] = []
        self._shown = 0

    def pass_to(self, now: float) -> None:
        """The clock moves: windows begin anew."""
        for name, (length, _) in SIZES.items():
            while now >= self.ends[name]:
                self.used[name] = 0.0
                self.ends[name] += length

    def charge(self, credits: float) -> None:
        for name in self.used:
            self.used[name] += credits

    def share(self, name: str) -> float:
        return self.used[name] / SIZES[name][1]

    def body(self, now: float) -> dict[str, object]:
        """What its usage endpoint answers: whole percents, of `lag` seconds ago."""
        self._past.append((now, dict(self.used), dict(self.ends)))
        while self._shown + 1 < len(self._past):
            if self._past[self._shown + 1][0] > now - self.lag:
                break
            self._shown += 1
        _, used, ends = self._past[self._shown]
        windows = {
            f"{name}_window": {
                "used_percent": math.floor(100 * used[name] / size + 1e-9),
                "limit_window_seconds": length,
                "reset_at": ends[name],
            }
            for name, (length, size) in SIZES.items()
        }
        return {"plan_type": "business", "rate_limit": {"allowed": True, **windows}}


def rules(off: frozenset[Part] = frozenset()) -> Rules:
    """The defaults, with the price and the prior that the card has."""
    card = rate_card()
    rate = card.find(MODEL, "credits", on=date(2026, 11, 22))
    assert rate is not None
    plans = {kind: size for (reader, kind), size in card.plans.items() if reader == "codex"}
    return Rules("codex", prices={MODEL: rate}, plans=plans, off=off)


def night(cell: Cell) -> Outcome:
    """One night, until the subscription is left or every call was made."""
    told = rules(cell.off)
    books, state = Books(told), MeterState()
    provider = Subscription(cell.lag * 60.0)
    factor = cell.factor if cell.visible else 1.0
    usage = Usage(input=round(300 * factor), output=round(50 * factor))
    true = cost(told.prices[MODEL], Usage(input=300, output=50))
    assert true is not None
    price = true.amount * cell.factor
    now = next_poll = BEGIN
    sent, week, five, why = 0, USED_AT_START, USED_AT_START, "done"
    last = now
    while sent < cell.calls:
        provider.pass_to(now)
        if now >= next_poll:
            if cell.person and (now - BEGIN) % 86_400 < 9 * 3600:
                provider.charge(PERSON * (now - next_poll + POLL))
            state = merge(state, codex_usage.parse(provider.body(now), now))
            books.read(state)
            next_poll = now + POLL
        if max(provider.share(name) for name in SIZES) >= 1:
            why = "locked out"
            break
        decision = decide(told, state, books, ESTIMATE, now)
        if isinstance(decision, Allow):
            books.reserve(sent, ESTIMATE, now)
            provider.charge(price)
            books.settle(sent, usage, now)
            sent += 1
            week = max(week, provider.share("secondary"))
            five = max(five, provider.share("primary"))
            last = now
            now += 1
            continue
        why = decision.why
        if isinstance(decision, Deny) or decision.until.timestamp() - now > LEFT:
            break
        now = max(now + 1, min(decision.until.timestamp(), next_poll))
    return Outcome(
        cell, sent, week, five, (last - BEGIN) / 3600, why if sent < cell.calls else "done"
    )


def matrix(off: frozenset[Part] = frozenset(), *, person: bool = False) -> Iterator[Cell]:
    """The 24 nights."""
    for factor in FACTORS:
        for visible in (True, False):
            for lag in LAGS:
                yield Cell(factor, visible, lag, person, off)


def nights(cells: Iterable[Cell]) -> list[Outcome]:
    """How they ended; what costs what is expected looks the same wherever it shows."""
    ended: dict[Cell, Outcome] = {}
    found = []
    for cell in cells:
        same = dataclasses.replace(cell, visible=cell.visible or cell.factor == 1)
        if same not in ended:
            ended[same] = night(same)
        found.append(dataclasses.replace(ended[same], cell=cell))
    return found


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """A row a cause, a column a lag: the share of the week that is used, after how many calls."""
    lags = " | ".join(f"lag {lag} min" for lag in LAGS)
    lines = [f"| true cost | shows in | {lags} | left because |", "|---|---|" + "---|" * 4]
    for factor in FACTORS:
        for visible in (True, False):
            row = [o for o in outcomes if (o.cell.factor, o.cell.visible) == (factor, visible)]
            cells = " | ".join(f"{o.week:.1%} ({o.calls:,})" for o in row)
            shows = "usage" if visible else "the meter only"
            lines.append(f"| {factor:g} times | {shows} | {cells} | {row[-1].why} |")
    return lines


def parts_table(by_part: dict[str, Sequence[Outcome]]) -> list[str]:
    """What each part is worth: the highest share of the week, by cause, over all lags."""
    names = [f"{f:g}, {'usage' if v else 'meter'}" for f in FACTORS for v in (True, False)]
    lines = ["| switched off | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for part, outcomes in by_part.items():
        found = []
        for factor in FACTORS:
            for visible in (True, False):
                same = [o for o in outcomes if (o.cell.factor, o.cell.visible) == (factor, visible)]
                worst = max(same, key=lambda o: o.week)
                locked = " **locked out**" if any(o.why == "locked out" for o in same) else ""
                found.append(f"{min(worst.week, 1):.0%}{locked}")
        lines.append(f"| {part} | " + " | ".join(found) + " |")
    return lines


def document() -> list[str]:
    """The tables as they stand in the documentation."""
    whole = nights(matrix())
    working = nights(matrix(person=True))
    lines = [
        "Share of the week that is used when the subscription is left, and the calls sent:",
        "",
    ]
    lines += table(whole)
    lines += ["", "The same with a person working beside it, nine hours a day:", ""]
    lines += table(working)
    by_part: dict[str, Sequence[Outcome]] = {"nothing": whole}
    for part in PARTS:
        by_part[part.replace("_", " ")] = nights(matrix(frozenset({part})))
    reserve_only = frozenset(PARTS) - {"reserve"}
    by_part["all but the reserve"] = nights(matrix(reserve_only))
    by_part["everything"] = nights(matrix(frozenset(PARTS)))
    lines += ["", "With one part switched off, the worst of the three lags:", ""]
    return lines + parts_table(by_part)


def put(lines: Iterable[str], file: Path) -> None:
    """Replace what stands between the markers of a document."""
    before, _, rest = file.read_text(encoding="utf-8").partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    body = "\n".join(lines)
    file.write_text(f"{before}{MARKS[0]}\n{body}\n{MARKS[1]}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--docs", type=Path, help="write the tables into this document")
    parser.add_argument("--cell", nargs=3, metavar=("FACTOR", "usage|meter", "LAG"))
    parser.add_argument("--person", action="store_true")
    given = parser.parse_args()
    if given.cell:
        factor, shows, lag = given.cell
        cell = Cell(float(factor), shows == "usage", int(lag), given.person)
        print(dataclasses.asdict(night(cell)))
        return
    lines = document()
    print("\n".join(lines))
    if given.docs:
        put(lines, given.docs)


if __name__ == "__main__":
    main()
