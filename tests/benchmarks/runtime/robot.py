"""The robot under test: plant on a pty, ``wombet-onboard``'s control, and its agent if wanted.

Every part is the program that ships, in a process of its own, started as the systemd units do:
control on the core of its choice, everything else beside it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from onboard.control_api import FLIGHT_FILE, RING_FILE, SOCKET_FILE, Start, Status, Stop
from onboard.control_socket import ControlClient
from onboard.flight_ring import read_flight
from onboard.recorder import flight_dtype
from onboard.ring import RingReader
from protocol.errors import StoreError, WireError
from protocol.modes import MOVING, Mode
from protocol.step_record import Rows, dtype_of
from runtime.crew import Cores, Crew, until
from runtime.robot_file import RobotFile

CONTROL = ("-m", "onboard.main")
START_S = 60.0
UNREAD_ROWS = 4096


class Bed(NamedTuple):
    """Where a robot lives during one measurement.

    Attributes:
        file: its robot file.
        folder: on a disk, empty.
        memory: on tmpfs, empty.
        cores: of this machine.
        crew: starts and ends its processes.
    """

    file: RobotFile
    folder: Path
    memory: Path
    cores: Cores
    crew: Crew


class Robot:
    """Starts with :meth:`start`; its processes end with the crew."""

    def __init__(self, bed: Bed) -> None:
        self._bed, self.spec = bed, bed.file.spec
        self._path, self._tty = bed.folder / "robot.toml", bed.memory / "tty"
        self.state, self._stats = bed.folder / "robot", bed.folder / "plant.json"
        self._place = ("--robot", self._path, "--state", self.state, "--runtime", bed.memory)
        self._ring = RingReader(bed.memory / RING_FILE, dtype_of(self.spec))
        self.client = ControlClient(bed.memory / SOCKET_FILE)
        self.pid = 0

    def start(self, mjcf: Path, server: str = "", control: Sequence[object] = CONTROL) -> None:
        """Bring it up, to IDLE.

        Args:
            mjcf: of the plant.
            server: endpoint; without one there is no agent.
            control: the Python program that takes ``wombet-onboard``'s arguments.
        """
        self._path.write_text(self._bed.file.text, encoding="utf-8")
        shutil.copy(mjcf, self._path.parent)
        crew, others, ending = self._bed.crew, self._bed.cores.others, ("--supervised", os.getpid())
        plant = ("--robot", self._path, "--link", self._tty, "--stats", self._stats)
        crew.start("plant", ("-m", "sim_harness.main", "plant", *plant), others)
        until(self._tty.exists, "the plant's serial port", START_S)
        loop = (*control, "control", "--port", self._tty, *self._place, *ending)
        self.pid = crew.start("control", loop, self._bed.cores.both)
        if server:
            agent = ("-m", "onboard.main", "agent", "--server", server, *self._place, *ending)
            agent += ("--clock", "as-set")
            crew.start("agent", agent, others)
        self.until(lambda status: status.mode == Mode.IDLE.name, "control in IDLE")

    def drive(self) -> None:
        """From IDLE, with a policy, to RUN."""
        self.until(lambda status: status.active_version > 0, "a policy on the robot")
        done = self.client.command(Start())
        if not done.ok:
            raise RuntimeError(f"the robot does not start: {done.detail}")
        self.until(lambda status: status.mode == Mode.RUN.name, "control in RUN")

    def status(self) -> Status:
        """Of control. Raises WireError if it does not answer, RuntimeError if a process ended."""
        self._bed.crew.check()
        return self.client.status()

    def moving(self) -> Status:
        """Its status. Raises RuntimeError if it does not move: then nothing is measured."""
        status = self.status()
        if Mode[status.mode] not in MOVING:
            raise RuntimeError(f"the robot went to {status.mode}: {status.reason}")
        return status

    def until(self, condition: Callable[[Status], bool], what: str) -> Status:
        """The first status that fulfils ``condition``."""

        def look() -> Status | None:
            self._bed.crew.check()
            with suppress(WireError):
                status = self.client.status()
                return status if condition(status) else None
            return None

        return until(look, what, START_S)

    def empty_ring(self) -> None:
        """What an agent does, with rows that nobody wants."""
        self._ring.release(len(self._ring.peek(UNREAD_ROWS)))

    def flight(self) -> Rows:
        """The last half minute of ticks, whole. Raises StoreError if there is none."""
        path = self._bed.memory / FLIGHT_FILE
        found = read_flight(path, flight_dtype(self.spec))
        if found is None:
            raise StoreError(f"{path}: control has left no flight recording")
        return found.rows

    def end(self) -> float:
        """Stop moving, end the loop, then the plant; the plant's real-time factor.

        Raises:
            RuntimeError: control did not end in good order.
        """
        self.client.command(Stop())
        self.client.close()
        self._ring.close()
        if (code := self._bed.crew.stop("control")) != 0:
            raise RuntimeError(f"control ended with status {code}")
        self._bed.crew.stop("plant")
        return float(json.loads(self._stats.read_text(encoding="utf-8"))["realtime_factor"])
