"""The LanceDB tables of one index: made once, read by partition, replaced by difference.

Writers of different repositories never conflict, and a reader never meets a gap: new and changed
rows are upserted first, rows that are gone are deleted after. Nothing is written when nothing
changed. LanceDB is not fork-safe: a process that has opened a store never forks.
"""

import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock

from codesearch_resources.data_dir import storage_trouble
from codesearch_resources.schemas import TableSpec, embedding_table, table_specs

# merge_insert joins the source in memory: 300 MB fails, so it is given in slices.
SLICE_BYTES = 200 * 2**20
DELETE_BATCH = 2_000
ALL_ROWS = 2**31 - 1  # LanceDB's plain scan stops at ten rows unless told otherwise
# The library counts retries of a lost commit against this, the slow first attempt included.
WRITE_TIMEOUT = timedelta(minutes=30)
# A long-lived reader without an interval never sees a commit, and breaks once upkeep has run.
# Who decides work by what is stored must see the last commit; who only searches can wait a little.
ALWAYS = timedelta(0)
SOON = timedelta(seconds=1)
LANCE_FOLDER = "lancedb"
MAKING = ".making"  # where a table is made before it is moved into place
SEEN = ".seen"  # the last version of each table that was written
DAMAGED = ".damaged-"  # in the name of a table that was set aside, before the time in ns
ASKED_AGAIN = 5  # times, while upkeep removes one version after the other under a question

T = TypeVar("T")
State = tuple[int, int, int]


class StoreError(Exception):
    """The tables cannot be used; the message says what to do."""


class MissingTable(StoreError):
    """There is no such table yet: nothing has been indexed into this data folder."""


class DamagedTable(StoreError):
    """A table's files are not all there, or not whole; `name` says whose."""

    def __init__(self, name: str, detail: str) -> None:
        self.name, self.detail = name, detail
        super().__init__(
            f"The table {name} is damaged: files of it are missing or not whole. Run `codesearch "
            "index`: it is made anew from the repositories and from results.db, and nothing is "
            "paid for twice."
        )


def set_aside(data_dir: Path, name: str) -> Path | None:
    """Move a damaged table out of the way, so that the next run makes it anew.

    Tables are projections: what they held is made again, and what was paid for is elsewhere.
    Returns where it is now, None when somebody else has moved it.
    """
    folder = data_dir / LANCE_FOLDER
    place = folder / f"{name}{DAMAGED}{time.time_ns()}"
    (folder / SEEN / name).unlink(missing_ok=True)
    try:
        (folder / f"{name}.lance").rename(place)
    except FileNotFoundError:
        return None
    return place


# LanceDB has no error class for these: files that are not there, or cut off, or something else.
_DAMAGE = re.compile(
    r"not found: \S+\.lance/|table '\w+' was not found|failed to fill whole buffer"
    r"|does not appear to be a lance file|file size is too small|invalid range \d+\.\.\d+",
    re.ASCII | re.IGNORECASE,
)


def tells_damage(error: Exception) -> bool:
    """Whether LanceDB speaks of a file that is missing or not whole."""
    return _DAMAGE.search(str(error)) is not None


# How LanceDB tells what the disk said, with the place in its own source behind it.
_DISK = re.compile(r"LanceError\(IO\): (?P<said>.*?)(?:, /\S+\.rs:\d+:\d+)?$", re.DOTALL)


def _in_a_sentence(name: str, folder: Path, error: Exception) -> StoreError | None:
    """What to do about trouble of the disk that `storage_trouble` has no words of its own for."""
    found = _DISK.search(str(error))
    if found is None or storage_trouble(str(error)):
        return None
    said = " ".join(found["said"].split())
    return StoreError(
        f"The table {name} cannot be read or written: {said}. Look at its folder "
        f"{folder / name}.lance, then run again: the next run goes on from there. If it is past "
        "mending, delete the folder: it is made anew, and nothing is paid for twice."
    )


@dataclass(frozen=True, slots=True)
class Change:
    """What replacing a partition wrote, in rows."""

    written: int = 0
    deleted: int = 0

    def __add__(self, other: "Change") -> "Change":
        return Change(self.written + other.written, self.deleted + other.deleted)


def sql(value: str) -> str:
    """`value` as an SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def among(column: str, values: Iterable[str]) -> str:
    """The predicate `column IN (values)`."""
    return f"{column} IN ({', '.join(map(sql, values))})"


def of_repo(repo: str) -> str:
    """The predicate that holds for one repository's rows."""
    return f"repo = {sql(repo)}"


def batched(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """`values` in runs of at most `size`."""
    for start in range(0, len(values), size):
        yield values[start : start + size]


class Store:
    """The tables under `data_dir` whose vectors come from one embedder."""

    def __init__(
        self, data_dir: Path, embedder_id: str, dimensions: int, *, sees_commits: timedelta = ALWAYS
    ) -> None:
        self.sees_commits = sees_commits
        self.data_dir, self.embedder_id, self.dimensions = data_dir, embedder_id, dimensions
        self.folder = data_dir / LANCE_FOLDER
        self.specs: Mapping[str, TableSpec] = table_specs(embedder_id, dimensions)
        self.code_vectors = embedding_table("code", embedder_id, dimensions)
        self.summary_vectors = embedding_table("summary", embedder_id, dimensions)

    @cached_property
    def _connection(self) -> Any:
        import lancedb  # 1.6 CPU seconds

        return lancedb.connect(self.folder, read_consistency_interval=self.sees_commits)

    @cached_property
    def _tables(self) -> dict[str, Any]:
        return {}

    def names(self) -> list[str]:
        """The tables that exist, of any embedder."""
        if not self.folder.is_dir():
            return []
        return sorted(path.stem for path in self.folder.glob("*.lance"))

    def has(self, name: str) -> bool:
        """Whether a table exists."""
        return os.path.isdir(f"{self.folder}/{name}.lance")

    def table(self, name: str) -> Any:
        """The opened LanceDB table.

        Raises MissingTable when it has not been made. Questions go through `ask`.
        """
        if name not in self._tables:
            if not self.has(name):
                raise MissingTable(
                    f"no table {name} under {self.folder}; run `codesearch index`, which makes it"
                )
            seen = self._seen(name)  # before it is opened: a writer may move both meanwhile
            opened = self._connection.open_table(name)
            if opened.version < seen:
                # Without its newest manifest a table is, without a word, what it was before.
                raise DamagedTable(name, f"version {opened.version} came after {seen}")
            self._tables[name] = opened
        return self._tables[name]

    def _seen(self, name: str) -> int:
        file = self.folder / SEEN / name
        text = file.read_text() if file.exists() else ""
        return int(text) if text.isdecimal() else 0

    def _write(self, name: str, change: Callable[[Any], object]) -> None:
        """Make a change and note the version it led to."""
        self.ask(name, change)
        folder = self.folder / SEEN
        folder.mkdir(exist_ok=True)
        aside = folder / f".{name}.{os.getpid()}.{threading.get_ident()}"
        aside.write_text(str(self.table(name).version))
        aside.replace(folder / name)

    def ask(self, name: str, question: Callable[[Any], T]) -> T:
        """What `question` makes of the opened table.

        Asked again where upkeep removed the version it was about, so it must be a read or a write
        that may be done twice. Raises MissingTable, DamagedTable when the files of the newest
        version are not all there, and StoreError for other trouble of the disk.
        """
        lost = ""
        for _ in range(ASKED_AGAIN):
            try:
                return question(self.table(name))
            except (RuntimeError, ValueError, OSError) as error:
                if not tells_damage(error):
                    if told := _in_a_sentence(name, self.folder, error):
                        raise told from error
                    raise
                if str(error) == lost:  # the newest version lacks it too
                    break
                lost = str(error)
                self._tables.pop(name, None)
        raise DamagedTable(name, lost)

    def state(self, name: str) -> State:
        """What tells a table as it stands now from any other that stood or will stand there.

        Its version is not enough: a table that is made anew reaches the same number again.
        """
        version = self.ask(name, lambda table: int(table.version))
        try:
            folder = (self.folder / f"{name}.lance").stat()
        except FileNotFoundError as error:
            raise MissingTable(
                f"the table {name} is gone from {self.folder}; run `codesearch index`"
            ) from error
        return version, folder.st_ino, folder.st_ctime_ns

    def create(self) -> None:
        """Make the tables that are missing, with their indices; a no-op when all exist.

        One process at a time: LanceDB loses committed rows when two create one table.
        """
        if all(map(self.has, self.specs)):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".create.lock"):
            for name, spec in self.specs.items():
                if not self.has(name):
                    self._create_table(name, spec)

    def _create_table(self, name: str, spec: TableSpec) -> None:
        """Make a table aside and move it into place: a kill never leaves one without indices."""
        import lancedb
        from lancedb.index import Bitmap, BTree, LabelList

        making = self.folder / MAKING
        shutil.rmtree(making, ignore_errors=True)
        connection: Any = lancedb.connect(making)
        table = connection.create_table(name, schema=spec.schema)
        # Without a declared key two first loads of one repository would double its rows.
        table.set_unenforced_primary_key(spec.key)
        kinds = ((spec.btree, BTree), (spec.bitmap, Bitmap), (spec.label_list, LabelList))
        for columns, kind in kinds:
            for column in columns:
                table.create_index(column, config=kind())
        for column in spec.full_text:
            table.create_index(column, config=full_text_index())
        (self.folder / SEEN / name).unlink(missing_ok=True)
        (making / f"{name}.lance").rename(self.folder / f"{name}.lance")
        shutil.rmtree(making)

    def read(self, name: str, columns: Sequence[str], where: str = "") -> pa.Table:
        """The given columns of the rows that match `where` (all rows when empty)."""

        def question(table: Any) -> pa.Table:
            query = table.search().select(list(columns)).limit(ALL_ROWS)
            return (query.where(where) if where else query).to_arrow()

        return self.ask(name, question)

    def read_keys(
        self, name: str, columns: Sequence[str], column: str, keys: Sequence[str]
    ) -> pa.Table:
        """The given columns of the rows whose `column` is among `keys`, in no set order."""
        empty = pa.table({c: pa.array([], self.specs[name].schema.field(c).type) for c in columns})
        parts = [
            self.read(name, columns, among(column, batch)) for batch in batched(keys, DELETE_BATCH)
        ]
        return pa.concat_tables([empty, *parts], promote_options="permissive")

    def count(self, name: str, where: str = "") -> int:
        """The number of rows that match `where`."""
        return self.ask(name, lambda table: int(table.count_rows(where or None)))

    def digests(self, name: str, repo: str) -> dict[str, int]:
        """Row key to row digest of one repository's partition."""
        key = self.specs[name].key
        rows = self.read(name, [key, "digest"], of_repo(repo))
        return dict(zip(rows[key].to_pylist(), rows["digest"].to_pylist(), strict=True))

    def upsert(self, name: str, rows: pa.Table) -> int:
        """Insert or update rows by the table's key; returns how many were written."""
        key = self.specs[name].key
        for part in _slices(rows.cast(self.specs[name].schema)):
            self._write(name, partial(_merge, key, part))
        return int(rows.num_rows)

    def upsert_changed(self, name: str, rows: pa.Table, known: Mapping[str, int]) -> int:
        """Upsert only the rows whose digest differs from the one in `known`."""
        keys, digests = rows[self.specs[name].key].to_pylist(), rows["digest"].to_pylist()
        changed = [known.get(key) != digest for key, digest in zip(keys, digests, strict=True)]
        return self.upsert(name, rows.filter(pa.array(changed, pa.bool_())))

    def delete(self, name: str, keys: Iterable[str]) -> int:
        """Delete rows by key; returns how many keys were given. No keys, no commit."""
        ordered = sorted(keys)
        for batch in batched(ordered, DELETE_BATCH):
            self.delete_where(name, among(self.specs[name].key, batch))
        return len(ordered)

    def delete_where(self, name: str, where: str) -> None:
        """Delete the rows that match `where`; a commit even when there are none."""
        self._write(name, lambda table: table.delete(where))

    def replace(self, name: str, repo: str, rows: pa.Table) -> Change:
        """Make `rows` the whole partition of one repository, writing only the difference."""
        known = self.digests(name, repo)
        written = self.upsert_changed(name, rows, known)
        deleted = self.delete(name, known.keys() - set(rows[self.specs[name].key].to_pylist()))
        return Change(written, deleted)

    def repository_row(self, repo: str) -> dict[str, Any]:
        """The repository's row as a dict, empty when it has none."""
        rows = self.read("repositories", self.specs["repositories"].schema.names, of_repo(repo))
        return rows.to_pylist()[0] if rows.num_rows else {}

    def update_repository(self, repo: str, **values: Any) -> None:
        """Set columns of the repository's row and the time; writes nothing when they hold."""
        row = self.repository_row(repo)
        if row and all(row[name] == value for name, value in values.items()):
            return
        schema = self.specs["repositories"].schema
        updated = {**row, "repo": repo, **values, "indexed_at": datetime.now(UTC)}
        self.upsert("repositories", pa.Table.from_pylist([updated], schema=schema))


def _merge(key: str, rows: pa.Table, table: Any) -> None:
    (
        table.merge_insert(key)
        .use_index(False)
        .when_matched_update_all()
        .when_not_matched_insert_all()
        # A row may come without its vector: LanceDB takes that for a bad one unless it is told.
        .execute(rows, on_bad_vectors="null" if _lacks(rows) else "error", timeout=WRITE_TIMEOUT)
    )


def _lacks(rows: pa.Table) -> bool:
    return "vector" in rows.column_names and rows["vector"].null_count > 0


def full_text_index() -> Any:
    """BM25 over text that is already split: no stemming, stop words or case folding of its own."""
    from lancedb.index import FTS

    return FTS(
        base_tokenizer="whitespace",
        lower_case=False,
        stem=False,
        remove_stop_words=False,
        ascii_folding=False,
        with_position=False,
    )


def count_by(table: pa.Table, column: str) -> dict[str, int]:
    """How often each value of a column stands in a table."""
    counted = pc.value_counts(table[column].combine_chunks())
    return {str(item["values"]): int(item["counts"]) for item in counted.to_pylist()}


def _slices(rows: pa.Table) -> Iterator[pa.Table]:
    """`rows` in parts of at most SLICE_BYTES; nothing when there are no rows."""
    if not rows.num_rows:
        return
    count = max(1, -(-rows.nbytes // SLICE_BYTES))
    size = -(-rows.num_rows // count)
    for start in range(0, rows.num_rows, size):
        yield rows.slice(start, size)
