"""upkeep: the tables compacted and indexed when that pays, over all repositories."""

import dagster as dg

from codesearch_assets.reporting import counts_table
from codesearch_resources.dagster import StoreResource
from codesearch_resources.data_dir import lock
from codesearch_resources.embedders.base import Embedder
from codesearch_resources.upkeep import upkeep as run_upkeep

UPKEEP_VERSION = 1
LOCK = "upkeep"
LOCK_WAIT = 600.0  # seconds; another upkeep does this one's work


# An op of its own name: Dagster takes no op and job of one name into a code location.
@dg.multi_asset(
    name="tables_upkeep",
    specs=[
        dg.AssetSpec(
            "upkeep",
            group_name="upkeep",
            kinds={"lancedb"},
            code_version=str(UPKEEP_VERSION),
            description="Tables compacted, pruned and indexed, where enough has changed to make "
            "it worth it. Nothing to do writes nothing.",
        )
    ],
    pool="upkeep",
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
