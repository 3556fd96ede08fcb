"""`limits` of codesearch.yaml: what the cloud may cost."""

import sys
from typing import Annotated, Literal

from pydantic import Field

from codesearch_resources.settings_base import Section


class Limits(Section):
    """Bounds on calls that leave one's own machines."""

    # Calls of one run, for summaries and for vectors each. One `codesearch index` is a run, of the
    # night each slice.
    max_calls_per_run: Annotated[int, Field(ge=0)] = 1_000
    # US dollars from midnight to midnight, UTC, over all providers. A provider without a price is
    # not asked under a budget, since nobody could say what it costs.
    dollars_per_day: (
        Annotated[float, Field(ge=0, allow_inf_nan=False, strict=False)] | Literal["unlimited"]
    ) = 1.0

    # US dollars of one run, over all providers.
    max_spend_per_run: (
        Annotated[float, Field(ge=0, allow_inf_nan=False, strict=False)] | Literal["unlimited"]
    ) = "unlimited"

    def lifted(self) -> "Limits":
        """The same for a run whose size a person has agreed to; a day's money stays."""
        return self.model_copy(
            update={"max_calls_per_run": sys.maxsize, "max_spend_per_run": "unlimited"}
        )

    @property
    def most_per_run(self) -> float | None:
        """Dollars of a run, None for unlimited."""
        return None if self.max_spend_per_run == "unlimited" else float(self.max_spend_per_run)

    @property
    def budget(self) -> float | None:
        """Dollars a day, None for unlimited."""
        return None if self.dollars_per_day == "unlimited" else float(self.dollars_per_day)
