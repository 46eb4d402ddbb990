"""Is what goes to the motor always limited, and is what was sent reported truthfully?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from onboard.bus import TRIPPED, Check, Fact, out_of_range
from onboard.bus_choice import bus_for
from onboard.estop_latch import EstopLatch
from onboard.modes import Event
from onboard.safety import Run, Safety
from protocol import dynamixel as dxl
from protocol import xl330
from protocol.envelope import Limited
from protocol.errors import BusError
from protocol.robot_spec import RobotSpec

STILL = [0.0, 0.0]


def connected(spec: RobotSpec, port: Any) -> Safety:
    bus = bus_for(spec, lambda: port, port.clock.now_s)
    bus.connect()
    bus.power_on()
    return Safety(spec, bus, EstopLatch(bytearray(1)))


def goal(port: Any) -> int:
    return int(port.rig._firmware._nodes[1].table.get(xl330.GOAL_CURRENT))


def torque(port: Any) -> int:
    return int(port.rig._firmware._nodes[1].table.get(xl330.TORQUE_ENABLE))


@pytest.mark.parametrize(("action", "milliampere"), [(0.5, 400), (1.0, 800), (-0.0004, 0)])
def test_actions_become_whole_milliamperes(
    furuta: RobotSpec, rig_port: Any, action: float, milliampere: int
) -> None:
    safety = connected(furuta, rig_port)
    assert safety.command([action], STILL, STILL) is Limited.NONE
    assert goal(rig_port) == milliampere
    assert safety.applied == pytest.approx([milliampere / 800])


def two_motors(spec: RobotSpec) -> RobotSpec:
    second = msgspec.structs.replace(spec.joints[0], name="second", id=3)
    return msgspec.structs.replace(spec, joints=[spec.joints[0], second, spec.joints[1]])


class Wires:
    """Takes what is sent."""

    watchdog_s = 0.04

    def __init__(self) -> None:
        self.sent: list[list[float]] = []

    def write(self, current_a: Sequence[float]) -> None:
        self.sent.append(list(current_a))

    def power_on(self, may: object) -> list[float]:
        return []

    def power_off(self) -> list[str]:
        return []

    def power_off_step(self, anew: bool) -> list[str]:
        return []

    def cut(self) -> None:
        pass


def test_every_motor_is_limited_by_itself_and_every_rule_is_told(furuta: RobotSpec) -> None:
    wires = Wires()
    safety = Safety(two_motors(furuta), wires, EstopLatch(bytearray(1)))
    still = [0.0] * 3
    assert safety.command([7.0, 0.25], still, still) is Limited.EFFORT
    assert safety.command([7.0, math.nan], still, still) == Limited.EFFORT | Limited.NOT_FINITE
    safety.coast()
    expected = [[0.8, 0.2], [0.8, 0.0], [0.0, 0.0]]
    assert np.array(wires.sent) == pytest.approx(np.array(expected))
    assert safety.applied.tolist() == [0.0, 0.0]
    assert safety.applied.dtype == np.float32


def test_goals_for_other_motors_than_these_are_a_defect(furuta: RobotSpec) -> None:
    wires = Wires()
    safety = Safety(two_motors(furuta), wires, EstopLatch(bytearray(1)))
    with pytest.raises(ValueError, match="shorter"):
        safety.resume([0.0])
    with pytest.raises(ValueError, match="shorter"):
        safety.power_on()  # these wires know of no goals
    assert safety.still.tolist() == [0.0, 0.0]
    assert safety.still.dtype == np.float32


@pytest.mark.parametrize(
    ("armed_s", "told_s", "verdict"),
    [
        (2.0, 2.0, None),
        (2.0, 2.002, "its watchdog is 2002 ms, not 2000 ms; it has restarted"),
        (2.0, TRIPPED, "its watchdog stopped it; commands came late"),
        (0.0, TRIPPED, "it was left alone; commands came late"),
    ],
)
def test_a_motors_own_watchdog_is_told_in_milliseconds(
    furuta: RobotSpec, armed_s: float, told_s: float, verdict: str | None
) -> None:
    wires = Wires()
    wires.watchdog_s = armed_s
    safety = Safety(furuta, wires, EstopLatch(bytearray(1)))
    joint = furuta.joints[0]
    found = safety.judge(Check(joint, Fact.WATCHDOG, told_s))
    assert found == (verdict and (Event.MOTOR_SILENT, f"{joint.name}: {verdict}"))


def test_the_goal_that_is_watched_is_that_of_the_motor_in_question(furuta: RobotSpec) -> None:
    spec = two_motors(furuta)
    safety = Safety(spec, Wires(), EstopLatch(bytearray(1)))
    safety.command([0.5, -0.25], [0.0] * 3, [0.0] * 3)
    for joint, goal in ((spec.joints[0], 400), (spec.joints[1], -200)):
        assert safety.judge(Check(joint, Fact.GOAL, goal)) is None
        assert safety.judge(Check(joint, Fact.GOAL, goal + 1)) == (
            Event.MOTOR_SILENT,
            f"{joint.name}: its goal is {goal + 1}, not {goal} mA; writes are lost",
        )


def test_a_gear_multiplies_the_effort(furuta: RobotSpec, rig_port: Any) -> None:
    geared = msgspec.structs.replace(furuta.joints[0], gear=2.0)
    spec = msgspec.structs.replace(furuta, joints=[geared, furuta.joints[1]])
    safety = connected(spec, rig_port)
    assert safety.command([1.0], STILL, STILL) is Limited.EFFORT  # 0.592 Nm at the joint
    assert goal(rig_port) == 400
    assert safety.applied == pytest.approx([0.5])


@pytest.mark.parametrize("action", [1.0, -1.0])
def test_what_was_applied_stays_a_unit_action_however_currents_are_rounded(
    furuta: RobotSpec, action: float
) -> None:
    """99.6 mA become 100 on the wire."""
    weak = msgspec.structs.replace(furuta.action, current_max_a=0.0996)
    wires = Wires()
    safety = Safety(msgspec.structs.replace(furuta, action=weak), wires, EstopLatch(bytearray(1)))
    safety.command([action], STILL, STILL)
    assert wires.sent == [[pytest.approx(0.1 * action)]]
    assert safety.applied.tolist() == [action]


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
    safety._bus._line.open()
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
    sent = Check(furuta.joints[0], Fact.GOAL, goal(rig_port))
    assert safety.judge(sent) is None


def test_after_power_changes_the_last_command_is_zero(furuta: RobotSpec, rig_port: Any) -> None:
    safety = connected(furuta, rig_port)
    safety.command([0.5], STILL, STILL)
    assert safety.power_off() == []
    assert safety.applied.tolist() == [0.0]
    safety.power_on()
    assert safety.applied.tolist() == [0.0]


def test_a_cut_takes_the_torque_and_lets_nothing_but_zero_out(
    furuta: RobotSpec, rig_port: Any
) -> None:
    safety = connected(furuta, rig_port)
    safety.command([0.5], STILL, STILL)
    safety.cut()
    assert torque(rig_port) == 0
    assert safety.command([0.5], STILL, STILL) is Limited.ESTOP
    assert goal(rig_port) == 0
    assert safety.applied.tolist() == [0.0]
    with pytest.raises(BusError, match=r"^no torque: an emergency stop is latched$"):
        safety.power_on()
    assert torque(rig_port) == 0
    safety.release()
    safety.power_on()
    assert torque(rig_port) == 1
    assert safety.command([0.5], STILL, STILL) is Limited.NONE


def test_a_cut_is_one_packet_that_waits_for_no_answer(furuta: RobotSpec, rig_port: Any) -> None:
    safety = connected(furuta, rig_port)
    rig_port.written.clear()
    before_ns = rig_port.clock.now_ns()
    safety.cut()
    (packet,) = rig_port.written
    assert packet == dxl.make_sync_write(xl330.TORQUE_ENABLE.address, 1, [(1, b"\0")])
    assert rig_port.clock.now_ns() == before_ns


def test_a_cut_never_raises_and_latches_without_a_bus(furuta: RobotSpec, rig_port: Any) -> None:
    latch = EstopLatch(bytearray(1))
    bus = bus_for(furuta, lambda: rig_port, rig_port.clock.now_s)
    Safety(furuta, bus, latch).cut()
    assert latch.is_set
    latch.clear()
    bus.connect()
    rig_port.dead = True
    Safety(furuta, bus, latch).cut()
    assert latch.is_set


def test_a_cut_that_comes_while_the_torque_comes_on_wins(
    furuta: RobotSpec, rig_port: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cut's packet goes first, and after it the torque-on of a bus that asks nobody."""
    safety = connected(furuta, rig_port)
    safety.power_off()
    power_on = safety._bus.power_on

    def overtaken(may: object) -> Sequence[float]:
        safety.cut()
        goals = power_on()
        assert torque(rig_port) == 1
        return goals

    monkeypatch.setattr(safety._bus, "power_on", overtaken)
    with pytest.raises(BusError, match="an emergency stop is latched"):
        safety.power_on()
    assert torque(rig_port) == 0


@pytest.mark.parametrize(
    ("fact", "value", "event"),
    [
        (Fact.WATCHDOG, 0.04, None),
        (Fact.WATCHDOG, TRIPPED, Event.MOTOR_SILENT),
        (Fact.WATCHDOG, 0.0, Event.MOTOR_SILENT),
        (Fact.TORQUE, 1, None),
        (Fact.TORQUE, 0, Event.MOTOR_SILENT),
        (Fact.GOAL, 0, None),
        (Fact.GOAL, 1, Event.MOTOR_SILENT),
        (Fact.FAULT, 0, None),
        (Fact.FAULT, 32, Event.MOTOR_FAULT),
        (Fact.VOLTAGE, 3.7, None),
        (Fact.VOLTAGE, 3.6, Event.MOTOR_FAULT),
        (Fact.VOLTAGE, 6.0, None),
        (Fact.VOLTAGE, 6.1, Event.MOTOR_FAULT),
        (Fact.TEMPERATURE, 70, None),
        (Fact.TEMPERATURE, 71, Event.MOTOR_FAULT),
    ],
)
def test_facts_are_judged(
    furuta: RobotSpec, rig_port: Any, fact: Fact, value: float, event: Event | None
) -> None:
    verdict = connected(furuta, rig_port).judge(Check(furuta.joints[0], fact, value))
    assert (verdict and verdict[0]) is event


def test_a_supply_is_judged_as_its_node_counts_it(furuta: RobotSpec) -> None:
    """126 counts of 0.1 V are 12.600000000000001 V."""
    safety = msgspec.structs.replace(furuta.safety, voltage_min_v=9.3, voltage_max_v=12.6)
    spec = msgspec.structs.replace(furuta, safety=safety)
    assert out_of_range(spec, voltage_v=126 * 0.1) is None
    assert out_of_range(spec, voltage_v=93 * 0.1) is None
    assert out_of_range(spec, voltage_v=127 * 0.1) is not None


@pytest.mark.parametrize(
    ("fact", "value", "reason"),
    [
        (Fact.WATCHDOG, TRIPPED, "its watchdog stopped it; commands came late"),
        (Fact.WATCHDOG, 0.0, "its watchdog is 0 ms, not 40 ms; it has restarted"),
        (Fact.TORQUE, 0, "its torque is off; it has restarted"),
        (Fact.FAULT, 4, "hardware error 0x04; power-cycle it"),
        (Fact.VOLTAGE, 3.6, "supply of 3.6 V is outside 3.7..6.0 V"),
        (Fact.TEMPERATURE, 71, "71 °C is above 70 °C; let it cool"),
    ],
)
def test_a_verdict_names_the_joint_and_what_to_do(
    furuta: RobotSpec, rig_port: Any, fact: Fact, value: float, reason: str
) -> None:
    verdict = connected(furuta, rig_port).judge(Check(furuta.joints[0], fact, value))
    assert verdict is not None
    assert verdict[1] == f"arm: {reason}"


def test_a_fact_that_happens_to_be_endless_is_no_tripped_watchdog(
    furuta: RobotSpec, rig_port: Any
) -> None:
    safety = connected(furuta, rig_port)
    assert safety.judge(Check(furuta.joints[0], Fact.TORQUE, TRIPPED)) is None


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
