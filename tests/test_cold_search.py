"""What a cold search pays for. Its CPU seconds are measured by `benchmarks/cold_search.py`."""

import subprocess
import sys
from pathlib import Path

from conftest import Workspace
from sample import sample

__all__ = ["sample"]

ROOT = Path(__file__).parent.parent
# Each costs tenths of a CPU second, and a question needs none of them.
UNNEEDED = ("dagster", "sqlalchemy", "rich", "pathspec", "tree_sitter", "IPython", "wordllama")


def loaded_by(arguments: list[str]) -> set[str]:
    """The top-level modules that a command has loaded when it ends."""
    code = (
        "import sys\n"
        "from codesearch.cli import main\n"
        f"main({arguments!r}, standalone_mode=False)\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stderr.split())


def test_a_search_loads_no_dagster_and_nothing_else_it_does_not_need(sample: Workspace) -> None:
    loaded = loaded_by(["search", "parse a header line", "--config", str(sample.file)])
    assert "lancedb" in loaded, "it did search"
    assert not loaded & set(UNNEEDED)
    assert not {name for name in loaded if name.startswith("dagster")}


def test_help_does_not_even_load_the_tables() -> None:
    assert "lancedb" not in loaded_by(["search", "--help"])
