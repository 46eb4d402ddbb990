"""An emergency stop on an input device: a key of a keypad, a pedal, any HID button.

Reads ``/dev/input/event*`` as the kernel writes it.
Source: linux/input.h, linux/input-event-codes.h.
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

EV_SYN, EV_KEY = 0, 1
SYN_DROPPED = 3
KEY_MAX = 0x2FF
_EVENT = struct.Struct("@llHHi")
"""Seconds, microseconds, type, code, value."""
_EVENTS_AT_ONCE = 64
_BITMAP_BYTES = KEY_MAX // 8 + 1


def _eviocg(number: int) -> int:
    """``_IOC(_IOC_READ, 'E', number, _BITMAP_BYTES)``."""
    return 2 << 30 | _BITMAP_BYTES << 16 | ord("E") << 8 | number


PRESSED_KEYS = _eviocg(0x18)
KNOWN_KEYS = _eviocg(0x20 + EV_KEY)

Ioctl = Callable[[int, int, bytearray], int]


class InputKey:
    """An :class:`~onboard.estop_source.EstopSource` on one key of ``device``, or on every key."""

    def __init__(self, device: Path, key: int | None = None, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._device, self._key, self._ioctl = device, key, ioctl
        self._fd = -1
        self.name = f"{device.name} " + ("any key" if key is None else f"key {key}")
        self.held = False

    def open(self) -> None:
        """Take the device. Raises ConfigError: not there, no input device, or without this key."""
        try:
            self._fd = os.open(self._device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            known, self.held = self._matches(KNOWN_KEYS), self._matches(PRESSED_KEYS)
        except OSError as error:
            self.close()
            raise ConfigError(
                f"{self._device}: cannot be taken as emergency stop ({error}); pass an event device"
            ) from error
        if not known:
            self.close()
            raise ConfigError(f"{self._device}: has not got {self.name}; see its key codes")

    def fileno(self) -> int:
        """Descriptor of the device."""
        return self._fd

    def take(self) -> Signal:
        """A press stops even if the key is up again; its state makes up for events dropped."""
        try:
            data = os.read(self._fd, _EVENT.size * _EVENTS_AT_ONCE)
            self.held = self._matches(PRESSED_KEYS)
        except OSError:
            return Signal.LOST
        if not data:
            return Signal.LOST
        whole = data[: len(data) - len(data) % _EVENT.size]
        went_down = any(self._is_press(*event[2:]) for event in _EVENT.iter_unpack(whole))
        return Signal.PRESSED if went_down or self.held else Signal.QUIET

    def close(self) -> None:
        """Give the device back."""
        if self._fd >= 0:
            with suppress(OSError):
                os.close(self._fd)
            self._fd = -1

    def _is_press(self, kind: int, code: int, value: int) -> bool:
        return kind == EV_KEY and value > 0 and self._key in (None, code)

    def _matches(self, request: int) -> bool:
        """Whether our key is set in one of the device's bitmaps."""
        bitmap = bytearray(_BITMAP_BYTES)
        self._ioctl(self._fd, request, bitmap)
        if self._key is None:
            return any(bitmap)
        return bool(bitmap[self._key // 8] >> self._key % 8 & 1)
