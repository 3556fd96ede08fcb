"""What the assets have in common: locks, failures in a sentence, data versions, counts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow.compute as pc
from sqlalchemy.exc import DatabaseError

from codesearch_assets.interrupts import never_lost
from codesearch_resources.dagster import StoreResource
from codesearch_resources.data_dir import Busy, DataDirError, lock, storage_trouble
from codesearch_resources.embedders.base import EmbeddingError
from codesearch_resources.repositories import GitError
from codesearch_resources.results import ResultsError
from codesearch_resources.settings import SettingsError, UnknownRepository
from codesearch_resources.store import (
    DamagedTable,
    Store,
    StoreError,
    of_repo,
    set_aside,
)

# Dagster knows its result class by identity, mypy wants its parameter.
if TYPE_CHECKING:
    import pandas as pd

    Materialized = dg.MaterializeResult[None]
else:
    Materialized = dg.MaterializeResult

LOCK_WAIT = 5.0  # seconds; a run that ends right now is worth waiting for

# A person can mend these and needs no stack trace: their own words are the failure.
TOLD = (
    Busy,
    DataDirError,
    EmbeddingError,
    GitError,
    ResultsError,
    SettingsError,
    StoreError,
    UnknownRepository,
)


@contextmanager
def mendable(data_dir: Path | None = None) -> Iterator[None]:
    """Tell trouble of the disk, the tables or results.db as an error whose words say what to do.

    A damaged table under `data_dir` is set aside first, so that the next run makes it anew.
    Raises StoreError and DataDirError.
    """
    try:
        yield
    except DamagedTable as error:
        place = set_aside(data_dir, error.name) if data_dir else None
        raise StoreError(f"{error} It was moved to {place}." if place else str(error)) from error
    except ResultsError as error:
        raise DataDirError(str(error)) from error
    except (OSError, RuntimeError, ValueError, DatabaseError) as error:
        # LanceDB tells a full disk in the words of a RuntimeError, SQLite in those of its own.
        sentence = storage_trouble(str(error))
        if sentence is None:
            raise
        raise DataDirError(sentence) from error


@contextmanager
def told(data_dir: Path | None = None) -> Iterator[None]:
    """Fail the step in one sentence for whatever a person can mend, see `mendable`; told to end,
    it ends."""
    try:
        with never_lost(), mendable(data_dir):
            yield
    except TOLD as error:
        raise dg.Failure(str(error), allow_retries=False) from None


@contextmanager
def exclusively(store: StoreResource, repo: str, job: str) -> Iterator[None]:
    """Hold the lock of one repository and job; fails, naming the holder, when it is taken.

    Whatever else a person can mend fails the step in one sentence as well.
    """
    with told():
        data_dir = store.data_dir()
    with told(data_dir), lock(data_dir, f"{repo}.{job}", wait=LOCK_WAIT):
        yield


def data_version(store: Store, table: str, repo: str) -> dg.DataVersion:
    """A hash of a partition's rows, whatever their order, without the commit."""
    rows = store.read(table, ["digest"], of_repo(repo))
    total = pc.sum(rows["digest"], min_count=0).as_py() or 0
    return dg.DataVersion(f"{rows.num_rows}-{total % 2**64:016x}")


def warn_left_out(
    context: dg.AssetExecutionContext, repo: str, counts: Mapping[str, int]
) -> dict[str, str]:
    """Log the files that are not indexed though a person may think so; the same as metadata."""
    total = sum(counts.values())
    if not total:
        return {}
    reasons = ", ".join(f"{reason} ({count})" for reason, count in _most_first(counts) if count)
    files = "1 file" if total == 1 else f"{total} files"
    warning = f"Not indexed: {files} of {repo}: {reasons}."
    context.log.warning(warning)
    return {"warning": warning}


def _most_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def counts_table(what: str, **columns: Mapping[str, float]) -> dg.TableMetadataValue | str:
    """Figures by name, a column each, as a table in the UI: the most of the first column first."""
    import pandas as pd  # half a CPU second

    frame = pd.DataFrame(columns).rename_axis(what).reset_index()
    order = [next(iter(columns)), what]
    return frame_table(frame.sort_values(order, ascending=[False, True]))


def frame_table(frame: "pd.DataFrame") -> dg.TableMetadataValue | str:
    """A data frame as a table in the UI."""
    if frame.empty:
        return "none"
    rows = [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows])
