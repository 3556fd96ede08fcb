"""How many calls a provider gets at once: additive increase, multiplicative decrease.

After Chiu and Jain (1989), as in Netflix's concurrency-limits, with one memory: the number at which
calls were refused is not tried again for a long while, so that refusals stay below one in a hundred
once the number that works is known.
"""

# Calls without a refusal before the number that was refused is tried again; doubled each time.
FORGET_AFTER, FORGET_AT_MOST = 200, 6_400


class Pace:
    """The limit of calls in flight at one provider. Not locked: its owner does that."""

    def __init__(self, most: int, known: int | None = None) -> None:
        """`most` is never passed; `known`: the provider takes so many at once, begin there."""
        self.most = most
        self.limit = min(known, most) if known else 1
        self._round = 0  # moves with each change: refusals of calls begun before it are old news
        self._clean = self._clean_in_round = 0
        self._refused_at = most + 1
        self._forget_after = FORGET_AFTER

    def begin(self) -> int:
        """What `refused` wants to know of a call that begins now."""
        return self._round

    def clean(self) -> None:
        """A call was answered."""
        self._clean += 1
        self._clean_in_round += 1
        if self._clean >= self._forget_after:
            self._refused_at = self.most + 1
        if self._clean_in_round >= self.limit and self.limit < min(self.most, self._refused_at - 1):
            self._change(self.limit + 1)

    def refused(self, begun: int) -> bool:
        """A call that began at `begun` was turned away, for its haste or for the load.

        Returns whether this is news: of many calls refused at once only the first counts.
        """
        if begun != self._round:
            return False
        probing = self._clean_in_round < self.limit and self.limit > 1
        if self._refused_at <= self.most:
            self._forget_after = min(2 * self._forget_after, FORGET_AT_MOST)
        self._clean = 0
        self._refused_at = self.limit if self.limit > 1 else self.most + 1
        # The step up itself was one too many: back to what worked. Else the server has less now.
        self._change(self.limit - 1 if probing else max(1, self.limit // 2))
        return True

    def _change(self, limit: int) -> None:
        self.limit = limit
        self._round += 1
        self._clean_in_round = 0
