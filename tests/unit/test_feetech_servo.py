"""Does the emulated STS3215 bus behave as its manual says?"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from protocol import feetech, sts3215
from protocol.errors import ConfigError
from protocol.feetech import Alarm, Frame, Parser
from protocol.register import Register
from protocol.robot_spec import load_robot_spec
from sim_harness.feetech_firmware import FeetechFirmware, feetech_nodes
from sim_harness.firmware import firmware_for
from sim_harness.wire_end import Reading

SPEC = load_robot_spec(Path(__file__).parents[2] / "hw_configs" / "arm5.toml")
CALM = Reading(counts=0, velocity_rad_s=0.0, current_a=0.0, voltage_v=7.4, temperature_c=30.0)
FACTORY_DELAY_NS = 500_000


class Host:
    """Speaks to a bus as the far end of the wire."""

    def __init__(self) -> None:
        self.firmware = feetech_nodes(SPEC.joints, SPEC.bus.baud)
        self.sense(CALM)

    def sense(self, first: Reading) -> None:
        self.firmware.sense([first, CALM, CALM, CALM, CALM])

    def ask(self, packet: bytes) -> list[Frame]:
        replies = self.firmware.receive(packet, 0)
        return Parser().feed(b"".join(reply.data for reply in replies))

    def write(self, register: Register, value: int) -> None:
        (frame,) = self.ask(feetech.make_write(1, register.address, register.pack(value)))
        assert frame.params == b""

    def read(self, register: Register) -> int:
        (frame,) = self.ask(feetech.make_read(1, register.address, register.size))
        return register.unpack(frame.params)

    def hold(self, count: int) -> None:
        self.write(sts3215.GOAL_POSITION, count)
        self.write(sts3215.TORQUE_ENABLE, 1)

    @property
    def setpoint(self):
        return self.firmware.demands(0)[0]


@pytest.fixture
def host() -> Host:
    return Host()


def test_the_sync_read_of_the_manual_is_answered_byte_by_byte() -> None:
    """Source: Feetech, Communication Protocol User Manual, example 8 (two 12 V servos)."""
    firmware: FeetechFirmware = feetech_nodes(SPEC.joints[:2], SPEC.bus.baud)
    for servo in firmware._nodes.values():
        servo.table.put(sts3215.MAX_VOLTAGE, 140)
    firmware.sense(
        [
            CALM._replace(voltage_v=12.1),
            CALM._replace(counts=-1, voltage_v=11.9, temperature_c=35.0),
        ]
    )
    replies = firmware.receive(bytes.fromhex("FFFFFE06823808010236"), 0)
    assert [reply.data for reply in replies] == [
        bytes.fromhex("FFFF010A0000080000000079 1E55"),
        bytes.fromhex("FFFF020A00FF07000000007723 53"),
    ]


def test_a_new_servo_says_who_it_is_and_answers_after_half_a_millisecond(host: Host) -> None:
    assert host.read(sts3215.MODEL_NUMBER) == 777
    assert host.read(sts3215.ID) == 1
    (reply,) = host.firmware.receive(feetech.make_ping(1), 0)
    assert reply.delay_ns == FACTORY_DELAY_NS
    host.write(sts3215.RETURN_DELAY, 0)
    (reply,) = host.firmware.receive(feetech.make_ping(1), 0)
    assert reply.delay_ns == 0


def test_a_broadcast_ping_is_answered_by_all_and_no_other_broadcast_by_any(host: Host) -> None:
    assert [frame.id for frame in host.ask(feetech.make_ping(feetech.BROADCAST_ID))] == [
        *range(1, 6)
    ]
    assert host.ask(feetech.make_write(feetech.BROADCAST_ID, 42, b"\0\x08")) == []
    assert host.ask(feetech.make_ping(9)) == []


def test_torque_needs_its_register_and_goes_to_its_limit(host: Host) -> None:
    host.write(sts3215.GOAL_POSITION, 2148)
    assert host.setpoint.duty_max == 0.0
    host.write(sts3215.TORQUE_LIMIT, 571)
    host.write(sts3215.GOAL_SPEED, 1000)
    host.write(sts3215.TORQUE_ENABLE, 1)
    assert host.setpoint == pytest.approx(
        (100 * sts3215.RAD_PER_COUNT, 0.571, 1000 * sts3215.RAD_PER_COUNT)
    )


def test_a_goal_beyond_its_position_limits_is_cut(host: Host) -> None:
    host.write(sts3215.MIN_POSITION, 1000)
    host.write(sts3215.MAX_POSITION, 3000)
    for asked, followed in ((4000, 3000), (0, 1000)):
        host.hold(asked)
        assert host.read(sts3215.GOAL_POSITION) == asked
        goal = followed - sts3215.CENTRE_COUNT
        assert host.setpoint.goal_rad == pytest.approx(goal * sts3215.RAD_PER_COUNT)


def test_negative_numbers_are_a_magnitude_and_a_sign_bit(host: Host) -> None:
    reading = CALM._replace(counts=-300, velocity_rad_s=-1.0, current_a=-0.65)
    host.sense(reading)
    (frame,) = host.ask(feetech.make_read(1, sts3215.PRESENT_POSITION.address, 15))
    speed = round(1.0 / sts3215.RAD_S_PER_COUNT)
    assert int.from_bytes(frame.params[0:2], "little") == 2048 - 300
    assert int.from_bytes(frame.params[2:4], "little") == 0x8000 | speed
    assert int.from_bytes(frame.params[13:15], "little") == 0x8000 | 100
    assert host.read(sts3215.MOVING) == 1


@pytest.mark.parametrize(
    ("register", "value"),
    [
        (sts3215.MODEL_NUMBER, 778),
        (sts3215.PRESENT_POSITION, 5),
        (sts3215.TORQUE_LIMIT, 1001),
        (sts3215.TORQUE_ENABLE, 128),
        (sts3215.ID, 9),
        (sts3215.HOMING_OFFSET, -5),
    ],
)
def test_what_a_register_does_not_take_changes_nothing_and_is_not_refused(
    host: Host, register: Register, value: int
) -> None:
    before = host.read(register)
    host.write(register, value)
    assert host.read(register) == before


def test_torque_cannot_be_enabled_in_a_mode_that_is_not_simulated(host: Host) -> None:
    host.write(sts3215.OPERATING_MODE, 1)
    host.write(sts3215.TORQUE_ENABLE, 1)
    assert host.read(sts3215.TORQUE_ENABLE) == 0


def test_heat_is_an_alarm_in_every_answer_and_drops_the_torque(host: Host) -> None:
    host.hold(2048)
    host.sense(CALM._replace(temperature_c=71.0))
    (frame,) = host.ask(feetech.make_ping(1))
    assert frame.code == Alarm.TEMPERATURE
    assert host.setpoint.duty_max == 0.0
    host.write(sts3215.TORQUE_ENABLE, 1)
    assert host.setpoint.duty_max == 0.0
    host.sense(CALM)
    host.write(sts3215.TORQUE_ENABLE, 1)
    assert host.setpoint.duty_max == 1.0


def test_a_voltage_out_of_range_is_an_alarm_that_keeps_the_torque(host: Host) -> None:
    host.hold(2048)
    host.sense(CALM._replace(voltage_v=3.9))
    (frame,) = host.ask(feetech.make_ping(1))
    assert frame.code == Alarm.VOLTAGE
    assert host.setpoint.duty_max == 1.0


@pytest.mark.parametrize(("lock", "kept"), [(0, 7), (1, 250)])
def test_only_unlocked_eeprom_outlasts_a_power_cycle(host: Host, lock: int, kept: int) -> None:
    host.write(sts3215.LOCK, lock)
    host.write(sts3215.RETURN_DELAY, 7)
    host.hold(2500)
    assert host.read(sts3215.RETURN_DELAY) == 7
    host.firmware._nodes[1].power_up()
    assert host.read(sts3215.RETURN_DELAY) == kept
    assert host.read(sts3215.TORQUE_ENABLE) == 0
    assert host.read(sts3215.LOCK) == 1


def test_a_registered_write_waits_for_its_action(host: Host) -> None:
    host.ask(feetech.make_reg_write(1, sts3215.GOAL_POSITION.address, b"\x64\0"))
    assert host.read(sts3215.GOAL_POSITION) == 0
    assert host.ask(feetech.make_action()) == []
    assert host.read(sts3215.GOAL_POSITION) == 100


def test_a_quiet_servo_answers_questions_only(host: Host) -> None:
    host.ask(feetech.make_write(1, sts3215.RESPONSE_LEVEL.address, b"\0"))
    assert host.ask(feetech.make_write(1, sts3215.GOAL_POSITION.address, b"\x64\0")) == []
    assert host.read(sts3215.GOAL_POSITION) == 100


def test_a_sync_read_ends_at_the_first_servo_that_is_absent(host: Host) -> None:
    assert [frame.id for frame in host.ask(feetech.make_sync_read(56, 2, (2, 9, 3)))] == [2]


@pytest.mark.parametrize("params", [b"", b"\x38", b"\x38\x02\x01"])
def test_nonsense_gets_no_answer(host: Host, params: bytes) -> None:
    assert host.ask(feetech.make_packet(1, feetech.Instruction.READ, params)) == []
    assert host.ask(feetech.make_packet(1, 0x77, params)) == []


@pytest.mark.parametrize(("change", "text"), [({"baud": 9600}, "9600"), ({}, "no Feetech servo")])
def test_a_bus_that_cannot_be_is_refused(change: dict[str, int], text: str) -> None:
    joints = SPEC.joints
    if not change:
        joints = [msgspec.structs.replace(joints[0], model="xl330-m288"), *joints[1:]]
    bus = msgspec.structs.replace(SPEC.bus, **change)
    with pytest.raises(ConfigError, match=text):
        firmware_for(msgspec.structs.replace(SPEC, bus=bus, joints=joints))
