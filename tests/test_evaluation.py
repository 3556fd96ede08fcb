"""`codesearch eval` over two made repositories, as its users run it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import WorkTree

from codesearch.cli import main
from codesearch.errors import SearchError
from codesearch.evaluation import find_clones, index_bench, read_bench
from codesearch.search import Index
from codesearch_resources.log_file import end_logs
from codesearch_resources.settings import load

SEND = "def send_request(url):\n    return url\n"
ROUTE = "package web\n\nfunc ResolveRoute(path string) string {\n\treturn path\n}\n"


def entry(name: str, language: str, revision: str, target: object, root: str | None) -> object:
    task = {
        "query": "send a request to the url" if language == "python" else "resolve the route",
        "relevant": [target],
        "secondary": [],
        "category": "semantic",
    }
    return {
        "repo": name, "language": language, "url": "https://example.com/x", "revision": revision,
        "root": root, "tasks": [task],
    }  # fmt: skip


@pytest.fixture
def bench(make_tree: Callable[..., WorkTree], tmp_path: Path) -> Path:
    """A benchmark whose clones have moved on since, in folders of other names."""
    first = make_tree("clones/one", {"lib/send.py": SEND, "other/far.py": SEND})
    second = make_tree("clones/deep/er/two", {"web/route.go": ROUTE})
    pinned = [tree.git("rev-parse", "HEAD") for tree in (first, second)]
    first.commit({"lib/send.py": "x = 1\n"})
    second.git("rm", "--quiet", "web/route.go")
    second.commit({})
    file = tmp_path / "bench.json"
    span = {"path": "web/route.go", "start_line": 3, "end_line": 4}
    entries = [
        entry("sender", "python", pinned[0], "lib/send.py", "lib"),
        entry("Web.Router", "go", pinned[1], span, None),
    ]
    file.write_text(json.dumps(entries))
    return file


def run(*arguments: object) -> str:
    done = CliRunner().invoke(main, ["eval", *map(str, arguments)])
    end_logs()
    assert done.exit_code == 0, done.output
    return done.output


def test_a_benchmark_is_indexed_at_its_commits_and_asked_alone_and_merged(
    bench: Path, tmp_path: Path
) -> None:
    out, work = tmp_path / "out.json", tmp_path / "work"
    asked = [
        bench, "--clones", tmp_path / "clones", "--work", work, "--out", out,
        "--merged", "sender, Web.Router",
    ]  # fmt: skip
    printed = run(*asked)
    found = json.loads(out.read_text())
    for way in ("alone", "merged"):
        summary = found[way]["summary"]
        assert summary["all"]["all"] == {
            "queries": 2, "ndcg@10": 1.0, "recall@10": 1.0, "mrr": 1.0
        }  # fmt: skip
        assert set(summary["language"]) == {"python", "go"}
        assert set(summary["repository"]) == {"sender", "Web.Router"}
        assert set(summary["category"]) == {"semantic"}
        assert way in printed
    hits = {q["repo"]: q["hits"] for q in found["alone"]["questions"]}
    assert hits["sender"] == ["sender:lib/send.py:1-2"]  # nothing from outside its root
    assert found["merged"]["questions"][1]["hits"][0] == "web-router:web/route.go:1-5"

    versions = table_versions(work)
    assert len(versions) > 10
    assert run(*asked) == printed
    assert table_versions(work) == versions, "asked again, nothing is indexed anew"


def table_versions(work: Path) -> set[str]:
    return {str(path) for path in work.rglob("*.lance/_versions/*")}


def test_the_folder_to_work_in_may_be_relative(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = read_bench(bench)[:1]
    file = index_bench(wanted, find_clones(tmp_path / "clones", wanted), Path("work"))
    end_logs()
    with Index(load(file)) as index:
        assert [hit.path for hit in index.search("send a request")] == ["lib/send.py"]


def test_a_missing_clone_is_named(bench: Path, tmp_path: Path) -> None:
    wanted = read_bench(bench)
    with pytest.raises(SearchError, match=rf"holds: Web\.Router \({wanted[1].revision[:12]}\)$"):
        find_clones(tmp_path / "clones" / "one", wanted)


def test_clones_are_found_by_the_commit_they_hold(bench: Path, tmp_path: Path) -> None:
    found = find_clones(tmp_path / "clones", read_bench(bench))
    assert {name: path.name for name, path in found.items()} == {
        "sender": "one", "Web.Router": "two"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{bench}", "--clones", "{empty}"], 1, "no clone below"),
        (["{bench}", "--clones", "{empty}", "--merged", "nope"], 2, "has no repository nope"),
        (["{bench}"], 2, "--clones"),
        (["{wrong}", "--clones", "{empty}"], 1, "is not a benchmark"),
        (["{gone}", "--clones", "{empty}"], 2, "does not exist"),
    ],
)
def test_wrong_use_is_told(
    bench: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"repo": 1}')
    places = {
        "bench": bench, "empty": tmp_path / "empty", "wrong": wrong, "gone": tmp_path / "gone"
    }  # fmt: skip
    done = CliRunner().invoke(main, ["eval", *(word.format(**places) for word in arguments)])
    assert done.exit_code == code
    assert message in done.output
    assert "Traceback" not in done.output
