"""Peak memory of the refresh at a small and a large repository, made for it.

    python benchmarks/chunk_memory.py [--files 5000 50000]

Each in a process of its own: snapshot and chunks, first from nothing, then again with one file
changed, when everything stored is compared. Exit code 1 when the largest takes more than MOST
times the memory of the smallest.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MOST = 1.3
BODY = '''"""Number {n}."""

import json


class Reader{n}:
    """Reads the records of kind {n} out of a file."""

    def __init__(self, path, strict=False):
        self.path, self.strict = path, strict

    def records(self):
        with open(self.path) as lines:
            for number, line in enumerate(lines):
                record = json.loads(line)
                if self.strict and record.get("kind") != {n}:
                    raise ValueError(f"line {{number}} is of another kind: {{record['kind']}}")
                yield record


def count_{n}(path):
    """How many records of kind {n} there are."""
    return sum(record["kind"] == {n} for record in Reader{n}(path).records())
'''


def make(folder: Path, count: int, changed: bool) -> None:
    """A commit of `count` Python files of 900 bytes, in folders of 100."""
    if not changed:
        subprocess.run(["git", "init", "--quiet", "--bare", folder], check=True)
        subprocess.run(["git", "-C", folder, "symbolic-ref", "HEAD", "refs/heads/main"], check=True)
    importing = subprocess.Popen(
        ["git", "-C", folder, "fast-import", "--quiet", "--force"], stdin=subprocess.PIPE
    )
    assert importing.stdin is not None
    with importing.stdin as pipe:
        pipe.write(b"commit refs/heads/main\ncommitter A <a@example.com> 1 +0000\ndata 0\n")
        for number in range(count):
            text = BODY.format(n=-1 if changed and not number else number).encode()
            pipe.write(b"M 100644 inline src/p%d/f%d.py\ndata " % (number // 100, number))
            pipe.write(b"%d\n%s\n" % (len(text), text))
    if importing.wait():
        sys.exit("git fast-import failed")


def refresh(repository: Path, data: Path) -> None:
    """In the process that is measured: print what it took, as JSON."""
    from codesearch_assets.chunks import refresh_chunks
    from codesearch_assets.repo_snapshots import take_snapshot
    from codesearch_resources.embedders.embedded import EmbeddedEmbedder
    from codesearch_resources.repositories import Repository
    from codesearch_resources.settings import RepositorySettings
    from codesearch_resources.store import Store

    store = Store(data, EmbeddedEmbedder.id, EmbeddedEmbedder.dimensions)
    store.create()
    opened = Repository("large", path=repository)
    entry = RepositorySettings(name="large", path=repository)
    before, started = _peak(), time.perf_counter()
    take_snapshot(store, opened, entry, opened.head())
    snapshot = _peak()
    result = refresh_chunks(store, opened)
    print(
        json.dumps(
            {
                "chunks": store.count("chunks"),
                "cut": result.parsed_now,
                "seconds": round(time.perf_counter() - started, 1),
                "before MB": before,
                "snapshot MB": snapshot,
                "peak MB": _peak(),
            }
        )
    )


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def measure(count: int) -> int:
    """The peak of a repository of `count` files, in MB."""
    highest = 0
    with tempfile.TemporaryDirectory() as work:
        repository, data = Path(work) / "repository.git", Path(work) / "data"
        for changed in (False, True):
            make(repository, count, changed)
            command = [sys.executable, __file__, "--refresh", str(repository), str(data)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(done.stdout)
            told = ", ".join(f"{name} {value}" for name, value in found.items())
            print(f"{count} files, {'one changed' if changed else 'from nothing'}: {told}")
            highest = max(highest, found["peak MB"])
    return highest


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--files", type=int, nargs=2, default=(5_000, 50_000))
    arguments.add_argument("--refresh", type=Path, nargs=2, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.refresh:
        refresh(*given.refresh)
        return
    small, large = (measure(count) for count in given.files)
    print(f"peak {large} MB against {small} MB: {large / small:.2f}")
    sys.exit(large > MOST * small)


if __name__ == "__main__":
    main()
