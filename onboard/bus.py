"""The motor bus as the control loop sees it: one read and one write per tick, in SI units.

:class:`Bus` is the port; :mod:`onboard.bus_choice` has a driver for each kind of bus. A driver
raises only BusError. Reading is one transaction over all joints, writing one packet to the actuated
ones; set-up, power and check-ups are plain reads and writes with verified answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from onboard.finding import Finding
from protocol.errors import BusError
from protocol.robot_spec import RobotSpec


class Named(Protocol):
    """Whatever has an address on the bus: a joint, or the IMU."""

    @property
    def name(self) -> str:
        """As a person calls it."""
        ...

    @property
    def id(self) -> int:
        """Its address."""
        ...


class Node(NamedTuple):
    """What a node said about itself; firmware as one number, newer is larger."""

    name: str
    id: int
    model_number: int
    firmware: int
    voltage_v: float
    temperature_c: float


class Fact(Enum):
    """What can be asked of a node between the ticks' reads; what its value is."""

    FAULT = "hardware error"
    """Error bits, as in the node's manual; 0 for none."""
    WATCHDOG = "bus watchdog"
    """Seconds of silence after which the motor stops itself, 0 if it never does; :data:`TRIPPED`
    if it has, or, where it never does, if it was left alone for too long."""
    VOLTAGE = "supply"
    """In V."""
    TORQUE = "torque enable"
    """0 or 1."""
    TEMPERATURE = "temperature"
    """In °C."""
    GOAL = "goal"
    """In counts of the motor."""


TRIPPED = float("inf")


class Check(NamedTuple):
    """One fact about one node."""

    node: Named
    fact: Fact
    value: float


class Bus(Protocol):
    """A motor bus. Lists have one entry per joint of the robot and are the same at every reading.

    Attributes:
        position_count: last reading as it came.
        velocity_count: likewise.
        current_count: likewise.
        position_rad: the same in SI units and the joint's frame.
        velocity_rad_s: likewise, as the node itself measures it.
        current_a: likewise, but in the motor's own direction.
        imu_count: (6,) last reading of the IMU as it came; zeros without one.
        inertial: (6,) the same: where gravity points, as a unit vector, and turn rate in rad/s.
            Without an IMU that of a body that stands still and level.
        alert: a node reported trouble with its last reading.
        watchdog_s: silence after which the motors stop themselves, as armed; 0 if they never do.
        read_name: what one reading is called on this bus.
    """

    position_count: list[int]
    velocity_count: list[int]
    current_count: list[int]
    position_rad: list[float]
    velocity_rad_s: list[float]
    current_a: list[float]
    imu_count: list[int]
    inertial: list[float]
    alert: bool
    watchdog_s: float

    @property
    def read_name(self) -> str:
        """See the class."""
        ...

    def connect(self) -> list[Node]:
        """Open the line, make every motor torque-free, then check and set up every node.

        Moves nothing, leaves torque off. One :class:`Node` per joint, and one for the IMU.

        Raises:
            BusError: naming the joint and what is wrong with it.
        """
        ...

    def close(self) -> None:
        """Give the line back."""

    def read(self) -> None:
        """All joints into the attributes. Raises BusError unless every joint answers in time."""

    def convert(self, index: int, position: int, velocity: int, current: int) -> None:
        """Take the reading of joint ``index``, in counts, into the attributes."""

    def feel(self, counts: Sequence[int]) -> None:
        """Take the (6,) reading of the IMU, in counts, into the attributes."""

    def write(self, goal: Sequence[float]) -> None:
        """Send goals, one per actuated joint: A or rad, in the motor's own direction.

        Raises:
            BusError: nothing was sent.
        """

    def power_on(self, may: Callable[[], bool]) -> Sequence[float]:
        """Torque on without motion, every step read back; the goals then in force.

        Args:
            may: asked each time before torque comes on; once it says no, none does.

        Raises:
            BusError: a motor does not confirm, lies far beyond its stop, or ``may`` said no.
        """
        ...

    def power_off(self) -> list[str]:
        """Torque off on every motor, whatever the others do; never raises.

        Takes as long as lost answers take: it is for the start and the end.

        Returns:
            One line per motor that did not confirm.
        """
        ...

    def power_off_step(self, anew: bool) -> list[str]:
        """Likewise within a tick: every motor is told once, and asked once whether it obeyed.

        Waits for at most ``bus.read_timeout_s``; what is left to confirm is for the next tick.

        Args:
            anew: ask all motors, not only those that have not confirmed in the steps before.

        Returns:
            One line per motor that has not confirmed; never raises.
        """
        ...

    def cut(self) -> None:
        """Torque off on every motor in one packet, unconfirmed; never raises and never waits.

        The only method that any thread may call at any moment. The kernel writes a packet as a
        whole, so it cannot tear one of the loop's apart; it may spoil an answer, which is a miss.
        """

    def check_next(self) -> Sequence[Check]:
        """The next of the facts that are asked in turn, of every motor. Raises BusError."""
        ...

    def check_all(self, fact: Fact) -> list[Check]:
        """One fact of every node that has it, in one transaction. Raises BusError."""
        ...

    def audit(self, nodes: Sequence[Node]) -> list[Finding]:
        """What the start-up self-test should know about this kind of bus; moves nothing.

        Args:
            nodes: what :meth:`connect` returned.
        """
        ...


def out_of_range(
    spec: RobotSpec, voltage_v: float | None = None, temperature_c: float | None = None
) -> str | None:
    """What is wrong with a motor's supply or temperature, if anything.

    A supply is compared to 0.01 V: 126 counts of 0.1 V are 12.6 V.
    """
    safety = spec.safety
    if voltage_v is not None and not (
        safety.voltage_min_v <= round(voltage_v, 2) <= safety.voltage_max_v
    ):
        allowed = f"{safety.voltage_min_v}..{safety.voltage_max_v} V"
        return f"supply of {voltage_v:.1f} V is outside {allowed}"
    if temperature_c is not None and temperature_c > safety.temperature_max_c:
        return f"{temperature_c:.0f} °C is above {safety.temperature_max_c:.0f} °C; let it cool"
    return None


def always() -> bool:
    """Whether torque may come on, where nobody forbids it."""
    return True


def permitted(may: Callable[[], bool]) -> None:
    """Raises BusError unless ``may`` says that torque may come on."""
    if not may():
        raise BusError("no torque: an emergency stop is latched")


def named(node: Named) -> str:
    """A node as a person looks for it."""
    return f"node {node.id} ({node.name})"
