"""The commands as a person types them: what they print, write, log and exit with."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import Workspace, WorkTree
from indexes import store_of
from sample import sample, tree

from codesearch import terminal
from codesearch.cli import main
from codesearch_resources.settings import load

__all__ = ["sample"]

COMMANDS = [
    ["init"], ["repos", "list"], ["repos", "add"], ["repos", "remove"], ["index"], ["search"],
    ["chunks"], ["status"], ["eval"],
]  # fmt: skip
HIT_KEYS = [
    "repo", "path", "start_line", "end_line", "symbol", "kind", "language", "summary", "text",
    "score", "lanes", "more", "commit", "indexed_at",
]  # fmt: skip


def run(*arguments: object, code: int = 0) -> Result:
    """A command in this process; no command ever shows a trace unasked."""
    done = CliRunner().invoke(main, list(map(str, arguments)))
    assert done.exit_code == code, done.output
    assert "Traceback" not in done.output
    return done


def at(workspace: Workspace, *arguments: object, code: int = 0) -> Result:
    return run(*arguments, "--config", workspace.file, code=code)


def log_of(workspace: Workspace) -> str:
    return (workspace.settings.data_dir / "logs" / "codesearch.log").read_text()


def process(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "codesearch", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_an_example(command: list[str]) -> None:
    printed = run(*command, "--help").output
    assert f"Example: codesearch {' '.join(command)}" in " ".join(printed.split())
    assert "--config FILE" in printed
    assert "-v, --verbose" in printed


def test_an_unknown_command_or_option_is_bad_usage() -> None:
    assert "No such command 'serch'" in run("serch", code=2).stderr
    assert "No such option" in run("search", "--limt", "3", "x", code=2).stderr
    assert "ask with a QUERY or with --like" in run("search", code=2).stderr
    assert "ask with a QUERY or with --like" in run("search", "x", "--like", "a:1", code=2).stderr


# init


def test_init_lists_the_repositories_it_is_given(tmp_path: Path) -> None:
    one, two = tree(tmp_path / "a" / "api", {}), tree(tmp_path / "b" / "api", {})
    file = tmp_path / "codesearch.yaml"
    assert "codesearch index" in run("init", one.path, two.path, "--config", file).output
    found = load(file).repositories
    assert [entry.path for entry in found] == [one.path, two.path]
    assert len({entry.name for entry in found}) == 2
    assert "# " in file.read_text()


def test_init_lists_the_repository_one_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tree(tmp_path / "api", {"src/a.py": "x = 1\n"})
    monkeypatch.chdir(here.path / "src")
    run("init")
    (entry,) = load(here.path / "src" / "codesearch.yaml").repositories
    assert (entry.name, entry.path) == ("api", here.path)


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    file = tmp_path / "codesearch.yaml"
    file.write_text("# mine\n")
    assert "is there already" in run("init", "--config", file, code=2).stderr
    assert file.read_text() == "# mine\n"


def test_init_refuses_what_is_no_repository(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    file = tmp_path / "codesearch.yaml"
    wrong = run("init", tmp_path / "plain", "--config", file, code=2)
    assert "is not a git repository" in wrong.stderr
    assert "does not exist" in run("init", tmp_path / "gone", "--config", file, code=2).stderr
    assert "cannot write" in run("init", "--config", tmp_path / "no" / "x.yaml", code=2).stderr
    assert not file.exists()


# repos


@pytest.fixture
def workspace(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> Workspace:
    """A configuration with one repository, `api`, and a comment; nothing is indexed."""
    files = {"send.py": "def send_request(url):\n    return url\n"}
    return make_workspace(make_tree("api", files), extra="# a comment\n")


def test_repositories_are_added_listed_and_removed_comments_kept(
    workspace: Workspace, make_tree: Callable[..., WorkTree]
) -> None:
    before = workspace.file.read_text()
    web = make_tree("web", {"a.js": ""})
    added = at(workspace, "repos", "add", web.path, "--branch", "main", "--root", "src")
    assert "added web" in added.output
    listed = at(workspace, "repos", "list").output
    assert [line.split()[0] for line in listed.splitlines()] == ["name", "api", "web"]
    rows = json.loads(at(workspace, "repos", "list", "--json").output)
    assert (rows[1]["name"], rows[1]["branch"], rows[1]["root"]) == ("web", "main", "src")
    removed = at(workspace, "repos", "remove", "web").output
    assert "the next `codesearch index` deletes them" in " ".join(removed.split())
    assert workspace.file.read_text() == before
    assert "repos add: web" in log_of(workspace)
    assert "repos remove: web" in log_of(workspace)


def test_a_repository_whose_folder_is_gone_can_be_removed(workspace: Workspace) -> None:
    text = workspace.file.read_text()
    workspace.file.write_text(text.replace("# a comment", "  - {name: old, path: /no/such/place}"))
    assert "not indexed yet; run `codesearch index old`" in at(workspace, "status").output
    at(workspace, "repos", "remove", "old")
    assert [entry.name for entry in workspace.settings.repositories] == ["api"]


def test_wrong_names_and_places_change_nothing(workspace: Workspace, tmp_path: Path) -> None:
    before = workspace.file.read_text()
    assert "did you mean api?" in at(workspace, "repos", "remove", "apj", code=2).stderr
    assert str(tmp_path) in at(workspace, "repos", "add", tmp_path / "gone", code=2).stderr
    assert workspace.file.read_text() == before


# which configuration


def test_the_configuration_is_found_by_option_variable_or_upwards(
    sample: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "run `codesearch init`" in run("status", code=2).stderr
    by_option = at(sample, "repos", "list").output
    monkeypatch.setenv("CODESEARCH_CONFIG", str(sample.file))
    assert run("repos", "list").output == by_option
    monkeypatch.delenv("CODESEARCH_CONFIG")
    monkeypatch.chdir(sample.file.parent / "api" / "src")
    assert run("repos", "list").output == by_option


def test_a_wrong_configuration_is_told_by_file_line_and_key(workspace: Workspace) -> None:
    workspace.file.write_text("data_dri: x\nnightly: {cron: 3}\n")
    told = at(workspace, "index", code=2).stderr
    assert re.search(r"codesearch\.yaml:1: data_dri: unknown key; did you mean data_dir\?", told)
    assert re.search(r"codesearch\.yaml:2: nightly\.cron: ", told)
    assert [path.name for path in workspace.file.parent.iterdir()] == ["codesearch.yaml"]


def test_a_named_configuration_that_is_missing_is_told(tmp_path: Path) -> None:
    assert "gone.yaml" in run("status", "--config", tmp_path / "gone.yaml", code=2).stderr


def test_the_data_folder_of_another_configuration_is_left_alone(
    sample: Workspace, tmp_path: Path
) -> None:
    other = tmp_path / "codesearch.yaml"
    other.write_text(f"data_dir: {sample.settings.data_dir}\n")
    for command in (["search", "x"], ["status"], ["repos", "list"]):
        assert "belongs to" in run(*command, "--config", other, code=1).stderr


# search


def test_search_prints_where_what_and_why_it_may_be_it(sample: Workspace) -> None:
    printed = at(sample, "search", "when", "the", "quota", "is", "used", "up").output
    head, *rest = printed.splitlines()
    assert head == " 1  api  src/api/client.py:1-13  call_with_backoff  (function)"
    assert rest[0].startswith("    Send again, waiting longer")
    assert any("│ def call_with_backoff" in line for line in rest)


def test_search_shows_the_definition_that_was_meant_of_those_in_a_chunk(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    code = "def open_door():\n    return 1\n\n\n# Burns oil.\ndef light_lantern():\n    return 2\n"
    workspace = make_workspace(make_tree("api", {"house.py": code}))
    workspace.index()
    lines = at(workspace, "search", "what burns oil in a lantern").output.splitlines()
    assert lines[0].endswith("house.py:1-7  light_lantern  (group, from line 6)")
    shown = [line.partition("│ ")[2] for line in lines if "│" in line]
    assert shown == ["def light_lantern():", "    return 2"]


def test_search_as_json_has_the_keys_of_the_contract(sample: Workspace) -> None:
    found = json.loads(at(sample, "search", "import the rows of orders", "--json").output)
    assert list(found) == ["query", "took_ms", "notices", "hits"]
    assert found["query"] == "import the rows of orders"
    assert found["took_ms"] > 0
    assert found["notices"] == []
    assert [list(hit) for hit in found["hits"]] == [HIT_KEYS] * len(found["hits"])
    folded = found["hits"][0]["more"]
    assert [sorted(more) for more in folded] == [["end_line", "score", "start_line", "symbol"]] * 2
    assert re.match(r"\d{4}-\d\d-\d\dT", found["hits"][0]["indexed_at"])


def test_search_takes_every_filter(sample: Workspace) -> None:
    def paths(*options: object) -> list[str]:
        found = json.loads(at(sample, "search", "rows or a line", *options, "--json").output)
        return [hit["path"] for hit in found["hits"]]

    assert set(paths("--repo", "web")) == {"server/header.go", "page/chart.js"}
    assert len(paths("--repo", "web", "--repo", "api")) > 2
    assert paths("--language", "go") == ["server/header.go"]
    assert paths("--path", "page/**") == ["page/chart.js"]
    assert paths("--kind", "class") == ["src/api/router.py"]
    assert len(paths("--limit", 1)) == 1
    assert paths("--path", "imports.py", "--per-file", 3) == ["src/api/imports.py"] * 3


def test_search_finds_code_like_a_place(sample: Workspace) -> None:
    place = ["--like", "src/api/client.py:3", "--repo", "web", "--json"]
    found = json.loads(at(sample, "search", *place).output)
    assert found["query"] == "src/api/client.py:3"
    assert {hit["repo"] for hit in found["hits"]} == {"web"}


def test_search_says_why_an_expected_file_is_not_higher(sample: Workspace) -> None:
    asked = ["search", "quota is used up", "--expect", "router.py"]
    printed = at(sample, *asked).output
    assert re.search(r"expected  api  src/api/router\.py  at \d+: .+ has more of: ", printed)
    found = json.loads(at(sample, *asked, "--json").output)
    assert found["expected"][0]["path"] == "src/api/router.py"


def test_search_explains_a_hit_when_asked(sample: Workspace) -> None:
    printed = at(sample, "search", "header", "--explain").output
    assert re.search(r"lanes: .*bm25 #1", printed)
    assert re.search(r"score [\d.]+: .*best chunk \+3\.00", printed)
    hit = json.loads(at(sample, "search", "header", "--explain", "--json").output)["hits"][0]
    assert sum(hit["rules"].values()) == pytest.approx(hit["score"], abs=0.001)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["search", ""], 2, "holds no words"),
        (["search", "?!"], 2, "holds no words"),
        (["search", "x", "--repo", "wob"], 2, "no repository named 'wob'; did you mean web?"),
        (["search", "x", "--language", "cobol"], 2, "there are: go, javascript, python, text"),
        (["search", "x", "--kind", "func"], 2, "there are: function, method, class"),
        (["search", "x", "--limit", "0"], 2, "at least 1"),
        (["search", "x", "--limit", "many"], 2, "not a valid integer"),
        (["chunks", "nope.py"], 1, "no indexed repository has a file 'nope.py'"),
        (["chunks", "logo.png"], 1, "api:logo.png is not indexed: binary"),
        (["index", "wob"], 2, "no repository named 'wob'; did you mean web?"),
    ],
)
def test_a_question_that_cannot_be_answered_says_why(
    sample: Workspace, arguments: list[str], code: int, told: str
) -> None:
    done = at(sample, *arguments, code=code)
    assert told in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "query", ["a", "x" * 10_000, "the of and", '"a AND (b OR', "foo:bar*", "'; DROP", "код 搜索 é"]
)
def test_odd_questions_have_an_answer(sample: Workspace, query: str) -> None:
    assert run("search", "--config", sample.file, "--", query).stdout


@pytest.mark.parametrize("command", [["search", "x"], ["chunks", "send.py"]])
def test_before_the_first_index_each_command_says_so(
    workspace: Workspace, command: list[str]
) -> None:
    assert "run `codesearch index` first" in at(workspace, *command, code=1).stderr


def test_control_characters_in_code_do_not_reach_the_terminal(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    code = "def clear_screen():\n\tprint('\x1b[2J\x07')\n"
    workspace = make_workspace(make_tree("api", {"a\x1bb.py": code}))
    workspace.index()
    for command in (["search", "clear"], ["chunks", "a\x1bb.py"], ["status"]):
        printed = at(workspace, *command).output
        assert not set(printed) & {"\x1b", "\x07", "\t"}
    found = json.loads(at(workspace, "search", "clear", "--json").output)["hits"][0]
    assert found["text"] == code.rstrip("\n")


# chunks, status


def test_chunks_shows_how_a_file_is_cut(sample: Workspace) -> None:
    printed = at(sample, "chunks", "imports.py").output.splitlines()
    assert printed[0] == "api  src/api/imports.py"
    assert printed[1].split() == ["lines", "kind", "symbol", "summary", "hash"]
    assert [line.split()[2] for line in printed[2:]] == [
        "import_orders", "import_customers", "import_invoices"
    ]  # fmt: skip
    rows = json.loads(at(sample, "chunks", "imports.py", "--repo", "api", "--json").output)
    assert [sorted(row) for row in rows] == [
        ["content_hash", "end_line", "grade", "kind", "path", "repo", "start_line", "symbol"]
    ] * 3


def test_status_shows_each_repository(sample: Workspace) -> None:
    printed = at(sample, "status").output
    for text in ("api  ", "web  ", "4 parsed, 1 windows: no grammar", "left out   1 binary"):
        assert text in printed
    assert "not complete" not in printed
    rows = json.loads(at(sample, "status", "--json").output)
    assert [(row["repo"], row["complete"]) for row in rows] == [("api", True), ("web", True)]
    for row in rows:
        counts = [row[key] for key in ("chunks", "summaries", "code_vectors", "summary_vectors")]
        assert len(set(counts)) == 1
        assert counts[0] > 0


def test_status_before_the_first_index_says_what_to_do(workspace: Workspace) -> None:
    assert at(workspace, "status").output == ("api: not indexed yet; run `codesearch index api`\n")


# index


def test_index_runs_what_is_behind_and_ends_with_a_table(
    workspace: Workspace, make_tree: Callable[..., WorkTree]
) -> None:
    web = make_tree(
        "web", {"a.js": "function draw() {\n  return 1\n}\n", "odd.py": b"\xff\x01" * 99}
    )
    at(workspace, "repos", "add", web.path)
    first = at(workspace, "index", "api").stdout.splitlines()
    assert [line.split()[0] for line in first] == ["repository", "api"]
    assert "refresh, summarise" in first[1]
    done = at(workspace, "index")
    assert "up to date" in done.stdout.splitlines()[1]
    assert "refresh, summarise" in done.stdout.splitlines()[2]
    assert "note: web: odd files: 1 skipped: undecodable; all others are indexed" in done.stderr
    everything = at(workspace, "index", "api", "--all").stdout
    assert "refresh, summarise" in everything
    log = log_of(workspace)
    assert "INFO index: api: refresh done in" in log
    assert "INFO index: web: summarise done in" in log
    assert "WARNING index: web: odd files" in log


def test_a_repository_that_fails_needs_a_person_and_costs_no_other_one(
    workspace: Workspace, make_tree: Callable[..., WorkTree]
) -> None:
    url = "http://me:secret@127.0.0.1:9/team/far.git"
    at(workspace, "repos", "add", url)
    done = at(workspace, "index", code=1)
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert "FAILED" in rows["far"]
    assert "refresh, summarise" in rows["api"]
    assert "codesearch: far: refresh failed: " in done.stderr
    at(workspace, "search", "send request")
    listed = at(workspace, "repos", "list").output + at(workspace, "repos", "list", "--json").output
    assert "http://127.0.0.1:9/team/far.git" in listed
    log = log_of(workspace)
    assert "ERROR index: far: refresh failed" in log
    assert "INFO search: 1 hits in" in log
    for text in (done.output, listed, log):
        assert "secret" not in text


@pytest.mark.parametrize("trouble", ["no repository", "not there"])
def test_a_listed_folder_without_a_repository_is_named_and_costs_no_other_one(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace], trouble: str
) -> None:
    trees = [make_tree(name, {"a.py": f"def {name}():\n    pass\n"}) for name in ("one", "two")]
    workspace = make_workspace(*trees)
    if trouble == "no repository":
        shutil.rmtree(trees[0].path / ".git")
    else:
        shutil.rmtree(trees[0].path)
    done = at(workspace, "index", code=1)
    assert f"one: refresh failed: one ({trees[0].path}): not a git repository; " in done.stderr
    assert "refresh, summarise" in done.stdout
    found = at(workspace, "search", "two")
    assert "two" in found.stdout
    assert "not indexed yet: one" in found.stderr + found.stdout
    at(workspace, "status")


def test_with_an_emptied_list_index_removes_what_was_struck(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    workspace = make_workspace(make_tree("api", {"a.py": "def api():\n    pass\n"}))
    workspace.index()
    workspace.file.write_text("repositories: []\n")
    # It is all there is, so a person has to say so.
    assert "codesearch repos remove api --yes" in at(workspace, "index", code=1).stderr
    assert "rows deleted" in at(workspace, "repos", "remove", "api", "--yes").output
    assert store_of(workspace).count("chunks") == 0
    assert "codesearch repos add PATH" in at(workspace, "index", code=2).stderr


def test_index_without_repositories_says_how_to_add_one(
    make_workspace: Callable[..., Workspace],
) -> None:
    empty = make_workspace(extra="repositories: []\n")
    assert "codesearch repos add PATH" in at(empty, "index", code=2).stderr


# what is said, and where


def test_verbose_says_more_on_standard_error(sample: Workspace) -> None:
    assert "search: 1 hits in" in at(sample, "search", "header", "--limit", 1, "-v").stderr
    assert at(sample, "search", "header", "--limit", 1).stderr == ""
    done = CliRunner().invoke(main, ["search", "?", "-v", "--config", str(sample.file)])
    assert done.exit_code == 2
    assert "Traceback" in done.stderr


def test_the_log_has_errors_and_the_time_of_a_search(sample: Workspace) -> None:
    at(sample, "search", "parse a header line")
    at(sample, "search", "x", "--repo", "wob", code=2)
    lines = log_of(sample).splitlines()
    assert re.search(r"INFO search: \d+ hits in \d+ ms: 'parse a header line'", lines[-2])
    assert re.search(r"ERROR search: no repository named 'wob'", lines[-1])


def test_what_should_not_happen_is_told_without_a_trace_and_logged_with_one(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("lost the table at https://me:secret@example.com/x")

    monkeypatch.setattr("codesearch.search.rank", break_down)
    told = at(sample, "search", "header", code=1).stderr
    assert "RuntimeError: lost the table at https://example.com/x" in told
    assert "Traceback" in log_of(sample)
    assert "secret" not in log_of(sample)


def test_a_data_folder_that_cannot_be_written_is_still_searched(
    sample: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr("codesearch_resources.log_file._LogFile._open", refuse)
    assert "server/header.go" in at(sample, "search", "parse header").output


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh")
    api = tree(folder / "api", {"send.py": "def send_request(url):\n    return url\n"})
    (folder / "codesearch.yaml").write_text(f"repositories:\n  - path: {api.path}\n")
    return folder


def test_bars_show_on_a_terminal_and_nothing_beside_the_answer_on_a_pipe(fresh: Path) -> None:
    """One index on a terminal, one through pipes, as `python -m codesearch`."""
    shown = on_terminal("index", cwd=fresh)
    assert "refresh" in shown
    assert "━" in shown
    assert "1/1" in shown
    piped = process("index", cwd=fresh)
    assert (piped.returncode, piped.stderr) == (0, "")
    assert "up to date" in piped.stdout
    asked = process("search", "send", "request", "--limit", "1", cwd=fresh)
    assert (asked.returncode, asked.stderr) == (0, "")
    assert "\x1b" not in asked.stdout
    assert "send.py:1-2" in asked.stdout


def on_terminal(*arguments: str, cwd: Path) -> str:
    """What a command shows on a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "TERM": "xterm"}
    child = subprocess.Popen(
        [sys.executable, "-m", "codesearch", *arguments],
        cwd=cwd, env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 65536):
            shown += piece
    except OSError:  # how Linux says that the other end has closed
        pass
    os.close(ours)
    assert child.wait(timeout=60) == 0, shown
    return shown.decode()


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    assert terminal.table(("name", "count"), [("a", 5), ("long", 10)]) == (
        "name  count\na         5\nlong     10"
    )


def test_removing_with_yes_deletes_the_rows_at_once_and_once_only(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    trees = [make_tree(name, {"a.py": f"def {name}():\n    pass\n"}) for name in ("one", "two")]
    workspace = make_workspace(*trees)
    workspace.index()
    assert "rows deleted" in at(workspace, "repos", "remove", "two", "--yes").output
    with workspace.open() as opened:
        assert set(opened.table("chunks")["repo"]) == {"one"}
    assert "no repository named 'two'" in at(workspace, "repos", "remove", "two", code=2).stderr


def test_a_struck_repository_goes_with_the_next_index_and_that_is_said(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    trees = [make_tree(name, {"a.py": f"def {name}():\n    pass\n"}) for name in ("one", "two")]
    workspace = make_workspace(*trees)
    workspace.index()
    at(workspace, "repos", "remove", "two")
    assert "removed two: it is no longer in the settings" in at(workspace, "index").output
    with workspace.open() as opened:
        assert set(opened.table("chunks")["repo"]) == {"one"}
