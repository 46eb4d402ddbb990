"""Does an emergency stop act while the loop does not, and do nothing too often or for too long?"""

from __future__ import annotations

import mmap
import os
from collections import deque
from pathlib import Path

import pytest

from onboard.command import Command
from onboard.control_api import Estop, Start
from onboard.estop import CUT_AGAIN_S, CUTS, EmergencyStop
from onboard.estop_latch import EstopLatch, latch_alone, latch_from_outside, map_latch
from protocol.errors import StoreError


class Loop:
    """A loop that obeys after ``after`` pauses of the thread that triggers."""

    def __init__(self, after: int) -> None:
        self.commands: deque[Command] = deque()
        self.after, self.pauses = after, 0
        self.done: list[str] = []

    def cut(self) -> None:
        self.done.append("cut")

    def sleep(self, seconds: float) -> None:
        assert seconds == CUT_AGAIN_S
        self.pauses += 1
        if self.pauses == self.after:
            self.done.append("obeyed")
            self.commands.popleft().take()


def test_the_first_cut_comes_before_anything_else() -> None:
    loop = Loop(after=1)
    command = EmergencyStop(loop.cut, loop.commands, loop.sleep).trigger("a test")
    assert loop.done == ["cut", "obeyed"]
    assert command.request == Estop(source="a test")


def test_cuts_are_repeated_until_the_loop_has_taken_over() -> None:
    loop = Loop(after=3)
    EmergencyStop(loop.cut, loop.commands, loop.sleep).trigger("a test")
    assert loop.done == ["cut", "cut", "cut", "obeyed"]


def test_a_loop_that_hangs_holds_the_caller_for_a_limited_time_and_finds_the_command_later() -> (
    None
):
    loop = Loop(after=-1)
    command = EmergencyStop(loop.cut, loop.commands, loop.sleep).trigger("a test")
    assert loop.done == ["cut"] * CUTS
    assert CUTS * CUT_AGAIN_S <= 0.1
    assert [*loop.commands] == [command]
    assert not command.taken


def test_it_comes_after_what_was_asked_before() -> None:
    """So that a CLEAR on its way cannot undo it."""
    loop = Loop(after=-1)
    loop.commands.append(Command(Start()))
    EmergencyStop(loop.cut, loop.commands, loop.sleep).trigger("a test")
    assert isinstance(loop.commands[-1].request, Estop)


def test_the_latch_outlives_whoever_set_it(tmp_path: Path) -> None:
    path = tmp_path / "estop"
    with map_latch(path) as memory:
        latch = EstopLatch(memory)
        assert not latch.is_set
        latch.set()
        assert latch.is_set
    with map_latch(path) as memory:
        latch = EstopLatch(memory)
        assert latch.is_set
        latch.clear()
    with map_latch(path) as memory:
        assert not EstopLatch(memory).is_set
    assert path.stat().st_mode & 0o077 == 0
    assert path.stat().st_size == mmap.PAGESIZE


def test_setting_the_latch_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk refuses ``write``; memory that exists cannot be refused."""

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with map_latch(tmp_path / "estop") as memory:
        for call in ("write", "pwrite", "open", "posix_fallocate", "fsync"):
            monkeypatch.setattr(os, call, refuse)
        EstopLatch(memory).set()
        monkeypatch.undo()
    assert (tmp_path / "estop").read_bytes()[0] == 1


def test_a_latch_that_cannot_be_kept_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot keep the emergency stop's latch"):
        map_latch(tmp_path / "absent" / "estop")


def test_another_process_can_latch_what_is_in_use(tmp_path: Path) -> None:
    with map_latch(tmp_path / "estop") as memory:
        latch_from_outside(tmp_path / "estop")
        assert EstopLatch(memory).is_set
    assert (tmp_path / "estop").stat().st_size == mmap.PAGESIZE


def test_it_can_latch_before_anybody_has_used_it(tmp_path: Path) -> None:
    latch_from_outside(tmp_path / "estop")
    assert (tmp_path / "estop").stat().st_mode & 0o077 == 0
    with map_latch(tmp_path / "estop") as memory:
        assert EstopLatch(memory).is_set


def test_in_the_directory_of_another_user_it_makes_nothing_that_he_could_not_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(StoreError, match="cannot latch the emergency stop"):
        latch_from_outside(tmp_path / "estop")
    map_latch(tmp_path / "estop").close()
    latch_from_outside(tmp_path / "estop")
    assert (tmp_path / "estop").read_bytes()[0] == 1


def test_it_follows_no_link_and_waits_for_no_reader(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo"):
        with pytest.raises(StoreError, match="cannot latch the emergency stop"):
            latch_from_outside(tmp_path / name)
    assert (tmp_path / "other").read_bytes() == b"x"


def test_who_latches_alone_says_so_and_claims_no_more(tmp_path: Path) -> None:
    told = latch_alone(tmp_path / "estop")
    assert f"it is latched in {tmp_path / 'estop'}" in told
    assert "until `wombet-onboard clear`" in told
    assert "Nobody has confirmed that the torque is off" in told
    assert "NOTHING IS LATCHED" in latch_alone(tmp_path / "absent" / "estop")
