"""One `codesearch index` is one run for the limits of a run, however many repositories it has."""

from collections import Counter
from collections.abc import Callable
from contextlib import closing

from conftest import Workspace, WorkTree
from embedding_servers import EmbeddingServer
from simulator import Simulator

from codesearch_assets.runs import index
from codesearch_resources.results import Results

FILES = {
    "one.py": "def {0}_one(x):\n    return x + 1\n",
    "two.py": "def {0}_two(x):\n    return x\n",
}
TWO = ("api", "web")


def trees(make_tree: Callable[..., WorkTree]) -> list[WorkTree]:
    return [
        make_tree(name, {path: text.format(name) for path, text in FILES.items()}) for name in TWO
    ]


def sent(workspace: Workspace) -> Counter[str]:
    with closing(Results(workspace.settings.data_dir)) as results:
        return Counter(entry.provider for entry in results.ledger.entries())


def test_summaries_of_all_repositories_share_the_limits_of_a_run(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    with Simulator() as server:
        server.remote.add("far-model")
        workspace = make_workspace(
            *trees(make_tree),
            extra="defaults: {local_only: false}\nsummarizers:\n"
            f"  - {{name: far, kind: ollama, url: {server.url}, model: far-model}}\n"
            "limits: {max_calls_per_run: 1, dollars_per_day: unlimited}\n",
        )
        workspace.index()
        assert sent(workspace) == {"far": 1}
        workspace.index()  # the next run has its own
        assert sent(workspace) == {"far": 2}


def test_vectors_of_all_repositories_share_the_limits_of_a_run(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    with EmbeddingServer() as server:
        server.remote.add("nomen-embed")
        workspace = make_workspace(
            *trees(make_tree),
            extra="defaults: {local_only: false}\n"
            f"embedder: {{kind: ollama, url: {server.url}, model: nomen-embed, dimensions: 16, "
            "local_only: false}\n"
            "limits: {max_calls_per_run: 3, dollars_per_day: unlimited}\n",
        )
        found = workspace.index()
        assert len(server.calls) == sent(workspace).total() == 3
        assert any("max_calls_per_run" in outcome.error for outcome in found)
        assert any("the next run goes on from there" in outcome.error for outcome in found)
        settings = workspace.settings
        found = index(settings, settings.repositories, beyond_limits=True)
        assert not any(outcome.error for outcome in found)
        assert len(server.calls) > 6  # of this run alone more than three
