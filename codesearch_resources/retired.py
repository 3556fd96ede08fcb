"""Models that a provider has taken away, and what it recommends in their place: data with a date.

New ones are lines of `retired_models.json`; no code knows a model's name.
"""

import json
from functools import cache
from importlib.resources import files


@cache
def _successors() -> dict[str, str]:
    text = files("codesearch_resources").joinpath("retired_models.json").read_text("utf-8")
    return dict(json.loads(text)["successors"])


def successor(model: str) -> str | None:
    """The name to use instead, written as `model` is: with `-cloud` or `:cloud` where it has it."""
    for suffix in ("-cloud", ":cloud", ""):
        bare = model.removesuffix(suffix) if suffix else model
        if (bare != model or not suffix) and (found := _successors().get(bare)):
            return found + suffix
    return None
