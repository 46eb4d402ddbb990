"""Do host, emulated board and C node speak the same bytes, and those of yesterday?

``mcu_frames.json`` holds frames, and a conversation with a board of two channels: when, what its
sensors saw, what it heard, what it said, and what it drove through its motor.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_mcu import CNode, Sample, build_library

from protocol import mcu_link as mcu
from protocol.cobs import stuff, unstuff
from sim_harness.mcu_firmware import McuFirmware
from sim_harness.wire_end import Brake, Demand, Reading

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("mcu_frames.json").read_text())
TURNS: list[dict[str, Any]] = GOLDEN["conversation"]
STATE = mcu.State(
    mcu.Flag.POWERED | mcu.Flag.STOPPED,
    40,
    3,
    5000,
    (mcu.Channel(-157080, -12000, -350, 800, 31, 0), mcu.Channel(314159, 250, 0, 0, 30, 1)),
)
MADE = {
    "hello": mcu.make_hello(1),
    "read": mcu.make_read(0x1234),
    "command": mcu.make_command(2, mcu.Command(40, (800, -1))),
    "power_on": mcu.make_power(3, mcu.Power(1, 40, 800)),
    "power_off": mcu.make_power(0, mcu.Power(0, 0, 0)),
    "identity": mcu.make_identity(1, mcu.Identity(7, 102, 1, 2)),
    "state": mcu.make_state(4, STATE),
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> CNode:
    return CNode(build_library(tmp_path_factory.mktemp("mcu")))


def test_frames_are_the_golden_ones() -> None:
    assert {name: frame.hex() for name, frame in MADE.items()} == GOLDEN["frames"]


def test_the_golden_frames_are_understood() -> None:
    frames = mcu.Parser().feed(b"".join(map(bytes.fromhex, GOLDEN["frames"].values())))
    assert [frame.kind for frame in frames] == [1, 2, 3, 4, 4, 0x81, 0x82]
    assert mcu.parse_command(frames[2]) == mcu.Command(40, (800, -1))
    assert mcu.parse_power(frames[3]) == mcu.Power(1, 40, 800)
    assert mcu.parse_identity(frames[5]) == mcu.Identity(7, 102, 1, 2)
    assert mcu.parse_state(frames[6]) == STATE


@pytest.mark.parametrize("data", ["00", "00 00", "11 22 00 33", "11 22 33 44", "11 00 00 00"])
def test_stuffing_is_that_of_the_paper(data: str) -> None:
    """Its examples, as every encyclopedia prints them."""
    stuffed = {
        "00": "01 01",
        "00 00": "01 01 01",
        "11 22 00 33": "03 11 22 02 33",
        "11 22 33 44": "05 11 22 33 44",
        "11 00 00 00": "02 11 01 01 01",
    }[data]
    assert stuff(bytes.fromhex(data)) == bytes.fromhex(stuffed)
    assert unstuff(bytes.fromhex(stuffed)) == bytes.fromhex(data)


def test_the_check_value_of_the_crc_is_the_published_one(node: CNode) -> None:
    """CRC-32/ISO-HDLC of "123456789"."""
    assert node.crc32(b"123456789") == 0xCBF43926


def test_the_emulated_board_holds_the_golden_conversation() -> None:
    board = McuFirmware([True, False])
    for turn in TURNS:
        now_ns = turn["now_ms"] * 1_000_000
        readings = [Reading(*row) for row in turn["readings"]]
        board.sense(readings)
        said = b"".join(reply.data for reply in board.receive(bytes.fromhex(turn["heard"]), now_ns))
        driven = list(map(driven_ma, board.demands(now_ns), readings))
        assert (said.hex(), driven) == (turn["said"], turn["drive_ma"]), turn["what"]


def test_the_c_node_holds_the_golden_conversation(node: CNode) -> None:
    for turn in TURNS:
        node.sense([Sample(*row) for row in turn["samples"]], turn["supply_mv"])
        said = node.hear(bytes.fromhex(turn["heard"]), turn["now_ms"])
        node.elapse(turn["now_ms"])
        assert (said.hex(), node.current_ma()) == (turn["said"], turn["drive_ma"]), turn["what"]


def test_every_byte_error_in_a_golden_frame_is_found() -> None:
    """Each byte between the delimiters, each value: never a frame, save the very same."""
    for frame in MADE.values():
        for position in range(1, len(frame) - 1):
            for value in range(256):
                if value != frame[position]:
                    broken = frame[:position] + bytes((value,)) + frame[position + 1 :]
                    assert mcu.Parser().feed(broken) == [], (position, value)


def driven_ma(demand: Demand, reading: Reading) -> int:
    if isinstance(demand, Brake):
        return round(demand.current_a(reading.velocity_rad_s) * 1e3)
    assert isinstance(demand, float)
    return round(demand * 1e3)
