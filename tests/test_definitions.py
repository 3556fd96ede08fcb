"""What Dagster loads: names, dependencies, partitions, resources, and the catalog sensor."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
from conftest import Workspace, WorkTree

from codesearch_assets.automation import catalog_sensor
from codesearch_assets.definitions import build
from codesearch_resources.dagster import NO_CONFIGURATION, configured

# name: what it depends on, its kinds, whether it has a partition for each repository
SPECS = {
    "repo_snapshots": (set(), {"git"}, True),
    "chunks": ({"repo_snapshots"}, {"treesitter", "lancedb"}, True),
    "code_embeddings": ({"chunks"}, {"lancedb"}, True),
    "summaries": ({"chunks"}, {"lancedb"}, True),
    "summary_embeddings": ({"summaries"}, {"lancedb"}, True),
    "upkeep": (set(), {"lancedb"}, False),
}
JOBS = {
    "refresh": {"repo_snapshots", "chunks", "code_embeddings"},
    "summarise": {"summaries", "summary_embeddings"},
    "upkeep": {"upkeep"},
}


def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def test_the_assets_are_the_five_of_a_repository_and_upkeep() -> None:
    found = {
        name: (
            {dep.asset_key.to_user_string() for dep in spec.deps},
            spec.kinds,
            isinstance(spec.partitions_def, dg.DynamicPartitionsDefinition)
            and spec.partitions_def.name == "repositories",
        )
        for name, spec in specs(build()).items()
    }
    assert found == SPECS


def test_every_asset_says_what_it_is_and_which_version_of_the_code_made_it() -> None:
    for spec in specs(build()).values():
        assert spec.description
        assert spec.description.endswith(".")
        assert spec.code_version
        # One group: the lineage page folds several into boxes, and the picture is gone.
        assert spec.group_name == "codesearch"


def test_jobs_run_their_assets_one_after_another_in_one_process() -> None:
    definitions = build()
    for name, assets in JOBS.items():
        job = definitions.resolve_job_def(name)
        keys = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
        assert keys == assets
        assert job.executor_def.name == "in_process"
        assert job.description


def test_a_code_server_loads_everything_and_dagster_warns_of_nothing() -> None:
    """Beta and preview parts of Dagster warn where they are used, and may break in a patch."""
    script = """
        import warnings
        import dagster as dg
        from dagster import BetaWarning, PreviewWarning, SupersessionWarning
        for kind in (BetaWarning, PreviewWarning, SupersessionWarning, DeprecationWarning):
            warnings.simplefilter("error", kind)
        from codesearch_assets.definitions import defs
        dg.Definitions.validate_loadable(defs())
        defs().get_repository_def().load_all_definitions()
    """
    code = textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_a_configuration_every_asset_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    descriptions = [spec.description or "" for spec in specs(build()).values()]
    assert len(descriptions) == len(SPECS)
    assert all(NO_CONFIGURATION in description for description in descriptions)
    assert "codesearch init" in NO_CONFIGURATION


def test_a_configuration_makes_the_hint_go(make_workspace: Callable[..., Workspace]) -> None:
    file = make_workspace().file
    assert not any(
        NO_CONFIGURATION in (spec.description or "") for spec in specs(build(str(file))).values()
    )


def test_every_resource_names_the_configuration_in_force(
    make_workspace: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_workspace().file
    monkeypatch.chdir(file.parent)
    for definitions in (build(), build(str(file))):
        resources = definitions.resources or {}
        assert set(resources) == {"repositories", "store", "embedder", "summarizer"}
        assert {resource.configuration for resource in resources.values()} == {str(file)}


@pytest.fixture
def tick() -> Callable[[Path | str], dg.SensorResult | dg.SkipReason]:
    """Evaluate the catalog sensor for a configuration, and do what it asks as the daemon would."""
    instance = dg.DagsterInstance.ephemeral()

    def evaluate(configuration: Path | str) -> dg.SensorResult | dg.SkipReason:
        context = dg.build_sensor_context(
            instance=instance,
            resources=configured(str(configuration)),
        )
        with context:
            result = catalog_sensor(context)
        for request in getattr(result, "dynamic_partitions_requests", None) or ():
            instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
        return result

    return evaluate


def added(result: dg.SensorResult | dg.SkipReason) -> list[str]:
    assert isinstance(result, dg.SensorResult), result
    return [key for ask in result.dynamic_partitions_requests or () for key in ask.partition_keys]


def reason(result: dg.SensorResult | dg.SkipReason) -> str:
    assert isinstance(result, dg.SkipReason), result
    return result.skip_message or ""


def test_the_catalog_sensor_gives_new_repositories_their_partition(
    tick: Callable[[Path | str], dg.SensorResult | dg.SkipReason],
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
) -> None:
    api, web = make_tree("api"), make_tree("web")
    file = make_workspace(api).file
    assert added(tick(file)) == ["api"]
    assert str(file) in reason(tick(file))
    # An edit of the file needs no reload.
    file.write_text(f"{file.read_text()}  - path: {web.path}\n")
    assert added(tick(file)) == ["web"]


def test_the_catalog_sensor_skips_with_the_reason(
    tick: Callable[[Path | str], dg.SensorResult | dg.SkipReason],
    make_workspace: Callable[..., Workspace],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert reason(tick("")) == NO_CONFIGURATION
    assert reason(tick(tmp_path / "gone.yaml")) == "gone.yaml: no such file"
    broken = make_workspace(extra="repositoriez: []\n").file
    told = reason(tick(broken))
    assert f"{broken.relative_to(tmp_path)}:1" in told
    assert "repositories" in told  # the near name
