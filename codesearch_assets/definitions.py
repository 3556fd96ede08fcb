"""What Dagster loads: five partitioned assets, upkeep, their jobs and resources."""

from collections.abc import Mapping

import dagster as dg

from codesearch_assets.automation import (
    catalog_sensor,
    nightly_sensor,
    refresh_job,
    summarise_job,
    upkeep_job,
    upkeep_sensor,
)
from codesearch_assets.chunks import chunks
from codesearch_assets.embeddings import code_embeddings, summary_embeddings
from codesearch_assets.removal import remove_job
from codesearch_assets.repo_snapshots import repo_snapshots
from codesearch_assets.summaries import summaries
from codesearch_assets.upkeep import upkeep
from codesearch_resources.dagster import NO_CONFIGURATION, configured
from codesearch_resources.settings import find

ASSETS = (repo_snapshots, chunks, code_embeddings, summaries, summary_embeddings)


def build(configuration: str = "", resources: Mapping[str, object] | None = None) -> dg.Definitions:
    """The definitions for one configuration file; `resources` replace the configured ones.

    Without `configuration` the file is looked for now, so that the UI shows which one is in force.
    """
    file = find(configuration or None)
    assets: list[dg.AssetsDefinition] = [*ASSETS, upkeep]
    if file is None:
        assets = [_with_hint(asset) for asset in assets]
    return dg.Definitions(
        assets=assets,
        jobs=[refresh_job, summarise_job, upkeep_job, remove_job],
        sensors=[catalog_sensor, nightly_sensor, upkeep_sensor],
        resources={**configured(str(file or "")), **(resources or {})},
        # A process per step costs 2.4 CPU seconds before our code starts; runs are the parallelism.
        executor=dg.in_process_executor,
    )


def _with_hint(asset: dg.AssetsDefinition) -> dg.AssetsDefinition:
    """The asset with a description that says what to do first."""
    return asset.map_asset_specs(
        lambda spec: spec.replace_attributes(
            description=f"**{NO_CONFIGURATION}**\n\n{spec.description}"
        )
    )


@dg.definitions
def defs() -> dg.Definitions:
    return build()
