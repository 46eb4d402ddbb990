import struct
from pathlib import Path

import msgspec
import pytest

from protocol import xl330
from protocol.dynamixel import (
    BROADCAST_ID,
    ErrorNumber,
    Parser,
    Status,
    make_action,
    make_fast_sync_read,
    make_packet,
    make_ping,
    make_read,
    make_reboot,
    make_reg_write,
    make_status,
    make_sync_read,
    make_sync_write,
    make_write,
    parse_fast_status,
    parse_status,
)
from protocol.dynamixel_nodes import NODES
from protocol.errors import ConfigError
from protocol.robot_spec import load_robot_spec
from sim_harness.dynamixel_firmware import DynamixelFirmware
from sim_harness.firmware import Firmware, firmware_for
from sim_harness.node import Node
from sim_harness.wire_end import Reading

ROBOT = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"
MS = 1_000_000
CALM = Reading(counts=0, velocity_rad_s=0.0, current_a=0.0, voltage_v=5.0, temperature_c=30.0)


class Host:
    """Speaks to a firmware as the far end of the wire; keeps the time."""

    def __init__(self, firmware: Firmware) -> None:
        self.firmware = firmware
        self.now_ns = 0
        self.sense(CALM, CALM)

    def sense(self, *readings: Reading) -> None:
        self.firmware.sense(readings)

    def send(self, packet: bytes) -> list[bytes]:
        return [reply.data for reply in self.firmware.receive(packet, self.now_ns)]

    def ask(self, packet: bytes) -> list[Status]:
        return [parse_status(frame) for frame in Parser().feed(b"".join(self.send(packet)))]

    def write(self, node: int, register: xl330.Register, value: int) -> ErrorNumber:
        (status,) = self.ask(make_write(node, register.address, register.pack(value)))
        return ErrorNumber(status.error)

    def read(self, node: int, register: xl330.Register) -> int:
        (status,) = self.ask(make_read(node, register.address, register.size))
        assert status.error == ErrorNumber.NONE
        return register.unpack(status.params)

    def drive(self, current_ma: int) -> None:
        for register, value in (
            (xl330.OPERATING_MODE, xl330.CURRENT_MODE),
            (xl330.TORQUE_ENABLE, 1),
            (xl330.GOAL_CURRENT, current_ma),
        ):
            assert self.write(1, register, value) == ErrorNumber.NONE

    @property
    def current_a(self) -> float:
        return self.firmware.demands(self.now_ns)[0]


@pytest.fixture
def host():
    return Host(firmware_for(load_robot_spec(ROBOT)))


def manual_host() -> Host:
    """The two XM430-W210 of the e-manual's packet examples, as far as the protocol goes."""
    initial = {xl330.MODEL_NUMBER: 1030, xl330.FIRMWARE_VERSION: 38}
    host = Host(DynamixelFirmware([Node(node, NODES["encoder-12bit"], initial) for node in (1, 2)]))
    positions = (166, 2079)
    host.sense(*(CALM._replace(counts=at - xl330.CENTRE_COUNT) for at in positions))
    return host


@pytest.mark.parametrize(
    ("instruction", "answer"),
    [
        ("FFFFFD00 01 0300 01 194E", "FFFFFD00 01 0700 55 00 06 04 26 655D"),
        (
            "FFFFFD00 FE 0300 01 3142",
            "FFFFFD00 01 0700 55 00 06 04 26 655D FFFFFD00 02 0700 55 00 06 04 26 6F6D",
        ),
        ("FFFFFD00 01 0700 02 84000400 1D15", "FFFFFD00 01 0800 55 00 A6000000 8CC0"),
        (
            "FFFFFD00 FE 0900 82 84000400 01 02 CEFA",
            "FFFFFD00 01 0800 55 00 A6000000 8CC0 FFFFFD00 02 0800 55 00 1F080000 BABE",
        ),
        ("FFFFFD00 01 0300 08 2F4E", "FFFFFD00 01 0400 55 00 A10C"),
    ],
    ids=["ping", "broadcast-ping", "read", "sync-read", "reboot"],
)
def test_the_packet_examples_of_the_manual_are_answered_byte_by_byte(instruction, answer):
    """Source: ROBOTIS e-manual, Protocol 2.0, examples of each instruction."""
    sent = manual_host().send(bytes.fromhex(instruction))
    assert b"".join(sent) == bytes.fromhex(answer)


def test_ping_names_model_and_firmware(host):
    (servo,) = host.ask(make_ping(1))
    assert struct.unpack("<HB", servo.params) == (1200, 52)
    (encoder,) = host.ask(make_ping(2))
    assert struct.unpack("<HB", encoder.params)[0] == NODES["encoder-12bit"].number


def test_new_nodes_have_factory_defaults_and_the_baud_rate_of_the_robot_file(host):
    for register in xl330.XL330:
        if register.access == "RW" and register != xl330.BAUD_RATE:
            assert host.read(1, register) == register.initial, register.name
    assert xl330.BAUD_RATES[host.read(1, xl330.BAUD_RATE)] == 1_000_000


def test_present_values_are_the_physics_in_the_units_of_the_table(host):
    moved = Reading(-512, -2.0, 0.123, 4.6, 41.0)
    host.sense(moved, moved._replace(counts=9000, current_a=0.0))
    assert host.read(1, xl330.PRESENT_POSITION) == 2048 - 512
    assert host.read(2, xl330.PRESENT_POSITION) == 2048 + 9000
    assert host.read(1, xl330.PRESENT_VELOCITY) == round(-2.0 / xl330.RAD_S_PER_COUNT)
    assert host.read(1, xl330.PRESENT_CURRENT) == 123
    assert host.read(1, xl330.PRESENT_VOLTAGE) == 46
    assert host.read(1, xl330.PRESENT_TEMPERATURE) == 41
    assert host.read(1, xl330.MOVING) == 1


def test_realtime_tick_counts_milliseconds_and_wraps(host):
    host.now_ns = 32_770 * MS
    assert host.read(1, xl330.REALTIME_TICK) == 2


def test_goal_current_reaches_the_motor_only_with_torque_on(host):
    assert host.write(1, xl330.GOAL_CURRENT, 250) == ErrorNumber.NONE
    assert host.current_a == 0.0
    host.drive(250)
    assert host.current_a == pytest.approx(0.25)
    assert host.write(1, xl330.TORQUE_ENABLE, 0) == ErrorNumber.NONE
    assert host.current_a == 0.0


def test_goals_are_signed(host):
    host.drive(-321)
    assert host.current_a == pytest.approx(-0.321)


@pytest.mark.parametrize(
    ("register", "value", "error"),
    [
        (xl330.OPERATING_MODE, 1, ErrorNumber.ACCESS),  # EEPROM under torque
        (xl330.RETURN_DELAY, 0, ErrorNumber.ACCESS),
        (xl330.TORQUE_ENABLE, 2, ErrorNumber.DATA_RANGE),
        (xl330.BUS_WATCHDOG, 128, ErrorNumber.DATA_RANGE),
        (xl330.GOAL_CURRENT, 1000, ErrorNumber.DATA_LIMIT),
        (xl330.GOAL_CURRENT, -1000, ErrorNumber.DATA_LIMIT),
        (xl330.GOAL_CURRENT, 2000, ErrorNumber.DATA_RANGE),
        (xl330.PRESENT_POSITION, 0, ErrorNumber.ACCESS),
        (xl330.MODEL_NUMBER, 7, ErrorNumber.ACCESS),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_refused_writes_change_nothing_and_say_why(host, register, value, error):
    assert host.write(1, xl330.CURRENT_LIMIT, 900) == ErrorNumber.NONE
    host.drive(100)
    before = host.read(1, register)
    assert host.write(1, register, value) == error
    assert host.read(1, register) == before
    assert host.current_a == pytest.approx(0.1)


@pytest.mark.parametrize("register", [xl330.ID, xl330.BAUD_RATE, xl330.DRIVE_MODE])
def test_what_is_not_simulated_is_refused_rather_than_pretended(host, register):
    before = host.read(1, register)
    assert host.write(1, register, before) == ErrorNumber.NONE
    assert host.write(1, register, before + 1) == ErrorNumber.RESULT_FAIL
    assert host.read(1, register) == before


@pytest.mark.parametrize("mode", [1, 3, 4, 5, 16])
def test_torque_cannot_be_enabled_in_a_mode_that_is_not_simulated(host, mode):
    assert host.write(1, xl330.OPERATING_MODE, mode) == ErrorNumber.NONE
    assert host.write(1, xl330.TORQUE_ENABLE, 1) == ErrorNumber.RESULT_FAIL
    assert host.read(1, xl330.TORQUE_ENABLE) == 0


def test_an_unknown_operating_mode_is_out_of_range(host):
    assert host.write(1, xl330.OPERATING_MODE, 2) == ErrorNumber.DATA_RANGE


def test_a_short_write_is_a_length_error_and_a_write_beside_registers_an_access_error(host):
    (short,) = host.ask(make_write(1, xl330.GOAL_CURRENT.address, b"\1"))
    assert short.error == ErrorNumber.DATA_LENGTH
    (beside,) = host.ask(make_write(1, xl330.GOAL_CURRENT.address + 1, b"\1\1"))
    assert beside.error == ErrorNumber.ACCESS


def test_a_write_over_several_registers_is_all_or_nothing(host):
    good = xl330.GOAL_PWM.pack(10) + xl330.GOAL_CURRENT.pack(20)
    bad = xl330.GOAL_PWM.pack(30) + xl330.GOAL_CURRENT.pack(-1751)
    assert host.ask(make_write(1, 100, good))[0].error == ErrorNumber.NONE
    assert host.ask(make_write(1, 100, bad))[0].error == ErrorNumber.DATA_RANGE
    assert host.read(1, xl330.GOAL_PWM) == 10
    assert host.read(1, xl330.GOAL_CURRENT) == 20


@pytest.mark.parametrize(("address", "length"), [(500, 1), (140, 100), (66, 1), (0, 0)])
def test_reads_outside_the_table_are_access_errors(host, address, length):
    (status,) = host.ask(make_read(1, address, length))
    assert status.error == ErrorNumber.ACCESS
    assert status.params == b""


def test_the_encoder_has_no_torque(host):
    assert host.write(2, xl330.TORQUE_ENABLE, 1) == ErrorNumber.ACCESS


def test_one_sync_read_serves_servo_and_encoder(host):
    host.sense(CALM._replace(counts=5), CALM._replace(counts=-7))
    statuses = host.ask(make_sync_read(126, 10, [1, 2]))
    positions = [xl330.PRESENT_POSITION.unpack(status.params[6:]) for status in statuses]
    assert [status.id for status in statuses] == [1, 2]
    assert positions == [2053, 2041]


def test_a_missing_node_ends_a_sync_read_because_the_next_one_waits_for_it(host):
    assert [status.id for status in host.ask(make_sync_read(132, 4, [2, 9, 1]))] == [2]
    assert host.send(make_fast_sync_read(132, 4, [2, 9, 1])) == []


def test_fast_sync_read_gives_the_same_values_in_one_packet(host):
    host.sense(CALM._replace(counts=5), CALM._replace(counts=-7))
    plain = host.ask(make_sync_read(126, 10, [1, 2]))
    (packet,) = host.send(make_fast_sync_read(126, 10, [1, 2]))
    (frame,) = Parser().feed(packet)
    assert parse_fast_status(frame, 10) == plain


def test_a_node_that_cannot_read_sends_zeros_and_its_error_in_a_fast_answer(host):
    (packet,) = host.send(make_fast_sync_read(xl330.GOAL_CURRENT.address, 2, [1, 2]))
    (frame,) = Parser().feed(packet)
    servo, encoder = parse_fast_status(frame, 2)
    assert servo.error == ErrorNumber.NONE
    assert encoder == Status(2, ErrorNumber.ACCESS, False, b"\0\0")


def test_sync_write_sets_goals_without_an_answer(host):
    host.drive(0)
    goal = xl330.GOAL_CURRENT
    assert host.send(make_sync_write(goal.address, 2, [(1, goal.pack(-77)), (9, b"\0\0")])) == []
    assert host.current_a == pytest.approx(-0.077)


def test_a_registered_write_waits_for_the_action(host):
    host.drive(0)
    goal = xl330.GOAL_CURRENT
    assert host.ask(make_reg_write(1, goal.address, goal.pack(60)))[0].error == ErrorNumber.NONE
    assert host.read(1, xl330.REGISTERED_INSTRUCTION) == 1
    assert host.current_a == 0.0
    assert host.send(make_action(BROADCAST_ID)) == []
    assert host.current_a == pytest.approx(0.06)
    assert host.read(1, xl330.REGISTERED_INSTRUCTION) == 0
    assert host.ask(make_action(1))[0].error == ErrorNumber.INSTRUCTION


def test_a_refused_registered_write_does_not_wait(host):
    (status,) = host.ask(make_reg_write(1, xl330.PRESENT_POSITION.address, b"\0\0\0\0"))
    assert status.error == ErrorNumber.ACCESS
    assert host.ask(make_action(1))[0].error == ErrorNumber.INSTRUCTION


def test_reboot_forgets_ram_and_keeps_eeprom(host):
    host.sense(CALM._replace(counts=100), CALM)
    assert host.write(1, xl330.CURRENT_LIMIT, 800) == ErrorNumber.NONE
    host.drive(100)
    assert host.ask(make_reboot(1))[0].error == ErrorNumber.NONE
    assert host.current_a == 0.0
    assert host.read(1, xl330.TORQUE_ENABLE) == 0
    assert host.read(1, xl330.GOAL_CURRENT) == 0
    assert host.read(1, xl330.CURRENT_LIMIT) == 800
    assert host.read(1, xl330.OPERATING_MODE) == xl330.CURRENT_MODE
    assert host.read(1, xl330.PRESENT_POSITION) == 2148


@pytest.mark.parametrize("instruction", [0x06, 0x10, 0x92, 0x93, 0x9A, 0x00, 0xFF])
def test_unknown_instructions_and_the_factory_reset_are_refused(host, instruction):
    host.write(1, xl330.CURRENT_LIMIT, 800)
    (status,) = host.ask(make_packet(1, instruction, b"\xff"))
    assert status.error == ErrorNumber.INSTRUCTION
    assert host.send(make_packet(BROADCAST_ID, instruction, b"\xff")) == []
    assert host.read(1, xl330.CURRENT_LIMIT) == 800


@pytest.mark.parametrize("params", [b"", b"\1", b"\1\2\3", b"\1\2\3\4\5"])
def test_malformed_parameters_are_a_length_error(host, params):
    (status,) = host.ask(make_packet(1, 0x02, params))
    assert status.error == ErrorNumber.DATA_LENGTH


def test_unknown_ids_and_wrong_crcs_meet_silence(host):
    assert host.send(make_ping(77)) == []
    packet = bytearray(make_ping(1))
    packet[-1] ^= 1
    assert host.send(bytes(packet)) == []
    assert host.firmware.crc_errors == 1
    assert len(host.send(make_ping(1))) == 1


def test_a_packet_in_pieces_is_answered_once_it_is_whole(host):
    packet = make_ping(1)
    assert [len(host.send(packet[i : i + 1])) for i in range(len(packet))] == [0] * 9 + [1]


def test_status_packets_of_others_are_not_instructions(host):
    assert host.send(make_status(1, b"\1\2\3")) == []


@pytest.mark.parametrize(("level", "answers"), [(0, (1, 0, 0)), (1, (1, 1, 0)), (2, (1, 1, 1))])
def test_status_return_level(host, level, answers):
    packet = make_write(1, xl330.STATUS_RETURN_LEVEL.address, bytes((level,)))
    host.send(packet)
    asked = (make_ping(1), make_read(1, 132, 4), make_write(1, xl330.LED.address, b"\1"))
    assert tuple(len(host.send(packet)) for packet in asked) == answers


def test_return_delay_is_half_a_millisecond_from_the_factory_and_can_be_cleared(host):
    assert host.firmware.receive(make_ping(1), 0)[0].delay_ns == 500_000
    host.write(1, xl330.RETURN_DELAY, 0)
    assert host.firmware.receive(make_ping(1), 0)[0].delay_ns == 0


class TestWatchdog:
    """Register 98: silence with torque on stops the motor, and it stays stopped."""

    @pytest.fixture
    def armed(self, host):
        host.drive(200)
        assert host.write(1, xl330.BUS_WATCHDOG, 3) == ErrorNumber.NONE
        return host

    def test_it_trips_after_more_than_its_time_not_before(self, armed):
        armed.now_ns = 60 * MS
        assert armed.current_a == pytest.approx(0.2)
        armed.now_ns = 60 * MS + 1
        assert armed.current_a == 0.0

    def test_traffic_for_the_node_keeps_it_quiet(self, armed):
        for _ in range(20):
            armed.now_ns += 50 * MS
            armed.send(make_sync_read(132, 4, [1, 2]))
        assert armed.current_a == pytest.approx(0.2)

    def test_traffic_for_other_nodes_does_not(self, armed):
        for _ in range(3):
            armed.now_ns += 30 * MS
            armed.send(make_ping(2))
        assert armed.current_a == 0.0

    def test_garbage_does_not(self, armed):
        packet = bytearray(make_ping(1))
        packet[-2] ^= 0x10
        for _ in range(3):
            armed.now_ns += 30 * MS
            armed.send(bytes(packet))
        assert armed.current_a == 0.0

    def test_once_tripped_it_is_latched_until_zero_is_written(self, armed):
        armed.now_ns = 100 * MS
        assert armed.read(1, xl330.BUS_WATCHDOG) == xl330.WATCHDOG_TRIPPED
        assert armed.write(1, xl330.GOAL_CURRENT, 200) == ErrorNumber.DATA_RANGE
        assert armed.write(1, xl330.BUS_WATCHDOG, 3) == ErrorNumber.DATA_RANGE
        assert armed.current_a == 0.0
        assert armed.write(1, xl330.BUS_WATCHDOG, 0) == ErrorNumber.NONE
        assert armed.current_a == 0.0, "clearing alone must not move"
        assert armed.write(1, xl330.GOAL_CURRENT, 200) == ErrorNumber.NONE
        assert armed.current_a == pytest.approx(0.2)

    def test_a_sync_write_cannot_move_a_tripped_motor(self, armed):
        armed.now_ns = 100 * MS
        goal = xl330.GOAL_CURRENT
        armed.send(make_sync_write(goal.address, 2, [(1, goal.pack(200))]))
        assert armed.current_a == 0.0

    def test_it_sleeps_without_torque(self, host):
        assert host.write(1, xl330.BUS_WATCHDOG, 1) == ErrorNumber.NONE
        host.now_ns = 1000 * MS
        assert host.read(1, xl330.BUS_WATCHDOG) == 1


class TestHardwareError:
    """Register 70 latches what the shutdown mask makes fatal."""

    @pytest.mark.parametrize(
        ("bad", "bit"),
        [({"temperature_c": 71.0}, 4), ({"voltage_v": 3.4}, 1), ({"voltage_v": 7.1}, 1)],
    )
    def test_a_violated_limit_stops_the_motor_until_reboot(self, host, bad, bit):
        host.drive(100)
        host.sense(CALM._replace(**bad), CALM)
        host.sense(CALM, CALM)
        assert host.current_a == 0.0
        (status,) = host.ask(make_ping(1))
        assert status.alert
        assert host.read(1, xl330.HARDWARE_ERROR) == bit
        assert host.write(1, xl330.TORQUE_ENABLE, 1) == ErrorNumber.RESULT_FAIL
        host.send(make_reboot(1))
        assert not host.ask(make_ping(1))[0].alert
        assert host.write(1, xl330.TORQUE_ENABLE, 1) == ErrorNumber.NONE

    def test_outside_the_shutdown_mask_it_only_alerts(self, host):
        assert host.write(1, xl330.SHUTDOWN, 0) == ErrorNumber.NONE
        host.drive(100)
        host.sense(CALM._replace(temperature_c=90.0), CALM)
        assert host.current_a == pytest.approx(0.1)
        assert host.ask(make_ping(1))[0].alert


def test_a_baud_rate_no_node_can_speak_is_refused():
    spec = load_robot_spec(ROBOT)
    odd = msgspec.structs.replace(spec, bus=msgspec.structs.replace(spec.bus, baud=500_000))
    with pytest.raises(ConfigError, match="500000"):
        firmware_for(odd)


def test_an_actuated_joint_without_a_motor_is_refused():
    spec = load_robot_spec(ROBOT)
    joints = [msgspec.structs.replace(joint, model="encoder-12bit") for joint in spec.joints]
    with pytest.raises(ConfigError, match="arm"):
        firmware_for(msgspec.structs.replace(spec, joints=joints))
