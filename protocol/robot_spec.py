"""The robot as both sides know it: ``hw_configs/NAME.toml`` → :class:`RobotSpec`.

Frozen, strict (an unknown key is an error) and without defaults for safety numbers. ``digest()``
names the contract a policy was trained against; the ``plant`` tables describe the simulated body
and are left out of it, because a robot does not know its payload (ADR 1).
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from protocol.errors import ConfigError
from protocol.robot_checks import problems

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


class Policy(_Table, frozen=True):
    """How often the policy is asked: every ``divisor`` ticks. Optional; by default at every tick.

    ``between`` two answers the last command is held, or led to the new answer in equal steps.
    """

    divisor: Annotated[int, Meta(ge=1, le=100)] = 1
    between: Literal["hold", "interpolate"] = "hold"


class Budget(_Table, frozen=True):
    """What the runtime may use on this robot; ``wombet-onboard budget`` measures it. Optional.

    Shares of processor time are of one core; memory growth is of each process over the measurement.
    """

    rate_min_share: Fraction
    missed_max_share: Fraction
    period_error_p99_max_us: Positive
    tick_work_p99_max_us: Positive
    control_cpu_max_share: Positive
    agent_cpu_max_share: Positive
    memory_growth_max_mb: Positive
    log_growth_max_kb_s: Positive


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
    policy: Policy = Policy()
    budget: Budget | None = None

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

    def task_name(self, wanted: str | None) -> str:
        """``wanted``, or the only task there is. Raises ConfigError naming those that exist."""
        name = next(iter(self.tasks)) if wanted is None and len(self.tasks) == 1 else wanted or ""
        self.task(name)
        return name

    def body(self, name: str) -> Body:
        """The simulated body called ``name``. Raises ConfigError naming those that exist."""
        if name not in self.plant.bodies:
            raise ConfigError(
                f"{self.name}: no body {name!r}; bodies are {sorted(self.plant.bodies)}"
            )
        return self.plant.bodies[name]

    def digest(self) -> str:
        """SHA-256 over the canonical contract, as 64 hex digits: all but ``plant`` and ``budget``.

        An optional table that says what its absence says is left out.
        """
        contract = msgspec.to_builtins(self)
        del contract["plant"], contract["budget"]
        if self.policy == Policy():
            del contract["policy"]
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
    found = problems(spec)
    if found:
        raise ConfigError(f"{origin}: " + "; ".join(found))
    return spec


def parse_budget(text: str, origin: str) -> Budget:
    """Decode a TOML document that holds a ``[budget]`` table and nothing else.

    Raises:
        ConfigError: naming the file, the key and what is wrong with it.
    """
    try:
        return msgspec.convert(tomllib.loads(text), dict[str, Budget])["budget"]
    except (msgspec.ValidationError, tomllib.TOMLDecodeError, LookupError) as error:
        raise ConfigError(f"{origin}: no sound [budget] table ({error!r})") from error


def load_robot_spec(path: Path) -> RobotSpec:
    """Read ``path`` and parse it; see :func:`parse_robot_spec`."""
    try:
        return parse_robot_spec(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot read the robot file ({error}); pass hw_configs/NAME.toml"
        ) from error
