"""Does every button stop the robot when it is hit, when it is held, and when it is gone?

The kernel's side is played by pipes and by answers to its ioctls; struct sizes and request numbers
are checked against the numbers that the kernel's headers give.
"""

from __future__ import annotations

import errno
import os
import pty
import select
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onboard import estop_gpio, estop_input
from onboard.estop_choice import chosen_source
from onboard.estop_gpio import GpioLine, make_request
from onboard.estop_input import InputKey
from onboard.estop_key import StandardInput
from onboard.estop_source import EstopSource, Signal
from protocol.errors import ConfigError

KEY_SPACE, KEY_ESC = 57, 1


class Pipe:
    """Where a test writes what a device says."""

    def __init__(self) -> None:
        self.read, self._write = os.pipe()
        os.set_blocking(self.read, False)

    def say(self, data: bytes) -> None:
        os.write(self._write, data)

    def hang_up(self) -> None:
        os.close(self._write)
        self._write = -1

    def close(self) -> None:
        if self._write >= 0:
            os.close(self._write)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


class Chip:
    """A GPIO chip whose one line is ``high`` or not."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe, self.high, self.gone = pipe, False, False
        self.request = b""

    def ioctl(self, fd: int, number: int, data: bytearray) -> int:
        if self.gone:
            raise OSError(errno.ENODEV, "No such device")
        if number == estop_gpio.GET_LINE:
            self.request = bytes(data)
            data[-4:] = struct.pack("=i", self.pipe.read)
        else:
            assert (number, fd) == (estop_gpio.GET_VALUES, self.pipe.read)
            data[:8] = struct.pack("=Q", int(self.high))
        return 0

    def edge(self, high: bool) -> None:
        self.high = high
        self.pipe.say(struct.pack("=QIIII24x", 123, 1 if high else 2, 17, 1, 1))


@pytest.fixture
def chip(pipe: Pipe) -> Chip:
    return Chip(pipe)


@pytest.fixture
def line(chip: Chip) -> Iterator[GpioLine]:
    line = GpioLine(Path("/dev/null"), 17, chip.ioctl)
    line.open()
    yield line
    line.close()


def test_the_structures_have_the_kernels_sizes() -> None:
    """The size is part of an ioctl's number: 0x250 bytes of request, 0x10 of values."""
    assert estop_gpio.GET_LINE >> 16 & 0x3FFF == len(make_request(0)) == 592
    assert estop_gpio.GET_VALUES >> 16 & 0x3FFF == 16
    assert estop_gpio._EVENT.size == 48
    assert estop_input.PRESSED_KEYS == 0x80604518
    assert estop_input.KNOWN_KEYS == 0x80604521


def test_the_line_is_asked_for_as_an_input_with_pull_up_and_both_edges(
    line: GpioLine, chip: Chip
) -> None:
    assert struct.unpack_from("=I", chip.request)[0] == 17
    assert chip.request[256:288].rstrip(b"\0") == b"wombet estop"
    assert struct.unpack_from("=Q", chip.request, 288)[0] == 4 | 16 | 32 | 256
    assert struct.unpack_from("=I", chip.request, 560)[0] == 1  # lines


def test_an_opened_contact_stops_and_is_held_until_it_closes(line: GpioLine, chip: Chip) -> None:
    assert not line.held
    assert line.fileno() == chip.pipe.read
    chip.edge(high=True)
    assert line.take() is Signal.PRESSED
    assert line.held
    chip.edge(high=False)
    assert line.take() is Signal.QUIET
    assert not line.held


def test_a_contact_that_only_bounced_open_stops_too(line: GpioLine, chip: Chip) -> None:
    chip.edge(high=True)
    chip.edge(high=False)
    assert line.take() is Signal.PRESSED
    assert not line.held


def test_a_broken_wire_is_found_at_the_start(pipe: Pipe, chip: Chip) -> None:
    chip.high = True
    line = GpioLine(Path("/dev/null"), 17, chip.ioctl)
    line.open()
    assert line.held
    line.close()


def test_a_chip_that_vanishes_is_a_loss(line: GpioLine, chip: Chip) -> None:
    chip.edge(high=False)
    chip.gone = True
    assert line.take() is Signal.LOST


def test_a_chip_that_refuses_is_a_wrong_configuration(chip: Chip) -> None:
    chip.gone = True
    with pytest.raises(ConfigError, match="gpio null line 17: cannot be taken"):
        GpioLine(Path("/dev/null"), 17, chip.ioctl).open()
    with pytest.raises(ConfigError, match="cannot be taken"):
        GpioLine(Path("/dev/absent"), 17, chip.ioctl).open()
    os.close(chip.pipe.read)


def key_event(code: int, value: int, kind: int = 1) -> bytes:
    return struct.pack("@llHHi", 1, 2, kind, code, value)


class Keyboard:
    """An input device with two keys, behind a FIFO."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "event0"
        os.mkfifo(self.path)
        self.fd = os.open(self.path, os.O_RDWR)
        self.down: set[int] = set()
        self.gone = False

    def ioctl(self, fd: int, number: int, data: bytearray) -> int:
        if self.gone:
            raise OSError(errno.ENODEV, "No such device")
        keys = self.down if number == estop_input.PRESSED_KEYS else {KEY_ESC, KEY_SPACE}
        for key in keys:
            data[key // 8] |= 1 << key % 8
        return 0

    def say(self, *events: bytes) -> None:
        os.write(self.fd, b"".join(events))

    def source(self, key: int | None) -> InputKey:
        source = InputKey(self.path, key, self.ioctl)
        source.open()
        return source


@pytest.fixture
def keyboard(tmp_path: Path) -> Iterator[Keyboard]:
    keyboard = Keyboard(tmp_path)
    yield keyboard
    os.close(keyboard.fd)


@pytest.mark.parametrize(
    ("key", "event", "expected"),
    [
        (KEY_SPACE, key_event(KEY_SPACE, 1), Signal.PRESSED),
        (KEY_SPACE, key_event(KEY_SPACE, 2), Signal.PRESSED),  # repeated: its press was dropped
        (KEY_SPACE, key_event(KEY_SPACE, 0), Signal.QUIET),
        (KEY_SPACE, key_event(KEY_ESC, 1), Signal.QUIET),
        (KEY_SPACE, key_event(KEY_SPACE, 1, kind=2), Signal.QUIET),  # a movement, not a key
        (None, key_event(KEY_ESC, 1), Signal.PRESSED),
    ],
)
def test_the_chosen_key_stops_and_nothing_else(
    keyboard: Keyboard, key: int | None, event: bytes, expected: Signal
) -> None:
    source = keyboard.source(key)
    keyboard.say(event, key_event(0, 0, kind=0))
    assert source.take() is expected
    source.close()


def test_events_that_the_kernel_dropped_are_made_up_for_by_the_state(keyboard: Keyboard) -> None:
    source = keyboard.source(KEY_SPACE)
    keyboard.down.add(KEY_SPACE)
    keyboard.say(struct.pack("@llHHi", 1, 2, estop_input.EV_SYN, estop_input.SYN_DROPPED, 0))
    assert source.take() is Signal.PRESSED
    assert source.held
    source.close()


@pytest.mark.parametrize(("key", "held"), [(KEY_SPACE, True), (KEY_ESC, False), (None, True)])
def test_a_key_held_at_the_start_is_seen(keyboard: Keyboard, key: int | None, held: bool) -> None:
    keyboard.down.add(KEY_SPACE)
    source = keyboard.source(key)
    assert source.held is held
    source.close()


def test_an_unplugged_keyboard_is_a_loss(keyboard: Keyboard) -> None:
    source = keyboard.source(KEY_SPACE)
    keyboard.say(key_event(KEY_ESC, 0))
    assert select.select([source.fileno()], [], [], 0.0)[0]
    keyboard.gone = True
    assert source.take() is Signal.LOST
    source.close()


def test_an_input_device_that_ends_is_a_loss(keyboard: Keyboard) -> None:
    source = InputKey(Path("/dev/null"), None, keyboard.ioctl)
    source.open()
    assert source.take() is Signal.LOST
    source.close()


def test_a_device_without_the_key_or_without_keys_is_refused(keyboard: Keyboard) -> None:
    with pytest.raises(ConfigError, match="has not got event0 key 300"):
        keyboard.source(300)
    with pytest.raises(ConfigError, match="cannot be taken as emergency stop"):
        InputKey(Path("/dev/null"), 1).open()  # /dev/null answers no such ioctl
    with pytest.raises(ConfigError, match="cannot be taken as emergency stop"):
        InputKey(Path("/dev/absent"), 1).open()


def test_any_byte_of_a_pipe_stops_and_so_does_its_end(pipe: Pipe) -> None:
    source = StandardInput(pipe.read)
    source.open()
    pipe.say(b"x")
    assert source.take() is Signal.PRESSED
    pipe.hang_up()
    assert source.take() is Signal.LOST
    source.close()
    with pytest.raises(ConfigError, match="has ended"):
        source.open()  # or it would be lost again and again
    os.close(pipe.read)


def test_without_a_standard_input_there_is_no_key(pipe: Pipe) -> None:
    os.close(pipe.read)
    source = StandardInput(pipe.read)
    with pytest.raises(ConfigError, match="cannot be the emergency stop"):
        source.open()
    assert source.take() is Signal.LOST


def test_a_terminal_of_another_job_is_refused() -> None:
    master, slave = pty.openpty()
    with pytest.raises(ConfigError):
        StandardInput(slave).open()
    os.close(master)
    os.close(slave)


AT_A_TERMINAL = """
import fcntl, select, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from onboard.estop_key import StandardInput
source, before = StandardInput(), termios.tcgetattr(0)
source.open()
print("ready", flush=True)
select.select([source.fileno()], [], [])
print(source.take().name, termios.tcgetattr(0) == before)
source.close()
source.close()
print(termios.tcgetattr(0) == before)
"""


def test_one_key_of_a_terminal_stops_without_enter_and_the_terminal_is_left_as_it_was() -> None:
    master, slave = pty.openpty()
    argv = [sys.executable, "-c", AT_A_TERMINAL]
    with subprocess.Popen(
        argv, stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as job:
        os.close(slave)
        assert job.stdout is not None
        assert job.stdout.readline() == b"ready\n"
        os.write(master, b"x")
        told, complaints = job.communicate(timeout=20)
    os.close(master)
    assert told == b"PRESSED False\nTrue\n"
    assert complaints == b"any key is the emergency stop\n"


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("key", "a key"),
        ("gpio:/dev/gpiochip1,17", "gpio gpiochip1 line 17"),
        ("input:/dev/input/event3", "event3 any key"),
        ("input:/dev/input/by-path/usb-0:2:1.0-event-kbd,57", "usb-0:2:1.0-event-kbd key 57"),
    ],
)
def test_words_name_sources(word: str, name: str) -> None:
    assert chosen_source(word).name == name


@pytest.mark.parametrize(
    "word",
    [
        *("", "button", "key:1", "gpio:", "gpio:/dev/gpiochip0", "gpio:/dev/gpiochip0,"),
        *(
            "gpio:/dev/gpiochip0,-1",
            "gpio:/dev/gpiochip0,x",
            "gpio:,3",
            "gpio:/dev/gpiochip0,65537",
        ),
        *("input:", "input:/dev/input/event0,", "input:/dev/input/event0,768", "input:x,²"),
    ],
)
def test_other_words_are_refused_with_the_forms(word: str) -> None:
    with pytest.raises(ConfigError, match="gpio:/dev/gpiochip0,LINE"):
        chosen_source(word)


def test_every_kind_is_a_source() -> None:
    make: list[Callable[[], EstopSource]] = [
        StandardInput,
        lambda: GpioLine(Path("/dev/gpiochip0"), 1),
        lambda: InputKey(Path("/dev/input/event0")),
    ]
    assert [source().held for source in make] == [False] * 3
