"""Does what ends an armed self-test wait for the torque, and is its exit status the truth?"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from onboard import self_test_run
from onboard.armed_test import TORQUE_OFF
from onboard.estop_source import Signal
from onboard.finding import Finding, Verdict
from onboard.self_test_run import Signals, _guarded, run_self_test
from protocol.errors import BusError, ConfigError
from protocol.robot_spec import RobotSpec

EARLY = Finding(Verdict.FAILED, "ended early", "ended by SIGTERM")
OFF = Finding(Verdict.OK, TORQUE_OFF, "confirmed by every motor")
STILL_ON = Finding(Verdict.FAILED, TORQUE_OFF, "arm: torque may still be on")


@pytest.fixture
def handlers() -> Iterator[None]:
    """The handlers of this process, as they were."""
    before = {number: signal.getsignal(number) for number in self_test_run.ENDING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_the_first_signal_is_noted_and_none_is_obeyed_until_it_is_left() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    before = [signal.getsignal(number) for number in self_test_run.ENDING]
    with Signals() as signals:
        signal.raise_signal(signal.SIGHUP)
        assert signals.number == 0
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert signals.number == signal.SIGINT
    assert [signal.getsignal(number) for number in self_test_run.ENDING] == before


class Button:
    """A source on a pipe whose reader fails when it is hit."""

    name, held = "a button", False

    def __init__(self, take: Any) -> None:
        self.read, self.write = os.pipe()
        self.take = take

    def open(self) -> None:
        """It is there."""

    def fileno(self) -> int:
        return self.read

    def close(self) -> None:
        for end in (self.read, self.write):
            with suppress(OSError):
                os.close(end)


class Torque:
    """What the guard cuts."""

    cuts = 0

    def cut(self) -> None:
        self.cuts += 1


def until(condition: Any) -> None:
    deadline_s = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_a_button_cuts_the_torque_at_once() -> None:
    torque, button = Torque(), Button(lambda: Signal.PRESSED)
    with _guarded([button], torque) as watched:  # type: ignore[arg-type]
        os.write(button.write, b"x")
        until(lambda: torque.cuts)
        assert watched()
    assert not watched()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_guard_that_has_failed_is_noticed() -> None:
    button = Button(lambda: 1 // 0)
    with _guarded([button], Torque()) as watched:  # type: ignore[arg-type]
        assert watched()
        os.write(button.write, b"x")
        until(lambda: not watched())


def ended(
    spec: RobotSpec, folder: Path, patch: pytest.MonkeyPatch, number: int, *found: Finding
) -> int:
    """The exit status of an armed self-test that finds this."""

    def move(*arguments: Any) -> list[Finding]:
        arguments[-1].number = number
        return [*found]

    patch.setattr(self_test_run, "self_test", lambda *_: [])
    patch.setattr(self_test_run, "_move", move)
    return run_self_test(spec, folder / "tty", folder, arm=True)


def test_the_exit_status_is_the_signals_only_if_the_torque_is_off(
    furuta: RobotSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = (furuta, tmp_path, monkeypatch)
    assert ended(*place, 0, OFF) == 0
    assert ended(*place, signal.SIGTERM, EARLY, OFF) == 143
    with pytest.raises(BusError, match="the self-test failed: ended early, torque off"):
        ended(*place, signal.SIGTERM, EARLY, STILL_ON)
    with pytest.raises(BusError, match=r"the self-test failed: ended early$"):
        ended(*place, 0, EARLY, OFF)


def test_a_terminal_that_has_hung_up_does_not_change_it(
    furuta: RobotSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("builtins.print", fail)
    assert ended(furuta, tmp_path, monkeypatch, signal.SIGHUP, EARLY, OFF) == 129


def test_a_source_that_cannot_be_had_is_an_error_before_anything_moves() -> None:
    class Absent(Button):
        def open(self) -> None:
            raise ConfigError("not there")

    with (
        pytest.raises(ConfigError, match="not there"),
        _guarded([Absent(None)], Torque()),  # type: ignore[arg-type]
    ):
        raise AssertionError("it went on")
