"""Why a file that somebody expected is not higher."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from codesearch.filters import glob_regex
from codesearch.hits import Expected
from codesearch.lanes import DEPTHS, Found
from codesearch.ranking import RankedFile
from codesearch_resources.store import Store, sql

MOST_EXPECTED = 5  # files a glob may name


def explain_expected(
    glob: str, store: Store, found: Found, ranked: Sequence[RankedFile]
) -> tuple[Expected, ...]:
    """What became of each file that fits `glob`, best placed first; at most five."""
    fits = re.compile(glob_regex(glob))
    places = {(file.repo, file.path): place for place, file in enumerate(ranked, 1)}
    where = f"regexp_like(path, {sql(glob_regex(glob))})"
    rows = store.read("repo_snapshots", ["repo", "path", "skip_reason"], where).to_pylist()
    ranking = [_ranked(file, places, found, ranked[0]) for file in ranked if fits.search(file.path)]
    rows.sort(key=lambda row: (row["repo"], row["path"]))
    unranked = [_unranked(row) for row in rows if (row["repo"], row["path"]) not in places]
    nowhere = () if ranking or unranked else (Expected("", glob, 0, "no indexed file fits"),)
    return (*ranking, *unranked, *nowhere)[:MOST_EXPECTED]


def _ranked(
    file: RankedFile, places: Mapping[tuple[str, str], int], found: Found, first: RankedFile
) -> Expected:
    place = places[file.repo, file.path]
    behind = {
        rule: round(first.rules.get(rule, 0.0) - file.rules.get(rule, 0.0), 4)
        for rule in {**first.rules, **file.rules}
    }
    behind = {rule: by for rule, by in sorted(behind.items(), key=lambda pair: -pair[1]) if by}
    most = ", ".join(f"{rule} {by:+.2f}" for rule, by in list(behind.items())[:3] if by > 0)
    why = f"{first.path} has more of: {most}" if place > 1 else "it is the first"
    lanes: dict[str, int] = {}
    for ranks in found.ranks([chunk for chunk, _ in file.chunks]):
        lanes |= {lane: min(rank, lanes.get(lane, rank)) for lane, rank in ranks.items()}
    rules = {rule: round(share, 4) for rule, share in file.rules.items()}
    return Expected(file.repo, file.path, place, why, lanes, rules, behind)


def _unranked(row: Mapping[str, Any]) -> Expected:
    reason = row["skip_reason"]
    why = (
        f"it is not indexed: {reason}"
        if reason
        else "no lane has a chunk of it among its best "
        f"{min(DEPTHS.values())} to {max(DEPTHS.values())}, or a filter left it out"
    )
    return Expected(row["repo"], row["path"], 0, why)
