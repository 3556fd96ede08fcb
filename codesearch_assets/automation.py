"""Jobs, and the sensor that keeps the partitions in step with the settings."""

import dagster as dg

from codesearch_assets.chunks import chunks
from codesearch_assets.embeddings import code_embeddings, summary_embeddings
from codesearch_assets.partitions import missing_partitions, repositories_partitions
from codesearch_assets.repo_snapshots import repo_snapshots
from codesearch_assets.summaries import summaries
from codesearch_assets.upkeep import upkeep
from codesearch_resources.settings import SettingsError, find, load

CATALOG_INTERVAL = 60  # seconds

refresh_job = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.assets(repo_snapshots, chunks, code_embeddings),
    description="Make a repository searchable at its newest commit.",
)
summarise_job = dg.define_asset_job(
    "summarise",
    selection=dg.AssetSelection.assets(summaries, summary_embeddings),
    description="Give a repository's chunks their summaries, as far as a provider may be used.",
)
upkeep_job = dg.define_asset_job(
    "upkeep",
    selection=dg.AssetSelection.assets(upkeep),
    description="Compact and index the tables where it pays.",
)


@dg.sensor(
    name="catalog",
    minimum_interval_seconds=CATALOG_INTERVAL,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Gives each repository of codesearch.yaml its partition. Asks no network.",
)
def catalog_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    file = find()
    if file is None:
        return dg.SkipReason("there is no codesearch.yaml; run `codesearch init`")
    try:
        settings = load(file)
    except SettingsError as error:
        return dg.SkipReason(str(error))
    new = missing_partitions(settings, context.instance)
    if not new:
        return dg.SkipReason(f"every repository of {file} has its partition")
    return dg.SensorResult(
        dynamic_partitions_requests=[repositories_partitions.build_add_request(new)]
    )
