"""The checks: each fails on a doctored table, names who fails, and speaks for all repositories."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
from indexes import EXTRACTIVE, FakeModel
from unattended import World, copied, make_template

from codesearch_assets import checks
from codesearch_assets import chunks as chunks_module
from codesearch_resources.embedders.embedded import EmbeddedEmbedder
from codesearch_resources.store import Store, of_repo
from codesearch_resources.summarizers.chain import Chain

WIDTH = EmbeddedEmbedder.dimensions


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


@pytest.fixture
def world(template: Path, tmp_path: Path) -> Iterator[World]:
    with copied(template, tmp_path / "world") as made:
        yield made


def row_of(store: Store, table: str, repo: str) -> dict[str, Any]:
    [row] = store.read(table, store.specs[table].schema.names, of_repo(repo)).to_pylist()
    return row


def add(store: Store, table: str, row: dict[str, Any]) -> None:
    """Append a row as it is: an upsert would not make a double one."""
    store.table(table).add(pa.Table.from_pylist([row], schema=store.specs[table].schema))


def all_checks(store: Store) -> dict[str, dg.AssetCheckResult]:
    """What the five assets check, by name."""
    from codesearch_assets import embeddings, summaries

    unique = checks.result("ids_unique", checks.duplicate_ids(store), "chunk ids stand twice")
    found = [
        unique,
        *embeddings._check_code_vectors(store),
        *embeddings._check_summary_vectors(store),
        *summaries._check(store, Chain([EXTRACTIVE])),
    ]
    return {str(result.check_name): result for result in found}


def failing(store: Store) -> dict[str, str]:
    return {
        name: str(result.description)
        for name, result in all_checks(store).items()
        if not result.passed
    }


def test_every_check_that_an_asset_promises_is_known_here(world: World) -> None:
    specs = {
        spec.name
        for asset in world.definitions.assets or []
        if isinstance(asset, dg.AssetsDefinition)
        for spec in asset.check_specs
    }
    assert specs == set(all_checks(world.store()))


def test_a_good_index_passes_every_check(world: World) -> None:
    assert failing(world.store()) == {}


def double_a_chunk(store: Store) -> None:
    add(store, "chunks", row_of(store, "chunks", "web"))


def lose_a_code_vector(store: Store) -> None:
    store.table(store.code_vectors).delete(of_repo("web"))


def leave_a_code_vector(store: Store) -> None:
    store.upsert(store.code_vectors, _table(store, store.code_vectors, "web", chunk_id="gone"))


def leave_a_summary(store: Store) -> None:
    store.upsert("summaries", _table(store, "summaries", "web", chunk_id="gone"))


def lose_a_summary(store: Store) -> None:
    store.table("summaries").delete(of_repo("web"))


def lose_a_summary_vector(store: Store) -> None:
    store.table(store.summary_vectors).delete(of_repo("web"))


def _table(store: Store, table: str, repo: str, **changed: Any) -> pa.Table:
    row = {**row_of(store, table, repo), **changed}
    return pa.Table.from_pylist([row], schema=store.specs[table].schema)


@pytest.mark.parametrize(
    ("doctor", "names"),
    [
        (double_a_chunk, {"ids_unique": 2}),
        (lose_a_code_vector, {"code_vectors_complete": 1}),
        (leave_a_code_vector, {"no_orphan_code_vectors": 1}),
        (leave_a_summary, {"no_orphan_summaries": 1, "summary_vectors_complete": 1}),
        (lose_a_summary, {"coverage": 1}),
        (lose_a_summary_vector, {"summary_vectors_complete": 1}),
    ],
)
def test_a_doctored_table_fails_its_check_and_names_the_repository(
    world: World, doctor: Callable[[Store], None], names: dict[str, int]
) -> None:
    store = world.store()
    doctor(store)
    found = failing(store)
    assert set(found) == set(names)
    for name, count in names.items():
        assert found[name].endswith(f": web ({count})")
        metadata = all_checks(store)[name].metadata
        assert metadata["failing_repositories"].value == 1
        assert metadata["failing_rows"].value == count


def put_vector(store: Store, table: str, length: float | None) -> None:
    """A vector of that length for `web`; LanceDB itself stores no NaN, and null when told."""
    row = row_of(store, table, "web")
    values = np.zeros(WIDTH, np.float32)
    values[0] = np.nan if length is None else length
    row["vector"] = values.tolist()
    store.table(table).delete(of_repo("web"))
    rows = pa.Table.from_pylist([row], schema=store.specs[table].schema)
    if length is None:
        store.table(table).add(rows, on_bad_vectors="null")
    else:
        store.table(table).add(rows, on_bad_vectors="fill", fill_value=float("nan"))


@pytest.mark.parametrize("length", [None, 0.0, 0.5, 2.0, float("inf")])
@pytest.mark.parametrize("layer", ["code", "summary"])
def test_an_unsound_vector_is_found(world: World, length: float | None, layer: str) -> None:
    """None is a null."""
    store = world.store()
    put_vector(store, store.code_vectors if layer == "code" else store.summary_vectors, length)
    name = "code_vectors_are_unit" if layer == "code" else "summary_vectors_are_unit"
    what = (
        "texts that the embedder refused"
        if length is None
        else "vectors that are not of unit length"
    )
    assert failing(store) == {name: f"{what}: web (1)"}
    is_error = all_checks(store)[name].severity is dg.AssetCheckSeverity.ERROR
    assert is_error == (length is not None)


def test_a_table_without_rows_is_sound(tmp_path: Path) -> None:
    store = Store(tmp_path, EmbeddedEmbedder.id, WIDTH)
    store.create()
    assert failing(store) == {}


def test_what_is_being_refreshed_is_behind_and_not_broken(world: World) -> None:
    """Chunks of a new commit are there, their vectors are not yet."""
    store = world.store()
    store.update_repository("web", chunks_commit="1" * 40)
    lose_a_code_vector(store)
    assert failing(store) == {}
    store.update_repository("web", code_embeddings_commit="1" * 40)
    assert list(failing(store)) == ["code_vectors_complete"]


def test_the_remainder_is_a_warning(world: World) -> None:
    store = world.store()
    uncovered = checks.uncovered(store, FakeModel())
    assert dict(uncovered) == {"api": 1, "lib": 1, "web": 1}
    result = checks.result("coverage", uncovered, "chunks wait for their summary", warn=True)
    assert not result.passed
    assert result.severity is dg.AssetCheckSeverity.WARN
    assert result.description == "chunks wait for their summary: api (1), lib (1), web (1)"
    lose_a_code_vector(store)
    assert all_checks(store)["code_vectors_complete"].severity is (dg.AssetCheckSeverity.ERROR)


def test_a_good_run_of_another_repository_does_not_paint_it_green(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checks record no partition: the last one is what everybody sees."""
    from indexes import CutHere

    monkeypatch.setattr(chunks_module, "CuttingProcess", CutHere)
    store = world.store()
    lose_a_code_vector(store)
    lose_a_summary_vector(store)
    world.commit("api")
    request = world.tick("nightly").run_requests[0]
    assert request.partition_key == "api"
    found = {}
    for done in (
        world.run(request),
        world.run(dg.RunRequest(job_name="summarise", partition_key="api")),
    ):
        assert done.success
        for event in done.all_events:
            if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                evaluated = event.asset_check_evaluation_data
                found[evaluated.check_name] = (evaluated.passed, evaluated.description)
    assert found["code_vectors_complete"] == (False, "chunks without a vector: web (1)")
    assert found["summary_vectors_complete"] == (False, "summaries wait for one: web (1)")
    assert found["ids_unique"][0]
