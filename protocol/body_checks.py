"""What is wrong with what a robot file says of the body as a whole: IMU, legs and their terms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import UNSET

if TYPE_CHECKING:
    from protocol.robot_spec import Imu, Legs, RobotSpec, Task, Term

BODY_TERMS = {"gravity": "xyz", "gyro": "xyz", "speed": "xy", "command": ""}
"""Kinds of observation that are about no joint, and along which axes."""
LEG_JOINTS = ("roll", "pitch", "knee")
"""Of each leg, from the body outwards."""


def body_problems(spec: RobotSpec) -> Iterator[str]:
    """One line for each, naming the key and the remedy."""
    if spec.imu is not UNSET:
        yield from _imu_problems(spec, spec.imu)
    if spec.legs is not UNSET:
        yield from _leg_problems(spec, spec.legs)
    for index, term in enumerate(spec.observation):
        if term.kind in BODY_TERMS:
            yield from (f"observation[{index}]{problem}" for problem in _term(spec, term))
    if spec.homing.settled_tilt_rad is not UNSET and spec.imu is UNSET:
        yield "homing.settled_tilt_rad needs an [imu] table"
    if spec.homing.settled_tilt_rad is UNSET and UNSET not in (spec.imu, spec.legs):
        yield "homing.settled_tilt_rad is missing: a robot with [legs] is not at home if it lies"
    for name, task in spec.tasks.items():
        yield from _speed_problems(name, task)


def _imu_problems(spec: RobotSpec, imu: Imu) -> Iterator[str]:
    if spec.bus.kind != "dynamixel2":
        yield f"imu: an {imu.model} does not speak {spec.bus.kind!r}"
    if imu.id in [joint.id for joint in spec.joints]:
        yield f"imu.id {imu.id} is a joint's; ids must be unique"


def _leg_problems(spec: RobotSpec, legs: Legs) -> Iterator[str]:
    if len(legs.hip_m) != len(legs.names):
        yield f"legs.hip_m needs {len(legs.names)} pairs, one per leg"
    known = [joint.name for joint in spec.joints]
    for name in (f"{leg}_{part}" for leg in legs.names for part in LEG_JOINTS):
        if name not in known:
            yield f"legs.names: there is no joint {name!r}"


def _term(spec: RobotSpec, term: Term) -> Iterator[str]:
    axes = BODY_TERMS[term.kind]
    if term.joint is not UNSET or term.age_ticks != 1:
        yield f": {term.kind} is about no joint and no earlier tick; write neither"
    if axes and (term.axis is UNSET or term.axis not in axes):
        yield f".axis of {term.kind} must be {' or '.join(axes)}"
    if not axes and term.axis is not UNSET:
        yield f".axis: a {term.kind} has none"
    if term.kind != "command" and spec.imu is UNSET:
        yield f": {term.kind} needs an [imu] table"
    if term.kind == "speed" and spec.legs is UNSET:
        yield ": speed needs a [legs] table"


def _speed_problems(name: str, task: Task) -> Iterator[str]:
    if task.speeds_m_s is not UNSET and task.speeds_m_s[0] > task.speeds_m_s[1]:
        yield f"tasks.{name}.speeds_m_s: write the slowest first"
