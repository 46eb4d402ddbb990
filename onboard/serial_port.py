"""A serial line as the bus driver wants it: exclusive, never blocking for longer than asked.

pyserial opens and configures the line; reading is ``select`` and ``os.read`` on its descriptor,
because ``Serial.read(n)`` waits the whole timeout for shorter data. Source: FLEET.md § 8.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import serial

from protocol.errors import BusError, LineLostError

READ_BYTES = 4096
DISCARD_READS = 16
"""A line that still has something after so many reads babbles: what it says will be no answer."""
_SYSFS = Path("/sys/bus/usb-serial/devices")


class Port(Protocol):
    """A byte pipe to the motor bus. Every method raises only BusError."""

    def write(self, data: bytes) -> None:
        """Send all of ``data``."""

    def read(self, timeout_s: float) -> bytes:
        """What has arrived; empty if nothing did within ``timeout_s``."""

    def discard_input(self) -> None:
        """Throw away what arrived and was not read."""

    def close(self) -> None:
        """Give the line back; never raises."""


class SerialPort:
    """A :class:`Port` on a serial device or pseudo-terminal. ``open()`` takes the line."""

    def __init__(self, path: Path, baud: int) -> None:
        self._path, self._baud = path, baud
        self._serial: serial.Serial | None = None
        self._fd = -1

    def open(self) -> SerialPort:
        """Take the line for this process alone.

        Raises:
            BusError: no such device, no permission, or another process has it.
        """
        try:
            self._serial = serial.Serial(
                str(self._path), self._baud, timeout=0, write_timeout=0, exclusive=True
            )
        except (serial.SerialException, OSError, ValueError) as error:
            raise BusError(
                f"{self._path}: cannot open the motor bus ({error}); check --port, the cable and "
                "that no other process uses it"
            ) from error
        self._fd = self._serial.fileno()
        # A pseudo-terminal or CDC-ACM device has no such mode and needs none.
        with suppress(ValueError, OSError, NotImplementedError, AttributeError):
            self._serial.set_low_latency_mode(True)
        return self

    def write(self, data: bytes) -> None:
        """Send all of ``data``. Raises BusError if the line does not take it at once or is lost."""
        try:
            written = os.write(self._fd, data)
        except BlockingIOError as error:
            raise BusError(f"{self._path}: the motor bus takes nothing ({error})") from error
        except OSError as error:
            raise LineLostError(f"{self._path}: cannot write to the motor bus ({error})") from error
        if written != len(data):
            raise BusError(f"{self._path}: the motor bus took {written} of {len(data)} bytes")

    def read(self, timeout_s: float) -> bytes:
        """What has arrived; empty after ``timeout_s``. Raises BusError if the line hung up."""
        try:
            ready, _, _ = select.select((self._fd,), (), (), max(timeout_s, 0.0))
            if not ready:
                return b""
            data = os.read(self._fd, READ_BYTES)
        except (OSError, ValueError) as error:
            raise LineLostError(f"{self._path}: cannot read the motor bus ({error})") from error
        if not data:
            raise LineLostError(f"{self._path}: the motor bus hung up; is the cable in?")
        return data

    def discard_input(self) -> None:
        """Throw away what arrived and was not read."""
        for _ in range(DISCARD_READS):
            if not self.read(0.0):
                return

    def close(self) -> None:
        """Give the line back."""
        if self._serial is not None:
            with suppress(OSError):  # the device is gone: nothing is left to give back
                self._serial.close()
            self._serial, self._fd = None, -1


def latency_warning(port: Path, sysfs: Path = _SYSFS) -> str | None:
    """What is wrong with an FTDI adapter's latency timer, if this is one and it is not 1 ms.

    The default of 16 ms alone eats most of a 20 ms tick. Source: FLEET.md § 8.
    """
    timer = sysfs / os.path.basename(os.path.realpath(port)) / "latency_timer"
    try:
        latency_ms = int(timer.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    if latency_ms <= 1:
        return None
    return (
        f"{timer} is {latency_ms} ms: every answer waits for it; "
        'add a udev rule with ATTR{latency_timer}="1"'
    )
