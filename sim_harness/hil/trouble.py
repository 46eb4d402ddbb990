"""What a scenario does to the runtime itself: orders, signals, a full disk, a dead server."""

from __future__ import annotations

import socket
import subprocess
from typing import IO

from sim_harness.hil.console import Console
from sim_harness.hil.faults import (
    AnyFault,
    ClockStep,
    CpuHog,
    DiskFull,
    Freeze,
    Kill,
    Order,
    ServerLost,
)
from sim_harness.hil.runtime import Runtime
from sim_harness.hil.watch import Watch


class Listener:
    """Where the runtime looks for its server: it is let in and never answered."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._port = 0

    def open(self) -> str:
        """The address, the same at every call."""
        self._socket = socket.create_server(("127.0.0.1", self._port), backlog=8)
        self._port = self._socket.getsockname()[1]
        return f"tcp://127.0.0.1:{self._port}"

    def close(self) -> None:
        """Refuse everybody from now on."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Trouble:
    """Carries out the faults that the rig cannot.

    Args:
        runtime: whom to hurt.
        console: its operator's.
        watch: knows its processes.
        listener: its server.
        log: of the processes that are started here.
        longest_s: how long they run at most.
    """

    def __init__(
        self,
        runtime: Runtime,
        console: Console,
        watch: Watch,
        listener: Listener,
        log: IO[bytes],
        longest_s: float,
    ) -> None:
        self._runtime, self._console, self._watch = runtime, console, watch
        self._listener, self._log, self._longest_s = listener, log, longest_s
        self._hogs: list[tuple[CpuHog, list[subprocess.Popen[bytes]]]] = []
        self._on: list[AnyFault] = []

    def begin(self, fault: AnyFault) -> None:
        """From now on, or once. Raises ConfigError if it cannot be done."""
        self._on.append(fault)
        if isinstance(fault, Order):
            self._console.order(fault.word)
        elif isinstance(fault, Kill):
            self._runtime.signal("KILL", fault.process, self._watch.control_pid)
        elif isinstance(fault, Freeze):
            self._runtime.signal("STOP", fault.process, self._watch.control_pid)
        elif isinstance(fault, ServerLost):
            self._listener.close()
        elif isinstance(fault, DiskFull):
            self._runtime.fill()
        elif isinstance(fault, CpuHog):
            hogs = self._runtime.hog(self._log, fault.processes, self._longest_s)
            self._hogs.append((fault, hogs))
        elif isinstance(fault, ClockStep):
            self._runtime.step_clock(fault.step_s)

    def end(self, fault: AnyFault) -> None:
        """No longer, where it can be undone; where another one still holds it, that one does."""
        self._on.remove(fault)
        if isinstance(fault, CpuHog):
            self._stop(fault)
        elif any(_alike(fault, other) for other in self._on):
            return
        elif isinstance(fault, Freeze):
            self._runtime.signal("CONT", fault.process, self._watch.control_pid)
        elif isinstance(fault, ServerLost):
            self._listener.open()
        elif isinstance(fault, DiskFull):
            self._runtime.make_room()

    def release(self) -> None:
        """End the processes that were started here."""
        for fault, _ in [*self._hogs]:
            self._stop(fault)

    def _stop(self, fault: CpuHog) -> None:
        """The processes of one fault."""
        started = next((each for each in self._hogs if each[0] == fault), None)
        if started is None:
            return
        self._hogs.remove(started)
        for hog in started[1]:
            hog.terminate()
            hog.wait()


def _alike(fault: AnyFault, other: AnyFault) -> bool:
    """Whether both hold the same thing."""
    if isinstance(fault, Freeze) and isinstance(other, Freeze):
        return fault.process == other.process
    return type(fault) is type(other)
