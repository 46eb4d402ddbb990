"""The runtime under test: ``wombet-onboard run``, started, watched and hurt from outside."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import urlsplit

from protocol.errors import ConfigError
from sim_harness.hil.console import Console, Pinned, RemoteConsole, SocketConsole
from sim_harness.hil.false_clock import FalseClock
from sim_harness.hil.faults import Process
from sim_harness.hil.host import Host

ROOM, ROOM_PAGES = "16m", 4096
"""Of a state directory that is to be filled."""
END_S = 60.0
BATCH_KIND = 0
"""Of the entries of a spool that hold records."""
SPOOL_FILE, AGENT_PID_FILE, BALLAST_FILE = "spool.sqlite", "agent.pid", "ballast"
FLIGHTS = "flights"


class Spooled(NamedTuple):
    """Step records in a spool, and those that a gap declares as lost."""

    kept: int
    declared: int


def can_mount(host: Host) -> bool:
    """Whether a file system can be mounted there. Raises ConfigError if nothing can be run."""
    return host.call("unshare", "--mount", "true").returncode == 0


class Runtime:
    """One robot's software, in directories of its own.

    Args:
        host: where it runs.
        program: how ``wombet-onboard`` is called there.
        robot: the robot file there.
        port: the serial port there.
        server: tcp://127.0.0.1:PORT of this machine; another one gets a tunnel to it.
        place: a directory of its own there, for state and runtime.
    """

    def __init__(
        self, host: Host, program: Sequence[str], robot: str, port: str, server: str, place: str
    ) -> None:
        self._host, self._program, self._place = host, tuple(program), place
        self.state, self._runtime = f"{place}/state", f"{place}/run"
        self._places = ("--robot", robot, "--state", self.state, "--runtime", self._runtime)
        self._wires = ("--port", port, "--server", server, "--clock", "as-set")
        self._server_port = urlsplit(server).port or 0
        self._process: subprocess.Popen[bytes] | None = None
        self._console: Console | None = None
        self._mounted = False
        self._clock: FalseClock | None = None

    def prepare(self, template: Path, fillable: bool, steppable: bool = False) -> None:
        """Lay out its state directory; what an earlier run left there goes.

        ``fillable`` puts it on a small file system of its own, ``steppable`` gives the runtime a
        time of day of its own.

        Raises:
            ConfigError: the machine does not permit it.
        """
        self._must("rm", "-rf", self._place)
        self._must("mkdir", "-p", self.state)
        if fillable:
            options = ("-t", "tmpfs", "-o", f"size={ROOM},mode=0700", "wombet-hil", self.state)
            self._must("mount", *options)
            self._mounted = True
        self._host.put(template, self.state)
        if steppable:
            self._clock = FalseClock(self._host, f"{self._place}/clock")
            self._clock.install()

    def start(self, log: IO[bytes]) -> Console:
        """Start it; the console through which an operator speaks to it."""
        shown = () if self._clock is None else self._clock.words()
        command = [*shown, *self._program, "run", *self._places, *self._wires]
        self._process = self._host.start(command, log, self._server_port)
        self._console = (
            SocketConsole(Path(self._runtime))
            if self._host.local
            else RemoteConsole(self._host, self._program, self._places)
        )
        return self._console

    def lay(self, policy: Path) -> Pinned:
        """Copy a bundle, in a directory called like its version, to where it can be pinned.

        Only a running agent tolerates an unsigned bundle in its state directory, and only another
        machine's command line needs it there. Raises ConfigError.
        """
        parent = f"{self._place}/policies" if self._host.local else f"{self.state}/bundles"
        bundle = f"{parent}/{policy.name}"
        self._must("mkdir", "-p", bundle)
        self._host.put(policy, bundle)
        return Pinned(int(policy.name), bundle)

    def signal(self, name: str, process: Process, control_pid: int) -> None:
        """Send a signal to one of its processes; one that has gone meanwhile is not missed."""
        pid = control_pid if process == "control" else self._agent_pid()
        self._host.call("kill", f"-{name}", str(pid))

    def fill(self) -> None:
        """Leave no room for its state; of a disk that is not the small one no more than that."""
        ballast = f"of={self.state}/{BALLAST_FILE}"
        self._host.call("dd", "if=/dev/zero", ballast, "bs=4k", f"count={ROOM_PAGES}")

    def make_room(self) -> None:
        """Undo :meth:`fill`."""
        self._host.call("rm", "-f", f"{self.state}/{BALLAST_FILE}")

    def step_clock(self, step_s: float) -> None:
        """Its time of day is off by so much. Raises ConfigError if it was not prepared for that."""
        if self._clock is None:
            raise ConfigError(f"{self._place}: the runtime has no time of day of its own")
        self._clock.step(step_s)

    def hog(self, log: IO[bytes], processes: int, for_s: float) -> list[subprocess.Popen[bytes]]:
        """So many processes that compute for nothing; they end by themselves."""
        spin = ["timeout", f"{for_s:g}", "sh", "-c", "while :; do :; done"]
        return [self._host.start(spin, log) for _ in range(processes)]

    def stop(self) -> None:
        """End it in good order."""
        if self._console is not None:
            self._console.close()
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def spooled(self) -> Spooled | None:
        """What it has written down, once it has ended; None if that cannot be seen."""
        path = Path(self.state) / SPOOL_FILE
        if not self._host.local or not path.exists():
            return None
        with closing(sqlite3.connect(path)) as database:
            entries = database.execute("SELECT kind, records FROM entries").fetchall()
        kept = sum(records for kind, records in entries if kind == BATCH_KIND)
        return Spooled(kept, sum(records for _, records in entries) - kept)

    def hand_over(self, folder: Path, reason: str) -> str:
        """Its flights, the last half minute among them, into ``folder``; why not, if not."""
        try:
            dumped = self._host.call(*self._program, "dump", *self._places, "--reason", reason)
            if dumped.returncode != 0:
                return dumped.stderr.strip() or f"dump ended with {dumped.returncode}"
            folder.mkdir()
            self._host.get(f"{self.state}/{FLIGHTS}", folder)
        except (ConfigError, OSError) as error:  # the scenario's verdict does not depend on it
            return str(error)
        return ""

    def clear(self) -> None:
        """Give its file system back."""
        if self._mounted:
            self._host.call("umount", self.state)
            self._mounted = False

    def _agent_pid(self) -> int:
        told = self._host.call("cat", f"{self._runtime}/{AGENT_PID_FILE}").stdout.strip()
        if not told.isdigit():
            raise ConfigError(f"{self._runtime}: no agent has told its process id")
        return int(told)

    def _must(self, *command: str) -> None:
        done = self._host.call(*command)
        if done.returncode != 0:
            raise ConfigError(f"{shutil.which(command[0]) or command[0]}: {done.stderr.strip()}")
