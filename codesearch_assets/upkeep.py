"""upkeep: the tables compacted and indexed when that pays, over all repositories."""

import dagster as dg

from codesearch_assets.reporting import counts_table
from codesearch_resources.dagster import StoreResource
from codesearch_resources.data_dir import lock
from codesearch_resources.embedders.base import Embedder
from codesearch_resources.upkeep import upkeep as run_upkeep

LOCK = "upkeep"
LOCK_WAIT = 600.0  # seconds; another upkeep does this one's work


@dg.asset(
    group_name="upkeep",
    kinds={"lancedb"},
    pool="upkeep",
    description="Tables compacted, pruned and indexed, where enough has changed to make it worth "
    "it. Nothing to do writes nothing.",
)
def upkeep(
    store: StoreResource, embedder: dg.ResourceParam[Embedder]
) -> dg.MaterializeResult[None]:
    with lock(store.data_dir(), LOCK, wait=LOCK_WAIT):
        worked = run_upkeep(store.open(embedder))
    return dg.MaterializeResult(
        metadata={
            "tables": len(worked),
            "unindexed_rows_folded_in": counts_table(
                "table", {found.name: found.unindexed for found in worked}
            ),
        }
    )
