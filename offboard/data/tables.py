"""Inventories as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from offboard.data.inventory import EpisodeDetail, EpisodeFacts, RobotFacts
from offboard.data.verification import Verdict
from offboard.losses import Loss
from offboard.store_check import Findings


def robots_table(robots: Sequence[RobotFacts]) -> Table:
    """One line a robot, and one for every loss it declared."""
    table = _table("robot", "packed records", "kB", "holes", "doubled", "deleted", "declared lost")
    for facts in robots:
        losses = [
            f"{loss.records or '?'} from {loss.first_record}: {loss.reason}"
            for loss in facts.declared
        ]
        _add(
            table,
            facts.robot,
            f"{facts.packed_records}",
            f"{facts.packed_bytes / 1e3:.0f}",
            f"{facts.holes}",
            f"{facts.duplicates}",
            f"{facts.deleted_episodes}",
            "\n".join(losses) or "nothing",
        )
    return table


def episodes_table(episodes: Sequence[EpisodeFacts]) -> Table:
    """One line an episode."""
    table = _table("robot", "episode", "records", "s", "missing", "end", "policy", "kB", "SHA-256")
    for facts in episodes:
        _add(
            table,
            facts.robot,
            facts.name,
            f"{facts.records}",
            f"{facts.seconds:.2f}",
            f"{facts.missing}",
            "damaged" if facts.fault else facts.end,
            " ".join(map(str, facts.policies)),
            f"{facts.size_bytes / 1e3:.1f}",
            facts.sha256[:8],
            style="red" if facts.fault else None,
        )
    return table


def columns_table(detail: EpisodeDetail) -> Table:
    """One line a column of the episode."""
    table = _table("column", "unit", "least", "mean", "most")
    for column in detail.columns:
        values = (f"{value:.4g}" for value in (column.least, column.mean, column.most))
        _add(table, column.name, column.unit, *values)
    return table


def damage_table(verdict: Verdict) -> Table:
    """One line for each thing that is not what was written."""
    table = _table("damaged", "how")
    for damage in verdict.damage:
        _add(table, damage.what, damage.fault)
    return table


def lost(losses: dict[str, list[Loss]]) -> Iterator[str]:
    """What is lost for good, a line for each robot and reason."""
    for robot, found in losses.items():
        for loss in found:
            extent = f"{loss.records} records"
            if loss.unknown:
                extent += f", and {loss.unknown} times nobody knows how many"
            yield f"lost of {robot}: {extent}: {loss.reason}"


def settled(findings: Findings) -> Iterator[str]:
    """What was put in order in a store, a line each."""
    if findings.mended:
        yield "mended: indexes were made again, or entries went back to their places"
    if findings.batches:
        yield f"declared lost: the records of {findings.batches} damaged batches"
    if findings.gaps:
        yield f"unknown now: how much {findings.gaps} damaged declarations of loss spoke of"
    if findings.streams:
        yield f"found again: where {findings.streams} streams stand"


def _add(table: Table, *cells: str, style: str | None = None) -> None:
    table.add_row(*map(Text, cells), style=style)  # as it stands: [brackets] are no markup


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    numbers = {"packed records", "records", "s", "kB", "holes", "doubled", "missing", "deleted"}
    for heading in headings:
        table.add_column(
            heading,
            justify="right" if heading in numbers else "left",
            no_wrap=heading in {"episode", "SHA-256"},
        )
    return table
