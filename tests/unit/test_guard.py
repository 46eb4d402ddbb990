"""Does the guard hear every source, miss none that is gone, and notice a loop that hangs?"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator

import pytest

from onboard.command import Command
from onboard.estop import EmergencyStop
from onboard.estop_key import StandardInput
from onboard.estop_source import EstopSource, Signal
from onboard.guard import HUNG_S, POLL_S, Guard
from onboard.heartbeat import Heartbeat
from protocol.errors import ConfigError


class Button:
    """A source over a pipe: ``p`` is a press, its end a loss."""

    def __init__(self, name: str = "button") -> None:
        self.name, self.held, self.plugged = name, False, True
        self.opened = self._read = self._write = 0

    def open(self) -> None:
        if not self.plugged:
            raise ConfigError(f"{self.name} is not there")
        self._read, self._write = os.pipe()
        self.opened += 1

    def fileno(self) -> int:
        return self._read

    def take(self) -> Signal:
        data = os.read(self._read, 1)
        if not data:
            return Signal.LOST
        return Signal.PRESSED if data == b"p" else Signal.QUIET

    def close(self) -> None:
        os.close(self._read)
        if self._write:
            os.close(self._write)

    def say(self, data: bytes) -> None:
        os.write(self._write, data)

    def unplug(self) -> None:
        os.close(self._write)
        self._write, self.plugged = 0, False


class Scene:
    """A guard with its surroundings."""

    def __init__(self, *buttons: EstopSource) -> None:
        self.now_s, self.ticks = 100.0, 1
        self.commands: deque[Command] = deque()
        self.cuts = 0
        self.given_up: list[str] = []
        estop = EmergencyStop(self._cut, self.commands, self._obey)
        self.guard = Guard(
            buttons, estop, lambda: self.ticks, self.given_up.append, lambda: self.now_s
        )

    def _cut(self) -> None:
        self.cuts += 1

    def _obey(self, _: float) -> None:
        for command in self.commands:
            command.take()

    @property
    def sources(self) -> list[str]:
        return [getattr(command.request, "source", "?") for command in self.commands]


@pytest.fixture
def button() -> Button:
    return Button()


@pytest.fixture
def scene(button: Button) -> Iterator[Scene]:
    scene = Scene(button)
    with scene.guard:
        yield scene


def test_a_press_cuts_and_names_the_button(scene: Scene, button: Button) -> None:
    button.say(b"-")
    scene.guard.turn(0.0)
    assert scene.sources == []
    button.say(b"p")
    scene.guard.turn(0.0)
    assert (scene.cuts, scene.sources) == (1, ["button"])


def test_a_button_that_is_gone_stops_once_and_is_looked_for(scene: Scene, button: Button) -> None:
    button.unplug()
    for _ in range(3):
        scene.guard.turn(0.0)
    assert scene.sources == ["button, which is gone"]
    assert scene.guard.pressed == ["button"]
    button.plugged = True
    scene.guard.turn(0.0)
    assert scene.guard.pressed == []
    button.say(b"p")
    scene.guard.turn(0.0)
    assert scene.sources[1:] == ["button"]


def test_a_button_that_stays_away_is_looked_for_again_and_again(
    scene: Scene, button: Button
) -> None:
    button.unplug()
    for _ in range(5):
        scene.guard.turn(0.0)
        assert scene.guard.pressed == ["button"]
    assert button.opened == 1


def test_standard_input_from_nowhere_stops_once() -> None:
    nowhere = os.open("/dev/null", os.O_RDONLY)
    scene = Scene(StandardInput(nowhere))
    scene.guard.open()
    for _ in range(3):
        scene.guard.turn(0.0)
    assert scene.sources == ["a key, which is gone"]
    assert scene.guard.pressed == ["a key"]
    scene.guard.release()
    os.close(nowhere)


def test_a_button_held_down_forbids_a_clear(scene: Scene, button: Button) -> None:
    assert scene.guard.pressed == []
    button.held = True
    assert scene.guard.pressed == ["button"]


def test_a_button_held_down_at_the_start_stops(scene: Scene, button: Button) -> None:
    button.held = True
    scene.guard.close()
    scene.guard.run()
    assert scene.sources == ["button, held down at the start"]


def test_it_watches_until_it_is_closed_and_then_needs_no_press_to_end(
    scene: Scene, button: Button
) -> None:
    thread = threading.Thread(target=scene.guard.run)
    thread.start()
    button.say(b"p")
    deadline_s = time.monotonic() + 10.0
    while not scene.commands and time.monotonic() < deadline_s:
        time.sleep(0.001)
    assert scene.sources == ["button"]
    scene.guard.close()
    thread.join(10.0)
    assert not thread.is_alive()


def test_without_one_of_its_buttons_it_does_not_open() -> None:
    present, absent = Button("present"), Button("absent")
    absent.plugged = False
    with pytest.raises(ConfigError, match="absent is not there"):
        Scene(present, absent).guard.open()
    with pytest.raises(OSError):
        os.fstat(present.fileno())  # it was given back


def test_a_loop_that_hangs_is_stopped_and_given_up(scene: Scene) -> None:
    scene.guard.turn(0.0)
    for _ in range(round(HUNG_S / POLL_S)):
        scene.now_s += POLL_S
        scene.guard.turn(0.0)
    assert scene.given_up == []
    scene.now_s += POLL_S
    scene.guard.turn(0.0)
    assert scene.given_up == [*scene.sources] == ["the control loop has not ticked for 5 s"]


def test_a_long_sleep_of_the_machine_counts_as_two_looks(scene: Scene) -> None:
    scene.guard.turn(0.0)
    for _ in range(round(HUNG_S / (2.0 * POLL_S))):
        scene.now_s += 3600.0
        scene.guard.turn(0.0)
    assert scene.given_up == []
    scene.now_s += 3600.0
    scene.guard.turn(0.0)
    assert scene.given_up != []


def test_a_loop_that_ticks_is_left_alone(scene: Scene) -> None:
    for _ in range(100):
        scene.now_s += POLL_S
        scene.ticks += 1
        scene.guard.turn(0.0)
    assert scene.given_up == []


def stops_after(heartbeat: Heartbeat, times_s: list[float], beats: int = 7) -> list[bool]:
    heartbeat.stopped(times_s[0], beats)
    return [heartbeat.stopped(time_s, beats) for time_s in times_s[1:]]


def test_still_for_longer_than_the_limit_is_stopped() -> None:
    assert stops_after(Heartbeat(2.0, 1.0), [10.0, 11.0, 12.0, 12.5]) == [False, False, True]


def test_a_machine_that_slept_has_not_stopped() -> None:
    """An hour passed between two looks: the observer slept as well."""
    assert stops_after(Heartbeat(2.0, 1.0), [10.0, 3610.0, 3611.0]) == [False, False]


def test_a_loop_that_never_began_has_not_stopped() -> None:
    assert not any(stops_after(Heartbeat(2.0, 1.0), [10.0, 11.0, 12.0, 13.0, 14.0], beats=0))
