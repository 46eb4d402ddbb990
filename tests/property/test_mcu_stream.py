"""Does noise ever become a frame, and do the emulated board and the C node ever differ?"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_mcu import CNode, Sample, build_library

from protocol import mcu_link as mcu
from protocol.cobs import MAX_BYTES, stuff, unstuff
from protocol.errors import WireError
from sim_harness.mcu_firmware import McuFirmware
from sim_harness.wire_end import Reading

numbers = st.integers(0, 0xFFFF)
small = st.integers(0, 9)
goals = st.lists(st.integers(-0x8000, 0x7FFF), max_size=3).map(tuple)
deadlines = st.sampled_from([0, 1, 20, 2550, 2551, 0xFFFF])
orders = st.one_of(
    st.builds(mcu.make_hello, small),
    st.builds(mcu.make_read, small),
    st.builds(mcu.make_command, small, st.builds(mcu.Command, deadlines, goals)),
    st.builds(
        mcu.make_command,
        small,
        st.builds(mcu.Command, st.just(20), st.tuples(*[st.integers(-900, 900)] * 2)),
    ),
    st.builds(
        mcu.make_power,
        small,
        st.builds(mcu.Power, st.sampled_from([0, 1, 1, 2]), deadlines, numbers),
    ),
    st.builds(mcu.make_power, small, st.just(mcu.Power(1, 20, 500))),
    st.builds(mcu.make_frame, st.integers(0, 255), small, st.binary(max_size=8)),
)
turns = st.lists(st.tuples(orders | st.binary(max_size=20), st.integers(0, 15)), max_size=30)
frames = st.lists(
    st.builds(mcu.make_frame, st.integers(0, 255), numbers, st.binary(max_size=60)), max_size=6
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory):
    return build_library(tmp_path_factory.mktemp("mcu"))


@given(st.binary(max_size=MAX_BYTES))
def test_stuffed_bytes_have_no_zero_and_come_back(data: bytes) -> None:
    stuffed = stuff(data)
    assert 0 not in stuffed
    assert len(stuffed) == len(data) + 1
    assert unstuff(stuffed) == data


@given(st.binary(max_size=300))
def test_what_can_be_unstuffed_was_stuffed(data: bytes) -> None:
    try:
        plain = unstuff(data)
    except WireError:
        return
    assert stuff(plain) == data


@given(frames, st.lists(st.integers(1, 40), max_size=20))
def test_a_stream_cut_anywhere_yields_the_same_frames(sent, cuts) -> None:
    stream, parser, found = b"".join(sent), mcu.Parser(), []
    for cut in [*cuts, len(stream)]:
        found += parser.feed(stream[:cut])
        stream = stream[cut:]
    assert [mcu.make_frame(*frame) for frame in found] == sent
    assert parser.crc_errors == 0


@given(st.binary(max_size=600))
def test_noise_is_never_a_frame(noise: bytes) -> None:
    assert mcu.Parser().feed(noise + b"\0") == []


@settings(max_examples=300)
@given(frames, st.data())
def test_damage_loses_frames_and_makes_none(sent, data) -> None:
    """Bytes flipped, lost and inserted: what comes out was sent, in that order."""
    stream = bytearray(b"".join(sent))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(stream)))
        kind = data.draw(st.sampled_from(["flip", "lose", "insert"]))
        if kind == "insert":
            stream[at:at] = data.draw(st.binary(min_size=1, max_size=6))
        elif kind == "lose":
            del stream[at : at + data.draw(st.integers(1, 20))]
        elif at < len(stream):
            stream[at] ^= data.draw(st.integers(1, 255))
    found = iter(sent)
    for frame in mcu.Parser().feed(bytes(stream)):
        assert mcu.make_frame(*frame) in found


@given(st.binary(max_size=400))
def test_the_frame_after_any_noise_is_heard(noise: bytes) -> None:
    heard = mcu.Parser().feed(noise + mcu.make_read(7))
    assert heard[-1:] == [mcu.Frame(mcu.Kind.READ, 7, b"")]


@settings(deadline=None)
@given(turns)
def test_the_emulated_board_does_what_the_c_node_does(library, heard) -> None:
    emulated, node = McuFirmware([True, False]), CNode(library)
    reading = Reading(0, -1.5, 0.0, 5.0, 30.0)
    emulated.sense([reading] * 2)
    node.sense([Sample(0, -1500, 0, 30, 0)] * 2, 5000)
    now_ms = 0
    for data, pause_ms in heard:
        now_ms += pause_ms
        answers = emulated.receive(data, now_ms * 1_000_000)
        assert node.hear(data, now_ms) == b"".join(reply.data for reply in answers)


@settings(deadline=None)
@given(turns)
def test_the_c_node_never_drives_beyond_its_limit_nor_longer_than_its_deadline(
    library, heard
) -> None:
    node, now_ms = CNode(library), 0
    node.sense([Sample(velocity_mrad_s=-(2**31))] * 2, 5000)
    for data, pause_ms in heard:
        now_ms += pause_ms
        node.hear(data, now_ms)
        assert abs(node.current_ma()[0]) <= 3000
        assert node.current_ma()[1] == 0
    node.sense([Sample()] * 2, 5000)
    node.elapse(now_ms + mcu.MAX_DEADLINE_MS + 1)
    assert node.current_ma() == [0, 0]
