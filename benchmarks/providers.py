"""How busy a provider is kept: summaries a second against what its slots could do.

    python benchmarks/providers.py [--rounds 60] [--slots 3 10]

A real HTTP server on loopback answers after a time drawn from a distribution (lognormal, mean
1 s; a cloud takes 2 to 5 s for a summary). The baseline is the server's own capacity in the same
run: its slots, always all at work. Known slots (3, 10) are begun with; unknown ones are found out,
the server refusing what is too much. Counted after the first 100 calls and before the last slots'
worth.
"""

import argparse
import itertools
import random
import sys
import tempfile
from contextlib import closing
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from calls import openai, pieces  # noqa: E402
from simulator import Simulator  # noqa: E402

from codesearch_resources.results import Results  # noqa: E402
from codesearch_resources.summarizers.chain import Chain  # noqa: E402
from codesearch_resources.summarizers.order import Order  # noqa: E402

MEAN, SIGMA = 1.0, 0.4  # seconds; of the logarithm
RAMP_UP = 100  # calls


def latency(drawn: random.Random) -> float:
    """Lognormal with that mean."""
    return MEAN * drawn.lognormvariate(-(SIGMA**2) / 2, SIGMA)


def run(slots: int, *, known: bool, calls: int) -> tuple[float, float, int]:
    """(share of the capacity used, share of calls refused, most in flight)."""
    with tempfile.TemporaryDirectory() as folder, Simulator(latency=latency) as server:
        server.slots, server.over = slots, "refuse"
        workers = {"workers": slots, "slots": slots} if known else {"workers": 32}
        link = openai(server, timeout_seconds=60, **workers)
        chain = Chain([link])
        with closing(Results(Path(folder))) as results:
            order = Order(results)
            with closing(chain.summarize(pieces(calls), order)) as work:
                found = sum(1 for _ in work)
        assert found == calls, f"{found} of {calls}: {order.remainder.lines()}"
        served = sorted((c for c in server.calls if c.status == 200), key=lambda c: c.ended or 0.0)
        counted = served[RAMP_UP : -slots or None]
        begun = served[RAMP_UP - 1].ended or 0.0
        ended = counted[-1].ended or 0.0
        refused = sum(call.status == 429 for call in server.calls)
        # What the slots had to do in that time, each call with the share of it that lies within.
        busy = sum(
            max(0.0, min(call.ended or 0.0, ended) - max(call.began, begun)) for call in served
        )
        return (
            busy / (slots * (ended - begun)),
            refused / len(server.calls),
            server.most_in_flight,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60, help="Calls that each slot answers.")
    parser.add_argument("--slots", type=int, nargs="*", default=[3, 10])
    given = parser.parse_args()
    rounds: int = given.rounds
    print(f"{'slots':>12} {'of capacity':>12} {'refused':>8} {'most in flight':>15}")
    for slots, known in itertools.product(given.slots, (True, False)):
        share, refused, most = run(slots, known=known, calls=RAMP_UP + rounds * slots)
        name = f"{slots} {'known' if known else 'found'}"
        print(f"{name:>12} {share:>12.3f} {refused:>8.2%} {most:>15}", flush=True)


if __name__ == "__main__":
    main()
