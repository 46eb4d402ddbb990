"""Does a stream of packets survive any chunking, and does the official SDK agree byte for byte?"""

from __future__ import annotations

from typing import Any

from dynamixel_sdk import COMM_SUCCESS, Protocol2PacketHandler
from hypothesis import given
from hypothesis import strategies as st

from protocol import dynamixel as dxl

params = st.lists(
    st.one_of(st.binary(max_size=6), st.just(b"\xff\xff\xfd"), st.just(b"\xff\xff\xfd\xfd")),
    max_size=8,
).map(b"".join)
nodes = st.integers(0, dxl.MAX_ID)
frames = st.builds(dxl.Frame, nodes, st.sampled_from([int(i) for i in dxl.Instruction]), params)


def packet(frame: dxl.Frame) -> bytes:
    return dxl.make_packet(frame.id, frame.instruction, frame.params)


@given(st.lists(frames, max_size=5), st.lists(st.integers(1, 9), min_size=1))
def test_packets_survive_any_chunking(sent: list[dxl.Frame], sizes: list[int]) -> None:
    stream = b"".join(map(packet, sent))
    parser, received, start = dxl.Parser(), [], 0
    while start < len(stream):
        size = sizes[start % len(sizes)]
        received += parser.feed(stream[start : start + size])
        start += size
    assert received == sent
    assert parser.crc_errors == parser.discarded_bytes == 0


@given(frames, st.data())
def test_a_burst_of_up_to_16_bits_never_yields_another_packet(
    frame: dxl.Frame, data: st.DataObject
) -> None:
    """A CRC-16 finds every such burst behind the length field."""
    good = packet(frame)
    position = data.draw(st.integers(7, len(good) - 2))
    mask = data.draw(st.integers(1, 0xFFFF))
    broken = bytearray(good)
    broken[position] ^= mask & 0xFF
    broken[position + 1] ^= mask >> 8
    assert dxl.Parser().feed(bytes(broken)) == []


@given(st.lists(st.tuples(nodes, st.binary(min_size=10, max_size=10)), min_size=1, max_size=12))
def test_fast_answers_come_back(blocks: list[tuple[int, bytes]]) -> None:
    answers = [dxl.Status(node, 0, False, data) for node, data in blocks]
    (frame,) = dxl.Parser().feed(dxl.make_fast_status(answers))
    assert dxl.parse_fast_status(frame, 10) == answers


class Loopback:
    """The port object of the official SDK, in memory."""

    is_using = False

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def readPort(self, length: int) -> bytes:  # noqa: N802 - the SDK's names
        data, self._answer = self._answer[:length], self._answer[length:]
        return data

    def isPacketTimeout(self) -> bool:  # noqa: N802
        return not self._answer


def sdk_packet(frame: dxl.Frame) -> bytes:
    """Stuffed and sealed by the SDK's own functions (its ``txPacket`` drops the stuffing)."""
    sdk = Protocol2PacketHandler()
    length = len(frame.params) + 3
    head = [*dxl.HEADER, frame.id, length & 0xFF, length >> 8, frame.instruction]
    stuffed = sdk.addStuffing([*head, *frame.params, 0, 0])
    crc = sdk.updateCRC(0, stuffed, len(stuffed) - 2)
    return bytes([*stuffed[:-2], crc & 0xFF, crc >> 8])


@given(frames)
def test_the_official_sdk_builds_the_same_bytes(frame: dxl.Frame) -> None:
    assert sdk_packet(frame) == packet(frame)


@given(nodes, params)
def test_the_official_sdk_reads_our_answers(node: int, data: bytes) -> None:
    answer = dxl.make_status(node, data)
    port: Any = Loopback(answer)
    received, result, error = Protocol2PacketHandler().readRx(port, node, len(data))
    assert (bytes(received), result, error) == (data, COMM_SUCCESS, 0)


@given(st.lists(st.tuples(nodes, st.binary(min_size=4, max_size=4)), min_size=1, max_size=6))
def test_the_official_sdk_reads_our_fast_answers(blocks: list[tuple[int, bytes]]) -> None:
    answers = [dxl.Status(node, 0, False, data) for node, data in blocks]
    port: Any = Loopback(dxl.make_fast_status(answers))
    size = (4 + 4) * len(answers)
    received, result, _ = Protocol2PacketHandler().fastSyncReadRx(port, dxl.BROADCAST_ID, size)
    assert result == COMM_SUCCESS
    assert [bytes(received[i + 2 : i + 6]) for i in range(0, size, 8)] == [d for _, d in blocks]
