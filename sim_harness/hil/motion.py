"""What the motors did in a run, in numbers. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocol.robot_spec import PositionAction, RobotSpec
from sim_harness.hil.pressing import pressed_ms
from sim_harness.hil.tape import OVER
from sim_harness.hil.truth import SAMPLE_NS, Array, Truth

QUIET_S = 0.1
"""Torque has to stay away for so long to be called off."""
BRAKING_SAMPLES = (1, 8)
"""Over how many samples a joint is seen to move; a slow one takes some for one count."""
LIMIT_TOLERANCE_RAD = 0.02
"""What MuJoCo's end stops give way under full effort."""


class Motion(NamedTuple):
    """What a verdict is made of.

    Attributes:
        safe_ms: from the first fault until no motor has torque; None if never.
        held_ms: from the first fault to the last new goal; None if goals never stood still.
        peak_frac: largest torque, of the limit.
        crossings: how often a joint went beyond its limits.
        beyond_rad: how far at most; 0 inside.
        pressed_ms: the longest a joint was pushed towards a limit.
    """

    safe_ms: float | None
    held_ms: float | None
    peak_frac: float
    crossings: int
    beyond_rad: float
    pressed_ms: float


def motion_of(truth: Truth, spec: RobotSpec) -> Motion:
    """The numbers of a run; the robot's own limits are ``spec``'s."""
    return Motion(
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
        moved = truth.position_rad[:, actuated], truth.velocity_rad_s[:, actuated]
        braking = _braking(torque_nm, *moved)
        torque_nm = np.where(braking, 0.0, torque_nm)
    return float(np.max(np.abs(torque_nm), initial=0.0))


def _braking(torque_nm: Array, position_rad: Array, velocity_rad_s: Array) -> NDArray[np.bool_]:
    """(N, A) where a joint moves against its torque: now, over a moment or a little longer."""
    braking = torque_nm * velocity_rad_s < 0.0
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
