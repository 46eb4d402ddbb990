"""Do our packets equal those printed in the public specification?

Source: ROBOTIS e-manual, "DYNAMIXEL Protocol 2.0", examples of each instruction.
"""

from __future__ import annotations

import pytest

from protocol import dynamixel as dxl

GOLDEN = {
    "ping 1": (dxl.make_ping(1), "FF FF FD 00 01 03 00 01 19 4E"),
    "ping all": (dxl.make_ping(dxl.BROADCAST_ID), "FF FF FD 00 FE 03 00 01 31 42"),
    "ping answer of 1": (
        dxl.make_status(1, b"\x06\x04\x26"),
        "FF FF FD 00 01 07 00 55 00 06 04 26 65 5D",
    ),
    "ping answer of 2": (
        dxl.make_status(2, b"\x06\x04\x26"),
        "FF FF FD 00 02 07 00 55 00 06 04 26 6F 6D",
    ),
    "read": (dxl.make_read(1, 132, 4), "FF FF FD 00 01 07 00 02 84 00 04 00 1D 15"),
    "read answer": (
        dxl.make_status(1, b"\xa6\0\0\0"),
        "FF FF FD 00 01 08 00 55 00 A6 00 00 00 8C C0",
    ),
    "write": (
        dxl.make_write(1, 116, (512).to_bytes(4, "little")),
        "FF FF FD 00 01 09 00 03 74 00 00 02 00 00 CA 89",
    ),
    "status without data": (dxl.make_status(1), "FF FF FD 00 01 04 00 55 00 A1 0C"),
    "sync read": (
        dxl.make_sync_read(132, 4, (1, 2)),
        "FF FF FD 00 FE 09 00 82 84 00 04 00 01 02 CE FA",
    ),
    "sync read answer of 2": (
        dxl.make_status(2, b"\x1f\x08\0\0"),
        "FF FF FD 00 02 08 00 55 00 1F 08 00 00 BA BE",
    ),
    "sync write": (
        dxl.make_sync_write(116, 4, [(1, b"\x96\0\0\0"), (2, b"\xaa\0\0\0")]),
        "FF FF FD 00 FE 11 00 83 74 00 04 00 01 96 00 00 00 02 AA 00 00 00 82 87",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_packets_are_those_of_the_specification(name: str) -> None:
    built, printed = GOLDEN[name]
    assert built == bytes.fromhex(printed)


@pytest.mark.parametrize("name", GOLDEN)
def test_no_byte_error_yields_another_packet(name: str) -> None:
    """Every single-byte corruption of every golden packet, exhaustively."""
    packet = GOLDEN[name][0]
    for position in range(len(packet)):
        for value in range(256):
            if value != packet[position]:
                broken = packet[:position] + bytes((value,)) + packet[position + 1 :]
                assert dxl.Parser().feed(broken) == [], (position, value)
