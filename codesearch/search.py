"""Search: lanes, then ranking, then hits. Imports no Dagster."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from codesearch.errors import BadQuery, NoConfiguration, NotIndexed, SearchError
from codesearch.expected import explain_expected
from codesearch.filters import NO_FILTERS, Filters, check_filters, make_filters
from codesearch.hits import Answer, Chosen, Hit, apart, choose
from codesearch.lanes import Found
from codesearch.places import chunk_at
from codesearch.query import Query, parse
from codesearch.ranking import RankedFile, rank, rank_near
from codesearch.serving import Serving
from codesearch.symbols import meant
from codesearch_resources.data_dir import check_data_dir
from codesearch_resources.settings import Settings, SettingsError, find, load
from codesearch_resources.text import readable, words

if TYPE_CHECKING:
    import pandas as pd

MOST_NAMED = 5  # repositories that one notice names
STANDS = 1.0  # seconds that commits and times of repositories are held to be as they were read
SETTLED = 0.5  # seconds after which an edit of the settings is taken to be whole
ASKED_AT_MOST = 3  # times, while chunks that were found are gone before their text is read


class Options(TypedDict, total=False):
    """What limits an answer."""

    repos: Sequence[str] | None
    languages: Sequence[str] | None
    paths: Sequence[str] | None
    kinds: Sequence[str] | None
    per_file: int
    limit: int


@dataclass(frozen=True, slots=True)
class _Asked:
    filters: Filters
    per_file: int
    limit: int
    standing: Mapping[str, Mapping[str, Any]]


class Index:
    """An index that can be asked; opened once, asked many times."""

    def __init__(self, settings: Settings) -> None:
        check_data_dir(settings.data_dir, settings.file)
        self.settings = settings
        self._serving = Serving(settings)
        self.store = self._serving.store
        self._stood: tuple[float, dict[str, dict[str, Any]]] | None = None
        self._read, self._unreadable = _written(settings.file), ""

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads that ask the lanes."""
        self._serving.close()

    def warm(self) -> None:
        """Read into memory what makes questions fast; else that is done beside them after a while.

        For `codesearch` in another program, which would rather wait at its start.
        """
        self._require_index()
        self._serving.lanes.warm()

    def search(self, query: str, **options: Unpack[Options]) -> list[Hit]:
        """The best hits, best first.

        Each filter holds when any of its values does; `paths` are globs. Raises UnknownRepository,
        BadQuery for a question without words and for a language or kind that is not there,
        NotIndexed before the first `codesearch index`.
        """
        return list(self.ask(query, **options).hits)

    def ask(self, query: str, *, expect: str = "", **options: Unpack[Options]) -> Answer:
        """`search`, with notices and time; says of files that fit the glob `expect` why they are
        not higher."""
        started = time.perf_counter()
        text = readable(query)
        if not words(text):
            raise BadQuery("the question holds no words; ask with some, or with a name")
        asked = self._asked(options)
        parsed = parse(text)

        def ranked(found: Found, most: int | None) -> list[RankedFile]:
            return rank(parsed, found.candidates, found.evidence, most)

        def find(filters: Filters) -> Found:
            return self._serving.lanes.find(parsed, filters)

        found, hits = self._settle(parsed, asked, find, ranked)
        notices = (*self._not_indexed(asked), *self.notices(), *found.notices)
        expected = (
            explain_expected(readable(expect), self.store, found, ranked(found, None))
            if expect
            else ()
        )
        took = (time.perf_counter() - started) * 1000
        return Answer(text, tuple(hits), notices, took, expected)

    def find(self, query: str) -> Found:
        """What every lane finds for a question, before any ranking: for benchmarks."""
        self._standing()
        return self._serving.lanes.find(parse(readable(query)), NO_FILTERS)

    def related(self, hit: Hit, **options: Unpack[Options]) -> list[Hit]:
        """The code nearest to a hit's, in every repository, nearest first; the hit left out."""
        place = f"{hit.path}:{hit.start_line}"
        return list(self.like(place, of=hit.repo, **options).hits)

    def like(self, place: str, *, of: str = "", **options: Unpack[Options]) -> Answer:
        """The code nearest to the chunk at `place`, which is PATH:LINE, as by `related`.

        `of` names the repository the path is in, where several have it. Raises BadQuery when no
        chunk is there.
        """
        started = time.perf_counter()
        asked = self._asked(options)
        chunk_id = chunk_at(self.store, readable(place), of, options.get("repos") or ())

        def find(filters: Filters) -> Found:
            return self._serving.lanes.near(chunk_id, filters)

        def ranked(found: Found, most: int | None) -> list[RankedFile]:
            return rank_near(found.candidates, found.evidence)

        found, hits = self._settle(parse(""), asked, find, ranked)
        took = (time.perf_counter() - started) * 1000
        notices = (*self._not_indexed(asked), *self.notices(), *found.notices)
        return Answer(place, tuple(hits), notices, took)

    def _asked(self, options: Options) -> _Asked:
        """The options, checked. Raises UnknownRepository, BadQuery and NotIndexed."""
        self._follow_settings()
        per_file, limit = options.get("per_file", 1), options.get("limit", 10)
        if limit < 1 or per_file < 1:
            raise BadQuery("limit and per-file are at least 1")
        repos = options.get("repos")
        for name in repos or ():
            self.settings.repository(name)
        standing = self._standing()
        filters = make_filters(
            self._limited(repos, standing),
            options.get("languages"),
            options.get("paths"),
            options.get("kinds"),
        )
        check_filters(filters, self.store)
        return _Asked(filters, per_file, limit, standing)

    def _settle(
        self,
        query: Query,
        asked: _Asked,
        find: Callable[[Filters], Found],
        ranked: Callable[[Found, int | None], list[RankedFile]],
    ) -> tuple[Found, list[Hit]]:
        """Ask the lanes until every hit can be shown: a commit may take a chunk away meanwhile."""
        filters = asked.filters
        configured = tuple(entry.name for entry in self.settings.repositories)
        before: list[str] = []
        for _ in range(ASKED_AT_MOST):
            found = find(filters)
            if not {repo for repo, _ in found.candidates.files} <= set(configured):
                # A removal that was cut short leaves rows of which no table speaks any more.
                limited = [name for name in filters.repos or configured if name in configured]
                filters = replace(filters, repos=tuple(limited))
                found = find(filters)
            chosen = choose(ranked(found, asked.limit), asked.per_file, asked.limit)
            hits = self._hits(query, found, chosen, asked.standing)
            ids = [chunk.chunk_id for _, chunk, _ in chosen]
            if len(hits) == len(chosen) or ids == before:  # whole, or lasting
                break
            before = ids
        return found, hits

    def notices(self) -> list[str]:
        """What a person should know about the settings and the vectors that are searched."""
        unread = [self._unreadable] if self._unreadable else []
        return [*unread, *self._serving.notices()]

    def _follow_settings(self) -> None:
        """Go by the settings as their file has them now: an open index outlives an edit of it."""
        written = _written(self.settings.file)
        if written == self._read or 0 <= time.time() - written[0] / 1e9 < SETTLED:
            return
        self._read, self._unreadable = written, ""
        try:
            settings = load(self.settings.file, absent_ok=True)
        except SettingsError as error:
            said = str(error).splitlines()[0]
            self._unreadable = f"searched with the settings as they were before: {said}"
            return
        if settings.data_dir != self.settings.data_dir:
            self._unreadable = f"searched {self.settings.data_dir}: the settings name another now"
            return
        self.settings = settings
        self._serving.follow(settings)

    def table(self, name: str) -> "pd.DataFrame":
        """A whole table as a pandas DataFrame: `chunks`, `files`, `summaries`, …"""
        self._require_index()
        if name not in self.store.names():
            raise SearchError(
                f"there is no table {name!r}; there are: {', '.join(self.store.names())}"
            )
        frame: pd.DataFrame = self.store.ask(name, lambda table: table.to_pandas())
        return frame

    def _require_index(self) -> None:
        if not self.settings.repositories:
            raise NoConfiguration(
                f"{self.settings.file} lists no repository; `codesearch repos add PATH` adds one"
            )
        if not self.store.has("chunks"):
            raise NotIndexed("nothing is indexed yet: run `codesearch index` first")

    def _standing(self) -> dict[str, dict[str, Any]]:
        """For each repository with chunks: their commit and when they were indexed."""
        self._require_index()
        if self._stood is None or time.monotonic() - self._stood[0] > STANDS:
            columns = ["repo", "chunks_commit", "indexed_at"]
            rows = self.store.read("repositories", columns).to_pylist()
            found = {row["repo"]: row for row in rows if row["chunks_commit"] is not None}
            self._stood = (time.monotonic(), found)
        return self._stood[1]

    def _limited(
        self, repos: Sequence[str] | None, standing: Mapping[str, object]
    ) -> Sequence[str] | None:
        """The repositories to ask: one struck from the settings keeps its rows for a while."""
        configured = [entry.name for entry in self.settings.repositories]
        return repos or (None if standing.keys() <= set(configured) else configured)

    def _not_indexed(self, asked: _Asked) -> list[str]:
        named = asked.filters.repos or [entry.name for entry in self.settings.repositories]
        missing = [name for name in named if name not in asked.standing]
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        names = ", ".join(missing[:MOST_NAMED]) + more
        return [f"not indexed yet: {names}; run `codesearch index`"] if missing else []

    def _hits(
        self,
        query: Query,
        found: Found,
        chosen: Sequence[Chosen],
        standing: Mapping[str, Mapping[str, Any]],
    ) -> list[Hit]:
        """Read what a hit shows, for the chosen few only; one that is gone meanwhile is left out.

        Lines and text come from one row: a commit may have moved them since the lanes were asked.
        """
        ids = [chunk.chunk_id for _, chunk, _ in chosen]
        rows, summaries = self._serving.lanes.shown(ids)
        shown = apart(chosen, rows)
        ranks = found.ranks([chunk for _, chunk, _ in chosen])
        return [
            Hit(
                repo=chunk.repo,
                path=chunk.path,
                start_line=row.start_line,
                end_line=row.end_line,
                symbol=definition.name if definition is not None else chunk.symbol,
                line=definition.start_line if definition is not None else row.start_line,
                kind=chunk.kind,
                language=chunk.language,
                summary=summaries.get(chunk.chunk_id, ""),
                text=row.text,
                score=round(file.score, 4),
                lanes=lanes,
                more=more,
                commit=standing.get(chunk.repo, {}).get("chunks_commit", ""),
                indexed_at=standing.get(chunk.repo, {}).get("indexed_at"),
                rules={rule: round(share, 4) for rule, share in file.rules.items()},
            )
            for (file, chunk, more), lanes in zip(chosen, ranks, strict=True)
            if (row := shown.get(chunk.chunk_id))
            for definition in (meant(query, chunk.symbol, row),)
        ]


def _written(file: Path) -> tuple[int, int]:
    """When a file was last written, in nanoseconds, and its bytes; zeros when it is not there."""
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def open_index(config: str | Path | None = None) -> Index:
    """Open the index of a configuration file, found as the CLI finds it when not given.

    Raises NoConfiguration when there is none, SettingsError for one with problems.
    """
    file = find(str(config) if config is not None else None)
    if file is None:
        raise NoConfiguration("there is no codesearch.yaml here or above: run `codesearch init`")
    return Index(load(file, absent_ok=True))
