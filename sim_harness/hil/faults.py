"""What can go wrong, as data: one table of a scenario each.

A fault begins ``at_s`` after the scenario's start and lasts ``for_s``; 0 is to the end, or, where
it says so, that it happens once. Joints are called by name, or ``motor`` and ``passive`` for the
first joint with a motor and without; where a fault has a ``node``, that may be ``imu``, too.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta
from msgspec.structs import asdict

from protocol.errors import ConfigError
from protocol.robot_spec import Imu, Joint, RobotSpec
from protocol.table import Fraction, NonNegative, Positive, Table

Process = Literal["control", "agent"]
MOTOR, PASSIVE, IMU = "motor", "passive", "imu"


class Fault(Table, frozen=True, kw_only=True, tag_field="kind"):
    """When, and for how long."""

    at_s: NonNegative
    for_s: NonNegative = 0.0


class Drop(Fault, frozen=True, tag="drop"):
    """Bytes of both directions vanish, each with probability ``share``."""

    share: Fraction


class Flip(Fault, frozen=True, tag="flip"):
    """One bit of a byte is turned over, with probability ``share`` per byte."""

    share: Fraction


class Duplicate(Fault, frozen=True, tag="duplicate"):
    """Bytes arrive twice, each with probability ``share``."""

    share: Fraction


class Half(Fault, frozen=True, tag="half"):
    """An answer ends in the middle, with probability ``share``."""

    share: Fraction


class Delay(Fault, frozen=True, tag="delay"):
    """Answers come later: by ``delay_s`` plus anything up to ``jitter_s``."""

    delay_s: NonNegative
    jitter_s: NonNegative = 0.0


class Babble(Fault, frozen=True, tag="babble"):
    """So many random bytes come before every answer."""

    length: Annotated[int, Meta(ge=1, le=512)]


class Stuck(Fault, frozen=True, tag="stuck"):
    """An encoder shows one place for ever, and no speed."""

    joint: str


class Frozen(Fault, frozen=True, tag="frozen"):
    """Every node, or the IMU alone, repeats the reading it had when this began."""

    node: Literal["all", "imu"] = "all"


class Jump(Fault, frozen=True, tag="jump"):
    """An encoder is off by ``offset_rad``."""

    joint: str
    offset_rad: float


class Noisy(Fault, frozen=True, tag="noisy"):
    """An encoder shows normal noise of this deviation on top."""

    joint: str
    sigma_rad: Positive


class Dead(Fault, frozen=True, tag="dead"):
    """A node is gone from the bus and its motor coasts; it comes back as after a power cycle."""

    node: str


class Overloaded(Fault, frozen=True, tag="overloaded"):
    """A servo protects itself: it reports overload and switches its torque off."""

    joint: str


class Hot(Fault, frozen=True, tag="hot"):
    """A servo measures this temperature."""

    joint: str
    temperature_c: float


class Reboot(Fault, frozen=True, tag="reboot"):
    """A node restarts in ``for_s`` and has forgotten what was in its RAM."""

    node: str


class ImuTilt(Fault, frozen=True, tag="imu_tilt"):
    """What the IMU feels is turned by ``offset_rad`` about its x axis."""

    offset_rad: float


class ImuLag(Fault, frozen=True, tag="imu_lag"):
    """The IMU shows what it felt ``delay_s`` ago."""

    delay_s: Positive


class ImuBlank(Fault, frozen=True, tag="imu_blank"):
    """The IMU shows zeros, as one that could not fuse anything: no gravity, no turning."""


class ImuGarbage(Fault, frozen=True, tag="imu_garbage"):
    """The IMU shows numbers drawn by chance, from all that its registers can hold."""


class BrownOut(Fault, frozen=True, tag="brown_out"):
    """The supply gives only so much: motors get weaker. Below 2 V all nodes are off and restart."""

    supply_v: NonNegative


class Unplug(Fault, frozen=True, tag="unplug"):
    """The adapter disappears; plugged in again it has the same name."""


class Push(Fault, frozen=True, tag="push"):
    """The last body of the MJCF is pushed with this share of the rig's weight, in world axes."""

    weights: tuple[float, float, float]


class Payload(Fault, frozen=True, tag="payload"):
    """The last body of the MJCF weighs this share of what it did: dropped below 1, added above."""

    share: Positive


class Order(Fault, frozen=True, tag="order"):
    """The operator asks for something, once."""

    word: Literal["start", "stop", "estop", "clear"]


class Kill(Fault, frozen=True, tag="kill"):
    """SIGKILL to a process of the runtime, once; its supervisor restarts it."""

    process: Process


class Freeze(Fault, frozen=True, tag="freeze"):
    """A process of the runtime does not get the processor (SIGSTOP)."""

    process: Process


class ServerLost(Fault, frozen=True, tag="server_lost"):
    """Whoever answers at the server's address is gone."""


class DiskFull(Fault, frozen=True, tag="disk_full"):
    """Not a byte is left where the runtime keeps its state."""


class CpuHog(Fault, frozen=True, tag="cpu_hog"):
    """So many processes want the processor all the time."""

    processes: Annotated[int, Meta(ge=1, le=64)]


class ClockStep(Fault, frozen=True, tag="clock_step"):
    """The time of day jumps, for the runtime's processes and for nobody else."""

    step_s: float


WireFault = Drop | Flip | Duplicate | Half | Delay | Babble
ImuFault = ImuTilt | ImuLag | ImuBlank | ImuGarbage
NodeFault = Stuck | Frozen | Jump | Noisy | Dead | Overloaded | Hot | Reboot | BrownOut | ImuFault
BodyFault = Push | Payload
PlantFault = WireFault | NodeFault | BodyFault | Unplug
RuntimeFault = Order | Kill | Freeze | ServerLost | DiskFull | CpuHog | ClockStep
AnyFault = PlantFault | RuntimeFault


def joint_of(name: str, spec: RobotSpec) -> Joint | None:
    """The joint a fault means; None where the robot has no such kind.

    Raises:
        ConfigError: no joint has this name.
    """
    if name in (MOTOR, PASSIVE):
        of_kind = (joint for joint in spec.joints if joint.actuated == (name == MOTOR))
        return next(of_kind, None)
    for joint in spec.joints:
        if joint.name == name:
            return joint
    raise ConfigError(f"{spec.name} has no joint {name!r}; it has {[j.name for j in spec.joints]}")


def node_of(name: str, spec: RobotSpec) -> Joint | Imu | None:
    """The node a fault means: a joint's, or the IMU; None where the robot has no such kind.

    Raises:
        ConfigError: no joint has this name.
    """
    if name == IMU:
        return None if spec.imu is UNSET else spec.imu
    return joint_of(name, spec)


def obstacle(fault: AnyFault, spec: RobotSpec) -> str | None:
    """Why a fault cannot be had on this robot, if so. Raises ConfigError as :func:`joint_of`."""
    name = IMU if isinstance(fault, ImuFault) else _whom(fault)
    if name is None or node_of(name, spec) is not None:
        return None
    return f"{spec.name} has no {name}" + ("" if name == IMU else " joint")


def _whom(fault: AnyFault) -> str | None:
    """The node a fault is about, unless all of them."""
    name: str | None = getattr(fault, "joint", getattr(fault, "node", None))
    return None if name == "all" else name


def kind_of(fault: AnyFault) -> str:
    """As scenarios call it."""
    return str(fault.__struct_config__.tag)


def described(fault: AnyFault) -> str:
    """One line for people."""
    told = {key: value for key, value in asdict(fault).items() if key not in ("at_s", "for_s")}
    details = ", ".join(f"{key} {value}" for key, value in told.items())
    until = f" for {fault.for_s:g} s" if fault.for_s else ""
    return f"{kind_of(fault)}{f' ({details})' if details else ''} at {fault.at_s:g} s{until}"
