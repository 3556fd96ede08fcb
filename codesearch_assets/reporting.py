"""What the assets have in common: locks, data versions, small tables of counts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dagster as dg
import pyarrow.compute as pc

from codesearch_resources.dagster import StoreResource
from codesearch_resources.data_dir import Busy, lock
from codesearch_resources.store import Store, of_repo

LOCK_WAIT = 5.0  # seconds; a run that ends right now is worth waiting for


@contextmanager
def exclusively(store: StoreResource, repo: str, job: str) -> Iterator[None]:
    """Hold the lock of one repository and job; fails, naming the holder, when it is taken."""
    try:
        with lock(store.data_dir(), f"{repo}.{job}", wait=LOCK_WAIT):
            yield
    except Busy as busy:
        raise dg.Failure(str(busy), allow_retries=False) from None


def data_version(store: Store, table: str, repo: str) -> dg.DataVersion:
    """A hash of a partition's rows, whatever their order, without the commit."""
    rows = store.read(table, ["digest"], of_repo(repo))
    total = pc.sum(rows["digest"], min_count=0).as_py() or 0
    return dg.DataVersion(f"{rows.num_rows}-{total % 2**64:016x}")


def counts_table(what: str, counts: Mapping[str, int]) -> dg.TableMetadataValue | str:
    """Counts as a table in the UI, most first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    if not ordered:
        return "none"
    return dg.MetadataValue.table([dg.TableRecord({what: k, "count": v}) for k, v in ordered])
