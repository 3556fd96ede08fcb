"""What a question is limited to: repositories, languages, path globs, kinds of chunk."""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from codesearch.candidates import Candidate
from codesearch.errors import BadQuery
from codesearch_assets.chunking.chunk import KINDS
from codesearch_resources.store import Store, among, sql
from codesearch_resources.text import readable


@dataclass(frozen=True, slots=True)
class Filters:
    """Each holds when any of its values does; an empty one always does."""

    repos: tuple[str, ...]
    languages: tuple[str, ...]
    paths: tuple[str, ...]
    kinds: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether anything is filtered."""
        return any((self.repos, self.languages, self.paths, self.kinds))

    def fitting(self, chunks: Iterable[Candidate]) -> list[bool]:
        """For each chunk, whether `where` would find it."""
        patterns = [re.compile(glob_regex(glob).removesuffix("$") + r"\Z") for glob in self.paths]

        @cache
        def fits(path: str) -> bool:
            return any(pattern.search(path) for pattern in patterns)

        return [
            (not self.repos or chunk.repo in self.repos)
            and (not self.languages or chunk.language in self.languages)
            and (not self.kinds or chunk.kind in self.kinds)
            and (not patterns or fits(chunk.path))
            for chunk in chunks
        ]

    @property
    def where(self) -> str:
        """The filters as an SQL predicate, empty when nothing is filtered."""
        columns = (("repo", self.repos), ("language", self.languages), ("kind", self.kinds))
        clauses = [among(column, values) for column, values in columns if values]
        if self.paths:
            fits = [f"regexp_like(path, {sql(glob_regex(glob))})" for glob in self.paths]
            clauses.append(f"({' OR '.join(fits)})")
        return " AND ".join(clauses)


NO_FILTERS = Filters((), (), (), ())


def make_filters(
    repos: Sequence[str] | None,
    languages: Sequence[str] | None,
    paths: Sequence[str] | None,
    kinds: Sequence[str] | None,
) -> Filters:
    """Filters as they are given: languages and kinds in any case, blank globs left out."""
    return Filters(
        tuple(repos or ()),
        tuple(language.strip().lower() for language in languages or ()),
        tuple(readable(glob) for glob in paths or () if glob.strip()),
        tuple(kind.strip().lower() for kind in kinds or ()),
    )


def check_filters(filters: Filters, store: Store) -> None:
    """Raise BadQuery, saying what there is, for a kind or a language that nothing has."""
    _check("kind", filters.kinds, KINDS)
    # The empty one is what files without a language have.
    spoken = (one and store.count("chunks", among("language", [one])) for one in filters.languages)
    if not all(spoken):
        present = set(store.read("chunks", ["language"])["language"].unique().to_pylist())
        _check("language", filters.languages, sorted(present - {None, ""}))


def _check(what: str, asked: Iterable[str], present: Sequence[str]) -> None:
    for value in asked:
        if value not in present:
            near = difflib.get_close_matches(value, present, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise BadQuery(f"no {what} {value!r}; {hint}there are: {', '.join(present) or 'none'}")


def glob_regex(glob: str) -> str:
    """A path glob as a regular expression; it fits a file, or a folder with all that is below.

    `*` and `?` stay inside a folder, `**` crosses folders, a glob without a slash fits at any
    depth.
    """
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", glob.removeprefix("./").strip("/"))
    special = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    body = "".join(special.get(piece, re.escape(piece)) for piece in pieces)
    start = "^" if "/" in glob.removeprefix("./").rstrip("/") else "(?:^|/)"
    return f"(?s){start}{body}(?:/.*)?$"
