"""The usage of a Codex subscription as JSON, by the endpoint that Codex asks itself.

Shape: codex-rs/backend-client of openai/codex. Every part of it is absent or null in real life.
"""

from collections.abc import Mapping

from codesearch_resources.quota import fields
from codesearch_resources.quota.readers.base import ReadingError, mapping, optional
from codesearch_resources.quota.readers.raw import account_mark, redacted
from codesearch_resources.quota.windows import Report, Window, skew_of, stamped, window

SOURCE = "codex_usage"
_KNOWN = ("rate_limit", "additional_rate_limits", "credits", "spend_control")


def parse(body: object, heard_at: float, *, server_clock: float | None = None) -> Report:
    """The report in such a body. Raises ReadingError for what is no usage at all."""
    usage = mapping(body, "the usage")
    if not any(key in usage for key in _KNOWN):
        raise ReadingError(f"the usage has none of {', '.join(_KNOWN)}")
    skew = skew_of(server_clock, heard_at)
    clock = heard_at + skew
    found = _pair(optional(usage.get("rate_limit")), clock, None)
    extras = usage.get("additional_rate_limits")
    for extra in extras if isinstance(extras, list) else []:
        named = optional(extra)
        feature = named.get("limit_name") or named.get("metered_feature") or "unnamed"
        found += _pair(optional(named.get("rate_limit")), clock, str(feature))
    bought = optional(usage.get("credits"))
    plan = usage.get("plan_type")
    return Report(
        SOURCE,
        heard_at,
        stamped(found, SOURCE, heard_at),
        account=account_mark(usage.get("account_id")),
        plan=plan if isinstance(plan, str) else None,
        refused=_refusal(usage),
        skew=skew,
        credits=fields.number(bought.get("balance")) if bought.get("has_credits") else None,
        raw=redacted(usage),
    )


def _pair(limit: Mapping[str, object], clock: float, feature: str | None) -> list[Window]:
    found = []
    for label in ("primary", "secondary"):
        raw = limit.get(f"{label}_window")
        if isinstance(raw, Mapping) and raw:
            found.append(window(raw, label=label, now=clock, feature=feature))
    return found


def _refusal(usage: Mapping[str, object]) -> str | None:
    limit = optional(usage.get("rate_limit"))
    if limit.get("allowed") is False:
        return "the provider allows nothing now"
    if limit.get("limit_reached") is True:
        return "the provider says that a limit is reached"
    reached = usage.get("rate_limit_reached_type")
    kind = reached.get("type") if isinstance(reached, Mapping) else reached
    if isinstance(kind, str) and kind:
        return f"the provider says {kind[:60].replace('_', ' ')}"
    control = optional(usage.get("spend_control"))
    if control.get("reached") is True:
        return "the workspace's spend control is reached"
    return None
