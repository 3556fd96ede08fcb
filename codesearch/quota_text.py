"""Plans and meters in a person's words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from codesearch.quota_status import MeterStatus, WindowStatus

if TYPE_CHECKING:
    from codesearch_assets.plan import Plan, ProviderPlan

_KINDS = {"5h": "5 hours"}


def plan(found: "Plan") -> str:
    """A plan as some lines."""
    lines = []
    missing = [repo.repo for repo in found.repositories if not repo.indexed]
    if missing:
        lines.append(f"not indexed yet, so not counted: {', '.join(missing)}")
    lines.append(
        f"{found.needed:,} of {found.chunks:,} chunks need a summary: {found.calls:,} calls, equal "
        "content once"
    )
    lines += [_repository(repo.repo, repo.calls) for repo in found.repositories if repo.calls]
    for provider in found.providers:
        lines += _provider(provider)
    if found.remainder:
        lines.append(f"{found.remainder:,} calls would wait: no provider may do them now")
    lines += [f"asks first: {beyond}" for beyond in found.beyond]
    lines += [f"advice: {advice}" for advice in found.advice]
    return "\n".join(lines)


def _repository(name: str, calls: int) -> str:
    return f"  {name}: {calls:,}"


def _provider(found: "ProviderPlan") -> list[str]:
    place = {None: "does not answer", True: "cloud", False: "own machine"}[found.cloud]
    lines = [f"{found.name} ({found.model}, {place}): {found.calls:,} calls"]
    if found.why:
        lines.append(f"  {found.why}")
    if not found.calls:
        return lines
    least, most = found.output_tokens
    lines.append(f"  {found.input_tokens:,} tokens in, {least:,} to {most:,} out")
    lines.append(f"  {_cost(found)}; about {found.hours:.1f} hours")
    for window in found.windows:
        used = "unknown" if window.used is None else f"{window.used:.0%} used"
        takes = "unknown" if window.takes is None else f"up to {window.takes:.0%} more"
        kind = _KINDS.get(window.kind, window.kind)
        lines.append(f"  window of {kind}: {used}, {takes}, stops at {window.line:.0%}")
    return lines


def _cost(found: "ProviderPlan") -> str:
    if not found.cloud:
        return "no cost"
    if found.cost is None:
        return "price unknown"
    least, most = found.cost
    if found.unit == "dollars":
        return f"${least:.2f} to ${most:.2f}"
    return f"{least:,.0f} to {most:,.0f} credits"


def meters(found: Sequence[MeterStatus]) -> str:
    """The meters as some lines."""
    lines = []
    for meter in found:
        what = "subscription" if meter.subscription else "key"
        lines.append(f"{meter.meter} ({what}; {', '.join(meter.providers)})")
        lines += [f"  {_window(window)}" for window in meter.windows]
        if meter.subscription and not meter.windows:
            lines.append("  nothing is known of its limits, so nothing is sent")
        lines += [f"  stopped ({kind}): {why}" for kind, why in meter.stopped.items()]
        lines += [f"  not read: {why}" for why in meter.troubles.values()]
    return "\n".join(lines)


def _window(window: WindowStatus) -> str:
    kind = _KINDS.get(window.kind, window.kind)
    used = "use unknown" if window.used is None else f"{window.used:.0%} used"
    own = "" if window.own is None else f", {window.own:.1%} by us"
    resets = f", resets {window.resets_at:%a %Y-%m-%d %H:%M} UTC" if window.resets_at else ""
    of = f" of {window.feature}" if window.feature else ""
    notes = f" [{', '.join(window.notes)}]" if window.notes else ""
    return (
        f"{kind}{of}: {used}{own}, {window.reserve:.0%} kept for you{resets}; "
        f"read {window.age_seconds / 60:.0f} min ago by {window.source}{notes}"
    )
