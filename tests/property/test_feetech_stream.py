"""Do packets and registers survive any cutting, and does the bus survive any bytes?"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import sts3215
from protocol.errors import WireError
from protocol.feetech import Parser, make_packet, make_ping
from protocol.register import Register
from protocol.robot_spec import load_robot_spec
from sim_harness.feetech_firmware import FeetechFirmware, feetech_nodes
from sim_harness.wire_end import Reading, Setpoint

SPEC = load_robot_spec(Path(__file__).parents[2] / "hw_configs" / "arm5.toml")

nodes = st.sampled_from([0, 1, 2, 5, 6, 0xFD, 0xFE])
codes = st.integers(0, 0xFF) | st.sampled_from([1, 2, 3, 4, 5, 0x82, 0x83])
addresses = st.sampled_from([register.address for register in sts3215.STS3215])
parameters = st.binary(max_size=40) | st.builds(
    lambda address, rest: bytes((address,)) + rest, addresses, st.binary(max_size=24)
)
packets = st.builds(make_packet, nodes, codes, parameters)


def new_firmware() -> FeetechFirmware:
    firmware = feetech_nodes(SPEC.joints, SPEC.bus.baud)
    firmware.sense([Reading(0, 0.0, 0.0, 7.4, 30.0)] * len(SPEC.joints))
    return firmware


def speak(firmware: FeetechFirmware, data: bytes, now_ns: int) -> bytes:
    return b"".join(reply.data for reply in firmware.receive(data, now_ns))


@given(st.lists(packets, max_size=8), st.lists(st.integers(1, 40), max_size=20))
def test_a_stream_cut_anywhere_yields_the_same_packets(sent, cuts) -> None:
    stream, parser, found = b"".join(sent), Parser(), []
    for cut in [*cuts, len(stream)]:
        found += parser.feed(stream[:cut])
        stream = stream[cut:]
    assert len(found) == len(sent)
    assert parser.discarded_bytes == parser.crc_errors == 0


@given(st.lists(packets, max_size=20))
def test_any_valid_packets_are_survived_and_answered_in_whole_packets(sent) -> None:
    firmware = new_firmware()
    for now, packet in enumerate(sent):
        parser = Parser()
        parser.feed(speak(firmware, packet, now))
        parser.reset()
        assert parser.crc_errors == parser.discarded_bytes == 0
        for demand in firmware.demands(now):
            assert isinstance(demand, Setpoint)
            assert 0.0 <= demand.duty_max <= 1.0


@given(st.binary(max_size=200))
def test_the_bus_still_answers_after_garbage_and_a_pause_worth_of_padding(garbage) -> None:
    firmware = new_firmware()
    speak(firmware, garbage, 0)
    speak(firmware, b"\0" * 300, 1)
    (frame,) = Parser().feed(speak(firmware, make_ping(1), 2))
    assert frame.id == 1


@given(st.sampled_from(sts3215.STS3215), st.integers(-(2**15), 2**15))
def test_a_register_holds_what_fits_and_refuses_the_rest(register: Register, value: int) -> None:
    bits = register.sign_bit or 8 * register.size
    if abs(value) < 2**bits and (value >= 0 or register.sign_bit):
        assert register.unpack(register.pack(value)) == value
    else:
        with pytest.raises(WireError, match="does not fit"):
            register.pack(value)
