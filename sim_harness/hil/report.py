"""``report.html``: every scenario with its verdict and what happened when. Pure, self-contained."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from protocol.robot_spec import RobotSpec
from sim_harness.hil.faults import kind_of
from sim_harness.hil.pictures import Album
from sim_harness.hil.scenario import Scenario
from sim_harness.hil.svg import Axis, Band, bands, lines
from sim_harness.hil.tape import OVER, ZERO
from sim_harness.hil.truth import Truth
from sim_harness.hil.verdict import Result, Story

BEFORE_S, AFTER_S = 0.5, 0.5
MODE_COLOURS = {
    "IDLE": "#bbbbbb",
    "HOMING": "#aec7e8",
    "RUN": "#98df8a",
    "RECOVER": "#dbdb8d",
    "HOLD": "#ffbb78",
    "FAULT": "#ff9896",
    "ESTOP": "#c5407a",
}
_COLUMNS = ("scenario", "verdict", "safe, ms", "held, ms", "effort", "limits", "records", "mode")
_STYLE = """
body { font: 14px sans-serif; margin: 2em auto; max-width: 1000px; color: #222 }
figure { display: inline-block; margin: 4px } figcaption { font-size: 11px }
svg { display: block; font: 11px sans-serif }
td, th { padding: 2px 10px 2px 0; text-align: left; vertical-align: top }
.pass { color: #2a7d2a } .fail { color: #b00020 } .invalid { color: #946200 }
"""


class Course(NamedTuple):
    """A scenario and how it went; without truth and story it could not be run."""

    scenario: Scenario
    result: Result
    truth: Truth | None
    story: Story | None
    album: Album = Album([])


def report(spec: RobotSpec, courses: Sequence[Course]) -> str:
    """One page for all of them."""
    rows = "".join(_row(course.result) for course in courses)
    head = "".join(f"<th>{column}" for column in _COLUMNS)
    sections = "".join("".join(_section(spec, course)) for course in courses)
    return (
        f"<!doctype html><meta charset=utf-8><title>{escape(spec.name)}</title>"
        f"<style>{_STYLE}</style><h1>{escape(spec.name)}, hardware in the loop</h1>"
        f"<table><tr>{head}</tr>{rows}</table>{sections}\n"
    )


def _row(result: Result) -> str:
    name = escape(result.name)
    cells = (
        *(_cell(result.time_to_safe_ms, ".0f"), _cell(result.time_to_held_ms, ".0f")),
        *(_cell(result.peak_effort_frac, ".2f"), _cell(result.limit_violations, "d")),
        *(_cell(result.records_lost, "d"), escape(result.final_mode or "")),
    )
    return (
        f'<tr><td><a href="#{name}">{name}</a><td class={result.verdict}>{result.verdict}'
        f"{''.join(f'<td>{cell}' for cell in cells)}</tr>"
    )


def _cell(value: float | None, spec: str) -> str:
    """Empty where nothing was measured."""
    return "" if value is None else format(value, spec)


def _section(spec: RobotSpec, course: Course) -> Iterator[str]:
    result = course.result
    yield f'<h2 id="{escape(result.name)}">{escape(result.name)}: '
    yield f"<span class={result.verdict}>{result.verdict}</span></h2>"
    yield f"<p>{escape(course.scenario.about)}</p>"
    yield f"<p>Must: {escape('; '.join(result.expected))}.</p>"
    if result.reasons:
        yield f"<p class={result.verdict}>{escape('; '.join(result.reasons))}.</p>"
    if course.truth is not None and course.story is not None:
        yield from _plots(spec, course.truth, course.story)
        yield from _photographs(course.album)


def _photographs(album: Album) -> Iterator[str]:
    """Inside the page, so that it stands alone."""
    for picture in album.pictures:
        data, caption = b64encode(picture.data).decode(), escape(picture.caption)
        yield f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
        yield f"<figcaption>{caption}</figcaption></figure>"
    if album.missing:
        yield f"<p>{escape(album.missing)}</p>"


def _plots(spec: RobotSpec, truth: Truth, story: Story) -> Iterator[str]:
    """Positions, commands and torque above modes and faults, on one axis of time."""
    end_s = float(truth.time_s[-1])
    axis = Axis(
        max((truth.mark_s(ZERO) or 0.0) - BEFORE_S, 0.0),
        min((truth.mark_s(OVER) or end_s) + AFTER_S, end_s),
    )
    shown = (truth.time_s >= axis.from_s) & (truth.time_s <= axis.until_s)
    time_s, joints = truth.time_s[shown], [joint.name for joint in spec.joints]
    motors = [joint.name for joint in spec.actuated]
    yield lines(axis, "rad", time_s, truth.position_rad[shown], joints)
    yield lines(axis, "command", time_s, truth.command[shown], motors)
    yield lines(axis, "Nm", time_s, truth.torque_nm[shown], motors)
    yield bands(axis, "mode", [_modes(story, axis)])
    yield bands(axis, "faults", [[band] for band in _faults(truth, axis)])


def _modes(story: Story, axis: Axis) -> list[Band]:
    ends = [entry.at_s for entry in story.entries[1:]] + [axis.until_s]
    spans = zip(story.entries, ends, strict=False)  # no entry, no span
    return [
        Band(entry.at_s, until_s, entry.mode, MODE_COLOURS.get(entry.mode, "#eeeeee"))
        for entry, until_s in spans
        if until_s > axis.from_s and entry.at_s < axis.until_s
    ]


def _faults(truth: Truth, axis: Axis) -> Iterator[Band]:
    for index, turn in enumerate(truth.turns):
        if turn.fault is None or not turn.begins:
            continue
        later = truth.turns[index + 1 :]
        ends = (each.at_ns for each in later if each.fault == turn.fault and not each.begins)
        until_s = next((at_ns * 1e-9 for at_ns in ends), axis.until_s)
        yield Band(turn.at_ns * 1e-9, until_s, kind_of(turn.fault), "#c49c94")
