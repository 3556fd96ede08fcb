"""CPU seconds of a cold `codesearch search` against those of `import lancedb, pyarrow`.

    python benchmarks/cold_search.py codesearch.yaml [--runs 10] [--query "…"]

Both are fresh processes, run in turn so that a busy machine slows both. CPU is user and system
time of the child, all its threads; the first pair only warms the disk cache. Exit code 1 when the
search costs more than MOST times the import, or imports Dagster.
"""

import argparse
import os
import subprocess
import sys
from statistics import median

MOST = 1.3  # times the CPU seconds of the bare import
BARE = [sys.executable, "-c", "import lancedb, pyarrow"]
WITH_DAGSTER = "import sys; from codesearch.cli import main; main(standalone_mode=False); "
WITH_DAGSTER += "sys.exit('dagster' in sys.modules)"


def cpu_seconds(command: list[str]) -> float:
    """User and system seconds of one child process; SystemExit when it fails."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"{' '.join(command)} ended with code {child.returncode}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", help="a codesearch.yaml whose index is there")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--query", default="where is a request sent again after an error")
    given = parser.parse_args()
    asked = ["search", given.query, "--config", given.config]
    search = [sys.executable, "-m", "codesearch", *asked]
    cpu_seconds([sys.executable, "-c", WITH_DAGSTER, *asked])
    cpu_seconds(BARE)
    pairs = [(cpu_seconds(BARE), cpu_seconds(search)) for _ in range(given.runs)]
    bare, cold = (median(column) for column in zip(*pairs, strict=True))
    print("run  import  search  CPU seconds")
    for run, (one, other) in enumerate(pairs, 1):
        print(f"{run:>3}  {one:6.2f}  {other:6.2f}")
    print(f"median of {given.runs}: import {bare:.2f}, search {cold:.2f}, ratio {cold / bare:.2f}")
    sys.exit(cold / bare > MOST)


if __name__ == "__main__":
    main()
