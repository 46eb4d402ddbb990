"""Does the Feetech driver read, drive and check an emulated bus, and name every fault?"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from made_arm import load_arm, make_arm_port, servo

from onboard.bus import TRIPPED, Fact
from onboard.dynamixel_bus import DynamixelBus
from onboard.feetech_bus import IN_TURN, FeetechBus
from onboard.finding import Verdict
from protocol import feetech, sts3215
from protocol.errors import BusError, ConfigError
from protocol.register import Register
from protocol.robot_spec import RobotSpec
from sim_harness.wire_end import Reading

NODES = range(1, 6)


@pytest.fixture(scope="module")
def spec() -> RobotSpec:
    return load_arm()


@pytest.fixture
def port(spec: RobotSpec) -> Any:
    return make_arm_port(spec)


@pytest.fixture
def bus(spec: RobotSpec, port: Any) -> FeetechBus:
    return FeetechBus(spec, lambda: port, port.clock.now_s)


def tables(port: Any, register: Register) -> list[int]:
    return [servo(port, node).table.get(register) for node in NODES]


def test_connecting_sets_every_servo_up_and_moves_nothing(bus: FeetechBus, port: Any) -> None:
    nodes = bus.connect()
    assert [node.name for node in nodes] == ["pan", "lift", "elbow", "flex", "roll"]
    assert {(node.model_number, node.firmware) for node in nodes} == {(777, 310)}
    assert nodes[0].voltage_v == pytest.approx(7.4)
    assert tables(port, sts3215.TORQUE_ENABLE) == [0] * 5
    assert tables(port, sts3215.RETURN_DELAY) == [0] * 5
    assert tables(port, sts3215.TORQUE_LIMIT) == [571] * 5
    assert tables(port, sts3215.LOCK) == [1] * 5
    assert servo(port, 1).table.get(sts3215.MIN_POSITION) == 2048 - 1239  # 1.9 rad
    assert servo(port, 1).table.get(sts3215.MAX_POSITION) == 2048 + 1239


def test_what_is_set_up_outlasts_a_power_cycle(bus: FeetechBus, port: Any) -> None:
    bus.connect()
    servo(port, 1).power_up()
    assert servo(port, 1).table.get(sts3215.RETURN_DELAY) == 0


def test_eeprom_that_is_right_already_is_not_written(bus: FeetechBus, port: Any) -> None:
    bus.connect()
    port.written.clear()
    bus.connect()
    written = [frame for packet in port.written for frame in feetech.Parser().feed(packet)]
    changed = {frame.params[0] for frame in written if frame.code == feetech.Instruction.WRITE}
    assert changed == {sts3215.TORQUE_LIMIT.address}


def test_readings_are_those_of_the_joints(bus: FeetechBus, port: Any, spec: RobotSpec) -> None:
    """The lift turns the other way round than its servo."""
    bus.connect()
    assert bus.position_rad == pytest.approx(port.rig._plant.position_rad(), abs=0.01)
    turned = bus.position_count[1] - sts3215.CENTRE_COUNT
    assert bus.position_rad[1] == pytest.approx(-turned * sts3215.RAD_PER_COUNT)


def test_torque_comes_on_where_the_joints_are(bus: FeetechBus, port: Any) -> None:
    bus.connect()
    bus.read()
    goals = bus.power_on()
    assert tables(port, sts3215.TORQUE_ENABLE) == [1] * 5
    assert tables(port, sts3215.GOAL_POSITION) == bus.position_count
    counts = [round(goal / sts3215.RAD_PER_COUNT) + sts3215.CENTRE_COUNT for goal in goals]
    assert counts == bus.position_count
    assert tables(port, sts3215.GOAL_SPEED) == [1956] * 5  # 3 rad/s
    before = list(bus.position_rad)
    port.clock.sleep(0.5)
    bus.read()
    assert bus.position_rad == pytest.approx(before, abs=0.06)  # its own spring, and play


def test_goals_arrive_and_the_joints_follow(bus: FeetechBus, port: Any) -> None:
    bus.connect()
    bus.power_on()
    bus.write([0.1, 0.0, 0.0, 0.0, -0.2])
    assert tables(port, sts3215.GOAL_POSITION) == [2113, 2048, 2048, 2048, 1918]
    port.clock.sleep(1.0)
    bus.read()
    assert bus.position_rad[0] == pytest.approx(0.1, abs=0.02)
    assert bus.position_rad[4] == pytest.approx(-0.2, abs=0.02)


def test_power_on_after_a_long_silence_does_not_jump(bus: FeetechBus, port: Any) -> None:
    """The last goal is far away; torque comes on again where the joint stands now."""
    bus.connect()
    bus.power_on()
    bus.write([1.0] * 5)
    port.clock.sleep(0.05)
    goals = bus.power_on()
    assert goals[0] < 0.9
    assert tables(port, sts3215.GOAL_POSITION) == bus.position_count


@pytest.mark.parametrize("goal", [-99.0, 99.0])
def test_a_goal_beyond_the_turn_stays_within_it(bus: FeetechBus, port: Any, goal: float) -> None:
    bus.connect()
    bus.write([goal] * 5)
    assert tables(port, sts3215.GOAL_POSITION) == [0 if goal < 0 else 4095] * 5


def test_a_torque_that_does_not_come_on_is_an_error(bus: FeetechBus, port: Any) -> None:
    bus.connect()
    servo(port, 3)._refuses = lambda register, value: register is sts3215.TORQUE_ENABLE
    with pytest.raises(BusError, match=r"node 3 \(elbow\) did not take"):
        bus.power_on()


def test_facts_are_asked_in_turn_of_every_motor(bus: FeetechBus, port: Any) -> None:
    bus.connect()
    bus.power_on()
    port.written.clear()
    seen = [bus.check_next() for _ in range(len(IN_TURN) + 1)]
    assert len(port.written) == 2, "torque and goals in one packet each; the rest is known"
    assert [[check.fact for check in turn] for turn in seen] == [
        [fact] * 5 for fact in (*IN_TURN, IN_TURN[0])
    ]
    assert [check.node for check in seen[0]] == bus._motors
    values = {turn[0].fact: turn[0].value for turn in seen}
    assert values[Fact.VOLTAGE] == pytest.approx(7.4)
    assert (values[Fact.TORQUE], values[Fact.TEMPERATURE], values[Fact.FAULT]) == (1, 30, 0)
    assert values[Fact.GOAL] == bus.position_count[0] - sts3215.CENTRE_COUNT


def test_being_left_alone_is_a_fact_although_no_servo_knows_it(
    bus: FeetechBus, port: Any, spec: RobotSpec
) -> None:
    bus.connect()
    bus.power_on()
    bus.write([0.0] * 5)
    assert {check.value for check in bus.check_all(Fact.WATCHDOG)} == {0.0}
    port.clock.sleep(spec.bus.watchdog_s + 0.001)
    assert [check.value for check in bus.check_all(Fact.WATCHDOG)] == [TRIPPED] * 5


def test_an_alarm_comes_with_the_reading(bus: FeetechBus, port: Any) -> None:
    bus.connect()
    bus.power_on()
    assert not bus.alert
    servo(port, 4).table.put(sts3215.MAX_TEMPERATURE, 20)
    bus.read()
    assert bus.alert
    faults = {check.node.name: check.value for check in bus.check_all(Fact.FAULT)}
    assert faults == {"pan": 0, "lift": 0, "elbow": 0, "flex": feetech.Alarm.TEMPERATURE, "roll": 0}


def test_a_silent_bus_is_an_error_within_the_deadline(bus: FeetechBus, port: Any) -> None:
    bus.connect()
    port.mute = True
    before_s = port.clock.now_s()
    with pytest.raises(BusError, match="0 of 5 answers within 6 ms"):
        bus.read()
    assert port.clock.now_s() - before_s < 0.007


def test_one_servo_that_falls_silent_is_an_error(bus: FeetechBus, port: Any) -> None:
    bus.connect()
    del port.rig._firmware._nodes[5]
    port.rig._firmware.sense = lambda readings: None
    port.rig._drive = lambda now_ns: None
    with pytest.raises(BusError, match="4 of 5 answers"):
        bus.read()


def test_a_flipped_byte_is_never_taken_for_a_reading(bus: FeetechBus, port: Any) -> None:
    bus.connect()
    before = list(bus.position_rad)
    for position in range(21):
        port.spoil = lambda data, at=position: (
            data[:at] + bytes(byte ^ 0x40 for byte in data[at : at + 1]) + data[at + 1 :]
        )
        with pytest.raises(BusError):
            bus.read()
    assert bus.position_rad == before


def test_a_servo_that_answers_in_anothers_place_is_named(bus: FeetechBus, port: Any) -> None:
    bus.connect()
    swapped = [feetech.make_status(node, bytes(15)) for node in (1, 3, 2, 4, 5)]
    port.spoil = lambda _: b"".join(swapped)
    with pytest.raises(BusError, match=r"node 2 \(lift\): node 3 answered in its place"):
        bus.read()


def test_one_lost_answer_does_not_stop_the_set_up(bus: FeetechBus, port: Any) -> None:
    answers = iter([b""])
    port.spoil = lambda data: next(answers, data) if data else data
    bus.connect()


@pytest.mark.parametrize(
    ("register", "value", "text"),
    [
        (sts3215.MODEL_NUMBER, 2825, "model number 2825"),
        (sts3215.HOMING_OFFSET, -85, "its homing offset is -85"),
    ],
)
def test_the_wrong_servo_is_refused(
    bus: FeetechBus, port: Any, register: Register, value: int, text: str
) -> None:
    servo(port, 2).table.put(register, value)
    with pytest.raises(BusError, match=rf"node 2 \(lift\).*{text}"):
        bus.connect()


def test_a_servo_in_alarm_is_refused(bus: FeetechBus, port: Any) -> None:
    servo(port, 2).table.put(sts3215.MAX_TEMPERATURE, 20)
    with pytest.raises(BusError, match="hardware error 0x04"):
        bus.connect()


@pytest.mark.parametrize(
    ("limit", "value", "text"),
    [("voltage_min_v", 8.0, "7.4 V is outside"), ("temperature_max_c", 20.0, "let it cool")],
)
def test_a_bad_supply_or_a_hot_servo_is_refused(
    spec: RobotSpec, port: Any, limit: str, value: float, text: str
) -> None:
    safety = msgspec.structs.replace(spec.safety, **{limit: value})
    strict = msgspec.structs.replace(spec, safety=safety)
    with pytest.raises(BusError, match=text):
        FeetechBus(strict, lambda: port, port.clock.now_s).connect()


def test_an_absent_servo_is_named(spec: RobotSpec, port: Any) -> None:
    joints = [msgspec.structs.replace(spec.joints[0], id=9), *spec.joints[1:]]
    other = msgspec.structs.replace(spec, joints=joints)
    with pytest.raises(BusError, match=r"torque may still be on \(node 9 \(pan\) does not answer"):
        FeetechBus(other, lambda: port, port.clock.now_s).connect()


def test_torque_off_reaches_every_servo_and_never_raises(bus: FeetechBus, port: Any) -> None:
    assert "not connected" in bus.power_off()[0]
    bus.connect()
    bus.power_on()
    assert bus.power_off() == []
    assert tables(port, sts3215.TORQUE_ENABLE) == [0] * 5
    port.dead = True
    assert len(bus.power_off()) == 5


def test_a_cut_is_one_packet_that_waits_for_no_answer(bus: FeetechBus, port: Any) -> None:
    bus.connect()
    bus.power_on()
    port.written.clear()
    before_ns = port.clock.now_ns()
    bus.cut()
    assert len(port.written) == 1
    assert port.clock.now_ns() == before_ns
    assert tables(port, sts3215.TORQUE_ENABLE) == [0] * 5


def test_the_audit_says_what_is_missing_and_what_is_wrong(bus: FeetechBus, port: Any) -> None:
    nodes = bus.connect()
    sound = {finding.what: finding for finding in bus.audit(nodes)}
    assert [*sound] == ["return delay time", "torque limit", "bus watchdog"]
    assert sound["bus watchdog"].verdict is Verdict.WARNING
    assert "at most 0.11 rad away" in sound["bus watchdog"].detail
    assert "57 % of the supply" in sound["torque limit"].detail
    servo(port, 2).table.put(sts3215.TORQUE_LIMIT, 1000)
    servo(port, 5).table.put(sts3215.RETURN_DELAY, 250)
    told = {f.what: f.detail for f in bus.audit(nodes) if f.verdict is Verdict.FAILED}
    assert told == {
        "return delay time": "roll holds 250, not 0",
        "torque limit": "lift holds 1000, not 571",
    }


def test_each_driver_refuses_the_mode_it_does_not_speak(
    spec: RobotSpec, furuta: RobotSpec, port: Any
) -> None:
    with pytest.raises(ConfigError, match="position mode only"):
        FeetechBus(furuta, lambda: port, port.clock.now_s)
    with pytest.raises(ConfigError, match="drives no sts3215 in position mode"):
        DynamixelBus(spec, lambda: port, port.clock.now_s)


def test_reading_a_servo_without_supply_says_so(bus: FeetechBus, port: Any) -> None:
    """A brown-out shows in the reading, before any servo complains."""
    bus.connect()
    servo(port, 1).sense(Reading(0, 0.0, 0.0, 5.5, 30.0))
    port.rig._firmware.sense = lambda readings: None
    bus.read()
    (check, *_) = bus.check_all(Fact.VOLTAGE)
    assert check.value == pytest.approx(5.5)
