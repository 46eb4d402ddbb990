from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import xl330
from protocol.dynamixel import ErrorNumber, Parser, make_packet, make_ping, parse_status
from protocol.dynamixel_nodes import NODES
from protocol.robot_spec import load_robot_spec
from sim_harness.firmware import Firmware, firmware_for
from sim_harness.servo import Servo
from sim_harness.wire_end import Reading

ROBOT = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"
SPEC = load_robot_spec(ROBOT)
MAX_A = xl330.CURRENT_LIMIT.maximum * xl330.AMPERE_PER_COUNT

nodes = st.sampled_from([0, 1, 2, 3, 0xFC, 0xFE])
instructions = st.integers(0, 0xFF) | st.sampled_from([1, 2, 3, 4, 5, 8, 0x82, 0x83, 0x8A])
addresses = st.sampled_from([register.address for register in xl330.XL330]) | st.integers(0, 200)
parameters = st.binary(max_size=40) | st.builds(
    lambda address, rest: bytes((address, 0)) + rest, addresses, st.binary(max_size=24)
)
packets = st.builds(make_packet, nodes, instructions, parameters)


def new_firmware() -> Firmware:
    firmware = firmware_for(SPEC)
    firmware.sense([Reading(0, 0.0, 0.0, 5.0, 30.0)] * 2)
    return firmware


def speak(firmware: Firmware, data: bytes, now_ns: int) -> bytes:
    return b"".join(reply.data for reply in firmware.receive(data, now_ns))


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_random_bytes_never_crash_the_bus_nor_move_a_motor(chunks):
    firmware = new_firmware()
    for now, chunk in enumerate(chunks):
        speak(firmware, chunk, now)
    assert firmware.demands(len(chunks)) == [0.0, 0.0]


@given(st.lists(packets, max_size=20))
@settings(max_examples=300)
def test_any_valid_packets_are_survived_and_answered_in_whole_packets(sent):
    firmware = new_firmware()
    for now, packet in enumerate(sent):
        answer = speak(firmware, packet, now)
        parser = Parser()
        parser.feed(answer)
        parser.reset()
        assert parser.crc_errors == parser.discarded_bytes == 0
        assert all(abs(current) <= MAX_A for current in firmware.demands(now))


@given(st.binary(max_size=200))
def test_the_bus_still_answers_after_garbage_and_a_pause_worth_of_padding(garbage):
    firmware = new_firmware()
    speak(firmware, garbage, 0)
    speak(firmware, b"\0" * 1100, 1)
    (frame,) = Parser().feed(speak(firmware, make_ping(1), 2))
    assert parse_status(frame).id == 1


@given(st.sampled_from(xl330.XL330), st.integers(0, 2**32 - 1))
def test_a_register_never_holds_a_value_outside_its_range(register, value):
    servo = Servo(1, NODES["xl330-m288"], {})
    before = servo.table.get(register)
    status = servo.write(
        register.address, (value % 256**register.size).to_bytes(register.size, "little")
    )
    held = servo.table.get(register)
    assert register.minimum <= held <= register.maximum or held == before
    assert held == before or status.error == ErrorNumber.NONE
