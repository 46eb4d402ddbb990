"""An emergency stop on a GPIO line, through the kernel's character device (uAPI v2, Linux 5.10).

The contact is normally closed and pulls the line to ground against a pull-up: a pressed button, a
broken wire and a pulled plug all read high, and high stops.
Source: linux/gpio.h, ``gpio_v2_line_request``, ``gpio_v2_line_values``, ``gpio_v2_line_event``.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from onboard.estop_source import Signal
from protocol.errors import ConfigError

GET_LINE = 0xC250B407
GET_VALUES = 0xC010B40E
INPUT, RISING, FALLING, PULL_UP = 1 << 2, 1 << 4, 1 << 5, 1 << 8
RISING_EDGE = 1
_CONSUMER = b"wombet estop"
_REQUEST = struct.Struct("=64I32sQI20x240xII20xi")
"""Offsets, consumer, flags, no attributes, count of lines, size of the event buffer, descriptor."""
_VALUES = struct.Struct("=QQ")
_EVENT = struct.Struct("=QIIII24x")
_EVENTS_AT_ONCE = 16

Ioctl = Callable[[int, int, bytearray], int]


class GpioLine:
    """An :class:`~onboard.estop_source.EstopSource` on line ``offset`` of ``chip``."""

    def __init__(self, chip: Path, offset: int, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._chip, self._offset, self._ioctl = chip, offset, ioctl
        self._fd = -1
        self.name = f"gpio {chip.name} line {offset}"
        self.held = False

    def open(self) -> None:
        """Take the line as an input with a pull-up. Raises ConfigError if the kernel refuses."""
        request = make_request(self._offset)
        try:
            chip = os.open(self._chip, os.O_RDWR | os.O_CLOEXEC)
            try:
                self._ioctl(chip, GET_LINE, request)
            finally:
                os.close(chip)
            self._fd = _REQUEST.unpack(request)[-1]
            os.set_blocking(self._fd, False)
            self.held = self._high()
        except OSError as error:
            self.close()
            raise ConfigError(
                f"{self.name}: cannot be taken as emergency stop ({error}); check chip, line and "
                "that nobody else uses it"
            ) from error

    def fileno(self) -> int:
        """Descriptor of the line, readable after an edge."""
        return self._fd

    def take(self) -> Signal:
        """A rising edge stops even if the line has fallen again since."""
        try:
            data = os.read(self._fd, _EVENT.size * _EVENTS_AT_ONCE)
            self.held = self._high()
        except OSError:
            return Signal.LOST
        whole = data[: len(data) - len(data) % _EVENT.size]
        rose = any(edge == RISING_EDGE for _, edge, *_ in _EVENT.iter_unpack(whole))
        return Signal.PRESSED if rose or self.held else Signal.QUIET

    def close(self) -> None:
        """Give the line back."""
        if self._fd >= 0:
            with suppress(OSError):
                os.close(self._fd)
            self._fd = -1

    def _high(self) -> bool:
        values = bytearray(_VALUES.pack(0, 1))
        self._ioctl(self._fd, GET_VALUES, values)
        bits, _ = _VALUES.unpack(values)
        return bool(bits & 1)


def make_request(offset: int) -> bytearray:
    """``gpio_v2_line_request`` for one input line with pull-up and events at both edges."""
    offsets = (offset, *(0,) * 63)
    flags = INPUT | RISING | FALLING | PULL_UP
    return bytearray(_REQUEST.pack(*offsets, _CONSUMER, flags, 0, 1, 0, 0))
