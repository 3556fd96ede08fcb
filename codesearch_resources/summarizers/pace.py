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
        self._drops = 0  # refusals of calls begun before the last one are old news
        self._clean = self._clean_in_round = 0
        self._proven = self.limit if known else 0  # so many at once went well for a whole round
        self._refused_at = most + 1
        self._forget_after = FORGET_AFTER

    def begin(self) -> tuple[int, int]:
        """What `refused` wants to know of a call that begins now."""
        return self._drops, self.limit

    def clean(self) -> None:
        """A call was answered."""
        self._clean += 1
        self._clean_in_round += 1
        if self._clean >= self._forget_after:
            self._refused_at = self.most + 1
        if self._clean_in_round >= self.limit:
            self._proven = max(self._proven, self.limit)
            self._clean_in_round = 0
            self.limit = max(self.limit, min(self.limit + 1, self.most, self._refused_at - 1))

    def refused(self, begun: tuple[int, int]) -> bool:
        """A call that began at `begun` was turned away, for its haste or for the load.

        Returns whether this is news: of many calls refused at once only the first counts.
        """
        drops, limit = begun
        if drops != self._drops:
            return False
        if self._refused_at <= self.most:
            self._forget_after = min(2 * self._forget_after, FORGET_AT_MOST)
        # The step up itself was one too many: back to what worked. Else the server has less now.
        self.limit = max(1, limit - 1 if limit > self._proven else limit // 2)
        self._proven = min(self._proven, self.limit)
        self._refused_at = limit if limit > 1 else self.most + 1
        self._clean = self._clean_in_round = 0
        self._drops += 1
        return True
