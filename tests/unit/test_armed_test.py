"""Does the armed self-test move a little, notice what moves wrongly, and end torque-free?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from onboard.armed_test import MOVED_RAD, ArmedTest, Nudge, judge_nudge
from onboard.bus_choice import bus_for
from onboard.estop_latch import EstopLatch
from onboard.finding import Finding, Verdict
from onboard.safety import Safety
from onboard.schedule import Schedule
from protocol import xl330
from protocol.robot_spec import RobotSpec


def servo(port: Any) -> Any:
    return port.rig._firmware._nodes[1]


class Stand:
    """A connected rig and the test on it."""

    def __init__(self, spec: RobotSpec, port: Any) -> None:
        clock, self.port, self.latch = port.clock, port, EstopLatch(bytearray(1))
        self.bus = bus_for(spec, lambda: port, clock.now_s)
        self.bus.connect()
        schedule = Schedule(round(1e9 * spec.tick_s), clock.now_ns, clock.sleep)
        safety = Safety(spec, self.bus, self.latch)
        self._test = ArmedTest(spec, self.bus, safety, schedule, clock.sleep, self.ended)
        self.stop_at_s = float("inf")

    def ended(self) -> str | None:
        """Somebody hits the stop at ``stop_at_s``."""
        if self.port.clock.now_s() >= self.stop_at_s:
            self.latch.set()
        return "an emergency stop is latched" if self.latch.is_set else None

    def run(self) -> dict[str, Finding]:
        findings = self._test.run()
        return {finding.what: finding for finding in findings}

    def verdicts(self) -> list[Verdict]:
        return [finding.verdict for finding in self.run().values()]


OK, FAILED = Verdict.OK, Verdict.FAILED
TRIP = "bus watchdog, tripped on purpose"


def test_a_sound_motor_moves_a_few_degrees_and_stops_itself(
    furuta: RobotSpec, rig_port: Any
) -> None:
    stand = Stand(furuta, rig_port)
    started = stand.bus.position_rad[0]
    findings = stand.run()
    assert [finding.verdict for finding in findings.values()] == [OK, OK, OK]
    assert [*findings] == ["arm motion", TRIP, "torque off"]
    stand.bus.read()
    assert MOVED_RAD <= abs(stand.bus.position_rad[0] - started) < 0.35
    assert abs(stand.bus.velocity_rad_s[0]) < 0.1
    assert servo(rig_port).table.get(xl330.TORQUE_ENABLE) == 0
    assert servo(rig_port).table.get(xl330.BUS_WATCHDOG) == xl330.WATCHDOG_TRIPPED


@pytest.mark.parametrize(("offset", "direction"), [(1.5, -1.0), (-1.5, 1.0)])
def test_it_moves_away_from_the_nearer_stop(
    furuta: RobotSpec, rig_port: Any, offset: float, direction: float
) -> None:
    arm = msgspec.structs.replace(furuta.joints[0], offset_rad=offset)
    stand = Stand(msgspec.structs.replace(furuta, joints=[arm, furuta.joints[1]]), rig_port)
    before = stand.bus.position_rad[0]
    assert stand.verdicts() == [OK, OK, OK]
    stand.bus.read()
    assert (stand.bus.position_rad[0] - before) * direction > 0.0


def test_a_motor_wired_against_its_encoder_fails(
    furuta: RobotSpec, rig_port: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant = rig_port.rig._plant
    drive = plant.command
    monkeypatch.setattr(plant, "command", lambda amps: drive([-each for each in amps]))
    findings = Stand(furuta, rig_port).run()
    assert findings["arm motion"].verdict is FAILED
    assert "motor and encoder disagree" in findings["arm motion"].detail


def test_a_motor_that_does_not_move_fails(
    furuta: RobotSpec, rig_port: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig_port.rig._plant, "command", lambda amps: None)
    findings = Stand(furuta, rig_port).run()
    assert findings["arm motion"].verdict is FAILED
    assert "is it free" in findings["arm motion"].detail


def test_a_watchdog_that_does_not_bite_fails(
    furuta: RobotSpec, rig_port: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sim_harness.node import Node

    monkeypatch.setattr(
        servo(rig_port), "elapse", lambda now_ns: Node.elapse(servo(rig_port), now_ns)
    )
    findings = Stand(furuta, rig_port).run()
    assert findings[TRIP].verdict is FAILED
    assert "arm did not stop after 60 ms of silence" in findings[TRIP].detail


@pytest.mark.parametrize("fault", ["dead", "mute"])
def test_a_bus_that_dies_meanwhile_fails_and_says_so(
    furuta: RobotSpec, rig_port: Any, fault: str
) -> None:
    stand = Stand(furuta, rig_port)
    setattr(rig_port, fault, True)
    findings = stand.run()
    assert {finding.verdict for finding in findings.values()} == {FAILED}
    assert "torque may still be on" in findings["torque off"].detail


def test_whatever_happens_the_torque_goes_off(
    furuta: RobotSpec, rig_port: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand = Stand(furuta, rig_port)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stand.bus, "read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        stand.run()
    assert servo(rig_port).table.get(xl330.TORQUE_ENABLE) == 0


def test_a_latched_emergency_stop_lets_nothing_move(furuta: RobotSpec, rig_port: Any) -> None:
    stand = Stand(furuta, rig_port)
    stand.latch.set()
    findings = stand.run()
    assert findings["arm motion"].verdict is FAILED
    assert "an emergency stop is latched" in findings["arm motion"].detail
    assert findings["torque off"].verdict is OK


@pytest.mark.parametrize(
    ("after_s", "begun"),
    [(0.1, ["arm motion"]), (0.4, ["arm motion"]), (0.82, ["arm motion", TRIP])],
)
def test_an_emergency_stop_ends_it_before_the_next_command(
    furuta: RobotSpec,
    rig_port: Any,
    monkeypatch: pytest.MonkeyPatch,
    after_s: float,
    begun: list[str],
) -> None:
    """On the ramp, at rest, and while the motors are left alone."""
    stand, written = Stand(furuta, rig_port), list[float]()
    write = stand.bus.write

    def noted(goal: list[float]) -> None:
        written.append(rig_port.clock.now_s())
        write(goal)

    monkeypatch.setattr(stand.bus, "write", noted)
    stand.stop_at_s = rig_port.clock.now_s() + after_s
    findings = stand.run()
    assert [*findings] == [*begun, "ended early", "torque off"]
    assert findings["ended early"].verdict is FAILED
    assert findings["ended early"].detail == "an emergency stop is latched"
    assert findings["torque off"].verdict is OK
    assert written
    assert written[-1] <= stand.stop_at_s
    assert rig_port.clock.now_s() - stand.stop_at_s < 0.15
    assert servo(rig_port).table.get(xl330.TORQUE_ENABLE) == 0


Judge = Callable[[Nudge], Finding]


@pytest.mark.parametrize(
    ("nudge", "verdict"),
    [
        (Nudge(0.2, 0.05, 0.1), OK),
        (Nudge(-0.2, -0.05, -0.1), OK),
        (Nudge(0.2, 0.05, 0.0), OK),
        (Nudge(0.2, 0.049, 0.1), FAILED),
        (Nudge(0.2, -0.05, -0.1), FAILED),
        (Nudge(-0.2, 0.05, 0.1), FAILED),
        (Nudge(0.2, 0.05, -0.1), FAILED),
    ],
)
def test_a_nudge_is_judged_by_position_and_velocity(nudge: Nudge, verdict: Verdict) -> None:
    assert judge_nudge("arm", nudge).verdict is verdict
