"""What a meter moved against what the job sent: calibration, and the check of one by the other.

A meter counts in whole percents and lags behind. What it moved is therefore known to one quantum,
and a movement is held against the job only after everybody stood still for a while and the meter
stood still as well: if it went on moving, a person was at work.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from codesearch_resources.quota.rules import Rules
from codesearch_resources.quota.windows import Window

SAMPLE = 20  # calls before anything is held against them
TOLERANCE = 3.0  # times what the job accounts for
# Settle times after which all that was sent has shown, and those that are then looked on. Two are
# the longest lag that is reckoned with; the rest is for readings that come once a minute.
SHOWN, LOOK = 2.4, 1.0
EVIDENCE = 2  # quanta of movement before anything is said
ENOUGH = 5  # quanta that calibrate
FORGET = 10  # quanta; then old evidence counts half
STEADY = 1.5  # a calibration is renewed within this factor of the last
PERSON_WORKS = 1800.0  # seconds that another's use slows the job down
_ROUNDING = 1e-9

Key = tuple[str | None, str]


@dataclass(slots=True)
class Moved:
    """One window's movement since the job began, and since it was last calibrated."""

    kind: str
    used: float
    resets: int
    ever: float = 0.0
    total: float = 0.0  # of what `Movement.observed` is the cost; both are halved as they age
    checked: float = 0.0
    cost: float = 0.0  # sent while `checked` was moved
    calls: int = 0
    checked_from: float = 0.0
    crossed: int = 1  # quanta that cannot be seen: one, and one more for each reset
    per_cost: float | None = None  # calibrated: share of the window that one unit of cost takes

    def begin_check(self, now: float, cost: float) -> None:
        """Count from here; `cost` was sent already and may still show."""
        self.checked, self.cost, self.calls, self.checked_from = 0.0, cost, 0, now


@dataclass(slots=True)
class Stillness:
    """A time in which the job sent nothing and all it had sent has shown."""

    since: float
    uses: dict[Key, float]  # what the windows had moved by then
    latest: dict[Key, float]  # and when another's use last showed


class Movement:
    """The windows of one meter, followed."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.windows: dict[Key, Moved] = {}
        self.observed = 0.0  # cost that readings have covered
        self.suspect_since: float | None = None
        self.person_until = 0.0
        self._person_seen = 0.0
        self.notes: dict[Key, str] = {}
        self._still: Stillness | None = None
        self._others: dict[Key, float] = {}  # share a second that others took, last seen
        self._early = 0.0  # sent before the first reading

    def sent(self, amount: float) -> None:
        """The job spent an amount."""
        if not self.windows:
            self._early += amount
        for moved in self.windows.values():
            moved.cost += amount
            moved.calls += 1

    def seen(self, amount: float) -> None:
        """Readings have covered an amount."""
        self.observed += amount

    def bound(self, key: Key) -> float | None:
        """The most of a window that one unit of cost may take; None: nothing was covered yet."""
        moved = self.windows.get(key)
        if moved is None or self.observed <= 0:
            return None
        return (moved.total + moved.crossed * self.rules.quantum) / self.observed

    def likely(self, key: Key) -> float | None:
        """What one unit of cost takes of a window: calibrated, else by the prior, else at most."""
        moved = self.windows.get(key)
        if moved is None:
            return None
        return self._expected(moved) or self.bound(key)

    def _expected(self, moved: Moved) -> float | None:
        if moved.per_cost is not None:
            return moved.per_cost
        plan = self.rules.plans.get(moved.kind)
        return 1 / plan if plan else None

    def read(
        self, windows: Sequence[Window], now: float, still_since: float | None, unseen: float
    ) -> str | None:
        """Follow a reading. The job stood still since `still_since`; None: calls are in flight.

        `unseen`: cost that this reading may not show yet. Returns why the job is to stop, with the
        numbers, when the meter moved far more than it accounts for and nobody else was at work.
        """
        for window in windows:
            self._follow(window, now)
        if still_since is None or now < still_since + SHOWN * self.rules.settle:
            self._still = None
        else:
            self._watch_others(now)
        verdict = self._judge(now)
        if self.suspect_since is None:
            self._calibrate(now, unseen)
        return verdict

    def _follow(self, window: Window, now: float) -> None:
        used = window.used or 0.0
        moved = self.windows.get(window.key)
        if moved is None:
            moved = self.windows[window.key] = Moved(window.kind, used, window.resets)
            moved.begin_check(now, self._early)
            return
        if window.resets > moved.resets:
            # What was used between the last reading and the reset stays unseen.
            step, moved.crossed = used, moved.crossed + window.resets - moved.resets
        else:
            step = max(0.0, used - moved.used)
        moved.used, moved.resets = used, window.resets
        moved.ever += step
        moved.total += step
        moved.checked += step

    def _watch_others(self, now: float) -> None:
        """Movement while the job stood still, long enough for its own calls to have shown."""
        uses = {key: moved.ever for key, moved in self.windows.items()}
        still = self._still
        if still is None:
            self._still = Stillness(now, uses, uses)
            return
        quantum = self.rules.quantum
        if all(uses[key] - still.latest.get(key, uses[key]) < quantum / 2 for key in uses):
            return
        still.latest = uses
        self.person_until, self._person_seen = now + PERSON_WORKS, now
        elapsed = max(now - still.since, self.rules.settle)
        self._others = {
            key: (moved - still.uses.get(key, moved) + quantum) / elapsed
            for key, moved in uses.items()
        }

    def _is_excess(self, key: Key, now: float) -> bool:
        """Whether a window moved far more than the job and others known to work account for."""
        moved = self.windows[key]
        rate = self._others.get(key, 0.0) if now < self.person_until else 0.0
        others = rate * (now - moved.checked_from)
        expected = self._expected(moved)
        if expected is None or moved.calls < SAMPLE:
            return False
        if moved.checked < EVIDENCE * self.rules.quantum - _ROUNDING:
            return False
        # The least that truly moved: the quantum that was about to turn is not the job's.
        least = moved.checked - self.rules.quantum - others + _ROUNDING
        return least > TOLERANCE * moved.cost * expected

    def _judge(self, now: float) -> str | None:
        """Suspect first, then stand still and look, then say who it was."""
        if self.suspect_since is None:
            if any(self._is_excess(key, now) for key in self.windows):
                self.suspect_since = now
            return None
        if self._still is None or now < self._still.since + LOOK * self.rules.settle:
            return None
        self.suspect_since = None
        verdict = None
        for key, moved in self.windows.items():
            # Who was at work when the check began may have gone meanwhile: look once more.
            doubt = self._person_seen >= moved.checked_from - self.rules.settle
            if self._is_excess(key, now) and not doubt:
                verdict = verdict or self._words(moved)
            moved.begin_check(now, 0.0)
        return verdict

    def _words(self, moved: Moved) -> str:
        own = moved.cost * (self._expected(moved) or 0.0)
        return (
            f"the meter ({moved.kind}) moved {moved.checked:.0%}, this job accounts for {own:.1%}"
        )

    def _calibrate(self, now: float, unseen: float) -> None:
        """Learn from enough movement that raised no doubt; forget slowly."""
        quantum = self.rules.quantum
        for key, moved in self.windows.items():
            if moved.checked >= ENOUGH * quantum - _ROUNDING and moved.cost > 0:
                self._learn(key, moved)
                # The meter may lag by twice the settle time, the job's pace being even.
                moved.begin_check(now, 2 * unseen)
        if any(moved.total > FORGET * quantum for moved in self.windows.values()):
            self.observed /= 2
            for moved in self.windows.values():
                moved.total /= 2
                moved.crossed = 1

    def _learn(self, key: Key, moved: Moved) -> None:
        ratio = moved.checked / moved.cost
        before = self._expected(moved)
        factor = STEADY if moved.per_cost is not None else TOLERANCE
        if before is not None and ratio < before / TOLERANCE:
            self.notes[key] = f"the meter moves {ratio / before:.0%} of what was expected"
        if before is None or before / factor <= ratio <= before * factor:
            moved.per_cost = ratio
