"""Whatever is written to its bus, no servo of the walker is sent beyond its stops."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from made_quadruped import load_quadruped

from protocol import xl330, xl430
from protocol.dynamixel import Parser, make_packet
from sim_harness.firmware import firmware_for
from sim_harness.wire_end import Attitude, Reading, Setpoint

SPEC = load_quadruped()
LEVEL = Attitude((0.0, 0.0, -1.0), (0.0, 0.0, 0.0), 12.0, 30.0)

nodes = st.sampled_from([0, 1, 12, 13, 0xFC, 0xFE])
instructions = st.integers(0, 0xFF) | st.sampled_from([1, 2, 3, 4, 5, 8, 0x82, 0x83, 0x8A])
addresses = st.sampled_from([register.address for register in xl430.XL430]) | st.integers(0, 200)
parameters = st.binary(max_size=40) | st.builds(
    lambda address, rest: bytes((address, 0)) + rest, addresses, st.binary(max_size=24)
)
packets = st.builds(make_packet, nodes, instructions, parameters)


@given(st.lists(packets, max_size=20))
@settings(max_examples=100, deadline=None)
def test_any_packets_are_survived_and_no_goal_leaves_the_turn(sent) -> None:
    firmware = firmware_for(SPEC)
    firmware.sense([Reading(0, 0.0, 0.0, 12.0, 30.0)] * 12)
    firmware.feel(LEVEL)
    for now, packet in enumerate(sent):
        answer = b"".join(reply.data for reply in firmware.receive(packet, now))
        parser = Parser()
        parser.feed(answer)
        parser.reset()
        assert parser.crc_errors == parser.discarded_bytes == 0
        for demand in firmware.demands(now):
            assert isinstance(demand, Setpoint)
            assert 0.0 <= demand.duty_max <= 1.0
            assert abs(demand.goal_rad) <= xl330.CENTRE_COUNT * xl330.RAD_PER_COUNT
