"""Does the loop go on, and the torque off, on a bus of many motors that does not answer?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_arm import load_arm, make_arm_port
from made_loop import Bench
from made_quadruped import load_quadruped, make_quadruped_port

from onboard.control_api import Clear, Estop, Start, Stop
from onboard.lifecycle import QUESTIONS
from onboard.line import REVIVE_S
from onboard.modes import Event
from onboard.registers import SETUP_TRIES
from onboard.torque_switch import TorqueSwitch
from protocol.modes import Mode

ROBOTS = {
    "quadruped": (load_quadruped, make_quadruped_port),
    "arm5": (load_arm, make_arm_port),
}
CONFIRMED = "every motor has confirmed that its torque is off"
GRAIN_NS = 1_000_000
"""The simulated port's own time for what it does not wait for."""


class Dying(Bench):
    """A robot without power whose line can be cut through, both ways, and mended."""

    def __init__(self, name: str, folder: Path) -> None:
        load, make_port = ROBOTS[name]
        self.spec = load()
        super().__init__(self.spec, make_port(self.spec), folder)
        self._hear = self.port.write
        self.boot()

    @property
    def switch(self) -> TorqueSwitch[Any]:
        switch: TorqueSwitch[Any] = self.control._bus._switch
        return switch

    @property
    def timeout_ns(self) -> int:
        return round(1e9 * self.spec.bus.read_timeout_s)

    def die(self) -> None:
        self.port.write = self.port.written.append
        self.port.written.clear()

    def mend(self) -> None:
        self.port.write = self._hear

    def fault(self) -> None:
        self.die()
        self.run(self.spec.bus.misses_to_fault)
        assert self.mode is Mode.FAULT

    def torque(self) -> list[int]:
        register = self.switch._enable
        return [self.node(joint.id).table.get(register) for joint in self.spec.actuated]

    def energise(self) -> None:
        """Every motor has torque, whatever the loop thinks."""
        self.port.write(self.switch._on)
        assert self.torque() == [1] * len(self.spec.actuated)

    def tick_ns(self) -> int:
        """One tick; how long it took."""
        wake = self.schedule.wait()
        began_ns = self.clock.now_ns()
        self.control.tick(wake)
        return self.clock.now_ns() - began_ns

    def cuts(self) -> int:
        return self.port.written.count(self.switch._off)


@pytest.fixture(params=ROBOTS)
def robot(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Dying]:
    robot = Dying(request.param, tmp_path)
    yield robot
    robot.close()


@pytest.fixture
def walker(tmp_path: Path) -> Iterator[Dying]:
    walker = Dying("quadruped", tmp_path)
    yield walker
    walker.close()


def test_no_tick_waits_for_each_of_the_motors(robot: Dying) -> None:
    robot.die()
    missed = robot.control.counters.missed_ticks
    before_ns = [robot.tick_ns() for _ in range(robot.spec.bus.misses_to_fault)]
    assert robot.mode is Mode.FAULT
    assert max(before_ns) <= 2 * robot.timeout_ns + GRAIN_NS
    after_ns = [robot.tick_ns() for _ in range(20)]
    assert max(after_ns) <= robot.timeout_ns + GRAIN_NS
    assert robot.control.counters.missed_ticks == missed


def test_a_stop_on_a_dead_bus_never_takes_a_tick_longer_than_its_period(robot: Dying) -> None:
    robot.die()
    robot.control.life.mode = Mode.RECOVER
    robot.control.life.post(Event.STOP, "a test")
    taken_ns = [robot.tick_ns() for _ in range(QUESTIONS + 2)]
    assert robot.mode is Mode.FAULT
    assert max(taken_ns) <= 3 * robot.timeout_ns + GRAIN_NS
    assert max(taken_ns) < 1e9 * robot.spec.tick_s


def test_every_motor_is_told_in_every_tick_until_it_has_confirmed(robot: Dying) -> None:
    robot.energise()
    robot.fault()
    for _ in range(10):
        robot.port.written.clear()
        robot.run(1)
        assert robot.cuts() >= 1
    assert robot.torque() == [1] * len(robot.spec.actuated), "nobody heard it"
    assert CONFIRMED not in robot.control.life.journal
    robot.mend()
    robot.run(2)
    assert robot.torque() == [0] * len(robot.spec.actuated)
    assert robot.control.life.journal[-1] == CONFIRMED
    robot.port.written.clear()
    robot.run(3)
    assert robot.port.written == [], "all is said"


def test_an_adapter_that_is_back_is_opened_anew_and_the_torque_goes(robot: Dying) -> None:
    """Its old handle stays dead; and nothing but torque-off is written before CLEAR."""
    robot.energise()
    robot.port.dead = True
    robot.run(robot.spec.bus.misses_to_fault + 200)
    assert (robot.mode, sum(robot.torque())) == (Mode.FAULT, len(robot.spec.actuated))
    robot.port.dead = False
    robot.port.written.clear()
    robot.run(round(REVIVE_S * robot.spec.control_hz) + 4)
    assert robot.torque() == [0] * len(robot.spec.actuated)
    assert robot.control.life.journal[-1] == CONFIRMED
    assert robot.switch._on not in robot.port.written
    assert robot.mode is Mode.FAULT, "latched, whatever the cable does"
    assert robot.obey(Clear()).ok
    robot.run(1)
    assert robot.mode is Mode.IDLE


def test_a_motor_that_keeps_its_torque_is_never_called_off(robot: Dying) -> None:
    """It answers, but does not obey."""
    robot.energise()
    robot.fault()
    stubborn = robot.node(robot.spec.actuated[1].id)
    stubborn.write = lambda address, data: None
    robot.mend()
    robot.run(10)
    assert robot.torque() == [0, 1] + [0] * (len(robot.spec.actuated) - 2)
    assert [joint.name for joint in robot.switch._unsure] == [robot.spec.actuated[1].name]
    assert CONFIRMED not in robot.control.life.journal
    del stubborn.write
    robot.run(2)
    assert sum(robot.torque()) == 0
    assert robot.control.life.journal[-1] == CONFIRMED


def test_a_silent_motor_keeps_nobody_else_from_confirming(walker: Dying) -> None:
    """In a sync read the nodes behind one that says nothing wait for it."""
    step, gone = walker.control._bus.power_off_step, walker.port.rig._firmware.absent
    for absent in ([1], [6], [12], [1, 2], [3, 4, 9]):
        walker.energise()
        gone.update(absent)
        step(True)
        for _ in absent[1:]:
            step(False)
        assert len(step(False)) == len(absent) == sum(walker.torque())
        assert sorted(joint.id for joint in walker.switch._unsure) == absent
        gone.clear()
        assert step(False) == []
        assert sum(walker.torque()) == 0


def test_answers_that_get_lost_now_and_then_are_all_gathered(walker: Dying) -> None:
    """No exchange is whole, yet every motor has its turn."""
    walker.energise()
    walker.fault()
    walker.mend()
    walker.port.spoil = lambda data: data[: len(data) // 2]
    walker.run(5)
    assert walker.control.life.journal[-1] != CONFIRMED
    walker.port.spoil = lambda data: data
    walker.run(2)
    assert walker.control.life.journal[-1] == CONFIRMED


@pytest.mark.parametrize("fault", [False, True])
def test_an_emergency_stop_on_a_dead_bus_is_sent_in_its_tick(robot: Dying, fault: bool) -> None:
    robot.die()
    robot.run(robot.spec.bus.misses_to_fault if fault else 1)
    robot.port.written.clear()
    assert robot.obey(Estop(source="a test")).detail == "ESTOP"
    assert robot.mode is Mode.ESTOP
    assert robot.port.written[0] == robot.switch._off
    assert robot.obey(Start()).ok is False


def test_past_a_latched_stop_nothing_comes_on_when_the_bus_is_back(robot: Dying) -> None:
    robot.energise()
    robot.die()
    robot.obey(Estop(source="a test"))
    robot.run(20)
    robot.mend()
    robot.run(3)
    assert sum(robot.torque()) == 0
    assert robot.obey(Stop()).detail == "ESTOP"
    assert robot.switch._on not in robot.port.written
    assert robot.obey(Clear()).ok
    robot.run(1)
    assert (robot.mode, sum(robot.torque())) == (Mode.IDLE, 0)


def test_the_end_asks_until_it_is_of_no_more_use(walker: Dying) -> None:
    """Nobody asks afterwards, so a lost answer is asked for again."""
    walker.energise()
    walker.port.spoil = lost_at_first(3)
    assert walker.control._bus.power_off() == []
    walker.die()
    assert len(walker.control._bus.power_off()) == 12
    assert walker.cuts() == 1 + 12 + SETUP_TRIES


def lost_at_first(count: int) -> Callable[[bytes], bytes]:
    """Spoils the first answers."""
    left = [count]

    def spoil(data: bytes) -> bytes:
        left[0] -= bool(data)
        return data if left[0] < 0 else b""

    return spoil
