"""The agent as a process of its own, and what it sees of control: a ring and a socket."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from made_records import DTYPE, ROBOT_FILE

from onboard.control_api import (
    RING_FILE,
    SOCKET_FILE,
    Done,
    Estop,
    GetStatus,
    Offer,
    Reply,
    Request,
    Status,
    Summary,
)
from onboard.control_socket import ControlServer
from onboard.ring import RingWriter
from protocol.messages import PolicyEvent
from protocol.step_record import Rows


class AgentProcess:
    """``wombet-onboard agent`` under a test's thumb."""

    def __init__(self, state: Path, runtime: Path, endpoint: str) -> None:
        options = {
            "--robot": ROBOT_FILE,
            "--server": endpoint,
            "--state": state,
            "--runtime": runtime,
            "--clock": "as-set",
        }
        self._argv = [sys.executable, "-m", "onboard.main", "agent"]
        self._argv += [str(part) for pair in options.items() for part in pair]
        self._log = state / "agent.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._argv, stdout=log, stderr=log, cwd=ROBOT_FILE.parents[1]
            )

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def end(self) -> int:
        """SIGTERM; the exit status."""
        assert self._process is not None
        self._process.terminate()
        status = self._process.wait(20)
        self._process = None
        return status

    @property
    def log(self) -> str:
        return self._log.read_text()


@contextmanager
def ring(runtime: Path, capacity: int = 1 << 14) -> Iterator[RingWriter]:
    with closing(RingWriter(runtime / RING_FILE, DTYPE, capacity, lambda: 1).open()) as writer:
        yield writer


def write(writer: RingWriter, rows: Rows) -> Rows:
    """Commit rows as control would; returns them as they lie in the ring."""
    written = rows.copy()
    for index in range(len(rows)):
        writer.row[0] = rows[index]
        assert writer.commit()
        written[index] = writer.row[0]
    return np.ascontiguousarray(written)


class Control:
    """What the agent sees of a control process: takes every offer and drives with it."""

    def __init__(self, runtime: Path) -> None:
        self._path = runtime / SOCKET_FILE
        self.offers: list[Offer] = []
        self.estops: list[Estop] = []
        self.active = self.pinned = 0
        self.ticks = 0
        self.events: list[PolicyEvent] = []

    @contextmanager
    def running(self) -> Iterator[Control]:
        server = ControlServer(self._path, self._handle).open()
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            yield self
        finally:
            server.close()
            thread.join()

    def restarted(self) -> None:
        self.active, self.ticks, self.events = 0, 0, []

    def _handle(self, request: Request) -> Reply:
        self.ticks += 50
        if isinstance(request, GetStatus):
            return self._status()
        if isinstance(request, Estop):
            self.estops.append(request)
            return Done(ok=True, detail="ESTOP")
        assert isinstance(request, Offer)
        self.offers.append(request)
        self.active = request.version
        number = len(self.events) + 1
        event = PolicyEvent(number=number, version=request.version, outcome="activated")
        self.events.append(event)
        return Done(ok=True, detail="staging")

    def _status(self) -> Status:
        return make_status(
            mode="RUN",
            active_version=self.active,
            pinned_version=self.pinned,
            ticks=self.ticks,
            events=self.events,
        )


def make_status(**changes: Any) -> Status:
    """Of a robot that has just started, but for ``changes``."""
    counts = (
        *("episode", "step", "active_version", "ticks", "missed_ticks", "missed_ticks_near_swaps"),
        *("late_ticks", "interventions", "bus_misses", "produced", "dropped", "swaps"),
        *("activated", "committed", "rejected", "rolled_back"),
    )
    fresh: dict[str, Any] = {
        **dict.fromkeys(counts, 0),
        "robot": "furuta",
        "mode": "IDLE",
        "reason": "",
        "scheduling": "soft",
        "events": [],
        "period_error_us": Summary(),
        "work_us": Summary(),
        "period_error_histogram": [],
        "work_histogram": [],
        "bucket_edges_us": [],
    }
    return Status(**{**fresh, **changes})
