"""The layout of DESIGN: three packages, imports point down, heavy parts are imported late."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("codesearch", "codesearch_assets", "codesearch_resources")  # each may use the later
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}
MOST_LINES = 400
# What a process pays for only when it needs it.
HEAVY = (
    "dagster",
    "lancedb",
    "pandas",
    "tree_sitter",
    "rich",
    "sqlalchemy",
    "tokenizers",
    "ruamel",
)
# Only a process that has paid for Dagster, which brings SQLAlchemy, loads these.
LOADED_BY_DAGSTER = {
    f"codesearch_resources.{name}"
    for name in (
        "account",
        "breakers",
        "dagster",
        "kept_vectors",
        "ledger",
        "quarantine",
        "quota.kept",
        "quota.reconcile",
        "results",
        "results_tables",
    )
}


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


def imports(module: str, *, at_load: bool = False) -> Iterator[str]:
    """The modules that one imports, anywhere or (`at_load`) when it is loaded itself."""
    for node in _statements(tree_of(module), at_load=at_load):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            for name in node.names:
                full = f"{node.module}.{name.name}"
                yield full if full in MODULES else str(node.module)


def _statements(node: ast.AST, *, at_load: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if at_load and (inside or _for_types_only(child)):
            continue
        yield child
        yield from _statements(child, at_load=at_load)


def _for_types_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def package_of(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    own = PACKAGES.index(package_of(module))
    upward = [
        name
        for name in imports(module)
        if package_of(name) in PACKAGES and PACKAGES.index(package_of(name)) < own
    ]
    assert not upward


def test_no_module_imports_itself_through_others() -> None:
    graph = {module: {name for name in imports(module) if name in MODULES} for module in MODULES}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as circle:
        pytest.fail(f"a circle of imports: {' -> '.join(circle.args[1])}")
    assert set(MODULES) == set(order)


def test_only_the_assets_and_their_resources_import_dagster() -> None:
    importing = {
        module
        for module in MODULES
        if any(package_of(name).startswith("dagster") for name in imports(module))
    }
    assert {module for module in importing if package_of(module) != "codesearch_assets"} == (
        {"codesearch_resources.dagster"}
    )
    assert any(package_of(module) == "codesearch_assets" for module in importing)


@pytest.mark.parametrize(
    "init", [module for module in MODULES if MODULES[module].name == "__init__.py"]
)
def test_init_files_are_empty_but_for_the_public_api(init: str) -> None:
    text = MODULES[init].read_text()
    assert (text != "") is (init == "codesearch")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_fits_in_a_head(module: str) -> None:
    assert len(MODULES[module].read_text().splitlines()) < MOST_LINES


@pytest.mark.parametrize("module", MODULES)
def test_heavy_parts_are_imported_where_they_are_needed(module: str) -> None:
    heavy = {package_of(name) for name in imports(module, at_load=True)} & set(HEAVY)
    inside = package_of(module) == "codesearch_assets" or module in LOADED_BY_DAGSTER
    allowed = {"dagster", "sqlalchemy"} if inside else set()
    assert heavy <= allowed


def test_importing_codesearch_loads_nothing_heavy() -> None:
    code = f"import sys, codesearch; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"
