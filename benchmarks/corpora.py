"""The corpora of the benchmarks: found in a folder of clones, laid out at their commits."""

import argparse
import json
import tomllib
from pathlib import Path

from codesearch.evaluation import BenchRepository, find_clones, lay_out

LIST = Path(__file__).with_name("corpora.toml")


def wanted(listed: Path = LIST) -> list[BenchRepository]:
    """The repositories of corpora.toml, or of another list."""
    rows = tomllib.loads(listed.read_text())["repository"]
    return [BenchRepository(r["name"], r["language"], r["commit"], "", ()) for r in rows]


def configuration(clones: Path, work: Path, listed: Path = LIST) -> Path:
    """Lay the corpora out under `work` and write the codesearch.yaml that indexes them."""
    work.mkdir(parents=True, exist_ok=True)
    repositories = wanted(listed)
    found = find_clones(clones, repositories)
    entries = [
        {"name": repo.name, "path": str(lay_out(repo, found[repo.name], work).absolute())}
        for repo in repositories
    ]
    file = work / "codesearch.yaml"
    file.write_text(json.dumps({"repositories": entries}, indent=1))
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description="Lay out the corpora for `codesearch index`.")
    parser.add_argument("--clones", type=Path, required=True, help="a folder of clones")
    parser.add_argument("--corpus", type=Path, default=Path("corpus"))
    parser.add_argument("--list", type=Path, default=LIST, help="which repositories")
    arguments = parser.parse_args()
    print(configuration(arguments.clones, arguments.corpus, arguments.list))


if __name__ == "__main__":
    main()
