"""Status for people: what the robot does, how well the loop keeps time, what the policies did."""

from __future__ import annotations

from onboard.control_api import Status, Summary

LAST_CHANGES = 3


def describe(found: Status) -> str:
    """Some lines of text."""
    in_mode_s = max(0, found.at_ns - found.mode_since_ns) * 1e-9
    lines = [
        f"{found.robot}: {found.mode} for {in_mode_s:.0f} s ({found.reason})",
        f"task {found.task}, episode {found.episode}, step {found.step}",
        f"policy {found.active_version} drives{_pin(found)}, "
        f"{found.previous_version} to return to; "
        f"{found.activated} activated, {found.committed} committed, "
        f"{found.rejected} rejected, {found.rolled_back} rolled back",
        f"{found.ticks} ticks at {found.control_hz} Hz, {found.missed_ticks} missed, "
        f"{found.late_ticks} late, scheduling {found.scheduling}",
        f"{found.produced} records, {found.dropped} dropped; {found.bus_misses} bus misses, "
        f"{found.interventions} interventions",
        *_timing(found),
    ]
    lines += [
        f"{change.old} -> {change.new}: {change.reason}" for change in found.changes[-LAST_CHANGES:]
    ]
    lines += [f"warning: {note}" for note in found.notes]
    return "\n".join(lines)


def _pin(found: Status) -> str:
    return f" (pinned to {found.pinned_version})" if found.pinned_version else ""


def _timing(found: Status) -> list[str]:
    """A table in µs: elapsed and processor time of the tick and its parts."""
    rows = {
        "late": found.period_error_us,
        "tick span": found.span_us,
        "tick work": found.work_us,
    }
    for section, timing in found.sections.items():
        rows[f"{section} span"], rows[f"{section} work"] = timing.span_us, timing.work_us
    return [
        f"{'µs':13}{'p50':>9}{'p99':>9}{'p99.9':>9}{'max':>9}",
        *(f"{name:13}{_numbers(summary)}" for name, summary in rows.items()),
    ]


def _numbers(summary: Summary) -> str:
    values = (summary.p50, summary.p99, summary.p999, summary.max)
    return "".join(f"{value:9.0f}" for value in values)
