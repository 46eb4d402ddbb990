"""The serial line: a pseudo terminal behind which a rig lives in real time.

The host opens the terminal as it would open ``/dev/ttyUSB0``. Answers leave after the time that the
bytes of both directions spend on the wire plus the node's return delay.
"""

from __future__ import annotations

import os
import pty
import select
import tty
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from protocol.errors import ConfigError
from sim_harness.rig import Rig

IDLE_NS = 5_000_000
CATCH_UP_NS = 50_000_000
BITS_PER_BYTE = 10
READ_BYTES = 4096


class Statistics(NamedTuple):
    """How well the simulated time kept up with the real one."""

    elapsed_s: float
    simulated_s: float
    lost_ms: float
    worst_lag_ms: float

    @property
    def realtime_factor(self) -> float:
        """Simulated over elapsed time; below 0.98 a run proves nothing."""
        return self.simulated_s / self.elapsed_s if self.elapsed_s > 0.0 else 1.0


class Link:
    """Serves one rig on one pseudo terminal until :meth:`stop`.

    Args:
        rig: what lives behind the line.
        baud: speed of the simulated wire.
        path: where a symbolic link to the terminal is put; an old link is replaced.
        clock_ns: monotonic time.
    """

    def __init__(self, rig: Rig, baud: int, path: Path, clock_ns: Callable[[], int]) -> None:
        self._rig = rig
        self._byte_ns = BITS_PER_BYTE * 1_000_000_000 / baud
        self._path = path
        self._clock_ns = clock_ns
        self._master = self._slave = -1
        self._outbox: deque[tuple[int, bytes]] = deque()
        self._bus_free_ns = 0
        self._lost_ns = 0
        self._worst_lag_ns = 0
        self._started_ns = 0
        self._running = True

    def open(self) -> str:
        """Create the terminal and its link; the terminal's name.

        Raises:
            ConfigError: no pseudo terminal can be had, or ``path`` cannot be a link.
        """
        try:
            self._master, self._slave = pty.openpty()
        except OSError as error:
            raise ConfigError(f"no pseudo terminal on this machine ({error})") from error
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        name = os.ttyname(self._slave)
        try:
            self._place(name)
        except ConfigError:
            self._hang_up()
            raise
        return name

    def serve(self) -> None:
        """Run the rig in real time until :meth:`stop` is called."""
        self._started_ns = self._clock_ns()
        while self._running:
            deadline = self._rig_now_ns() + IDLE_NS
            if self._outbox:
                deadline = min(deadline, self._outbox[0][0])
            self._wait(deadline)
            self._turn(deadline)

    def stop(self) -> None:
        """Make :meth:`serve` return soon; may be called from a signal handler."""
        self._running = False

    def close(self) -> None:
        """Remove the link and the terminal."""
        if self._path.is_symlink() and os.readlink(self._path) == os.ttyname(self._slave):
            self._path.unlink()
        self._hang_up()

    def statistics(self) -> Statistics:
        """Numbers since :meth:`serve` began."""
        return Statistics(
            elapsed_s=(self._clock_ns() - self._started_ns) * 1e-9,
            simulated_s=self._rig.time_ns * 1e-9,
            lost_ms=self._lost_ns * 1e-6,
            worst_lag_ms=self._worst_lag_ns * 1e-6,
        )

    def _rig_now_ns(self) -> int:
        """The rig's time that corresponds to now; real time that was given up is left out."""
        return self._clock_ns() - self._started_ns - self._lost_ns

    def _wait(self, deadline_ns: int) -> None:
        timeout_ns = max(0, deadline_ns - self._rig_now_ns())
        select.select([self._master], [], [], timeout_ns * 1e-9)

    def _turn(self, deadline_ns: int) -> None:
        """Catch up with the clock, hear the host, answer.

        Bytes found after an overslept deadline are taken to have come at the deadline: this process
        would have been awake by then.
        """
        now = self._rig_now_ns()
        self._worst_lag_ns = max(self._worst_lag_ns, now - deadline_ns)
        if now - self._rig.time_ns > CATCH_UP_NS:
            lost = now - self._rig.time_ns - CATCH_UP_NS
            self._lost_ns += lost
            now -= lost
        arrival = max(self._rig.time_ns, min(now, deadline_ns))
        data = self._read()
        self._rig.advance(arrival)
        if data:
            self._answer(data, arrival)
        self._rig.advance(now)
        self._send(now)

    def _answer(self, data: bytes, arrival_ns: int) -> None:
        """Queue the answers for the time their last byte has crossed the wire."""
        at = max(arrival_ns + self._wire_ns(data), self._bus_free_ns)
        for reply in self._rig.receive(data, arrival_ns):
            at += reply.delay_ns + self._wire_ns(reply.data)
            self._outbox.append((at, reply.data))
        self._bus_free_ns = at

    def _wire_ns(self, data: bytes) -> int:
        return round(len(data) * self._byte_ns)

    def _read(self) -> bytes:
        try:
            return os.read(self._master, READ_BYTES)
        except BlockingIOError:
            return b""

    def _send(self, now_ns: int) -> None:
        while self._outbox and self._outbox[0][0] <= now_ns:
            _, data = self._outbox.popleft()
            try:
                os.write(self._master, data)
            except BlockingIOError:
                self._outbox.clear()  # nobody reads: as on a wire, bytes are gone

    def _hang_up(self) -> None:
        os.close(self._slave)
        os.close(self._master)

    def _place(self, name: str) -> None:
        try:
            if self._path.is_symlink():
                self._path.unlink()
            self._path.symlink_to(name)
        except OSError as error:
            raise ConfigError(
                f"cannot link {self._path} to {name} ({error}); pass a free path in an existing "
                "directory as --link"
            ) from error
