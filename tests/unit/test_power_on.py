"""Does torque come on where the joints are, despite lost packets, and never against a stop?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest
from made_arm import load_arm, make_arm_port
from made_quadruped import load_quadruped, make_quadruped_port

from onboard.bus_choice import bus_for
from onboard.estop_latch import EstopLatch
from onboard.safety import Safety
from protocol import sts3215, xl330
from protocol.errors import BusError
from protocol.register import Register
from protocol.robot_spec import PositionAction, RobotSpec


class Table(NamedTuple):
    """What these registers are on a bus."""

    torque: Register
    position: Register
    stops: tuple[Register, Register]


DYNAMIXEL = Table(
    xl330.TORQUE_ENABLE,
    xl330.PRESENT_POSITION,
    (xl330.MIN_POSITION_LIMIT, xl330.MAX_POSITION_LIMIT),
)
FEETECH = Table(
    sts3215.TORQUE_ENABLE,
    sts3215.PRESENT_POSITION,
    (sts3215.MIN_POSITION, sts3215.MAX_POSITION),
)


class Robot(NamedTuple):
    """A connected bus in simulated time."""

    spec: RobotSpec
    port: Any
    bus: Any
    safety: Safety

    @property
    def table(self) -> Table:
        return FEETECH if self.spec.bus.kind == "feetech" else DYNAMIXEL

    def node(self, motor: int) -> Any:
        return self.port.rig._firmware._nodes[self.spec.actuated[motor].id]

    def held(self, register: Register) -> list[int]:
        motors = range(len(self.spec.actuated))
        return [self.node(motor).table.get(register) for motor in motors]

    def torque(self) -> int:
        return sum(self.held(self.table.torque))

    @property
    def travel_rad(self) -> float:
        assert isinstance(self.spec.action, PositionAction)
        return self.spec.safety.effort_max_nm / self.spec.action.stiffness_nm_rad

    def stop_rad(self, motor: int, upper: bool) -> float:
        """From the encoder's centre, as the servo itself was told."""
        return (self.held(self.table.stops[upper])[motor] - 2048) * xl330.RAD_PER_COUNT

    def lie(self, motor: int, angle_rad: float) -> None:
        """Show an angle from the encoder's centre that the plant knows nothing of."""
        node, register = self.node(motor), self.table.position
        sense = node.sense

        def sensed(reading: Any) -> None:
            sense(reading)
            node.table.put(register, 2048 + round(angle_rad / xl330.RAD_PER_COUNT))

        node.sense = sensed
        self.port.clock.sleep(0.02)
        self.port.catch_up()


def connected(spec: RobotSpec, port: Any) -> Robot:
    bus = bus_for(spec, lambda: port, port.clock.now_s)
    bus.connect()
    return Robot(spec, port, bus, Safety(spec, bus, EstopLatch(bytearray(1))))


def arm_or_walker(name: str) -> Robot:
    if name == "arm5":
        spec = load_arm()
        return connected(spec, make_arm_port(spec))
    spec = load_quadruped()
    return connected(spec, make_quadruped_port(spec))


@pytest.fixture(params=["quadruped", "arm5"])
def robot(request: pytest.FixtureRequest) -> Robot:
    return arm_or_walker(request.param)


@pytest.fixture(params=["quadruped", "arm5", "furuta"])
def any_robot(request: pytest.FixtureRequest, furuta: RobotSpec, rig_port: Any) -> Robot:
    if request.param == "furuta":
        return connected(furuta, rig_port)
    return arm_or_walker(request.param)


def packets_of_a_power_on(robot: Robot) -> int:
    robot.port.written.clear()
    robot.bus.power_on()
    count = len(robot.port.written)
    assert robot.torque() == len(robot.spec.actuated)
    assert robot.bus.power_off() == []
    return count


def cut_at(robot: Robot, number: int, before: bool, mute: bool) -> list[int]:
    """Cut just before or after a packet of power-on; torque after every later packet."""
    port, safety, heard = robot.port, robot.safety, [0]
    keep, seen = port.write, list[int]()

    def write(data: bytes) -> None:
        heard[0] += 1
        due = heard[0] == number
        if due and before:
            safety.cut()
            port.mute = mute
        keep(data)
        if due and not before:
            safety.cut()
            port.mute = mute
        if safety._latch.is_set:
            seen.append(robot.torque())

    port.write = write
    try:
        with pytest.raises(BusError):
            safety.power_on()
    finally:
        port.write, port.mute = keep, False
    return seen


@pytest.mark.parametrize("mute", [False, True])
def test_after_a_cut_in_any_gap_no_torque_comes_on(any_robot: Robot, mute: bool) -> None:
    for number in range(1, packets_of_a_power_on(any_robot) + 1):
        assert sum(cut_at(any_robot, number, before=False, mute=mute)) == 0, number
        any_robot.safety.release()


@pytest.mark.parametrize("mute", [False, True])
def test_a_torque_on_that_a_cut_comes_before_is_cut_at_once(robot: Robot, mute: bool) -> None:
    """The permission was asked, the cut came, and only then the packet left."""
    for number in range(1, packets_of_a_power_on(robot) + 1):
        seen = cut_at(robot, number, before=True, mute=mute)
        assert sum(map(bool, seen)) <= 1, number
        assert seen[-1] == robot.torque() == 0, number
        robot.safety.release()


def test_any_of_the_first_answers_may_be_lost_but_not_all(any_robot: Robot) -> None:
    for lost in range(1, 4):
        heard = [0]

        def spoil(data: bytes, heard: list[int] = heard, lost: int = lost) -> bytes:
            heard[0] += bool(data)
            return b"" if data and heard[0] == lost else data

        any_robot.port.spoil = spoil
        any_robot.bus.power_on()
        assert heard[0] >= lost
        assert any_robot.torque() == len(any_robot.spec.actuated)
        any_robot.port.spoil = lambda data: data
        assert any_robot.bus.power_off() == []
    any_robot.port.mute = True
    with pytest.raises(BusError):
        any_robot.bus.power_on()


def test_any_packet_of_power_on_may_be_lost_once(any_robot: Robot) -> None:
    port, keep = any_robot.port, any_robot.port.write
    for number in range(1, packets_of_a_power_on(any_robot) + 1):
        heard = [0]

        def write(data: bytes, heard: list[int] = heard, number: int = number) -> None:
            heard[0] += 1
            if heard[0] != number:
                keep(data)

        port.write = write
        goals = any_robot.bus.power_on()
        port.write = keep
        assert any_robot.torque() == len(any_robot.spec.actuated), number
        assert len(goals) == len(any_robot.spec.actuated)
        assert any_robot.bus.power_off() == []


@pytest.mark.parametrize("watchdog_s", [0.02, 0.04, 0.1])
def test_a_watchdog_that_trips_during_a_retry_does_not_stop_the_power_on(
    watchdog_s: float,
) -> None:
    spec = load_quadruped()
    bus = msgspec.structs.replace(spec.bus, watchdog_s=watchdog_s)
    robot = connected(msgspec.structs.replace(spec, bus=bus), make_quadruped_port(spec))
    answers = iter([True, True, False])
    robot.port.spoil = lambda data: data if not data or next(answers, True) else b""
    robot.bus.power_on()
    assert robot.torque() == 12
    assert robot.held(xl330.BUS_WATCHDOG) == [round(watchdog_s / xl330.WATCHDOG_S_PER_COUNT)] * 12


@pytest.mark.parametrize(("motor", "upper"), [(0, False), (0, True), (1, False), (1, True)])
def test_a_joint_far_beyond_its_stop_gets_no_torque(robot: Robot, motor: int, upper: bool) -> None:
    beyond_rad = robot.travel_rad + 0.01
    robot.lie(motor, robot.stop_rad(motor, upper) + (beyond_rad if upper else -beyond_rad))
    name = robot.spec.actuated[motor].name
    with pytest.raises(BusError, match=rf"\({name}\) lies far beyond its stop; move it back by"):
        robot.bus.power_on()
    assert robot.torque() == 0


@pytest.mark.parametrize("upper", [False, True])
def test_a_joint_just_beyond_its_stop_is_held_at_it(robot: Robot, upper: bool) -> None:
    beyond_rad, at_rad = robot.travel_rad - 0.01, robot.stop_rad(0, upper)
    robot.lie(0, at_rad + (beyond_rad if upper else -beyond_rad))
    assert robot.bus.power_on()[0] == pytest.approx(at_rad)
    assert robot.torque() == len(robot.spec.actuated)


@pytest.mark.parametrize("make", [load_quadruped, None])
@pytest.mark.parametrize(
    ("register", "value", "text"),
    [
        (xl330.DRIVE_MODE, 1, "its drive mode is 0x01; clear the bits"),
        (xl330.DRIVE_MODE, 4, "its drive mode is 0x04; clear the bits"),
        (xl330.HOMING_OFFSET, -500, "its homing offset is -500; write 0 there"),
    ],
)
def test_a_motor_that_counts_otherwise_is_refused(
    furuta: RobotSpec,
    rig_port: Any,
    make: Callable[[], RobotSpec] | None,
    register: Register,
    value: int,
    text: str,
) -> None:
    spec = furuta if make is None else make()
    port = rig_port if make is None else make_quadruped_port(spec)
    port.rig._firmware._nodes[1].table.put(register, value)
    with pytest.raises(BusError, match=rf"node 1 \({spec.joints[0].name}\): {text}"):
        bus_for(spec, lambda: port, port.clock.now_s).connect()


class Failing:
    """A wire on which somebody cuts while the torque comes on, and nothing confirms."""

    watchdog_s = 0.04

    def __init__(self, latch: EstopLatch, pressed: bool) -> None:
        self._latch, self._pressed = latch, pressed
        self.cuts = 0

    def write(self, goal: object) -> None:
        """Lost."""

    def power_on(self, may: Callable[[], bool]) -> list[float]:
        if self._pressed:
            self._latch.set()
        assert may() is not self._pressed
        raise BusError("node 1 (arm) did not take its torque")

    def power_off(self) -> list[str]:
        return []

    def power_off_step(self, anew: bool) -> list[str]:
        return []

    def cut(self) -> None:
        self.cuts += 1


@pytest.mark.parametrize("pressed", [False, True])
def test_a_power_on_that_fails_is_cut_if_an_emergency_stop_is_latched(
    furuta: RobotSpec, pressed: bool
) -> None:
    latch = EstopLatch(bytearray(1))
    wire = Failing(latch, pressed)
    with pytest.raises(BusError, match="did not take its torque"):
        Safety(furuta, wire, latch).power_on()
    assert wire.cuts == pressed
