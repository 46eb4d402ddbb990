"""Do our packets equal those printed in the public specification?

Source: Feetech, "Communication Protocol User Manual", examples of each instruction.
"""

from __future__ import annotations

import pytest

from protocol import feetech

GOAL_2048_AT_1000 = bytes.fromhex("00 08 00 00 E8 03")
GOLDEN = {
    "ping": (feetech.make_ping(1), "FF FF 01 02 01 FB"),
    "healthy answer": (feetech.make_status(1), "FF FF 01 02 00 FC"),
    "read": (feetech.make_read(1, 0x38, 2), "FF FF 01 04 02 38 02 BE"),
    "read answer": (feetech.make_status(1, b"\x18\x05"), "FF FF 01 04 00 18 05 DD"),
    "write to all": (feetech.make_write(0xFE, 5, b"\1"), "FF FF FE 04 03 05 01 F4"),
    "write": (
        feetech.make_write(1, 0x2A, GOAL_2048_AT_1000),
        "FF FF 01 09 03 2A 00 08 00 00 E8 03 D5",
    ),
    "reg write": (
        feetech.make_reg_write(1, 0x2A, GOAL_2048_AT_1000),
        "FF FF 01 09 04 2A 00 08 00 00 E8 03 D4",
    ),
    "action": (feetech.make_action(), "FF FF FE 02 05 FA"),
    "sync write": (
        feetech.make_sync_write(0x2A, 6, [(node, GOAL_2048_AT_1000) for node in (1, 2, 3, 4)]),
        "FF FF FE 20 83 2A 06 01 00 08 00 00 E8 03 02 00 08 00 00 E8 03 "
        "03 00 08 00 00 E8 03 04 00 08 00 00 E8 03 58",
    ),
    "sync read": (feetech.make_sync_read(0x38, 8, (1, 2)), "FF FF FE 06 82 38 08 01 02 36"),
    "sync read answer of 1": (
        feetech.make_status(1, bytes.fromhex("00 08 00 00 00 00 79 1E")),
        "FF FF 01 0A 00 00 08 00 00 00 00 79 1E 55",
    ),
    "sync read answer of 2": (
        feetech.make_status(2, bytes.fromhex("FF 07 00 00 00 00 77 23")),
        "FF FF 02 0A 00 FF 07 00 00 00 00 77 23 53",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_packets_are_those_of_the_specification(name: str) -> None:
    built, printed = GOLDEN[name]
    assert built == bytes.fromhex(printed)


@pytest.mark.parametrize("name", GOLDEN)
def test_no_byte_error_yields_a_packet_of_that_id_and_length(name: str) -> None:
    """Every single-byte corruption of every golden packet, exhaustively.

    A sum does not catch what makes another packet inside; that one never fits the question.
    """
    packet = GOLDEN[name][0]
    (sound,) = feetech.Parser().feed(packet)
    for position in range(len(packet)):
        for value in range(256):
            if value != packet[position]:
                broken = packet[:position] + bytes((value,)) + packet[position + 1 :]
                for frame in feetech.Parser().feed(broken):
                    fits = (frame.id, len(frame.params)) == (sound.id, len(sound.params))
                    assert not fits, (position, value)
