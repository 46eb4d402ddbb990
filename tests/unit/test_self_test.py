"""Does every check of the self-test pass on a sound rig, and fail on the fault it is there for?"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from onboard.bus import Bus
from onboard.bus_choice import bus_for
from onboard.encoder_check import EncoderCheck
from onboard.finding import Finding, Verdict
from onboard.self_test import READS, self_test
from protocol import xl330
from protocol.errors import BusError
from protocol.robot_spec import RobotSpec

Spoil = Callable[[Any, Bus], None]


def node(port: Any, number: int) -> Any:
    return port.rig._firmware._nodes[number]


def report(
    spec: RobotSpec, port: Any, spoil: Spoil | None = None, latency: str | None = None
) -> dict[str, Finding]:
    """Findings by name; ``spoil`` acts between set-up and checks."""
    bus = bus_for(spec, lambda: port, port.clock.now_s)
    connect = bus.connect

    def connect_and_spoil() -> Any:
        nodes = connect()
        if spoil is not None:
            spoil(port, bus)
        return nodes

    bus.connect = connect_and_spoil  # type: ignore[method-assign]
    findings = self_test(spec, bus, port.clock.now_ns, latency)
    assert node(port, 1).table.get(xl330.TORQUE_ENABLE) == 0
    bus.close()
    return {finding.what: finding for finding in findings}


def failed(findings: dict[str, Finding]) -> dict[str, str]:
    return {
        what: finding.detail
        for what, finding in findings.items()
        if finding.verdict is Verdict.FAILED
    }


def test_a_sound_rig_passes_everything(furuta: RobotSpec, rig_port: Any) -> None:
    findings = report(furuta, rig_port)
    assert [*findings] == [
        *("arm", "pendulum", "firmware", "return delay time", "bus watchdog", "adapter"),
        *("fast sync read", "arm encoder", "pendulum encoder"),
    ]
    assert {finding.verdict for finding in findings.values()} == {Verdict.OK}
    assert "id 1, model 1200, firmware 52, 5.0 V, 30 °C" in findings["arm"].detail
    assert "40 ms in every motor" in findings["bus watchdog"].detail
    assert f"0 of {READS} missed" in findings["fast sync read"].detail


def test_a_bus_that_cannot_be_set_up_is_the_only_finding(furuta: RobotSpec, rig_port: Any) -> None:
    node(rig_port, 1).table.put(xl330.MODEL_NUMBER, 1190)
    findings = report(furuta, rig_port)
    assert failed(findings) == {"bus": "node 1 (arm) has model number 1190, not that of xl330-m288"}


def strict(spec: RobotSpec, **limits: float) -> RobotSpec:
    return msgspec.structs.replace(spec, safety=msgspec.structs.replace(spec.safety, **limits))


def test_the_supply_of_a_node_without_a_motor_counts_too(furuta: RobotSpec, rig_port: Any) -> None:
    """The set-up itself asks the motors only."""
    encoder = node(rig_port, 2)
    sense = encoder.sense
    encoder.sense = lambda reading: sense(reading._replace(voltage_v=3.0, temperature_c=80.0))
    assert failed(report(furuta, rig_port)) == {"pendulum": "supply of 3.0 V is outside 3.7..6.0 V"}


def test_old_firmware_is_a_warning(furuta: RobotSpec, rig_port: Any) -> None:
    for number in (1, 2):
        node(rig_port, number).table.put(xl330.FIRMWARE_VERSION, 45)
    findings = report(furuta, rig_port)
    assert failed(findings) == {}
    assert findings["firmware"].verdict is Verdict.WARNING
    assert "update it" in findings["firmware"].detail
    assert "sync read" in findings


def test_a_node_that_waits_before_it_answers_fails(furuta: RobotSpec, rig_port: Any) -> None:
    def spoil(port: Any, _: Bus) -> None:
        node(port, 2).table.put(xl330.RETURN_DELAY, 250)

    told = failed(report(furuta, rig_port, spoil))
    assert told == {"return delay time": "pendulum waits 500 µs"}


@pytest.mark.parametrize("value", [0, 3, xl330.WATCHDOG_TRIPPED])
def test_a_watchdog_that_is_not_armed_fails(furuta: RobotSpec, rig_port: Any, value: int) -> None:
    def spoil(port: Any, _: Bus) -> None:
        node(port, 1).table.put(xl330.BUS_WATCHDOG, value)

    assert failed(report(furuta, rig_port, spoil)) == {"bus watchdog": f"arm holds {value}, not 2"}


def test_a_node_that_goes_silent_after_the_set_up_fails_what_asks_it(
    furuta: RobotSpec, rig_port: Any
) -> None:
    def spoil(port: Any, _: Bus) -> None:
        port.mute = True

    told = failed(report(furuta, rig_port, spoil))
    assert [*told] == [
        *("return delay time", "bus watchdog", "fast sync read"),
        *("arm encoder", "pendulum encoder"),
    ]
    assert f"{READS} of {READS} missed; at most 4" in told["fast sync read"]
    assert told["arm encoder"] == "was never read"


def test_a_slow_adapter_fails(furuta: RobotSpec, rig_port: Any) -> None:
    assert failed(report(furuta, rig_port, latency="16 ms")) == {"adapter": "16 ms"}


@pytest.mark.parametrize(("lost", "fails"), [(4, False), (5, True)])
def test_lost_answers_are_counted(furuta: RobotSpec, rig_port: Any, lost: int, fails: bool) -> None:
    def spoil(port: Any, _: Bus) -> None:
        answers, registers = itertools.count(), 3
        port.spoil = lambda data: b"" if 0 <= next(answers) - registers < lost else data

    assert ("fast sync read" in failed(report(furuta, rig_port, spoil))) == fails


@pytest.mark.parametrize(("share", "fails"), [(0.49, False), (0.51, True)])
def test_answers_that_take_more_than_half_a_tick_fail(
    furuta: RobotSpec, rig_port: Any, share: float, fails: bool
) -> None:
    def spoil(port: Any, bus: Bus) -> None:
        read = bus.read

        def slow() -> None:
            read()
            port.clock.sleep(share * furuta.tick_s - 300e-6)

        bus.read = slow  # type: ignore[method-assign]

    told = failed(report(furuta, rig_port, spoil))
    assert ("fast sync read" in told) == fails
    assert not fails or "p99 may take 10000 µs" in told["fast sync read"]


def test_an_encoder_that_jumps_fails(furuta: RobotSpec, rig_port: Any) -> None:
    def spoil(port: Any, bus: Bus) -> None:
        read, count = bus.read, iter(range(READS + 1))

        def glitch() -> None:
            read()
            bus.position_rad[0] += 0.5 * (next(count) == 100)

        bus.read = glitch  # type: ignore[method-assign]

    told = failed(report(furuta, rig_port, spoil))
    assert [*told] == ["arm encoder"]
    assert "jumps by 0.5" in told["arm encoder"]


def test_a_joint_outside_its_limits_fails(furuta: RobotSpec, rig_port: Any) -> None:
    beyond = msgspec.structs.replace(furuta.joints[0], offset_rad=3.0)
    moved = msgspec.structs.replace(furuta, joints=[beyond, furuta.joints[1]])
    told = failed(report(moved, rig_port))
    assert [*told] == ["arm encoder"]
    assert "outside -2.6..2.6; check offset_rad" in told["arm encoder"]


def swept(check: EncoderCheck, speed_rad_s: float, told_rad_s: float) -> str | None:
    for tick in range(100):
        check.add(tick * 1e-3, tick * 1e-3 * speed_rad_s, told_rad_s)
    return check.problem


@pytest.mark.parametrize(("told", "sound"), [(4.0, True), (4.9, True), (-4.0, False), (0.0, False)])
def test_velocity_must_be_that_of_the_position(furuta: RobotSpec, told: float, sound: bool) -> None:
    problem = swept(EncoderCheck(furuta.joints[0]), 4.0, told)
    assert (problem is None) == sound
    assert problem is None or "by velocity" in problem


def test_noise_of_a_few_counts_is_no_jump(furuta: RobotSpec) -> None:
    check = EncoderCheck(furuta.joints[0])
    for tick in range(100):
        check.add(tick * 1e-6, (tick % 2) * 4 * xl330.RAD_PER_COUNT, 0.0)
    assert check.problem is None


def test_a_finding_is_one_line() -> None:
    assert str(Finding(Verdict.OK, "arm", "fine")) == "ok      arm: fine"
    assert str(Finding(Verdict.FAILED, "arm", "gone")) == "FAILED  arm: gone"


def test_a_bus_error_in_the_set_up_is_told_as_it_is(furuta: RobotSpec, rig_port: Any) -> None:
    rig_port.dead = True
    bus = bus_for(furuta, lambda: rig_port, rig_port.clock.now_s)
    (finding,) = self_test(furuta, bus, rig_port.clock.now_ns)
    assert "no cable" in finding.detail
    with pytest.raises(BusError):
        bus.connect()
