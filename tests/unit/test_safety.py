"""Is what goes to the motor always limited, and is what was sent reported truthfully?"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from onboard.bus import Bus, Check
from onboard.modes import Event
from onboard.safety import Run, Safety
from protocol import xl330
from protocol.envelope import Limited
from protocol.errors import BusError
from protocol.robot_spec import RobotSpec

STILL = [0.0, 0.0]


def connected(spec: RobotSpec, port: Any) -> Safety:
    bus = Bus(spec, lambda: port, port.clock.now_s)
    bus.connect()
    bus.power_on()
    return Safety(spec, bus)


def goal(port: Any) -> int:
    return int(port.rig._firmware._nodes[1].table.get(xl330.GOAL_CURRENT))


@pytest.mark.parametrize(("action", "milliampere"), [(0.5, 400), (1.0, 800), (-0.0004, 0)])
def test_actions_become_whole_milliamperes(
    furuta: RobotSpec, rig_port: Any, action: float, milliampere: int
) -> None:
    safety = connected(furuta, rig_port)
    assert safety.command([action], STILL, STILL) is Limited.NONE
    assert goal(rig_port) == milliampere
    assert safety.applied == pytest.approx([milliampere / 800])


@pytest.mark.parametrize("action", [math.nan, math.inf, -math.inf])
def test_nonsense_becomes_zero(furuta: RobotSpec, rig_port: Any, action: float) -> None:
    safety = connected(furuta, rig_port)
    safety.command([0.5], STILL, STILL)
    assert safety.command([action], STILL, STILL) is Limited.NOT_FINITE
    assert goal(rig_port) == 0
    assert safety.applied.tolist() == [0.0]


def test_too_much_is_cut_and_said(furuta: RobotSpec, rig_port: Any) -> None:
    safety = connected(furuta, rig_port)
    assert safety.command([7.0], STILL, STILL) is Limited.EFFORT
    assert safety.applied.tolist() == [1.0]


def test_the_sign_of_the_joint_turns_the_current_only(furuta: RobotSpec, rig_port: Any) -> None:
    arm = msgspec.structs.replace(furuta.joints[0], sign=-1)
    mirrored = msgspec.structs.replace(furuta, joints=[arm, furuta.joints[1]])
    safety = connected(mirrored, rig_port)
    safety.command([0.25], STILL, STILL)
    assert goal(rig_port) == -200
    assert safety.applied == pytest.approx([0.25])


def test_the_rate_limit_counts_from_what_was_sent(furuta: RobotSpec, rig_port: Any) -> None:
    slow = msgspec.structs.replace(furuta.safety, effort_rate_max_nm_s=1.0)  # 0.02 Nm a tick
    safety = connected(msgspec.structs.replace(furuta, safety=slow), rig_port)
    steps = []
    for _ in range(3):
        assert safety.command([1.0], STILL, STILL) is Limited.RATE
        steps.append(float(safety.applied[0]))
    assert np.diff([0.0, *steps]) == pytest.approx([0.02 / 0.296] * 3, abs=2e-3)
    rig_port.dead = True
    with pytest.raises(BusError):
        safety.command([1.0], STILL, STILL)
    rig_port.dead = False
    safety.command([1.0], STILL, STILL)
    assert float(safety.applied[0]) == pytest.approx(4 * 0.02 / 0.296, abs=2e-3)


def test_coasting_sends_zero_where_the_barrier_would_push(furuta: RobotSpec, rig_port: Any) -> None:
    safety = connected(furuta, rig_port)
    beyond = [furuta.joints[0].position_max_rad, 0.0]
    assert safety.command([0.0], beyond, STILL) & Limited.POSITION
    assert goal(rig_port) < 0
    assert safety.coast() is Limited.NONE
    assert goal(rig_port) == 0
    assert safety.applied.tolist() == [0.0]
    sent = Check(furuta.joints[0], xl330.GOAL_CURRENT, goal(rig_port))
    assert safety.judge(sent) is None


def test_after_power_changes_the_last_command_is_zero(furuta: RobotSpec, rig_port: Any) -> None:
    safety = connected(furuta, rig_port)
    safety.command([0.5], STILL, STILL)
    assert safety.power_off() == []
    assert safety.applied.tolist() == [0.0]
    safety.power_on()
    assert safety.applied.tolist() == [0.0]


@pytest.mark.parametrize(
    ("register", "value", "event"),
    [
        (xl330.BUS_WATCHDOG, 2, None),
        (xl330.BUS_WATCHDOG, xl330.WATCHDOG_TRIPPED, Event.MOTOR_SILENT),
        (xl330.BUS_WATCHDOG, 0, Event.MOTOR_SILENT),
        (xl330.TORQUE_ENABLE, 1, None),
        (xl330.TORQUE_ENABLE, 0, Event.MOTOR_SILENT),
        (xl330.GOAL_CURRENT, 0, None),
        (xl330.GOAL_CURRENT, 1, Event.MOTOR_SILENT),
        (xl330.HARDWARE_ERROR, 0, None),
        (xl330.HARDWARE_ERROR, 32, Event.MOTOR_FAULT),
        (xl330.PRESENT_VOLTAGE, 37, None),
        (xl330.PRESENT_VOLTAGE, 36, Event.MOTOR_FAULT),
        (xl330.PRESENT_VOLTAGE, 60, None),
        (xl330.PRESENT_VOLTAGE, 61, Event.MOTOR_FAULT),
        (xl330.PRESENT_TEMPERATURE, 70, None),
        (xl330.PRESENT_TEMPERATURE, 71, Event.MOTOR_FAULT),
    ],
)
def test_slow_registers_are_judged(
    furuta: RobotSpec, rig_port: Any, register: xl330.Register, value: int, event: Event | None
) -> None:
    verdict = connected(furuta, rig_port).judge(Check(furuta.joints[0], register, value))
    assert (verdict and verdict[0]) is event
    assert verdict is None or verdict[1].startswith("arm: ")


def test_a_run_is_counted_in_a_row() -> None:
    run = Run(3)
    assert [run.count(wrong) for wrong in (1, 1, 0, 1, 1, 1, 1)] == [
        *([False] * 5),
        True,
        True,
    ]
    assert (run.length, run.total) == (4, 6)
    run.reset()
    assert (run.length, run.total) == (0, 6)
