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
from msgspec import UNSET, Meta, UnsetType

from protocol.errors import ConfigError
from protocol.factor_spec import Factor
from protocol.plant_spec import Body, Plant
from protocol.robot_checks import problems
from protocol.table import Fraction, Name, NonNegative, Positive, Table

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


CHECK = "`wombet-sim check` tells all of it, with lines and remedies"


class Bus(Table, frozen=True):
    """How the motor bus is spoken.

    ``watchdog_s`` is armed in the motor node itself. A ``feetech`` node has no watchdog: there the
    loop knows by the time since its last write that a motor was left alone. On an ``mcu`` link it
    travels with every command.
    """

    kind: Literal["dynamixel2", "feetech", "mcu"]
    baud: Annotated[int, Meta(ge=9600, le=4_500_000)]
    read_timeout_s: Positive
    watchdog_s: Annotated[float, Meta(ge=0.02, le=2.54)]
    misses_to_fault: Annotated[int, Meta(ge=1, le=100)]


class Joint(Table, frozen=True):
    """One node of the bus, or channel of the board.

    ``position = sign * raw_rad / gear + offset`` is the MJCF angle.
    """

    name: Name
    id: Annotated[int, Meta(ge=0, le=252)]
    model: Literal[
        "xl330-m288", "xl430-w250", "encoder-12bit", "sts3215", "mcu-motor", "mcu-encoder"
    ]
    actuated: bool
    sign: Literal[-1, 1]
    offset_rad: float
    gear: Positive
    position_min_rad: float
    position_max_rad: float
    velocity_max_rad_s: Positive


class Imu(Table, frozen=True):
    """A node that feels which way is down and how the body turns. Optional.

    Its axes are the body's: x ahead, y to the left, z up.
    """

    id: Annotated[int, Meta(ge=0, le=252)]
    model: Literal["imu-6axis"]

    @property
    def name(self) -> str:
        """What messages call it."""
        return "imu"


class CurrentAction(Table, frozen=True, tag_field="mode", tag="current"):
    """A unit action means effort on each actuated joint, via motor current."""

    current_max_a: Positive
    torque_constant_nm_a: Positive
    joint_friction_nm: NonNegative
    joint_damping_nm_s: NonNegative


class PositionAction(Table, frozen=True, tag_field="mode", tag="position"):
    """A unit action means a goal for the node's own position loop: ``origin + range * action``.

    The origin is ``centre_rad`` or, if that is left out, the goal in force: then a unit action is
    a step of the goal. To the envelope the loop is a spring: it pulls with ``stiffness_nm_rad``
    times the distance to the goal, with ``stall_nm`` at most if nothing limits it. The lists have
    one number per actuated joint.
    """

    range_rad: list[Positive]
    stiffness_nm_rad: Positive
    stall_nm: Positive
    centre_rad: list[float] | UnsetType = UNSET


Action = CurrentAction | PositionAction


class Safety(Table, frozen=True):
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


class Homing(Table, frozen=True):
    """Reset without teleport: drive home while damping the passive pendulum. LEARNING.md § 5.4.

    What a robot without a passive joint, or in position mode, has no use for may be left out.
    """

    home_rad: list[float]
    homing_gain_1_s: Positive
    velocity_max_rad_s: Positive
    settled_position_rad: Positive
    settled_velocity_rad_s: Positive
    settled_for_s: Positive
    timeout_s: Positive
    velocity_gain: NonNegative = 0.0
    passive_joint: Name | None = None
    damping_gain_rad_s: NonNegative = 0.0
    settled_passive_rad: NonNegative = 0.0
    settled_passive_rad_s: NonNegative = 0.0
    settled_tilt_rad: Positive | UnsetType = UNSET


class Term(Table, frozen=True):
    """One entry of the observation vector: ``value * scale``. Source: LEARNING.md § 5.2.

    About a ``joint``; or along an ``axis`` of the body: ``gravity``, ``gyro`` (what its IMU feels)
    and ``speed`` over ground (``protocol/leg_odometry.py``); or, of neither, the ``command``: the
    speed asked for in this episode.
    """

    kind: Literal[
        "position",
        "cos",
        "sin",
        "velocity",
        "goal",
        "applied",
        "gravity",
        "gyro",
        "speed",
        "command",
    ]
    scale: Annotated[float, Meta(gt=0.0)]
    joint: Name | UnsetType = UNSET
    axis: Literal["x", "y", "z"] | UnsetType = UNSET
    age_ticks: Annotated[int, Meta(ge=1, le=8)] = 1


class Task(Table, frozen=True):
    """An episode: which reward (``protocol/tasks.py``) and how long; some have a goal in space.

    ``factors`` are the reward itself where ``reward`` is ``"factors"`` (ADR 19). Between the two
    ``speeds_m_s`` lies the one that an episode asks for (``protocol/walk.py``).
    """

    reward: Name
    episode_steps: Annotated[int, Meta(ge=1, le=100_000)]
    discount: Annotated[float, Meta(gt=0.0, lt=1.0)]
    goal_m: tuple[float, float, float] | UnsetType = UNSET
    factors: list[Factor] | UnsetType = UNSET
    speeds_m_s: tuple[Positive, Positive] | UnsetType = UNSET


class Arm(Table, frozen=True):
    """Lengths of an arm: base to shoulder, and of the links from there to the tip. Optional."""

    shoulder_height_m: Positive
    upper_arm_m: Positive
    forearm_m: Positive
    hand_m: Positive


class Legs(Table, frozen=True):
    """Equal legs of three joints, called NAME_roll, NAME_pitch and NAME_knee. Optional.

    With all of them at 0 a leg hangs straight down; roll turns about x, pitch and knee about y.
    ``hip_m`` says how far ahead and to the left of the body's centre a leg's roll axis is,
    ``side_m`` how much farther outwards its pitch axis; a foot is a ball at the shin's end.
    """

    names: Annotated[list[Name], Meta(min_length=1)]
    hip_m: list[tuple[float, float]]
    side_m: NonNegative
    thigh_m: Positive
    shin_m: Positive
    foot_radius_m: NonNegative


class Timing(Table, frozen=True):
    """Real-time placement of the control process."""

    cpu: Annotated[int, Meta(ge=0, le=1023)]
    fifo_priority: Annotated[int, Meta(ge=1, le=98)]


class Policy(Table, frozen=True):
    """How often the policy is asked: every ``divisor`` ticks. Optional; by default at every tick.

    ``between`` two answers the last command is held, or led to the new answer in equal steps.
    """

    divisor: Annotated[int, Meta(ge=1, le=100)] = 1
    between: Literal["hold", "interpolate"] = "hold"

    def share(self, ticks: int) -> float:
        """Of the way to an answer, in (0, 1], in its ``ticks``-th tick, from 1 to ``divisor``."""
        return 1.0 if self.between == "hold" else ticks / self.divisor


class Budget(Table, frozen=True):
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


class RobotSpec(Table, frozen=True):
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
    arm: Arm | UnsetType = UNSET
    legs: Legs | UnsetType = UNSET
    imu: Imu | UnsetType = UNSET
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

        Nor does it cover ``offset_rad``, each unit's calibration (ADR 15). An optional table that
        says what its absence says is left out.
        """
        contract = msgspec.to_builtins(self)
        del contract["plant"], contract["budget"]
        for joint in contract["joints"]:
            del joint["offset_rad"]
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
        raise ConfigError(f"{origin}: {error}; {CHECK}") from error
    found = problems(spec)
    if found:
        raise ConfigError(f"{origin}: " + "; ".join([*found, CHECK]))
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
