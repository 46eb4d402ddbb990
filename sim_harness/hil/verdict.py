"""Whether a run was as its scenario says it must be. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from msgspec import Struct

from protocol.modes import Mode
from protocol.robot_spec import RobotSpec
from sim_harness.hil.faults import described
from sim_harness.hil.motion import LIMIT_TOLERANCE_RAD, Motion, motion_of
from sim_harness.hil.scenario import LATCHED, Must, Scenario
from sim_harness.hil.tape import OVER, STARTED, ZERO
from sim_harness.hil.timeline import faults_of
from sim_harness.hil.truth import Truth

REALTIME_MIN = 0.98
"""Below, healthy code looks sick: the run proves nothing."""

Verdict = Literal["pass", "fail", "invalid"]


class Entry(NamedTuple):
    """A mode the runtime entered, by the rig's time."""

    at_s: float
    mode: str
    reason: str


class Story(NamedTuple):
    """What the runtime told.

    Attributes:
        entries: modes in order.
        final_mode: when the scenario was over; empty if it did not answer.
        start_refused: of a latched robot: whether it refused to start; None if it was not asked.
        records_lost: step records that were made and not kept.
        records_unexplained: of these, how many no gap accounts for.
    """

    entries: Sequence[Entry]
    final_mode: str
    start_refused: bool | None
    records_lost: int
    records_unexplained: int = 0


class Pace(NamedTuple):
    """How well the rig kept up with the clock."""

    realtime_factor: float
    worst_lag_ms: float = 0.0


class Result(Struct, frozen=True, kw_only=True):
    """One line of ``summary.json``; null is what nobody measured: there was nothing, or no run."""

    name: str
    faults: list[str]
    expected: list[str]
    verdict: Verdict
    time_to_safe_ms: float | None = None
    time_to_held_ms: float | None = None
    peak_effort_frac: float | None = None
    limit_violations: int | None = None
    beyond_max_rad: float | None = None
    pressed_max_ms: float | None = None
    records_lost: int | None = None
    final_mode: str | None = None
    realtime_factor: float | None = None
    worst_lag_ms: float | None = None
    replayed: bool | None = None
    reasons: list[str]


def judge(scenario: Scenario, spec: RobotSpec, truth: Truth, story: Story, pace: Pace) -> Result:
    """The verdict and the numbers behind it."""
    motion = motion_of(truth, spec)
    must = scenario.must
    reasons = [
        *_moved_early(truth),
        *_modes(must, truth, story),
        *_safety(must, motion),
        *_recovery(must, truth, story),
        *_records(must, story),
    ]
    invalid = [*_invalid(truth, pace)]
    if reasons and pace.worst_lag_ms > 1e3 * spec.tick_s:  # it may have caused what failed
        invalid.append(f"the rig was {pace.worst_lag_ms:.0f} ms late")
    verdict: Verdict = "fail" if reasons else "pass"
    return Result(
        name=scenario.name,
        faults=[described(fault) for fault in faults_of(scenario)],
        expected=expectations(must),
        verdict="invalid" if invalid else verdict,
        time_to_safe_ms=motion.safe_ms,
        time_to_held_ms=motion.held_ms,
        peak_effort_frac=round(motion.peak_frac, 4),
        limit_violations=motion.crossings,
        beyond_max_rad=round(motion.beyond_rad, 4),
        pressed_max_ms=motion.pressed_ms,
        records_lost=story.records_lost,
        final_mode=story.final_mode,
        realtime_factor=round(pace.realtime_factor, 4),
        worst_lag_ms=round(pace.worst_lag_ms, 1),
        replayed=truth.mismatches == 0,
        reasons=[*invalid, *reasons],
    )


def expectations(must: Must) -> list[str]:
    """What has to hold, for people."""
    lines = [f"ends in {' or '.join(must.end)}"]
    if must.through:
        lines.append(f"through {', '.join(must.through)}")
    if must.never:
        lines.append(f"never {', '.join(must.never)}")
    if must.safe_within_ms is not None:
        lines.append(f"no torque within {must.safe_within_ms:g} ms")
    if must.held_within_ms is not None:
        lines.append(f"no new goal after {must.held_within_ms:g} ms")
    if must.back_within_s is not None:
        lines.append(f"runs again within {must.back_within_s:g} s")
    lines.append(f"effort at most {must.effort_max_frac:g} of the limit")
    lines.append(
        f"at most {must.beyond_rad:g} rad beyond" if must.beyond_rad else "inside the limits"
    )
    lines.append(f"pushed towards a limit for at most {must.pressed_ms:g} ms")
    lines += ["no record lost"] if must.records else []
    return lines


def _invalid(truth: Truth, pace: Pace) -> Iterator[str]:
    if pace.realtime_factor < REALTIME_MIN:
        yield f"ran at {pace.realtime_factor:.3f} of real time"
    if truth.mismatches:
        yield f"{truth.mismatches} answers differ in the replay"
    if truth.mark_s(OVER) is None:
        yield "the scenario was not run to its end"


def _moved_early(truth: Truth) -> Iterator[str]:
    started_s = truth.mark_s(STARTED)
    before = truth.time_s < (np.inf if started_s is None else started_s)
    if truth.asking[before].any():
        yield "a motor was asked before anybody said start"


def _modes(must: Must, truth: Truth, story: Story) -> Iterator[str]:
    if story.final_mode not in must.end:
        over_s = truth.mark_s(OVER) or np.inf
        told = [entry.reason for entry in story.entries if entry.at_s <= over_s]
        why = told[-1] if told else "it did not answer"
        yield f"ended in {story.final_mode or 'silence'} ({why})"
    if story.final_mode in LATCHED and story.start_refused is False:
        yield f"{story.final_mode} is not latched: it started"
    zero_s, over_s = truth.mark_s(ZERO) or 0.0, truth.mark_s(OVER) or np.inf
    seen = [entry for entry in story.entries if zero_s <= entry.at_s <= over_s]
    forbidden = [entry for entry in seen if entry.mode in must.never]
    yield from (f"came to {entry.mode} ({entry.reason})" for entry in forbidden)
    rest = (entry.mode for entry in seen)
    missing = [mode for mode in must.through if mode not in rest]
    if missing:
        yield f"never came to {missing[0]}"


def _safety(must: Must, motion: Motion) -> Iterator[str]:
    if _late(motion.safe_ms, must.safe_within_ms):
        yield f"without torque {_told(motion.safe_ms)}, not within {must.safe_within_ms:g} ms"
    if _late(motion.held_ms, must.held_within_ms):
        yield f"goals stand still {_told(motion.held_ms)}, not within {must.held_within_ms:g} ms"
    if motion.peak_frac > must.effort_max_frac:
        yield f"effort of {motion.peak_frac:.2f} of the limit"
    if motion.beyond_rad > must.beyond_rad + LIMIT_TOLERANCE_RAD:
        yield f"limits crossed {motion.crossings} times, by up to {motion.beyond_rad:.3f} rad"
    if motion.pressed_ms > must.pressed_ms:
        yield f"pushed towards a limit for {motion.pressed_ms:g} ms"


def _late(took_ms: float | None, within_ms: float | None) -> bool:
    return within_ms is not None and (took_ms is None or took_ms > within_ms)


def _told(took_ms: float | None) -> str:
    return "never" if took_ms is None else f"after {took_ms:g} ms"


def _recovery(must: Must, truth: Truth, story: Story) -> Iterator[str]:
    if must.back_within_s is None:
        return
    ended = [
        turn.at_ns * 1e-9 for turn in truth.turns if turn.fault is not None and not turn.begins
    ]
    after_s = max(ended, default=truth.mark_s(ZERO) or 0.0)
    if not any(
        start_s <= after_s + must.back_within_s and until_s > after_s
        for start_s, until_s in _spans(story.entries, Mode.RUN.name)
    ):
        yield f"did not run again within {must.back_within_s:g} s"


def _records(must: Must, story: Story) -> Iterator[str]:
    if must.records and story.records_lost:
        yield f"{story.records_lost} records lost"
    if story.records_unexplained:
        yield f"{story.records_unexplained} records are neither kept nor declared as a gap"


def _spans(entries: Sequence[Entry], mode: str) -> Iterator[tuple[float, float]]:
    """When the runtime was in ``mode``: from, until."""
    ends = [entry.at_s for entry in entries[1:]] + [np.inf]
    for entry, until_s in zip(entries, ends, strict=False):  # no entry, no span
        if entry.mode == mode:
            yield entry.at_s, until_s
