"""The wheel holds all that is needed, and works outside the checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from sample import tree

ROOT = Path(__file__).parent.parent
SEND = 'def send_request(url):\n    """Send a request to the server."""\n    return url\n'


def checked(*command: object, cwd: Path, **environment: str) -> str:
    """What a command prints, run where nothing of the checkout can be imported."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**clean, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder]
    checked(*build, ROOT, cwd=folder)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment with the wheel and, by a link, what it needs."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, system_site_packages=False)
    python = folder / "bin" / "python"
    own = Path(checked(python, "-c", PURELIB, cwd=folder).strip())
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    checked(*install, "--no-index", wheel, cwd=folder)
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


PURELIB = "import sysconfig; print(sysconfig.get_path('purelib'))"


def test_it_holds_the_three_packages_and_the_files_they_need(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {"workspace.yaml", "dagster.yaml", "codesearch.example.yaml"}
    assert {f"codesearch_resources/shipped/{name}" for name in shipped} <= names
    table = ("words.txt", "rows.npy", "scales.npy")
    assert {f"codesearch_resources/embedders/codewords/{name}" for name in table} <= names
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"codesearch", "codesearch_assets", "codesearch_resources"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    sources = {
        path.relative_to(ROOT).as_posix() for top in tops for path in (ROOT / top).rglob("*.py")
    }
    assert {name for name in names if name.endswith(".py")} == sources


def test_installed_it_indexes_and_searches_outside_the_checkout(
    installed: Path, tmp_path: Path
) -> None:
    api = tree(tmp_path / "api", {"send.py": SEND})
    codesearch = installed / "codesearch"
    where = checked(
        installed / "python", "-c", "import codesearch; print(codesearch.__file__)", cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(installed.parent)
    assert checked(codesearch, "--version", cwd=tmp_path).startswith("codesearch, version 0.")
    checked(codesearch, "init", api.path, cwd=tmp_path)
    checked(codesearch, "index", cwd=tmp_path)
    assert (tmp_path / "dagster_home" / "dagster.yaml").read_text() == (
        ROOT / "dagster_home" / "dagster.yaml"
    ).read_text()
    found = checked(codesearch, "search", "send a request", "--limit", "1", cwd=tmp_path)
    assert "send.py:1-3  send_request" in found
