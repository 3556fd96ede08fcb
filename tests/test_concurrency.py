"""Readers, writers and upkeep at once, each in a process of its own: nothing is lost or torn.

LanceDB is not fork-safe, so every process is started afresh.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import pytest
from commits import MOVED, SHARED, functions, two_commits
from conftest import Workspace, WorkTree
from indexes import CountingEmbedder, CutHere, Line, contents, rows, store_of
from unattended import held_by_another_process

from codesearch.search import Index
from codesearch_assets import chunks as chunks_module
from codesearch_assets import reporting
from codesearch_assets.removal import remove_repository
from codesearch_assets.runs import index, instance_of, remove_now
from codesearch_resources.catalog import struck
from codesearch_resources.data_dir import Busy
from codesearch_resources.settings import load
from codesearch_resources.store import Store

ROOT = Path(__file__).parent.parent
PATIENCE = 300.0  # seconds for a child process to say the next thing

# Moves a repository from commit to commit until told to end, or so many times.
MOVER = """
import select, sys
from itertools import cycle, islice
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conftest import WorkTree
from indexes import CutHere, Line
from codesearch_assets import chunks
chunks.CuttingProcess = CutHere
folder, tree, times, *commits = sys.argv[2:]
line = Line(Path(folder), WorkTree(Path(tree)))
expected = {}
print("ready", flush=True)
sys.stdin.readline()
moves = 0
for commit in islice(cycle(commits), int(times) or None):
    if not int(times) and select.select([sys.stdin], [], [], 0)[0]:
        break
    line.run(commit)
    found = {table: line.rows(table) for table in (*line.store.specs,) if table != "repositories"}
    if expected.setdefault(commit, found) != found:
        sys.exit(f"{line.entry.name} has other rows at {commit} than the last time")
    moves += 1
print(moves, flush=True)
"""

# Upkeep without a pause, each table due at the least change.
UPKEEP = """
import select, sys
from datetime import timedelta
from pathlib import Path
from codesearch_resources import upkeep
from codesearch_resources.embedders.embedded import EmbeddedEmbedder
from codesearch_resources.store import Store
upkeep.UNINDEXED_ROWS, upkeep.SMALL_FRAGMENTS, upkeep.VECTOR_INDEX_ROWS = 1, 2, 300
if sys.argv[2] == "zero":
    upkeep.RETENTION = timedelta(0)
store = Store(Path(sys.argv[1]), EmbeddedEmbedder.id, EmbeddedEmbedder.dimensions)
print("ready", flush=True)
sys.stdin.readline()
worked = 0
while not select.select([sys.stdin], [], [], 0.05)[0]:
    worked += len(upkeep.upkeep(store))
print(worked, flush=True)
"""


class Child:
    """A process that says when it is ready, begins when told, and says a number at its end."""

    def __init__(self, script: str, *arguments: object) -> None:
        # A file: a pipe that nobody reads would fill with warnings, and the process stand still.
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            text=True,
        )  # fmt: skip

    def _fail(self, how: str) -> NoReturn:
        self.kill()
        self._errors.seek(0)
        said = self._errors.read()[-3000:]
        pytest.fail(f"a child process {how} (code {self._process.returncode}): {said}")

    def ready(self) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            self._fail("did not start")

    def tell(self) -> None:
        """Let it begin, or, when it has begun, end."""
        self.check()
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def check(self) -> None:
        """Fail with what it said when it has died."""
        if self._process.poll() is not None and self._process.returncode:
            self._fail("died")

    def result(self) -> int:
        """What it says at the end, which must be a good one."""
        try:
            said, _ = self._process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self._fail(f"said nothing for {PATIENCE:.0f} seconds")
        if self._process.returncode:
            self._fail("ended badly")
        return int(said)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@contextmanager
def children(*made: Child) -> Iterator[None]:
    """Start them all at once, and leave none behind."""
    with ExitStack() as stack:
        for child in made:
            stack.callback(child.kill)
        for child in made:
            child.ready()
        for child in made:
            child.tell()
        yield


@pytest.fixture(autouse=True)
def _cut_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "CuttingProcess", CutHere)


class Place(NamedTuple):
    """Where a chunk lies, and what stands there."""

    path: str
    start_line: int
    end_line: int
    text: str


def places(line: Line) -> set[Place]:
    return {
        Place(row["path"], row["start_line"], row["end_line"], row["text"])
        for row in line.chunks("start_line", "end_line", "text")
    }


@pytest.mark.parametrize("retention", ["zero", pytest.param("default", marks=pytest.mark.soak)])
@pytest.mark.parametrize(
    "searches", [60, pytest.param(1_000, marks=pytest.mark.soak)], ids=["short", "full"]
)
def test_a_reader_beside_a_moving_repository_meets_only_what_one_of_two_commits_holds(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    searches: int,
    retention: str,
) -> None:
    tree = make_tree("api")
    commits = two_commits(tree)
    workspace = make_workspace(tree)
    line = Line(workspace.settings.data_dir, tree)
    held = []
    for commit in (*commits, commits[0]):
        line.run(commit)
        held.append(places(line))
    either, both, least = held[0] | held[1], held[0] & held[1], min(map(len, held))
    assert held[0] == held[2]
    assert len(both) >= len(SHARED)
    assert {place.path for place in either - both} >= {"moved.py", "edited.py", "gone.py"}
    mover = Child(MOVER, ROOT / "tests", workspace.settings.data_dir, tree.path, 0, *commits)
    keeper = Child(UPKEEP, workspace.settings.data_dir, retention)
    reader, asked = random.Random(4), 0
    with children(mover, keeper), workspace.open() as opened:
        started = time.monotonic()
        while asked < searches:
            mover.check()
            keeper.check()
            for name in (*SHARED, *MOVED, "bravo bravissimo step", "ibis", "same value"):
                _ask(opened, name, reader.choice([1, 3]), reader.choice([3, 10]), either, both)
                asked += 1
            assert opened.store.count("chunks") >= least
            assert len(opened.store.read("chunks", ["chunk_id"])) >= least
        seconds = time.monotonic() - started
        keeper.tell()
        worked = keeper.result()
        mover.tell()
        moves = mover.result()
    print(f"{asked} searches, {moves} moves, {worked} tables kept in {seconds:.1f} s")
    assert moves >= 2
    assert worked >= 1


def _ask(
    opened: Index, name: str, per_file: int, limit: int, either: set[Place], both: set[Place]
) -> None:
    hits = opened.search(name, per_file=per_file, limit=limit)
    assert hits, f"{name} finds nothing"
    found = [Place(hit.path, hit.start_line, hit.end_line, hit.text) for hit in hits]
    for place in found:
        assert place in either, f"{name}: {place.path}:{place.start_line} is in neither commit"
    for one, other in combinations(found, 2):
        apart = one.end_line < other.start_line or one.start_line > other.end_line
        assert one.path != other.path or apart, f"{name}: hits overlap in {one.path}"
    if name in SHARED:
        assert [p for p in found if f"def {name}(" in p.text and p in both], f"{name} is lost"
    if name in MOVED:
        assert [p for p in found if f"def {name}(" in p.text], f"{name} is lost"


@pytest.mark.parametrize(
    ("times", "repositories"), [(6, 4), pytest.param(40, 4, marks=pytest.mark.soak)]
)
def test_processes_that_replace_four_repositories_at_once_lose_double_and_mix_no_row(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    tmp_path: Path,
    times: int,
    repositories: int,
) -> None:
    trees = [make_tree(f"repo{n}") for n in range(repositories)]
    commits = [two_commits(tree) for tree in trees]
    clean = Store(tmp_path / "clean", CountingEmbedder.id, CountingEmbedder.dimensions)
    for tree, (_, second) in zip(trees, commits, strict=True):
        Line(tmp_path / "clean", tree).run(second)
    expected = contents(clean)
    workspace = make_workspace(*trees)
    data_dir = workspace.settings.data_dir
    store_of(workspace).create()
    movers = [
        Child(MOVER, ROOT / "tests", data_dir, tree.path, times, *pair)
        for tree, pair in zip(trees, commits, strict=True)
    ]
    keeper = Child(UPKEEP, data_dir, "default")
    started, searches = time.monotonic(), 0
    with children(*movers, keeper):
        with workspace.open() as opened:
            while any(mover.running for mover in movers):
                hits = opened.search(SHARED[searches % len(SHARED)], per_file=3)
                searches += 1
                keeper.check()
                assert {hit.repo for hit in hits} <= {tree.path.name for tree in trees}
        assert [mover.result() for mover in movers] == [times] * repositories
        keeper.tell()
        worked = keeper.result()
    seconds = time.monotonic() - started
    print(f"{repositories} x {times} moves, {searches} searches, {worked} kept, {seconds:.1f} s")
    assert worked >= 1
    assert searches >= 1
    found = contents(store_of(workspace))
    for name, wanted in expected.items():
        assert found[name] == wanted, name


# Runs `refresh` of a repository at a commit when told to, so many times; says how each went.
RUNNER = """
import sys
from pathlib import Path
from codesearch_assets.partitions import COMMIT_TAG
from codesearch_assets.runs import Runner, instance_of
from codesearch_resources.settings import load
from codesearch_assets import chunks, reporting
sys.path.insert(0, sys.argv.pop(1))
from indexes import CutHere
chunks.CuttingProcess = CutHere
file, repo, commit, times = sys.argv[1:]
reporting.LOCK_WAIT = 0.2
settings = load(Path(file))
with instance_of(settings) as instance:
    runner = Runner(settings, instance)
    import lancedb
    print("ready", flush=True)
    sys.stdin.readline()
    done = 0
    for _ in range(int(times)):
        outcome = runner.run("refresh", repo, {COMMIT_TAG: commit})
        if outcome.error and f"{repo}.refresh is being worked on by process" not in outcome.error:
            sys.exit(outcome.error)
        done += not outcome.error
print(done, flush=True)
"""


@pytest.mark.parametrize("times", [2, pytest.param(15, marks=pytest.mark.soak)])
def test_two_processes_on_one_repository_wait_or_say_who_holds_it_and_leave_one_result_whole(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    tmp_path: Path,
    times: int,
) -> None:
    tree = make_tree("api")
    commits = two_commits(tree)
    workspace = make_workspace(tree)
    with instance_of(workspace.settings) as instance:
        instance.add_dynamic_partitions("repositories", ["api"])
    store_of(workspace).create()
    runners = [
        Child(RUNNER, ROOT / "tests", workspace.file, "api", commit, times) for commit in commits
    ]
    with children(*runners):
        done = [runner.result() for runner in runners]
    assert sum(done) >= 1
    row = store_of(workspace).repository_row("api")
    # A run may have lost its turn after its first asset: the next plain one goes on from there.
    if len({row[f"{asset}_commit"] for asset in ("repo_snapshots", "chunks")}) > 1:
        assert not any(outcome.error for outcome in workspace.index())
    clean = Line(tmp_path / "clean", tree)
    clean.refresh(store_of(workspace).repository_row("api")["chunks_commit"])
    for table in ("repo_snapshots", "files", "chunks", clean.store.code_vectors):
        assert rows(store_of(workspace), table) == clean.rows(table), table


def test_who_comes_second_is_told_who_is_at_work(
    make_tree: Callable[..., WorkTree],
    make_workspace: Callable[..., Workspace],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reporting, "LOCK_WAIT", 0.05)
    workspace = make_workspace(make_tree("api", {"a.py": "def add(a, b):\n    return a + b\n"}))
    with held_by_another_process(workspace.settings.data_dir, "api.refresh") as holder:
        (outcome,) = [done for done in workspace.index() if done.error]
    assert f"api.refresh is being worked on by process {holder}" in outcome.error
    assert not any(done.error for done in workspace.index())


class Editing(CountingEmbedder):
    """An embedder that edits the settings while the first run is at work."""

    def __init__(self, edit: Callable[[], None]) -> None:
        super().__init__()
        self._edit: list[Callable[[], None]] = [edit]

    def embed(self, texts: Sequence[str], kind: Any) -> Any:
        while self._edit:
            self._edit.pop()()
        return super().embed(texts, kind)


def test_an_exclusion_that_comes_while_a_run_is_under_way_holds_after_the_next(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    tree = make_tree("api", {"a.py": functions(["lynx"]), "third_party/b.py": functions(["puma"])})
    workspace = make_workspace(tree)

    def exclude() -> None:
        workspace.file.write_text(
            f"defaults: {{exclude: ['third_party/**']}}\nrepositories:\n  - path: {tree.path}\n"
        )

    settings = workspace.settings
    outcomes = index(settings, settings.repositories, resources={"embedder": Editing(exclude)})
    assert not any(outcome.error for outcome in outcomes)
    # Whole as it was begun, and known to be behind.
    assert {row[2] for row in rows(store_of(workspace), "chunks")} == {"a.py", "third_party/b.py"}
    assert [outcome.job for outcome in workspace.index()] == ["refresh", "summarise"]
    assert {row[2] for row in rows(store_of(workspace), "chunks")} == {"a.py"}
    counts = [
        len(rows(store_of(workspace), t)) for t in ("chunks", store_of(workspace).code_vectors)
    ]
    assert counts[0] == counts[1]


def test_a_repository_struck_while_a_run_of_it_is_under_way_goes_when_the_run_has_ended(
    make_tree: Callable[..., WorkTree], make_workspace: Callable[..., Workspace]
) -> None:
    trees = [make_tree(name, {f"{name}.py": functions([name])}) for name in ("api", "web", "lib")]
    workspace = make_workspace(*trees)
    assert not any(outcome.error for outcome in workspace.index("web", "lib"))
    removed: list[dict[str, int]] = []

    def strike() -> None:
        kept = [row for row in workspace.file.read_text().splitlines() if not row.endswith("/api")]
        workspace.file.write_text("\n".join(kept) + "\n")
        removed.append(remove_now(workspace.settings, ["api"]))
        with pytest.raises(Busy, match=r"api.refresh is being worked on by process"):
            remove_repository(workspace.settings, store_of(workspace), "api")

    settings = workspace.settings
    api = [settings.repository("api")]
    # The run goes on with what it has; its slice finds the repository gone, in a sentence.
    index(settings, api, resources={"embedder": Editing(strike)})
    assert removed == [{}]
    assert list(struck(load(workspace.file))) == ["api"]
    outcomes = workspace.index()
    assert [(outcome.repo, outcome.job, outcome.error) for outcome in outcomes] == [
        ("api", "remove", "")
    ]
    for name, found in contents(store_of(workspace)).items():
        assert not [row for row in found if "api" in row[:2]], name
        assert [row for row in found if "web" in row[:2]], name
