"""What the commands print, as text; progress goes to standard error, on a terminal only."""

import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from codesearch.hits import Answer, Expected, Hit
from codesearch.status import RepositoryStatus
from codesearch_resources.git import redact
from codesearch_resources.progress import watched_by
from codesearch_resources.settings import Settings

if TYPE_CHECKING:
    from codesearch.cut import CutChunk
    from codesearch.judging import Sample, Upgrade
    from codesearch_assets.runs import Outcome

EXCERPT_LINES = 6
SAMPLE_LINES = 14
SHORT = 12  # characters of a commit or a hash
# Beginnings of the reasons that are no matter of course, unlike `binary` or `lock file`.
ODD = (
    "missing",
    "undecodable",
    "too large",
    "too deep",
    "parse errors",
    "cutter failed",
    "grammar",
)
# Code is not ours: what it holds of control characters must not reach the terminal.
CONTROL = dict.fromkeys((*range(32), *range(127, 160)), "�")


def say(text: str) -> None:
    """A line for whoever waits; nothing when standard error is no terminal."""
    if sys.stderr.isatty():
        click.echo(text, err=True)


@contextmanager
def progress() -> Iterator[None]:
    """Bars for the stages that are reported inside."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<20}"), BarColumn(), MofNCompleteColumn())
    notes = TextColumn("{task.fields[note]}")
    with Progress(*columns, TimeElapsedColumn(), notes, console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int, note: str) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, note="")
            bars.update(tasks[stage], completed=done, total=total, note=note)

        with watched_by(report):
            yield


def plain(line: str) -> str:
    """One line of foreign text, tabs widened, other control characters made visible."""
    return line.expandtabs(4).translate(CONTROL)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as their widest cell; numbers to the right."""
    cells = [list(header), *([plain(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(header))]
    numeric = [all(isinstance(row[at], int | float) for row in rows) for at in range(len(header))]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in cells
    ]
    return "\n".join(lines)


def answer(found: Answer, *, explain: bool) -> str:
    """The hits, best first, each with its summary and its first lines."""
    lines = [f"note: {notice}" for notice in found.notices]
    for place, hit in enumerate(found.hits, 1):
        lines += [*_hit(place, hit, explain=explain), ""]
    if not found.hits:
        lines.append("nothing found")
    for file in found.expected:
        lines += _expected(file)
    return "\n".join(lines).rstrip()


def _expected(file: Expected) -> list[str]:
    place = f"at {file.place}" if file.place else "not found"
    lines = [f"expected  {file.repo}  {plain(file.path)}  {place}: {plain(file.why)}"]
    if file.place:
        lanes = ", ".join(f"{lane} #{rank}" for lane, rank in file.lanes.items())
        rules = ", ".join(f"{rule} {share:+.2f}" for rule, share in file.rules.items())
        lines += [f"    lanes: {lanes}", f"    score {sum(file.rules.values()):.4f}: {rules}"]
    return lines


def _hit(place: int, hit: Hit, *, explain: bool) -> list[str]:
    where = click.style(f"{plain(hit.path)}:{hit.start_line}-{hit.end_line}", fg="cyan")
    symbol = f"{click.style(plain(hit.symbol), bold=True)}  " if hit.symbol else ""
    begins = f", from line {hit.line}" if hit.line != hit.start_line else ""
    lines = [f"{place:>2}  {hit.repo}  {where}  {symbol}({hit.kind}{begins})"]
    if hit.summary:
        lines += textwrap.wrap(
            plain(hit.summary), 92, initial_indent="    ", subsequent_indent="    "
        )
    body = [line for line in hit.text.split("\n")[hit.line - hit.start_line :] if line.strip()]
    lines += [click.style(f"    │ {plain(line)[:92]}", dim=True) for line in body[:EXCERPT_LINES]]
    if hit.more:
        more = ", ".join(
            f"{m.start_line}-{m.end_line} {plain(m.symbol)}".rstrip() for m in hit.more
        )
        lines.append(f"    more: {more}")
    if explain:
        lanes = ", ".join(f"{lane} #{rank}" for lane, rank in hit.lanes.items())
        rules = ", ".join(f"{rule} {share:+.2f}" for rule, share in hit.rules.items())
        lines += [f"    lanes: {lanes or 'by its file only'}", f"    score {hit.score}: {rules}"]
    return lines


def repositories(settings: Settings) -> str:
    """Name, place, branch and how each came to be there."""
    rows = [
        (
            entry.name,
            redact(entry.url) if entry.url else str(entry.path),
            entry.branch or "HEAD",
            "discovered" if entry.discovered else "listed",
        )
        for entry in settings.repositories
    ]
    return table(("name", "place", "branch", "from"), rows) if rows else "no repositories"


def without_secrets(row: Mapping[str, Any]) -> dict[str, Any]:
    """A repository's settings with its URL redacted."""
    return {**row, "url": redact(row["url"]) if row["url"] else None}


def outcomes(standing: Sequence[RepositoryStatus], done: Sequence["Outcome"]) -> str:
    """One row a repository: what was run, how long it took, how it stands now."""
    rows = []
    for one in standing:
        own = [outcome for outcome in done if outcome.repo == one.repo]
        failed = any(outcome.error for outcome in own)
        ran = ", ".join(outcome.job for outcome in own)
        rows.append(
            (
                one.repo,
                one.commit[:SHORT] or "-",
                sum(one.files.values()),
                one.chunks,
                sum(one.skipped.values()) + _left_out(one.files),
                "FAILED" if failed else ran or "up to date",
                f"{sum(outcome.seconds for outcome in own):.1f} s",
            )
        )
    header = ("repository", "commit", "files", "chunks", "left out", "done", "time")
    return table(header, rows)


def warnings(settings: Settings, standing: Sequence[RepositoryStatus]) -> list[str]:
    """What a person should look at though the runs were green."""
    found = [
        f"discover: {pattern} matches no git repository" for pattern in settings.missing_discover
    ]
    for one in standing:
        odd = {
            reason: count
            for reason, count in {**one.skipped, **one.files}.items()
            if reason.rpartition(": ")[2].startswith(ODD)
        }
        if odd:
            found.append(f"{one.repo}: odd files: {_counts(odd)}; all others are indexed")
        if one.waiting:
            found.append(f"{one.repo}: chunks wait for a better summary: {one.waiting}")
    return found


def _left_out(files: Mapping[str, int]) -> int:
    return sum(count for outcome, count in files.items() if outcome.startswith("skipped"))


def status(found: Sequence[RepositoryStatus]) -> str:
    """Each repository's figures, and what of it is not indexed and why."""
    if not found:
        return "no repositories; `codesearch repos add PATH` adds one"
    lines: list[str] = []
    for one in found:
        if not one.commit:
            lines += [f"{one.repo}: not indexed yet; run `codesearch index {one.repo}`", ""]
            continue
        when = f"{one.indexed_at:%Y-%m-%d %H:%M} UTC" if one.indexed_at else "-"
        lines += [
            f"{one.repo}  {one.commit[:SHORT]}  {plain(one.subject)[:60]}",
            f"  indexed    {when}",
            f"  files      {_counts(one.files)}",
            f"  left out   {_counts(one.skipped) or 'nothing'}",
            f"  chunks     {one.chunks}   code vectors {one.code_vectors}   "
            f"summaries {one.summaries} ({_counts(one.grades)})   "
            f"summary vectors {one.summary_vectors}",
            f"  written by {_counts(one.writers) or 'nobody'}",
        ]
        if one.waiting:
            lines.append(f"  waiting    {one.waiting}")
        if not one.complete:
            lines.append(f"  not complete: run `codesearch index {one.repo}`")
        lines.append("")
    return "\n".join(lines).rstrip()


def _counts(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {what}" for what, count in ordered)


def samples(found: Sequence["Sample"]) -> str:
    """Each chunk's first lines under its summary and who wrote it."""
    lines: list[str] = []
    for one in found:
        where = click.style(f"{plain(one.path)}:{one.start_line}-{one.end_line}", fg="cyan")
        by = " ".join(part for part in (one.provider, one.model) if part)
        version = f", prompt {one.prompt_version}" if one.grade == "model" else ""
        lines.append(f"{one.repo}  {where}  {plain(one.symbol)}  [{one.grade} by {by}{version}]")
        lines += textwrap.wrap(plain(one.summary), 92, initial_indent="  ", subsequent_indent="  ")
        body = [line for line in one.text.split("\n") if line.strip()][:SAMPLE_LINES]
        lines += [click.style(f"    │ {plain(line)[:92]}", dim=True) for line in body]
        lines.append("")
    return "\n".join(lines).rstrip()


def upgrade(plan: "Upgrade") -> str:
    """What an upgrade takes, before anybody agrees to it."""
    if not plan.keys:
        return "no such summaries were paid for"
    cost = "no price is known" if plan.dollars is None else f"${plan.dollars:.2f} at most"
    return (
        f"{len(plan.keys)} summaries ({_counts(plan.repos)}), written anew by {plan.by}: up to "
        f"{plan.input:,} tokens in and {plan.output:,} out, {cost}"
    )


def cut(found: Sequence["CutChunk"]) -> str:
    """One row a chunk, under a line for each file."""
    lines: list[str] = []
    for place in dict.fromkeys((chunk.repo, chunk.path) for chunk in found):
        own = [chunk for chunk in found if (chunk.repo, chunk.path) == place]
        rows = [
            (f"{c.start_line}-{c.end_line}", c.kind, c.symbol, c.grade, c.content_hash[:SHORT])
            for c in own
        ]
        lines += [
            f"{place[0]}  {plain(place[1])}",
            table(("lines", "kind", "symbol", "summary", "hash"), rows),
            "",
        ]
    return "\n".join(lines).rstrip()


def metrics(way: str, summary: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """A table for each way of grouping."""
    rows = [
        (group if group == value else f"{group}: {value}", *figures.values())
        for group, values in summary.items()
        for value, figures in values.items()
    ]
    return table((way, "queries", "NDCG@10", "recall@10", "MRR"), rows) + "\n"
