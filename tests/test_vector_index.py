"""The approximate index of vectors at full size: its recall at the product's own setting."""

import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.soak

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("rows", "width"), [(70_000, 256), (70_000, 1024), (1_000_000, 256)], ids=str
)
def test_recall_of_the_approximate_index(rows: int, width: int) -> None:
    """Real vectors: of the installed packages' sources."""
    command = [sys.executable, "benchmarks/vector_index.py", "--rows", str(rows)]
    command += ["--widths", str(width), "--sources", sysconfig.get_path("purelib")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)
    found = re.search(r"recall@10 ([\d.]+)", done.stdout)
    assert found is not None
    assert float(found[1]) >= 0.98
