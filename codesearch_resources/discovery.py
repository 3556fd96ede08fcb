"""Repositories found by a pattern, and the short names they get."""

import glob
import hashlib
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from codesearch_resources.git import git_dir

_LONGEST = 100  # a slug is part of file names


def discover(pattern: str) -> list[Path]:
    """Every git repository (work tree, linked worktree, bare) that the glob matches, sorted.

    `~` is expanded; paths are absolute. A repository met twice, by a symlink, is listed once, by
    the path that sorts first. What cannot be read is not listed.
    """
    found: dict[str, Path] = {}
    for match in sorted(glob.glob(os.path.expanduser(pattern), recursive=True)):
        path = Path(os.path.abspath(match))
        if path.is_dir() and git_dir(path):
            found.setdefault(os.path.realpath(path), path)
    return sorted(found.values())


def slug(name: str) -> str:
    """The name in [a-z0-9_-]: a partition key, a file name. Never empty, no dots."""
    plain = unicodedata.normalize("NFKD", name.removesuffix(".git").casefold())
    plain = plain.encode("ascii", "ignore").decode()
    words = re.sub(r"[^a-z0-9_-]+", "-", plain).strip("-")[:_LONGEST].strip("-")
    return words or "repository-" + hashlib.sha256(os.fsencode(name)).hexdigest()[:8]


def unique_slugs(paths: Sequence[Path], taken: Collection[str]) -> dict[Path, str]:
    """A slug for each folder, none of them in `taken`.

    The folder's name where it is alone with it, else parent--name, else that with a number;
    whatever order the paths come in.
    """
    ordered = sorted(set(paths))
    named = _alone({path: slug(path.name) for path in ordered}, set(taken))
    left = [path for path in ordered if path not in named]
    used = set(taken) | set(named.values())
    longer = {path: f"{slug(path.parent.name)}--{slug(path.name)}" for path in left}
    named |= _alone(longer, used)
    used |= set(named.values())
    for path in left:
        number = 2
        while path not in named:
            candidate = f"{longer[path]}-{number}"
            if candidate not in used:
                named[path] = candidate
                used.add(candidate)
            number += 1
    return {path: named[path] for path in paths}


def _alone(proposed: dict[Path, str], used: Collection[str]) -> dict[Path, str]:
    """Those of the proposed names that one path alone has, and nobody before."""
    holders: dict[str, list[Path]] = defaultdict(list)
    for path, name in proposed.items():
        holders[name].append(path)
    return {
        paths[0]: name for name, paths in holders.items() if len(paths) == 1 and name not in used
    }
