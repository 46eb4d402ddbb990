"""What is wrong with a robot file beyond its types: misfits, and numbers nothing can have.

Each problem is one line that names the key and the remedy. A wrong unit (degrees, mA, rpm, mNm)
almost always leaves the range a machine of this size can have; those ranges stand here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Struct

from protocol import mcu_link, sts3215, xl330
from protocol.body_checks import BODY_TERMS, body_problems
from protocol.dynamixel_nodes import NODES
from protocol.errors import ConfigError
from protocol.plant_checks import plant_problems

if TYPE_CHECKING:
    from protocol.robot_spec import CurrentAction, Joint, PositionAction, RobotSpec

POSITION_LIMIT_RAD = 4.0 * math.pi
"""Two turns either way; a cable takes no more, and 180 (degrees) lies far outside."""
VELOCITY_LIMIT_RAD_S = 200.0
"""Nearly 2000 rpm, three times what a fast hobby servo does without load."""
TEMPERATURE_RANGE_C = (30.0, 100.0)
"""From a warm room to what the servo's own limit register can hold."""
VOLTAGE_RANGE_V = (3.0, 60.0)
"""From one lithium cell to the limit of extra-low voltage."""
OPERATOR_TIMEOUT_LIMIT_S = 24 * 3600.0
HOMING_TIMEOUT_LIMIT_S = 600.0
CURRENT_LIMIT_A = {
    "xl330-m288": xl330.CURRENT_LIMIT.maximum * xl330.AMPERE_PER_COUNT,
    "mcu-motor": mcu_link.MAX_CURRENT_A,
}
"""Of each motor's current limit register, or of what its frames can say."""
MODELS = {
    "dynamixel2": (*NODES,),
    "feetech": ("sts3215",),
    "mcu": ("mcu-motor", "mcu-encoder"),
}
"""What can stand on each kind of bus."""
PASSIVE_MODELS = ("encoder-12bit", "mcu-encoder")
MODES = {name: node.mode for name, node in NODES.items() if node.mode}
MODES |= {"sts3215": "position", "mcu-motor": "current"}
"""How each motor is driven."""


def problems(spec: RobotSpec) -> list[str]:
    """Everything types cannot express; empty for a sound robot."""
    found = [*_number_problems(spec), *_part_problems(spec), *_size_problems(spec)]
    return found or [*_task_problems(spec)]  # a judge can be built only for a sound robot


def _number_problems(spec: RobotSpec) -> Iterator[str]:
    for key, value in _floats(spec):
        if not math.isfinite(value):
            yield f"{key} is {value}; write a finite number"


def _part_problems(spec: RobotSpec) -> Iterator[str]:
    yield from _joint_problems(spec)
    yield from _bus_problems(spec)
    yield from _homing_problems(spec)
    yield from _observation_problems(spec)
    yield from _limit_problems(spec)
    yield from body_problems(spec)
    yield from plant_problems(spec)
    if not spec.tasks:
        yield "tasks is empty"
    if spec.plant.physics_hz % spec.control_hz:
        yield "plant.physics_hz must be a multiple of control_hz"
    if "nominal" not in spec.plant.bodies:
        yield "plant.bodies.nominal is missing"


def _size_problems(spec: RobotSpec) -> Iterator[str]:
    """Numbers that no machine of this kind can have."""
    yield from _joint_size_problems(spec)
    yield from _supply_problems(spec)
    safety = spec.safety
    hold_nm = safety.barrier_stiffness_nm_rad * safety.position_margin_rad
    if hold_nm < safety.effort_max_nm:
        yield (
            f"safety: the barrier cannot hold; barrier_stiffness_nm_rad × position_margin_rad = "
            f"{hold_nm:g} Nm must reach effort_max_nm {safety.effort_max_nm:g}"
        )
    if safety.operator_timeout_s > OPERATOR_TIMEOUT_LIMIT_S:
        yield f"safety.operator_timeout_s must be at most {OPERATOR_TIMEOUT_LIMIT_S:g} s (a day)"
    if spec.homing.timeout_s > HOMING_TIMEOUT_LIMIT_S:
        yield f"homing.timeout_s must be at most {HOMING_TIMEOUT_LIMIT_S:g} s"


def _joint_size_problems(spec: RobotSpec) -> Iterator[str]:
    for joint in spec.joints:
        reach_rad = max(abs(joint.position_min_rad), abs(joint.position_max_rad))
        if joint.actuated and reach_rad > POSITION_LIMIT_RAD:
            yield (
                f"joints.{joint.name}: position limits must lie within "
                f"±{POSITION_LIMIT_RAD:.4g} rad; write radians"
            )
        if joint.velocity_max_rad_s > VELOCITY_LIMIT_RAD_S:
            yield (
                f"joints.{joint.name}: velocity_max_rad_s must be at most "
                f"{VELOCITY_LIMIT_RAD_S:g}; write rad/s"
            )


def _supply_problems(spec: RobotSpec) -> Iterator[str]:
    low, high = TEMPERATURE_RANGE_C
    if not low <= spec.safety.temperature_max_c <= high:
        yield f"safety.temperature_max_c must lie in [{low:g}, {high:g}] °C"
    low, high = VOLTAGE_RANGE_V
    for key in ("voltage_min_v", "voltage_max_v"):
        if not low <= getattr(spec.safety, key) <= high:
            yield f"safety.{key} must lie in [{low:g}, {high:g}] V"


def _task_problems(spec: RobotSpec) -> Iterator[str]:
    from protocol.tasks import judge_for  # noqa: PLC0415 - it reads robot specs, as we check them

    for name, task in spec.tasks.items():
        try:
            judge_for(spec, task)
        except ConfigError as error:
            yield f"tasks.{name}: {error}"


def _joint_problems(spec: RobotSpec) -> Iterator[str]:
    names = [joint.name for joint in spec.joints]
    for key, values in (("name", names), ("id", [joint.id for joint in spec.joints])):
        if len(set(values)) != len(values):
            yield f"joints.{key} must be unique, got {values}"
    if not spec.actuated:
        yield "joints: at least one must have actuated = true"
    for joint in spec.joints:
        span_rad = joint.position_max_rad - joint.position_min_rad
        if span_rad <= 0.0:
            yield f"joints.{joint.name}: position_min_rad must be below position_max_rad"
        elif joint.actuated and 2 * spec.safety.position_margin_rad >= span_rad:
            yield f"joints.{joint.name}: safety.position_margin_rad leaves no room to move"
        if joint.actuated and joint.model in PASSIVE_MODELS:
            yield f"joints.{joint.name}: an {joint.model} has no torque; write actuated = false"


def _homing_problems(spec: RobotSpec) -> Iterator[str]:
    homing, margin_rad = spec.homing, spec.safety.position_margin_rad
    if len(homing.home_rad) != len(spec.actuated):
        yield f"homing.home_rad needs {len(spec.actuated)} numbers, one per actuated joint"
    for joint, home_rad in zip(spec.actuated, homing.home_rad, strict=False):
        low, high = joint.position_min_rad + margin_rad, joint.position_max_rad - margin_rad
        if not low <= home_rad <= high:
            yield f"homing.home_rad {home_rad} of {joint.name} must lie in [{low:g}, {high:g}] rad"
    slowest_rad_s = min((joint.velocity_max_rad_s for joint in spec.actuated), default=math.inf)
    if homing.velocity_max_rad_s > slowest_rad_s:
        yield f"homing.velocity_max_rad_s must be at most {slowest_rad_s:g}, the joint's own limit"
    if homing.settled_velocity_rad_s >= homing.velocity_max_rad_s:
        yield "homing.settled_velocity_rad_s must be below homing.velocity_max_rad_s"
    passive = [joint.name for joint in spec.joints if not joint.actuated]
    if homing.passive_joint is not None:
        if homing.passive_joint not in passive:
            known = f"{passive}, not actuated"
            yield f"homing.passive_joint {homing.passive_joint!r} is none of {known}"
        for key in ("settled_passive_rad", "settled_passive_rad_s"):
            if getattr(homing, key) <= 0.0:
                yield f"homing.{key} must be positive where there is a passive joint"


def _observation_problems(spec: RobotSpec) -> Iterator[str]:
    if not spec.observation:
        yield "observation is empty"
    for index, term in enumerate(spec.observation):
        if term.kind in BODY_TERMS:
            continue
        readable = spec.actuated if term.kind in ("applied", "goal") else spec.joints
        if term.axis is not UNSET:
            yield f"observation[{index}].axis is for terms of the body, not for {term.kind}"
        elif term.joint not in [joint.name for joint in readable]:
            named = "missing" if term.joint is UNSET else repr(term.joint)
            yield f"observation[{index}].joint {named} cannot be read as {term.kind}"
        elif term.kind != "applied" and term.age_ticks != 1:
            yield f"observation[{index}].age_ticks is for applied terms, not for {term.kind}"
    history = [(term.joint, term.age_ticks) for term in spec.observation if term.kind == "applied"]
    for joint in spec.actuated:
        ages = sorted(age for name, age in history if name == joint.name)
        if ages != [*range(1, len(ages) + 1)]:
            yield f"observation: applied {joint.name} needs age_ticks 1, 2, … each once, got {ages}"


def _limit_problems(spec: RobotSpec) -> Iterator[str]:
    from protocol.robot_spec import PositionAction  # noqa: PLC0415 - as below

    if isinstance(spec.action, PositionAction):
        yield from _position_problems(spec, spec.action)
    else:
        yield from _current_problems(spec, spec.action)
    if spec.safety.voltage_min_v >= spec.safety.voltage_max_v:
        yield "safety.voltage_min_v must be below safety.voltage_max_v"
    if spec.bus.read_timeout_s >= 0.5 * spec.tick_s:
        yield f"bus.read_timeout_s must be below half a control period ({0.5 * spec.tick_s} s)"
    if spec.bus.watchdog_s < 2 * spec.tick_s:
        yield f"bus.watchdog_s must be at least two control periods ({2 * spec.tick_s} s)"


def _bus_problems(spec: RobotSpec) -> Iterator[str]:
    kind, mode = spec.bus.kind, _mode(spec)
    for joint in spec.joints:
        if joint.model not in MODELS[kind]:
            yield f"joints.{joint.name}: an {joint.model} does not speak {kind!r}"
        elif joint.actuated and MODES.get(joint.model, mode) != mode:
            driven = f"an {joint.model} is driven in mode {MODES[joint.model]}"
            yield f"action.mode {mode!r} of {joint.name}: {driven}"
    channels = [*range(mcu_link.MAX_CHANNELS)][: len(spec.joints)]
    if kind == "mcu" and [joint.id for joint in spec.joints] != channels:
        yield f"joints: on an 'mcu' link ids are channels: 0, 1, … up to {channels[-1]}, in order"
    if mode == "current" and spec.homing.velocity_gain <= 0.0:
        yield "homing.velocity_gain must be positive in current mode"
    if mode == "current" and any(term.kind == "goal" for term in spec.observation):
        yield "observation: there is no goal to observe in current mode"


def _current_problems(spec: RobotSpec, action: CurrentAction) -> Iterator[str]:
    for joint in spec.actuated:
        limit_a = CURRENT_LIMIT_A.get(joint.model, math.inf)
        if action.current_max_a > limit_a:
            yield f"action.current_max_a must be at most the {limit_a:g} A of an {joint.model}"
        full_nm = action.current_max_a * action.torque_constant_nm_a * joint.gear
        if not 0.5 * full_nm <= spec.safety.effort_max_nm <= 1.001 * full_nm:
            yield (
                f"safety.effort_max_nm {spec.safety.effort_max_nm} must lie in [0.5, 1] of "
                f"current_max_a × torque_constant_nm_a × gear = {full_nm:.4f} Nm of {joint.name}; "
                "check the units"
            )


def _position_problems(spec: RobotSpec, action: PositionAction) -> Iterator[str]:
    lists = {"range_rad": action.range_rad}
    if action.centre_rad is not UNSET:
        lists["centre_rad"] = action.centre_rad
    for key, values in lists.items():
        if len(values) != len(spec.actuated):
            yield f"action.{key} needs {len(spec.actuated)} numbers, one per actuated joint"
            return
    if spec.safety.effort_max_nm > action.stall_nm:
        yield f"safety.effort_max_nm must be at most action.stall_nm {action.stall_nm:g}"
    for index, joint in enumerate(spec.actuated):
        yield from _encoder_problems(joint)
        if action.centre_rad is UNSET:
            yield from _step_problems(spec, joint, action.range_rad[index])
        else:
            centre_rad, range_rad = action.centre_rad[index], action.range_rad[index]
            yield from _place_problems(spec, joint, centre_rad, range_rad)


def _encoder_problems(joint: Joint) -> Iterator[str]:
    """Every goal within the stops must be one turn's count."""
    ends_rad = (joint.position_min_rad, joint.position_max_rad)
    turned_rad = [joint.sign * joint.gear * (end - joint.offset_rad) for end in ends_rad]
    if max(map(abs, turned_rad)) >= sts3215.CENTRE_COUNT * sts3215.RAD_PER_COUNT:
        yield f"joints.{joint.name}: its stops must lie within half a turn of the encoder's centre"


def _step_problems(spec: RobotSpec, joint: Joint, range_rad: float) -> Iterator[str]:
    fastest_rad, homing_rad_s = (
        joint.velocity_max_rad_s * spec.tick_s,
        spec.homing.velocity_max_rad_s,
    )
    if range_rad > fastest_rad:
        yield (
            f"action.range_rad of {joint.name} must be at most {fastest_rad:g} rad, what its "
            "velocity_max_rad_s reaches in a tick"
        )
    if homing_rad_s * spec.tick_s > range_rad:
        yield f"homing.velocity_max_rad_s outruns action.range_rad of {joint.name}"


def _place_problems(
    spec: RobotSpec, joint: Joint, centre_rad: float, range_rad: float
) -> Iterator[str]:
    margin_rad = spec.safety.position_margin_rad
    low, high = joint.position_min_rad + margin_rad, joint.position_max_rad - margin_rad
    if not low <= centre_rad - range_rad <= centre_rad + range_rad <= high:
        yield f"action: centre_rad ± range_rad of {joint.name} must lie in [{low:g}, {high:g}] rad"


def _mode(spec: RobotSpec) -> str:
    """The action's mode as the robot file writes it."""
    return str(spec.action.__struct_config__.tag)


def _floats(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every float below ``value`` with its dotted key."""
    if isinstance(value, float):
        yield path, value
    elif isinstance(value, Struct):
        for field in value.__struct_fields__:
            yield from _floats(getattr(value, field), f"{path}.{field}".lstrip("."))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _floats(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _floats(item, f"{path}[{index}]")
