"""Whether a run was as its scenario says it must be. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from protocol.modes import Mode
from protocol.robot_spec import PositionAction, RobotSpec
from sim_harness.hil.faults import described
from sim_harness.hil.pressing import pressed_ms
from sim_harness.hil.scenario import LATCHED, Must, Scenario
from sim_harness.hil.timeline import faults_of
from sim_harness.hil.truth import SAMPLE_NS, Array, Truth

REALTIME_MIN = 0.98
"""Below, healthy code looks sick: the run proves nothing."""
STARTED, ZERO, OVER = "started", "zero", "over"
"""Marks: the operator says start, the scenario's clock begins, it ends."""
QUIET_S = 0.1
"""Torque has to stay away for so long to be called off."""
BRAKING_SAMPLES = (1, 8)
"""Over how many samples a joint is seen to move; a slow one takes some for one count."""
LIMIT_TOLERANCE_RAD = 0.02
"""What MuJoCo's end stops give way under full effort."""


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


class _Motion(NamedTuple):
    """What the motors did, in numbers."""

    safe_ms: float | None
    held_ms: float | None
    peak_frac: float
    crossings: int
    beyond_rad: float
    pressed_ms: float


def judge(scenario: Scenario, spec: RobotSpec, truth: Truth, story: Story, pace: Pace) -> Result:
    """The verdict and the numbers behind it."""
    motion = _motion(truth, spec)
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


def _motion(truth: Truth, spec: RobotSpec) -> _Motion:
    return _Motion(
        safe_ms=time_to_safe_ms(truth),
        held_ms=time_to_held_ms(truth),
        peak_frac=peak_effort_nm(truth, spec) / spec.safety.effort_max_nm,
        crossings=limit_violations(truth, spec),
        beyond_rad=float(np.max(_beyond_rad(truth, spec), initial=0.0)),
        pressed_ms=pressed_ms(truth, spec),
    )


def time_to_safe_ms(truth: Truth) -> float | None:
    """From the first fault to the first stretch of ``QUIET_S`` without torque, if there is one.

    A recording that ends sooner counts as quiet from then on.
    """
    begun = [turn.at_ns * 1e-9 for turn in truth.turns if turn.fault is not None and turn.begins]
    if not begun:
        return None
    over_s = truth.mark_s(OVER)
    first = int(np.searchsorted(truth.time_s, begun[0]))
    last = len(truth.time_s) if over_s is None else int(np.searchsorted(truth.time_s, over_s))
    asking = truth.asking[first:last]
    samples = round(QUIET_S * 1e9 / SAMPLE_NS)
    padded = np.concatenate([asking, np.zeros(samples, dtype=bool)])
    busy = np.convolve(padded, np.ones(samples), "valid")[: asking.size]
    quiet = np.flatnonzero(busy < 0.5)
    if quiet.size == 0:
        return None
    return round(1e3 * max(float(truth.time_s[first + quiet[0]]) - begun[0], 0.0), 1)


def time_to_held_ms(truth: Truth) -> float | None:
    """From the first fault to the last change of what any motor is asked while it lasts.

    None without a fault, or if that is less than ``QUIET_S`` before its end.
    """
    first = next((turn for turn in truth.turns if turn.fault is not None and turn.begins), None)
    if first is None:
        return None
    begun_s = first.at_ns * 1e-9
    ends = (turn.at_ns * 1e-9 for turn in truth.turns if turn.fault == first.fault)
    ended_s = min((at_s for at_s in ends if at_s > begun_s), default=float(truth.time_s[-1]))
    until_s = min(ended_s, truth.mark_s(OVER) or ended_s) - 1e-9 * SAMPLE_NS
    asked = np.column_stack([truth.command, truth.asking])
    changed_s = truth.time_s[1:][(asked[1:] != asked[:-1]).any(axis=1)]
    meanwhile_s = changed_s[(changed_s > begun_s) & (changed_s <= until_s)]
    last_s = float(np.max(meanwhile_s, initial=begun_s))
    return None if last_s > until_s - QUIET_S else round(1e3 * (last_s - begun_s), 1)


def peak_effort_nm(truth: Truth, spec: RobotSpec) -> float:
    """Largest torque that a motor gave.

    A servo in position mode that is turned against its voltage brakes with more than it may drive
    with. Nobody asked for that, and no servo without a current regulator could help it: it does not
    count.
    """
    torque_nm = truth.torque_nm
    if isinstance(spec.action, PositionAction):
        actuated = [spec.joint_index(joint.name) for joint in spec.actuated]
        braking = _braking(torque_nm, truth.position_rad[:, actuated])
        torque_nm = np.where(braking, 0.0, torque_nm)
    return float(np.max(np.abs(torque_nm), initial=0.0))


def _braking(torque_nm: Array, position_rad: Array) -> NDArray[np.bool_]:
    """(N, A) where a joint moves against its torque, over a moment or a little longer."""
    braking = np.zeros(torque_nm.shape, dtype=bool)
    for lag in BRAKING_SAMPLES:
        moved_rad = position_rad[lag:] - position_rad[:-lag]
        braking[lag:] |= torque_nm[lag:] * moved_rad < 0.0
        braking[:-lag] |= torque_nm[:-lag] * moved_rad < 0.0
    return braking


def limit_violations(truth: Truth, spec: RobotSpec) -> int:
    """How often a joint went beyond its limits."""
    beyond = _beyond_rad(truth, spec) > LIMIT_TOLERANCE_RAD
    return int(np.count_nonzero(beyond[1:] & ~beyond[:-1]) + np.count_nonzero(beyond[:1]))


def _beyond_rad(truth: Truth, spec: RobotSpec) -> Array:
    """(N, J) how far every joint is beyond its limits; negative inside."""
    low = np.array([joint.position_min_rad for joint in spec.joints])
    high = np.array([joint.position_max_rad for joint in spec.joints])
    beyond: Array = np.maximum(low - truth.position_rad, truth.position_rad - high)
    return beyond


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


def _safety(must: Must, motion: _Motion) -> Iterator[str]:
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
