"""Search: lanes, then ranking, then hits. Imports no Dagster."""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesearch.lanes import Found, Lanes
from codesearch.ranking import Candidate, RankedFile, parse, rank
from codesearch_resources.embedders.make import make_embedder
from codesearch_resources.settings import Settings, find, load
from codesearch_resources.store import ALL_ROWS, SOON, Store, among, sql
from codesearch_resources.text import words

if TYPE_CHECKING:
    import pandas as pd

MOST_MORE = 5  # other chunks of a file folded under its hit


class SearchError(Exception):
    """The question cannot be answered; the message says why and what to do."""


class BadQuery(SearchError):
    """The question itself is at fault."""


class NoConfiguration(SearchError):
    """There is no codesearch.yaml to be found."""


class NotIndexed(SearchError):
    """Nothing has been indexed yet."""


@dataclass(frozen=True, slots=True)
class More:
    """Another chunk of a hit's file worth a look."""

    start_line: int
    end_line: int
    symbol: str
    score: float


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer: a chunk, where it lies, and why it is here.

    `path` is the path in the repository, lines count from 1 and include both ends, and `text` is
    those lines at `commit`. `lanes` gives the chunk's rank in each lane that found it, `rules` what
    each rule added to the score.
    """

    repo: str
    path: str
    start_line: int
    end_line: int
    symbol: str
    kind: str
    language: str
    summary: str
    text: str
    score: float
    lanes: Mapping[str, int]
    more: tuple[More, ...]
    commit: str
    indexed_at: datetime | None
    rules: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self, *, explain: bool = False) -> dict[str, Any]:
        """The hit in the form of the JSON output; with `rules` when asked to explain."""
        found = asdict(self)
        found["indexed_at"] = self.indexed_at.isoformat() if self.indexed_at else None
        if not explain:
            del found["rules"]
        return found


@dataclass(frozen=True, slots=True)
class Answer:
    """The hits of one question, what a person should know about them, and how long it took."""

    query: str
    hits: tuple[Hit, ...]
    notices: tuple[str, ...]
    took_ms: float

    def as_dict(self, *, explain: bool = False) -> dict[str, Any]:
        """The answer in the form of the JSON output."""
        return {
            "query": self.query,
            "took_ms": round(self.took_ms, 1),
            "notices": list(self.notices),
            "hits": [hit.as_dict(explain=explain) for hit in self.hits],
        }


class Index:
    """An index that can be asked; opened once, asked many times."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        embedder = make_embedder(settings.embedder)
        self.store = Store(settings.data_dir, embedder.id, embedder.dimensions, sees_commits=SOON)
        self._lanes = Lanes(self.store, embedder)

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads that ask the lanes."""
        self._lanes.close()

    def search(
        self,
        query: str,
        *,
        repos: Sequence[str] | None = None,
        languages: Sequence[str] | None = None,
        paths: Sequence[str] | None = None,
        kinds: Sequence[str] | None = None,
        per_file: int = 1,
        limit: int = 10,
    ) -> list[Hit]:
        """The best hits, best first.

        Each filter holds when any of its values does; `paths` are globs. Raises UnknownRepository,
        BadQuery for a question without words, NotIndexed before the first `codesearch index`.
        """
        answer = self.ask(
            query, repos=repos, languages=languages, paths=paths, kinds=kinds,
            per_file=per_file, limit=limit,
        )  # fmt: skip
        return list(answer.hits)

    def ask(
        self,
        query: str,
        *,
        repos: Sequence[str] | None = None,
        languages: Sequence[str] | None = None,
        paths: Sequence[str] | None = None,
        kinds: Sequence[str] | None = None,
        per_file: int = 1,
        limit: int = 10,
    ) -> Answer:
        """`search`, with notices and time."""
        started = time.perf_counter()
        if not words(query):
            raise BadQuery("the question holds no words; ask with some, or with a name")
        if limit < 1 or per_file < 1:
            raise BadQuery("limit and per-file are at least 1")
        for name in repos or ():
            self.settings.repository(name)
        self._require_index()
        parsed = parse(query)
        found = self._lanes.find(parsed, _where(repos, languages, paths, kinds))
        ranked = rank(parsed, found.candidates, found.evidence)
        hits = self._hits(found, _chosen(ranked, per_file, limit))
        took = (time.perf_counter() - started) * 1000
        return Answer(query, tuple(hits), tuple(found.notices), took)

    def table(self, name: str) -> "pd.DataFrame":
        """A whole table as a pandas DataFrame: `chunks`, `files`, `summaries`, …"""
        self._require_index()
        if name not in self.store.names():
            raise SearchError(
                f"there is no table {name!r}; there are: {', '.join(self.store.names())}"
            )
        import lancedb

        connection = lancedb.connect(self.store.folder)
        return connection.open_table(name).to_pandas()

    def _require_index(self) -> None:
        if "chunks" not in self.store.names():
            raise NotIndexed("nothing is indexed yet: run `codesearch index` first")

    def _hits(
        self, found: Found, chosen: Sequence[tuple[RankedFile, Candidate, tuple[More, ...]]]
    ) -> list[Hit]:
        """Read what a hit shows, for the chosen few only."""
        ids = [chunk.chunk_id for _, chunk, _ in chosen]
        if not ids:
            return []
        texts = self._column("chunks", "text", "chunk_id", ids)
        summaries = self._column("summaries", "summary", "chunk_id", ids)
        repos = sorted({chunk.repo for _, chunk, _ in chosen})
        commits = self._column("repositories", "chunks_commit", "repo", repos)
        times = self._column("repositories", "indexed_at", "repo", repos)
        places = {
            lane: {chunk_id: place for place, chunk_id in enumerate(order, 1)}
            for lane, order in found.order.items()
        }
        return [
            Hit(
                repo=chunk.repo,
                path=chunk.path,
                start_line=chunk.start_line,
                end_line=chunk.end_line,
                symbol=chunk.symbol,
                kind=chunk.kind,
                language=chunk.language,
                summary=summaries.get(chunk.chunk_id, ""),
                text=texts[chunk.chunk_id],
                score=round(file.score, 4),
                lanes={n: p[chunk.chunk_id] for n, p in places.items() if chunk.chunk_id in p},
                more=more,
                commit=commits.get(chunk.repo, ""),
                indexed_at=times.get(chunk.repo),
                rules={rule: round(share, 4) for rule, share in file.rules.items()},
            )
            for file, chunk, more in chosen
            if chunk.chunk_id in texts
        ]

    def _column(self, table: str, column: str, key: str, keys: Sequence[str]) -> dict[str, Any]:
        search = self.store.table(table).search().select([key, column]).limit(ALL_ROWS)
        rows = search.where(among(key, keys)).to_arrow()
        return dict(zip(rows[key].to_pylist(), rows[column].to_pylist(), strict=True))


def _chosen(
    ranked: Iterable[RankedFile], per_file: int, limit: int
) -> list[tuple[RankedFile, Candidate, tuple[More, ...]]]:
    """Each file's best chunks as hits, its next ones folded under the first; none overlap."""
    chosen: list[tuple[RankedFile, Candidate, tuple[More, ...]]] = []
    for file in ranked:
        apart = _without_overlap(file.chunks)
        rest = tuple(
            More(c.start_line, c.end_line, c.symbol, round(score, 4))
            for c, score in apart[per_file : per_file + MOST_MORE]
        )
        for place, (chunk, _) in enumerate(apart[:per_file]):
            chosen.append((file, chunk, rest if place == 0 else ()))
            if len(chosen) == limit:
                return chosen
    return chosen


def _without_overlap(chunks: Sequence[tuple[Candidate, float]]) -> list[tuple[Candidate, float]]:
    """Best first; a reader can meet old and new text of one edited definition for an instant."""
    kept: list[tuple[Candidate, float]] = []
    for chunk, score in chunks:
        if all(chunk.end_line < k.start_line or chunk.start_line > k.end_line for k, _ in kept):
            kept.append((chunk, score))
    return kept


def _where(
    repos: Sequence[str] | None,
    languages: Sequence[str] | None,
    paths: Sequence[str] | None,
    kinds: Sequence[str] | None,
) -> str:
    clauses = [
        among(column, values)
        for column, values in (
            ("repo", repos),
            ("language", [language.lower() for language in languages or ()]),
            ("kind", kinds),
        )
        if values
    ]
    if paths:
        clauses.append(
            "(" + " OR ".join(f"regexp_like(path, {sql(glob_regex(g))})" for g in paths) + ")"
        )
    return " AND ".join(clauses)


def glob_regex(glob: str) -> str:
    """A path glob as a regular expression: `**` crosses folders, a bare name fits at any depth."""
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", glob)
    special = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    body = "".join(special.get(piece, re.escape(piece)) for piece in pieces)
    start = "^" if "/" in glob.rstrip("/") else "(?:^|/)"
    return f"{start}{body.rstrip('/')}(?:/.*)?$" if glob.endswith("/") else f"{start}{body}$"


def open_index(config: str | Path | None = None) -> Index:
    """Open the index of a configuration file, found as the CLI finds it when not given.

    Raises NoConfiguration when there is none, SettingsError for one with problems.
    """
    file = find(str(config) if config is not None else None)
    if file is None:
        raise NoConfiguration("there is no codesearch.yaml here or above: run `codesearch init`")
    return Index(load(file))
