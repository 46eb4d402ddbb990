"""Is a Feetech packet found in any stream, and is nothing else ever taken for one?"""

from __future__ import annotations

import pytest

from protocol import feetech
from protocol.errors import WireError
from protocol.feetech import Frame, Instruction, Parser

PING = feetech.make_ping(7)
FRAME = Frame(7, Instruction.PING, b"")


@pytest.mark.parametrize("cut", range(1, len(PING)))
def test_a_packet_in_two_pieces_is_one_packet(cut: int) -> None:
    parser = Parser()
    assert parser.feed(PING[:cut]) == []
    assert parser.feed(PING[cut:]) == [FRAME]
    assert parser.discarded_bytes == 0


@pytest.mark.parametrize(
    "noise", [b"\0", b"\xff", b"\xff\xff", b"\xff\xff\x07", b"abc\xff", b"U" * 999]
)
def test_noise_before_a_packet_costs_the_noise_only(noise: bytes) -> None:
    parser = Parser()
    assert parser.feed(noise + PING + PING)[-1] == FRAME
    assert parser.discarded_bytes <= len(noise) + len(PING)


def test_a_wrong_checksum_is_counted_and_the_next_packet_found() -> None:
    parser = Parser()
    assert parser.feed(PING[:-1] + b"\0" + PING) == [FRAME]
    assert parser.crc_errors == 1


def test_a_cut_off_packet_is_forgotten_at_a_reset() -> None:
    parser = Parser()
    parser.feed(feetech.make_status(1, bytes(15))[:9])
    parser.reset()
    assert parser.feed(PING) == [FRAME]
    assert parser.discarded_bytes == 9


def test_an_endless_packet_of_garbage_never_holds_more_than_one() -> None:
    parser = Parser()
    for _ in range(100):
        parser.feed(b"\xff\xff\x01\xfe" + b"\x55" * 600)
    assert len(parser._buffer) <= feetech.MAX_PACKET_BYTES


@pytest.mark.parametrize("node", [-1, 255, 256])
def test_an_id_the_bus_cannot_express_is_refused(node: int) -> None:
    with pytest.raises(WireError, match=r"outside 0\.\.253"):
        feetech.make_ping(node)


def test_a_packet_that_is_too_long_is_refused() -> None:
    feetech.make_write(1, 0, bytes(251))
    with pytest.raises(WireError, match="exceeds 258"):
        feetech.make_write(1, 0, bytes(252))


@pytest.mark.parametrize(
    ("parse", "params"),
    [
        (feetech.parse_read, b"\x38"),
        (feetech.parse_read, b"\x38\x02\x00"),
        (feetech.parse_write, b"\x38"),
        (feetech.parse_sync_read, b"\x38\x02"),
        (feetech.parse_sync_write, b"\x38\x02\x01"),
        (feetech.parse_sync_write, b"\x38\x02\x01\x00"),
        (feetech.parse_sync_write, b"\x38\x00\x01\x02"),
    ],
)
def test_malformed_parameters_are_refused(parse, params: bytes) -> None:
    with pytest.raises(WireError):
        parse(Frame(1, 0, params))


def test_parameters_come_back_as_they_were_made() -> None:
    def only(packet: bytes) -> Frame:
        (frame,) = Parser().feed(packet)
        return frame

    assert feetech.parse_read(only(feetech.make_read(1, 56, 15))) == (56, 15)
    assert feetech.parse_write(only(feetech.make_write(1, 42, b"ab"))) == (42, b"ab")
    assert feetech.parse_sync_read(only(feetech.make_sync_read(56, 15, (3, 1)))) == (56, 15, (3, 1))
    data = ((1, b"ab"), (2, b"cd"))
    assert feetech.parse_sync_write(only(feetech.make_sync_write(42, 2, data))) == (42, data)


@pytest.mark.parametrize("frame", [Frame(0xFE, 0, b""), Frame(1, 0x83, b"")])
def test_an_instruction_is_no_answer(frame: Frame) -> None:
    with pytest.raises(WireError, match="is no answer"):
        feetech.parse_status(frame)
