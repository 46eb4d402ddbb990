"""The robot as both sides know it: ``hw_configs/NAME.toml`` → :class:`RobotSpec`.

Frozen, strict (an unknown key is an error) and without defaults for safety numbers. ``digest()``
names the contract a policy was trained against; the ``plant`` tables describe the simulated body
and are left out of it, because a robot does not know its payload (ADR 1).
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from protocol.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}\Z")]
Positive = Annotated[float, Meta(gt=0.0)]
NonNegative = Annotated[float, Meta(ge=0.0)]
Fraction = Annotated[float, Meta(ge=0.0, le=1.0)]


class _Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every TOML table: immutable, unknown keys refused."""


class Bus(_Table, frozen=True):
    """How the motor bus is spoken. ``watchdog_s`` is armed in the motor node itself."""

    kind: Literal["dynamixel2"]
    baud: Annotated[int, Meta(ge=9600, le=4_500_000)]
    read_timeout_s: Positive
    watchdog_s: Annotated[float, Meta(ge=0.02, le=2.54)]
    misses_to_fault: Annotated[int, Meta(ge=1, le=100)]


class Joint(_Table, frozen=True):
    """One node of the bus; ``position = sign * raw_rad / gear + offset`` is the MJCF angle."""

    name: Name
    id: Annotated[int, Meta(ge=0, le=252)]
    model: Literal["xl330-m288", "encoder-12bit"]
    actuated: bool
    sign: Literal[-1, 1]
    offset_rad: float
    gear: Positive
    position_min_rad: float
    position_max_rad: float
    velocity_max_rad_s: Positive


class Action(_Table, frozen=True):
    """What a unit action means: effort on each actuated joint, via motor current."""

    mode: Literal["current"]
    current_max_a: Positive
    torque_constant_nm_a: Positive
    joint_friction_nm: NonNegative
    joint_damping_nm_s: NonNegative


class Safety(_Table, frozen=True):
    """Limits the runtime enforces on every command; each is explicit, none has a default."""

    effort_max_nm: Positive
    effort_rate_max_nm_s: Positive
    position_margin_rad: Positive
    barrier_stiffness_nm_rad: Positive
    barrier_damping_nm_s: NonNegative
    temperature_max_c: Positive
    voltage_min_v: Positive
    voltage_max_v: Positive
    late_ticks_to_hold: Annotated[int, Meta(ge=1, le=100)]
    bad_policy_ticks_to_hold: Annotated[int, Meta(ge=1, le=100)]
    operator_timeout_s: Positive


class Homing(_Table, frozen=True):
    """Reset without teleport: drive home while damping the passive pendulum. LEARNING.md § 5.4."""

    passive_joint: Name | None
    home_rad: list[float]
    damping_gain_rad_s: NonNegative
    homing_gain_1_s: Positive
    velocity_gain: Positive
    velocity_max_rad_s: Positive
    settled_position_rad: Positive
    settled_velocity_rad_s: Positive
    settled_passive_rad: Positive
    settled_passive_rad_s: Positive
    settled_for_s: Positive
    timeout_s: Positive


class Term(_Table, frozen=True):
    """One entry of the observation vector: ``value * scale``. Source: LEARNING.md § 5.2."""

    kind: Literal["position", "cos", "sin", "velocity", "applied"]
    joint: Name
    scale: Annotated[float, Meta(gt=0.0)]
    age_ticks: Annotated[int, Meta(ge=1, le=8)] = 1


class Task(_Table, frozen=True):
    """An episode: which reward (``protocol/tasks.py``) and how long."""

    reward: Name
    episode_steps: Annotated[int, Meta(ge=1, le=100_000)]
    discount: Annotated[float, Meta(gt=0.0, lt=1.0)]


class Timing(_Table, frozen=True):
    """Real-time placement of the control process."""

    cpu: Annotated[int, Meta(ge=0, le=1023)]
    fifo_priority: Annotated[int, Meta(ge=1, le=98)]


class Body(_Table, frozen=True):
    """Parameters of the simulated rig (harness only), in SI; see the TOML for sources."""

    pendulum_length_m: Positive
    pendulum_rod_kg: Positive
    pendulum_tip_kg: Positive
    pendulum_damping_nm_s: NonNegative
    pendulum_friction_nm: NonNegative
    motor_torque_constant_nm_a: Positive
    motor_resistance_ohm: Positive
    motor_current_max_a: Positive
    motor_armature_kg_m2: Positive
    motor_friction_nm: NonNegative
    motor_damping_nm_s: NonNegative
    supply_v: Positive
    actuation_delay_ms: Annotated[int, Meta(ge=0, le=200)]


class Plant(_Table, frozen=True):
    """The simulated body: an MJCF beside the TOML and its variants (``nominal``, ``target``…)."""

    mjcf: str
    physics_hz: Annotated[int, Meta(ge=100, le=20_000)]
    bodies: dict[str, Body]


class RobotSpec(_Table, frozen=True):
    """Everything both sides agree on about one robot."""

    schema: Literal[1]
    name: Name
    control_hz: Annotated[int, Meta(ge=1, le=1000)]
    bus: Bus
    joints: list[Joint]
    action: Action
    safety: Safety
    homing: Homing
    observation: list[Term]
    tasks: dict[str, Task]
    timing: Timing
    plant: Plant

    @property
    def tick_s(self) -> float:
        """Control period in seconds."""
        return 1.0 / self.control_hz

    @property
    def actuated(self) -> list[Joint]:
        """Actuated joints in bus order; the action vector has one entry for each."""
        return [joint for joint in self.joints if joint.actuated]

    def joint_index(self, name: str) -> int:
        """Position of a joint in ``joints``. Raises ConfigError for an unknown name."""
        for index, joint in enumerate(self.joints):
            if joint.name == name:
                return index
        raise ConfigError(
            f"{self.name}: no joint named {name!r}; joints are {[j.name for j in self.joints]}"
        )

    def task(self, name: str) -> Task:
        """The task called ``name``. Raises ConfigError naming those that exist."""
        if name not in self.tasks:
            raise ConfigError(f"{self.name}: no task {name!r}; tasks are {sorted(self.tasks)}")
        return self.tasks[name]

    def body(self, name: str) -> Body:
        """The simulated body called ``name``. Raises ConfigError naming those that exist."""
        if name not in self.plant.bodies:
            raise ConfigError(
                f"{self.name}: no body {name!r}; bodies are {sorted(self.plant.bodies)}"
            )
        return self.plant.bodies[name]

    def digest(self) -> str:
        """SHA-256 over the canonical contract (everything but ``plant``), as 64 hex digits."""
        contract = msgspec.to_builtins(self)
        del contract["plant"]
        return hashlib.sha256(msgspec.json.encode(contract, order="deterministic")).hexdigest()


def parse_robot_spec(text: str, origin: str) -> RobotSpec:
    """Decode and check one robot TOML.

    Args:
        text: the TOML document.
        origin: file name for error messages.

    Raises:
        ConfigError: naming the file, the key and what is wrong with it.
    """
    try:
        spec = msgspec.convert(tomllib.loads(text), RobotSpec)
    except (msgspec.ValidationError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{origin}: {error}") from error
    problems = [*_problems(spec)]
    if problems:
        raise ConfigError(f"{origin}: " + "; ".join(problems))
    return spec


def load_robot_spec(path: Path) -> RobotSpec:
    """Read ``path`` and parse it; see :func:`parse_robot_spec`."""
    try:
        return parse_robot_spec(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot read the robot file ({error}); pass hw_configs/NAME.toml"
        ) from error


def _problems(spec: RobotSpec) -> Iterator[str]:
    """Everything types cannot express. Each line names the key and the remedy."""
    for key, value in _floats(spec):
        if not math.isfinite(value):
            yield f"{key} is {value}; write a finite number"
    yield from _joint_problems(spec)
    yield from _homing_problems(spec)
    yield from _observation_problems(spec)
    yield from _limit_problems(spec)
    if not spec.tasks:
        yield "tasks is empty"
    if spec.plant.physics_hz % spec.control_hz:
        yield "plant.physics_hz must be a multiple of control_hz"
    if "nominal" not in spec.plant.bodies:
        yield "plant.bodies.nominal is missing"


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
        if joint.actuated and joint.model == "encoder-12bit":
            yield f"joints.{joint.name}: an {joint.model} has no torque; write actuated = false"


def _homing_problems(spec: RobotSpec) -> Iterator[str]:
    homing, margin_rad = spec.homing, spec.safety.position_margin_rad
    if len(homing.home_rad) != len(spec.actuated):
        yield f"homing.home_rad needs {len(spec.actuated)} numbers, one per actuated joint"
    for joint, home_rad in zip(spec.actuated, homing.home_rad, strict=False):
        low, high = joint.position_min_rad + margin_rad, joint.position_max_rad - margin_rad
        if not low <= home_rad <= high:
            yield f"homing.home_rad {home_rad} of {joint.name} must lie in [{low:g}, {high:g}] rad"
    passive = [joint.name for joint in spec.joints if not joint.actuated]
    if homing.passive_joint is not None and homing.passive_joint not in passive:
        yield f"homing.passive_joint {homing.passive_joint!r} is none of {passive}, not actuated"


def _observation_problems(spec: RobotSpec) -> Iterator[str]:
    if not spec.observation:
        yield "observation is empty"
    for index, term in enumerate(spec.observation):
        readable = spec.actuated if term.kind == "applied" else spec.joints
        if term.joint not in [joint.name for joint in readable]:
            yield f"observation[{index}].joint {term.joint!r} cannot be read as {term.kind}"
        elif term.kind != "applied" and term.age_ticks != 1:
            yield f"observation[{index}].age_ticks is for applied terms, not for {term.kind}"
    history = [(term.joint, term.age_ticks) for term in spec.observation if term.kind == "applied"]
    for joint in spec.actuated:
        ages = sorted(age for name, age in history if name == joint.name)
        if ages != [*range(1, len(ages) + 1)]:
            yield f"observation: applied {joint.name} needs age_ticks 1, 2, … each once, got {ages}"


def _limit_problems(spec: RobotSpec) -> Iterator[str]:
    for joint in spec.actuated:
        full_nm = spec.action.current_max_a * spec.action.torque_constant_nm_a * joint.gear
        if not 0.5 * full_nm <= spec.safety.effort_max_nm <= 1.001 * full_nm:
            yield (
                f"safety.effort_max_nm {spec.safety.effort_max_nm} must lie in [0.5, 1] of "
                f"current_max_a × torque_constant_nm_a × gear = {full_nm:.4f} Nm of {joint.name}; "
                "check the units"
            )
    if spec.safety.voltage_min_v >= spec.safety.voltage_max_v:
        yield "safety.voltage_min_v must be below safety.voltage_max_v"
    if spec.bus.read_timeout_s >= 0.5 * spec.tick_s:
        yield f"bus.read_timeout_s must be below half a control period ({0.5 * spec.tick_s} s)"
    if spec.bus.watchdog_s < 2 * spec.tick_s:
        yield f"bus.watchdog_s must be at least two control periods ({2 * spec.tick_s} s)"


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
