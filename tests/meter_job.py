"""A job at its meter in a few words: read, ask, send. The clock is a number."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from codesearch_resources.calls import Allow, Decision, Deny, Estimate, Usage, Wait
from codesearch_resources.quota.books import Books
from codesearch_resources.quota.guard import decide
from codesearch_resources.quota.meter import MeterState, merge
from codesearch_resources.quota.rates import rate_card
from codesearch_resources.quota.readers import codex_usage
from codesearch_resources.quota.rules import Rules
from codesearch_resources.quota.windows import Report

NOW = 1_795_291_000.0
MODEL = "gpt-5.3-codex"
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
FIVE, WEEK = 18_000.0, 604_800.0
ESTIMATE = Estimate("codex", MODEL, "codex", "summary", 310, 60)
PRICES = {MODEL: rate_card().find(MODEL, "credits")}


def estimate(model: str = MODEL, input: int = 310, output: int = 60) -> Estimate:
    return Estimate("codex", model, "codex", "summary", input, output)


def rules(**more: Any) -> Rules:
    """The defaults for a subscription whose week is known to hold 4,000 credits."""
    return Rules("codex", **{"prices": PRICES, "plans": {"week": 4000.0}, **more})


def limits(
    five: float | None = None,
    week: float | None = None,
    *,
    five_resets: float = NOW + 2 * HOUR,
    week_resets: float = NOW + 3 * DAY,
) -> dict[str, Any]:
    """A usage body with these percentages."""
    windows: dict[str, Any] = {"primary_window": None, "secondary_window": None}
    if five is not None:
        windows["primary_window"] = {
            "used_percent": five,
            "limit_window_seconds": FIVE,
            "reset_at": five_resets,
        }
    if week is not None:
        windows["secondary_window"] = {
            "used_percent": week,
            "limit_window_seconds": WEEK,
            "reset_at": week_resets,
        }
    return {"rate_limit": {"allowed": True, **windows}}


@dataclass
class Job:
    """One job on one meter."""

    rules: Rules = field(default_factory=rules)
    now: float = NOW
    state: MeterState = field(default_factory=MeterState)
    sent: int = 0

    def __post_init__(self) -> None:
        self.books = Books(self.rules)

    def hear(self, report: Report) -> None:
        self.state = merge(self.state, report)
        self.books.read(self.state)

    def read(self, body: Mapping[str, Any] | None = None, **percent: Any) -> None:
        """The usage endpoint answers now."""
        self.hear(codex_usage.parse(body or limits(**percent), self.now))

    def ask(self, wanted: Estimate = ESTIMATE) -> Decision:
        return decide(self.rules, self.state, self.books, wanted, self.now)

    def send(self, usage: Usage | None = None, wanted: Estimate = ESTIMATE) -> None:
        """One call, answered at once."""
        self.books.reserve(self.sent, wanted, self.now)
        usual = Usage(input=wanted.input, output=wanted.output)
        self.books.settle(self.sent, usage or usual, self.now)
        self.sent += 1

    def send_while_allowed(self, most: int, usage: Usage | None = None) -> int:
        """Calls, a second each, until the guard objects."""
        for n in range(most):
            if not isinstance(self.ask(), Allow):
                return n
            self.send(usage)
            self.now += 1
        return most


def allows(decision: Decision) -> bool:
    return isinstance(decision, Allow)


def waits_until(decision: Decision) -> float:
    assert isinstance(decision, Wait), decision
    return decision.until.timestamp()


def denies(decision: Decision) -> str:
    assert isinstance(decision, Deny), decision
    return decision.why
