"""Files that lie at the top of a checkout and inside the installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).parent / "shipped"
_CHECKOUT = Path(__file__).parent.parent
_IN_CHECKOUT = {"dagster.yaml": "dagster_home/dagster.yaml"}


def shipped(name: str) -> Path:
    """Where `workspace.yaml`, `dagster.yaml` or `codesearch.example.yaml` lies."""
    installed = _PACKAGE / name
    return installed if installed.exists() else _CHECKOUT / _IN_CHECKOUT.get(name, name)
