"""When control may be stopped: never while it moves a robot that somebody else can stop."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onboard.releases.evidence import Pulse
from onboard.releases.services import ServiceState
from onboard.releases.standstill import Standstill

MOVING = Pulse("RUN", "", 1, 1, 50, True)


class Robot:
    """Answers ``pulses`` one after the other, the last one for ever; time passes in sleep."""

    def __init__(self, active: str, *pulses: Pulse | None) -> None:
        self.active, self.pulses = active, [*pulses]
        self.now_s = 0.0

    def pulse(self) -> Pulse | None:
        return self.pulses.pop(0) if len(self.pulses) > 1 else self.pulses[0]

    def state(self, service: str) -> ServiceState:
        return ServiceState(self.active)

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def standstill(self) -> Standstill:
        return Standstill(self, self.pulse, lambda: self.now_s, self.sleep)


@pytest.mark.parametrize("mode", ["IDLE", "FAULT", "ESTOP"])
def test_a_mode_without_torque_is_one_at_once(mode):
    assert Robot("active", replace(MOVING, mode=mode)).standstill().within(0.0)


@pytest.mark.parametrize("active", ["inactive", "failed", "activating"])
def test_so_is_a_control_without_a_loop(active):
    assert Robot(active, None).standstill().within(0.0)


def test_it_is_waited_for_and_not_longer_than_asked():
    robot = Robot("active", MOVING)
    assert not robot.standstill().within(30.0, 10.0)
    assert robot.now_s == 30.0
    assert Robot("active", MOVING, MOVING, replace(MOVING, mode="IDLE")).standstill().within(1.0)


def test_a_silent_control_may_be_moving():
    assert not Robot("active", None).standstill().within(60.0)


def test_but_not_for_ever_where_that_is_its_fault():
    robot = Robot("active", *[MOVING] * 10, None)
    assert robot.standstill().within(60.0, 10.0)
    assert 14.0 < robot.now_s < 16.0
