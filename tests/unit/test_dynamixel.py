"""Do the driver and the emulated firmware understand each other, and does bad input stay out?"""

from __future__ import annotations

import pytest

from protocol import dynamixel as dxl
from protocol import xl330
from protocol.errors import WireError


def only_frame(data: bytes) -> dxl.Frame:
    (frame,) = dxl.Parser().feed(data)
    return frame


def test_requests_come_back_as_they_were_made() -> None:
    assert dxl.parse_read(only_frame(dxl.make_read(7, 132, 4))) == (132, 4)
    assert dxl.parse_write(only_frame(dxl.make_write(7, 64, b"\1"))) == (64, b"\1")
    assert dxl.parse_write(only_frame(dxl.make_reg_write(7, 64, b"\1"))) == (64, b"\1")
    fast = only_frame(dxl.make_fast_sync_read(126, 10, (1, 2)))
    assert fast.instruction == dxl.Instruction.FAST_SYNC_READ
    assert dxl.parse_sync_read(fast) == (126, 10, (1, 2))
    pairs = ((1, b"\x05\x00"), (9, b"\xff\xff"))
    assert dxl.parse_sync_write(only_frame(dxl.make_sync_write(102, 2, pairs))) == (102, pairs)
    assert only_frame(dxl.make_action()).id == dxl.BROADCAST_ID
    assert only_frame(dxl.make_reboot(3)) == (3, dxl.Instruction.REBOOT, b"")


def test_a_status_tells_error_number_and_alert_apart() -> None:
    frame = only_frame(dxl.make_status(4, b"\x2a", error=dxl.ErrorNumber.DATA_RANGE, alert=True))
    assert dxl.parse_status(frame) == (4, dxl.ErrorNumber.DATA_RANGE, True, b"\x2a")


def test_a_fast_status_carries_one_answer_per_node() -> None:
    answers = [dxl.Status(1, 0, False, b"\xff\xff\xfd\xfd"), dxl.Status(2, 0, True, b"abcd")]
    assert dxl.parse_fast_status(only_frame(dxl.make_fast_status(answers)), 4) == answers


def test_a_fast_status_may_contain_a_header_by_chance() -> None:
    """Its body is not stuffed; arriving in two pieces it must not look like a new packet."""
    packet = dxl.make_fast_status([dxl.Status(1, 0, False, b"\xff\xff\xfd\x00\x05\x06")])
    parser = dxl.Parser()
    assert parser.feed(packet[:-3]) == []
    (frame,) = parser.feed(packet[-3:])
    assert dxl.parse_fast_status(frame, 6)[0].params == b"\xff\xff\xfd\x00\x05\x06"


@pytest.mark.parametrize(
    ("parse", "frame"),
    [
        (dxl.parse_status, dxl.Frame(1, dxl.Instruction.PING, b"")),
        (dxl.parse_status, dxl.Frame(1, dxl.Instruction.STATUS, b"")),
        (dxl.parse_read, dxl.Frame(1, dxl.Instruction.READ, b"\0\0\0")),
        (dxl.parse_write, dxl.Frame(1, dxl.Instruction.WRITE, b"\0\0")),
        (dxl.parse_sync_read, dxl.Frame(1, dxl.Instruction.SYNC_READ, b"\0\0\0\0")),
        (dxl.parse_sync_write, dxl.Frame(1, dxl.Instruction.SYNC_WRITE, b"\0\0\2\0\1")),
        (dxl.parse_sync_write, dxl.Frame(1, dxl.Instruction.SYNC_WRITE, b"\0\0\2\0\1\2\3\4")),
        (dxl.parse_sync_write, dxl.Frame(1, dxl.Instruction.SYNC_WRITE, b"\0\0\0\0\1\2")),
    ],
)
def test_malformed_parameters_are_refused(parse: object, frame: dxl.Frame) -> None:
    assert callable(parse)
    with pytest.raises(WireError):
        parse(frame)


def test_a_fast_status_of_the_wrong_shape_is_refused() -> None:
    with pytest.raises(WireError):
        dxl.parse_fast_status(dxl.Frame(1, dxl.Instruction.STATUS, b"\0" * 6), 4)
    with pytest.raises(WireError):
        dxl.parse_fast_status(dxl.Frame(dxl.BROADCAST_ID, dxl.Instruction.STATUS, b"\0" * 7), 4)


@pytest.mark.parametrize("node", [-1, 253, 255, 256])
def test_an_impossible_id_is_refused(node: int) -> None:
    with pytest.raises(WireError):
        dxl.make_ping(node)


def test_an_oversized_packet_is_refused() -> None:
    with pytest.raises(WireError):
        dxl.make_write(1, 0, bytes(dxl.MAX_PACKET_BYTES))


def test_the_parser_finds_a_packet_behind_garbage_and_counts_it() -> None:
    parser = dxl.Parser()
    assert parser.feed(b"\x00\xff\xffnoise" + dxl.make_ping(1)) == [
        dxl.Frame(1, dxl.Instruction.PING, b"")
    ]
    assert parser.discarded_bytes == 8


def test_a_cut_off_packet_does_not_swallow_the_next() -> None:
    parser = dxl.Parser()
    cut = dxl.make_write(1, 116, bytes(60))[:20]
    assert parser.feed(cut + dxl.make_ping(2)) == [dxl.Frame(2, dxl.Instruction.PING, b"")]
    assert parser.discarded_bytes == len(cut)


def test_reset_forgets_a_partial_packet() -> None:
    parser = dxl.Parser()
    parser.feed(dxl.make_ping(1)[:6])
    parser.reset()
    assert len(parser.feed(dxl.make_ping(2))) == 1


def test_the_buffer_stays_bounded_under_endless_noise() -> None:
    parser = dxl.Parser()
    for chunk in (dxl.HEADER + b"\x01\xf0\x03", bytes(500), dxl.HEADER * 200, b"\xff" * 900):
        for _ in range(50):
            parser.feed(chunk)
            assert len(parser._buffer) <= dxl.MAX_PACKET_BYTES


def test_registers_do_not_overlap_and_pack_what_they_unpack() -> None:
    for table in (xl330.XL330, xl330.ENCODER):
        end = 0
        for register in table:
            assert register.address >= end, register.name
            end = register.address + register.size
            for value in (register.minimum, register.initial, register.maximum):
                assert register.unpack(register.pack(value)) == value
    with pytest.raises(WireError):
        xl330.BUS_WATCHDOG.pack(256)
    assert xl330.GOAL_CURRENT.unpack(b"\xff\xff") == -1
    assert xl330.BUS_WATCHDOG.unpack(b"\xff") == xl330.WATCHDOG_TRIPPED
