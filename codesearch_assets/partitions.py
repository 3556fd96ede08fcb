"""The partitions of the index: one a repository, kept in step with the settings."""

import dagster as dg

from codesearch_resources.settings import Settings

NAME = "repositories"
repositories_partitions = dg.DynamicPartitionsDefinition(name=NAME)
# The commit a run is pinned to, set by whoever requests it.
COMMIT_TAG = "codesearch/commit"


def missing_partitions(settings: Settings, instance: dg.DagsterInstance) -> list[str]:
    """Configured repositories that have no partition yet."""
    known = set(instance.get_dynamic_partitions(NAME))
    return [entry.name for entry in settings.repositories if entry.name not in known]


def add_partitions(settings: Settings, instance: dg.DagsterInstance) -> list[str]:
    """Give every configured repository its partition; returns the new ones."""
    new = missing_partitions(settings, instance)
    if new:
        instance.add_dynamic_partitions(NAME, new)
    return new
