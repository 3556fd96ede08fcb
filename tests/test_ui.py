"""Dagster's UI and GraphQL over a real index: what a person sees, and that no secret is there."""

import base64
import json
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from browser import CHECKOUT, Webserver, browser_page, open_sockets, see, webserver
from conftest import Workspace, WorkTree
from live import PATIENCE, Live, eventually

from codesearch_assets.runs import Runner, instance_of
from codesearch_resources.dagster import NO_CONFIGURATION

ASSETS = {"repo_snapshots", "chunks", "code_embeddings", "summaries", "summary_embeddings"}
RESOURCES = {"repositories", "store", "embedder", "summarizer"}
LOCATION = "codesearch_assets.definitions"
ADD = "def add(left, right):\n    return left + right\n"
SECRET = "hunter2-7f3a"

RESOURCES_QUERY = """{ repositoriesOrError { ... on RepositoryConnection { nodes {
    allTopLevelResourceDetails { name description resourceType isTopLevel assetKeysUsing { path }
        configFields { name description } configuredValues { key value type } } } } } }"""
ASSETS_QUERY = """{ assetNodes { assetKey { path } description groupName partitionKeys
    assetMaterializations { partition tags { key value } metadataEntries { label description
        ... on TextMetadataEntry { text } ... on IntMetadataEntry { intValue }
        ... on FloatMetadataEntry { floatValue }
        ... on TableMetadataEntry { table { records } } } } } }"""
RUNS_QUERY = """{ runsOrError { ... on Runs { results { runId jobName status runConfigYaml
    tags { key value } } } } }"""
LOG_QUERY = """query($run: ID!) { logsForRun(runId: $run) { ... on EventConnection { events {
    __typename ... on MessageEvent { message level }
    ... on ExecutionStepFailureEvent { error { message stack causes { message stack } } } } } } }"""


@dataclass(frozen=True)
class Ui:
    """`dagster dev` in a folder with a codesearch.yaml: two repositories are indexed, one cannot be
    reached, one is not indexed yet."""

    server: Webserver
    workspace: Workspace
    trees: dict[str, WorkTree]


class WithLogin(SimpleHTTPRequestHandler):
    """Serves a folder to whoever knows the password."""

    def do_GET(self) -> None:
        login = base64.b64encode(f"user:{SECRET}".encode()).decode()
        if self.headers.get("Authorization") == f"Basic {login}":
            return super().do_GET()
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="git"')
        self.end_headers()
        return None

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WorkTree, int]]:
    """A repository behind HTTP with a password, and the port."""
    folder = tmp_path_factory.mktemp("served")
    tree = WorkTree(folder / "web")
    tree.path.mkdir()
    tree.git("init", "--quiet", "--initial-branch=main")
    tree.commit({"web.py": "def page(title):\n    return title\n"})
    tree.git("clone", "--quiet", "--bare", str(tree.path), str(folder / "web.git"))
    WorkTree(folder / "web.git").git("update-server-info")
    handler = partial(WithLogin, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tree, server.server_port
        server.shutdown()


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory, served: tuple[WorkTree, int]) -> Iterator[Ui]:
    web, port = served
    folder = tmp_path_factory.mktemp("ui")
    api = WorkTree(folder / "api")
    api.path.mkdir()
    api.git("init", "--quiet", "--initial-branch=main")
    api.commit({"add.py": ADD, "nul.py": "x = '\0'\n" * 20, "logo.png": "x"})
    workspace = Workspace(folder / "codesearch.yaml")
    workspace.file.write_text(
        "repositories:\n"
        f"  - path: {api.path}\n"
        f"  - url: http://user:{SECRET}@127.0.0.1:{port}/web.git\n"
        f"  - {{name: silent, url: 'http://user:{SECRET}@127.0.0.1:9/silent'}}\n"
    )
    outcomes = {(done.repo, done.job): bool(done.error) for done in workspace.index()}
    assert [key for key, failed in outcomes.items() if failed] == [("silent", "refresh")]
    settings = workspace.settings
    with instance_of(settings) as instance:
        assert Runner(settings, instance).run("refresh", "silent").error
    late = WorkTree(folder / "late")
    late.path.mkdir()
    late.git("init", "--quiet", "--initial-branch=main")
    late.commit({"late.py": ADD})
    with workspace.file.open("a") as file:
        file.write(f"  - path: {late.path}\n")
    shutil.copy(CHECKOUT / "workspace.yaml", folder)
    environment = {"DAGSTER_HOME": str(settings.dagster_home)}
    command = ("dagster", "dev", "-w", "workspace.yaml")
    with webserver(*command, folder=folder, environment=environment) as server:
        yield Ui(server, workspace, {"api": api, "web": web})


def resources_of(server: Webserver) -> dict[str, Any]:
    [location] = server.ask(RESOURCES_QUERY)["repositoriesOrError"]["nodes"]
    return {found["name"]: found for found in location["allTopLevelResourceDetails"]}


def test_graphql_shows_the_four_resources_with_their_configuration(ui: Ui) -> None:
    found = resources_of(ui.server)
    assert found.keys() == RESOURCES
    for name, resource in found.items():
        assert resource["isTopLevel"]
        assert resource["resourceType"].startswith("codesearch_resources.dagster.")
        assert "codesearch.yaml" in resource["description"]
        assert resource["assetKeysUsing"], f"no asset uses {name}"
        values = {
            value["key"]: json.loads(value["value"]) for value in resource["configuredValues"]
        }
        assert values["configuration"] == str(ui.workspace.file)


def test_graphql_shows_runs_and_what_each_partition_holds(ui: Ui) -> None:
    runs = ui.server.ask(RUNS_QUERY)["runsOrError"]["results"]
    done = sorted((run["jobName"], run["status"]) for run in runs if run["jobName"] != "upkeep")
    assert done == [
        ("refresh", "FAILURE"), ("refresh", "SUCCESS"), ("refresh", "SUCCESS"),
        ("summarise", "SUCCESS"), ("summarise", "SUCCESS"),
    ]  # fmt: skip
    names = ["api", "late", "silent", "web"]  # the second by the catalog sensor
    eventually(Live(ui.server).partitions, lambda found: found == names)
    nodes = {
        node["assetKey"]["path"][0]: node for node in ui.server.ask(ASSETS_QUERY)["assetNodes"]
    }
    assert nodes.keys() == ASSETS | {"upkeep"}
    for name in ASSETS:
        made = {event["partition"] for event in nodes[name]["assetMaterializations"]}
        assert made == {"api", "web"}
    commits = {
        event["partition"]: entry["text"]
        for event in nodes["chunks"]["assetMaterializations"]
        for entry in event["metadataEntries"]
        if entry["label"] == "commit"
    }
    assert commits == {name: tree.git("rev-parse", "HEAD") for name, tree in ui.trees.items()}


def test_a_secret_of_the_settings_is_nowhere_in_dagster(ui: Ui) -> None:
    """Not in GraphQL (resources, metadata, tags, run logs), not in any file but the settings."""
    runs = ui.server.ask(RUNS_QUERY)
    ids = [run["runId"] for run in runs["runsOrError"]["results"]]
    answers = [runs, ui.server.ask(ASSETS_QUERY), ui.server.ask(RESOURCES_QUERY)]
    answers += [ui.server.ask(LOG_QUERY, run=run) for run in ids]
    text = json.dumps(answers)
    assert "http://127.0.0.1:9/silent" in text, "the failure is told, without the login"
    assert SECRET not in text
    folder = ui.workspace.file.parent
    holding = [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    ]
    assert holding == ["codesearch.yaml"]


@pytest.fixture(scope="module")
def page(ui: Ui) -> Iterator[Any]:
    with browser_page() as page:
        page.set_default_timeout(PATIENCE / 4 * 1000)
        yield page


def test_the_lineage_page_shows_the_five_assets(ui: Ui, page: Any) -> None:
    page.goto(f"{ui.server.url}/asset-groups")
    see(page, *ASSETS, "upkeep")


def test_the_resources_page_shows_the_four_resources(ui: Ui, page: Any) -> None:
    page.goto(f"{ui.server.url}/locations/__repository__@{LOCATION}/resources")
    see(page, *RESOURCES)
    page.get_by_text("repositories", exact=True).locator("visible=true").first.click()
    see(page, "RepositoriesResource", f'"{ui.workspace.file}"')
    assert SECRET not in page.content()


def test_the_partition_of_an_asset_shows_what_was_left_out(ui: Ui, page: Any) -> None:
    page.goto(f"{ui.server.url}/assets/repo_snapshots?view=partitions&partition=api")
    see(page, "skipped_by_reason", "binary", ui.trees["api"].git("rev-parse", "HEAD"))
    page.goto(f"{ui.server.url}/assets/chunks?view=partitions&partition=api")
    see(page, "warning", "Not indexed: 1 file of api: binary (1).")


def test_the_page_of_a_job_lists_the_runs_of_codesearch_index(ui: Ui, page: Any) -> None:
    page.goto(f"{ui.server.url}/locations/__repository__@{LOCATION}/jobs/summarise/runs")
    runs = ui.server.ask(RUNS_QUERY)["runsOrError"]["results"]
    see(page, *(run["runId"][:8] for run in runs if run["jobName"] == "summarise"))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a clone has for Dagster at its top; the packages are found by PYTHONPATH."""
    (tmp_path / "dagster_home").mkdir()
    for name in ("workspace.yaml", "pyproject.toml", "dagster_home/dagster.yaml"):
        shutil.copy(CHECKOUT / name, tmp_path / name)
    return tmp_path


def check_it_speaks_to_this_machine_only(server: Webserver) -> None:
    """Listening on loopback, connected to nothing else. IPv4 in hexadecimal, lowest byte first."""
    if sys.platform != "linux":
        return
    ends = {end for pair in open_sockets(server.process) for end in pair}
    assert any(end.startswith("0100007F:") for end in ends)
    outside = [end for end in ends if not re.match("0100007F:|0+:0000$", end)]
    assert outside == []


def test_dagster_dev_runs_a_job_of_a_repository_that_the_catalog_sensor_added(ui: Ui) -> None:
    assert Live(ui.server).job("refresh", "late").status == "SUCCESS"
    check_it_speaks_to_this_machine_only(ui.server)
    with ui.workspace.open() as opened:
        symbols = opened.table("chunks").query("repo == 'late'").symbol
        assert list(symbols) == ["add"]


def test_dagster_dev_without_a_configuration_says_what_to_do(checkout: Path) -> None:
    environment = {"DAGSTER_HOME": str(checkout / "dagster_home")}
    with webserver("dagster", "dev", folder=checkout, environment=environment) as server:
        nodes = server.ask(ASSETS_QUERY)["assetNodes"]
        assert {node["assetKey"]["path"][0] for node in nodes} == ASSETS | {"upkeep"}
        for node in nodes:
            assert node["partitionKeys"] == []
            assert NO_CONFIGURATION in node["description"]
        assert resources_of(server).keys() == RESOURCES
        check_it_speaks_to_this_machine_only(server)
