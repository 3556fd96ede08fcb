"""Search: lanes, then ranking, then hits. Imports no Dagster."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesearch.errors import BadQuery, NoConfiguration, NotIndexed, SearchError
from codesearch.filters import Filters, check_filters, make_filters
from codesearch.lanes import Found
from codesearch.ranking import Candidate, Query, RankedFile, meant, parse, rank
from codesearch.serving import Serving
from codesearch_resources.data_dir import check_data_dir
from codesearch_resources.settings import Settings, find, load
from codesearch_resources.text import readable, words

if TYPE_CHECKING:
    import pandas as pd

SHOWN = ["text", "symbols", "start_line", "end_line"]
MOST_MORE = 5  # other chunks of a file folded under its hit
MOST_NAMED = 5  # repositories that one notice names
ASKED_AT_MOST = 3  # times, while chunks that were found are gone before their text is read


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
    those lines at `commit`. `symbol` is the definition that was meant where the chunk holds
    several; `kind` is the chunk's own. `lanes` gives the chunk's rank in each lane that found it,
    `rules` what each rule added to the score.
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
        check_data_dir(settings.data_dir, settings.file)
        self.settings = settings
        self._serving = Serving(settings)
        self.store = self._serving.store

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads that ask the lanes."""
        self._serving.close()

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
        BadQuery for a question without words and for a language or kind that is not there,
        NotIndexed before the first `codesearch index`.
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
        text = readable(query)
        if not words(text):
            raise BadQuery("the question holds no words; ask with some, or with a name")
        if limit < 1 or per_file < 1:
            raise BadQuery("limit and per-file are at least 1")
        for name in repos or ():
            self.settings.repository(name)
        standing = self._standing()
        filters = make_filters(self._limited(repos, standing), languages, paths, kinds)
        check_filters(filters, self.store)
        parsed = parse(text)
        # A removal that was cut short leaves rows of a repository that no table speaks of any more.
        known = {entry.name for entry in self.settings.repositories}
        _, lanes, of_vectors = self._serving.now()
        for _ in range(ASKED_AT_MOST):
            found = lanes.find(parsed, filters.where)
            candidates = {key: one for key, one in found.candidates.items() if one.repo in known}
            chosen = _chosen(rank(parsed, candidates, found.evidence), per_file, limit)
            hits = self._hits(parsed, found, chosen, standing)
            if len(hits) == len(chosen):
                break
        notices = [*self._not_indexed(filters, standing), *of_vectors, *found.notices]
        took = (time.perf_counter() - started) * 1000
        return Answer(text, tuple(hits), tuple(notices), took)

    def notices(self) -> list[str]:
        """What a person should know about the vectors that are searched."""
        return self._serving.now()[2]

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
        if "chunks" not in self.store.names():
            raise NotIndexed("nothing is indexed yet: run `codesearch index` first")

    def _standing(self) -> dict[str, dict[str, Any]]:
        """For each repository with chunks: their commit and when they were indexed."""
        self._require_index()
        rows = self.store.read("repositories", ["repo", "chunks_commit", "indexed_at"]).to_pylist()
        return {row["repo"]: row for row in rows if row["chunks_commit"] is not None}

    def _limited(
        self, repos: Sequence[str] | None, standing: Mapping[str, object]
    ) -> Sequence[str] | None:
        """The repositories to ask: one struck from the settings keeps its rows for a while."""
        configured = [entry.name for entry in self.settings.repositories]
        return repos or (None if standing.keys() <= set(configured) else configured)

    def _not_indexed(self, filters: Filters, standing: Mapping[str, object]) -> list[str]:
        asked = filters.repos or [entry.name for entry in self.settings.repositories]
        missing = [name for name in asked if name not in standing]
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        names = ", ".join(missing[:MOST_NAMED]) + more
        return [f"not indexed yet: {names}; run `codesearch index`"] if missing else []

    def _hits(
        self,
        query: Query,
        found: Found,
        chosen: Sequence[tuple[RankedFile, Candidate, tuple[More, ...]]],
        standing: Mapping[str, Mapping[str, Any]],
    ) -> list[Hit]:
        """Read what a hit shows, for the chosen few only; one that is gone meanwhile is left out.

        Lines and text come from one row: a commit may have moved them since the lanes were asked.
        """
        ids = [chunk.chunk_id for _, chunk, _ in chosen]
        texts = _apart(chosen, self._by_id("chunks", SHOWN, ids))
        summaries = self._by_id("summaries", ["summary"], ids)
        places = {
            lane: {chunk_id: place for place, chunk_id in enumerate(order, 1)}
            for lane, order in found.order.items()
        }
        return [
            Hit(
                repo=chunk.repo,
                path=chunk.path,
                start_line=shown["start_line"],
                end_line=shown["end_line"],
                symbol=meant(query, chunk.symbol, [s["name"] for s in shown["symbols"] or ()]),
                kind=chunk.kind,
                language=chunk.language,
                summary=summaries.get(chunk.chunk_id, {}).get("summary") or "",
                text=shown["text"],
                score=round(file.score, 4),
                lanes={n: p[chunk.chunk_id] for n, p in places.items() if chunk.chunk_id in p},
                more=more,
                commit=standing.get(chunk.repo, {}).get("chunks_commit", ""),
                indexed_at=standing.get(chunk.repo, {}).get("indexed_at"),
                rules={rule: round(share, 4) for rule, share in file.rules.items()},
            )
            for file, chunk, more in chosen
            if (shown := texts.get(chunk.chunk_id))
        ]

    def _by_id(self, table: str, columns: list[str], ids: Sequence[str]) -> dict[str, Any]:
        rows = self.store.read_keys(table, ["chunk_id", *columns], "chunk_id", ids).to_pylist()
        return {row["chunk_id"]: row for row in rows}


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


def _apart(
    chosen: Sequence[tuple[RankedFile, Candidate, tuple[More, ...]]], shown: Mapping[str, Any]
) -> dict[str, Any]:
    """The rows of chosen chunks, best first, without those that overlap a better one's file."""
    kept: dict[str, Any] = {}
    taken: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for _, chunk, _ in chosen:
        row = shown.get(chunk.chunk_id)
        if row is None:
            continue
        start, end = row["start_line"], row["end_line"]
        lines = taken.setdefault((chunk.repo, chunk.path), [])
        if all(end < first or start > last for first, last in lines):
            kept[chunk.chunk_id] = row
            lines.append((start, end))
    return kept


def _without_overlap(chunks: Sequence[tuple[Candidate, float]]) -> list[tuple[Candidate, float]]:
    """Best first; a reader can meet old and new text of one edited definition for an instant."""
    kept: list[tuple[Candidate, float]] = []
    for chunk, score in chunks:
        if all(chunk.end_line < k.start_line or chunk.start_line > k.end_line for k, _ in kept):
            kept.append((chunk, score))
    return kept


def open_index(config: str | Path | None = None) -> Index:
    """Open the index of a configuration file, found as the CLI finds it when not given.

    Raises NoConfiguration when there is none, SettingsError for one with problems.
    """
    file = find(str(config) if config is not None else None)
    if file is None:
        raise NoConfiguration("there is no codesearch.yaml here or above: run `codesearch init`")
    return Index(load(file))
