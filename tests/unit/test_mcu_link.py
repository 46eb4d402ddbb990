"""Is a frame of the microcontroller link refused unless it is whole, and does a stop brake?"""

from __future__ import annotations

import pytest
from made_mcu import ROOT, load_mcu_robot

from protocol import mcu_link as mcu
from protocol.cobs import MAX_BYTES, stuff, unstuff
from protocol.errors import ConfigError, WireError
from protocol.mcu_link import Frame, Kind, Parser
from sim_harness.current_drive import CurrentDrive
from sim_harness.hil.tape import Heard, Tape
from sim_harness.hil.truth import relive
from sim_harness.mcu_firmware import McuFirmware, mcu_board
from sim_harness.plant import load_plant
from sim_harness.wire_end import Brake

ROBOT = ROOT / "hw_configs" / "furuta_mcu.toml"
PING = mcu.make_read(7)
FRAME = Frame(Kind.READ, 7, b"")
MS = 1_000_000


@pytest.mark.parametrize("cut", range(1, len(PING) - 1))
def test_a_frame_in_two_pieces_is_one_frame(cut: int) -> None:
    parser = Parser()
    assert parser.feed(PING[:cut]) == []
    assert parser.feed(PING[cut:]) == [FRAME]
    assert parser.crc_errors == 0


def test_a_cut_off_frame_is_forgotten_at_a_reset() -> None:
    parser = Parser()
    parser.feed(PING[:5])
    parser.reset()
    assert parser.feed(PING) == [FRAME]
    assert parser.crc_errors == 0


@pytest.mark.parametrize("noise", [b"\x01" * 999, b"abc", b"\xff" * 254, PING[1:-1]])
def test_what_runs_into_a_frame_is_lost_alone(noise: bytes) -> None:
    """Frames begin with a delimiter for this."""
    parser = Parser()
    assert parser.feed(noise[:100] + noise[100:] + PING)[-1] == FRAME


def test_a_frame_that_is_too_long_is_counted_and_not_kept() -> None:
    parser = Parser()
    for _ in range(100):
        assert parser.feed(b"\x02" * 100) == []
        assert len(parser._buffer) <= MAX_BYTES + 1
    assert parser.feed(b"\0") == []
    assert parser.crc_errors == 1


def test_another_version_is_counted_and_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcu, "VERSION", 2)
    foreign = mcu.make_read(1)
    monkeypatch.undo()
    parser = Parser()
    assert parser.feed(foreign) == []
    assert (parser.foreign, parser.crc_errors) == (1, 0)


@pytest.mark.parametrize(
    ("sequence", "than", "newer"),
    [(1, 0, True), (0, 0, False), (0, 1, False), (1, 0xFFFF, True), (0x8000, 0, False)],
)
def test_sequences_wrap_around(sequence: int, than: int, newer: bool) -> None:
    assert mcu.is_newer(sequence, than) is newer


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: mcu.make_read(0x10000), "do not fit a frame"),
        (lambda: mcu.make_command(1, mcu.Command(40, (0x8000,))), "do not fit a frame"),
        (lambda: mcu.make_frame(1, 1, bytes(246)), "exceed the 253"),
        (lambda: unstuff(b""), "0 bytes are no frame"),
        (lambda: unstuff(b"\x05abc"), "byte 0 of 4 begins no block"),
    ],
)
def test_what_no_frame_can_hold_is_refused(make, text: str) -> None:
    with pytest.raises(WireError, match=text):
        make()


@pytest.mark.parametrize(
    ("parse", "frame", "text"),
    [
        (mcu.parse_command, Frame(Kind.COMMAND, 1, b"\x28"), "command of 1 bytes instead of 3"),
        (mcu.parse_command, Frame(Kind.COMMAND, 1, b"\x28\0\x02\0\0"), "goals of 2 bytes"),
        (mcu.parse_power, Frame(Kind.POWER, 1, b"\1"), "power order of 1 bytes"),
        (mcu.parse_identity, FRAME, "no IDENTITY"),
        (mcu.parse_state, FRAME, "no STATE"),
        (mcu.parse_state, Frame(Kind.STATE, 1, b"\0\1" + bytes(6)), "not the state of 1 channels"),
    ],
)
def test_a_payload_that_is_not_what_it_says_is_refused(parse, frame: Frame, text: str) -> None:
    with pytest.raises(WireError, match=text):
        parse(frame)


def test_sixteen_channels_fit_a_frame() -> None:
    channels = (mcu.Channel(-1, -1, -1, -1, 255, 255),) * mcu.MAX_CHANNELS
    state = mcu.State(mcu.Flag.POWERED, 40, 1, 5000, channels)
    (frame,) = Parser().feed(mcu.make_state(1, state))
    assert mcu.parse_state(frame) == state
    assert len(stuff(frame.payload)) < MAX_BYTES


def test_a_brake_acts_against_the_motion_and_no_stronger_than_it_may() -> None:
    brake = Brake(ampere_s_rad=0.1, current_max_a=0.8)
    assert brake.current_a(2.0) == pytest.approx(-0.2)
    assert brake.current_a(-99.0) == 0.8


def test_a_braked_motor_of_the_plant_comes_to_rest() -> None:
    plant = load_plant(ROBOT, "nominal", 0)
    assert isinstance(plant._drive, CurrentDrive)
    plant.command([0.8])
    plant.advance(200)
    assert plant.velocity_rad_s()[0] > 3.0
    plant.command([Brake(0.1, 0.8)])
    plant.advance(50)
    assert plant.current_a()[0] < 0.0
    plant.advance(500)
    assert abs(plant.velocity_rad_s()[0]) < 0.5


def test_a_stop_of_the_board_itself_counts_as_nothing_asked() -> None:
    """In the timeline of a hardware-in-the-loop run."""
    spec = load_mcu_robot()
    packets = [
        mcu.make_power(1, mcu.Power(1, 40, 800)),
        mcu.make_command(2, mcu.Command(40, (500, 0))),
    ]
    heard = [Heard(at * MS, packet, 0) for at, packet in zip((10, 20), packets, strict=True)]
    tape = Tape(
        robot=spec.name,
        digest=spec.digest(),
        body="nominal",
        seed=0,
        scenario="stop",
        started_ns=0,
        elapsed_s=0.2,
        lost_ms=0.0,
        worst_lag_ms=0.0,
        end_ns=200 * MS,
        events=heard,
    )
    truth = relive(tape, spec, ROOT / "hw_configs")
    when = {
        round(at_s * 1e3): bool(asks) for at_s, asks in zip(truth.time_s, truth.asking, strict=True)
    }
    assert (when[10], when[30], when[60], when[70], when[150]) == (False, True, True, False, False)
    assert set(truth.command[truth.time_s > 0.07, 0].tolist()) == {0.0}


def test_an_unknown_order_and_one_with_too_much_are_not_answered() -> None:
    board = McuFirmware([True, False])
    for packet in (mcu.make_frame(0x55, 1), mcu.make_frame(Kind.READ, 1, b"x"), b"\x01\x02\0"):
        assert board.receive(packet, 0) == []
    assert (board.frames, board.crc_errors) == (2, 1)


def test_another_kind_of_node_is_no_channel(furuta) -> None:
    with pytest.raises(
        ConfigError, match=r"joints.arm: xl330-m288 is no microcontroller's channel"
    ):
        mcu_board(furuta.joints)
