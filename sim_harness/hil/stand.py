"""The process of one run: a rig behind a serial port in real time, faults by order from its parent.

Orders come as one JSON line each on standard input, and each is answered by a line once the rig has
obeyed it; the end of the input ends the run. What happened is left as a tape.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from protocol.robot_spec import RobotSpec, load_robot_spec
from sim_harness.glance import GlanceWriter, glance_path
from sim_harness.hil.faults import AnyFault, Unplug, kind_of
from sim_harness.hil.stage import Stage
from sim_harness.hil.tape import Tape, write_tape
from sim_harness.link import Link
from sim_harness.realtime import become_realtime
from sim_harness.terminal import PseudoTerminal, SerialDevice, Terminal

OBEYED_S = 1.0
"""A rig that took no cue for so long has ended."""
LINK = "tty"
"""Of a pseudo terminal, beside the tape; the view finds the rig by it."""


class Cue(Struct, frozen=True):
    """A fault begins or ends now; without one, a moment that is to be remembered by name."""

    begins: bool = True
    fault: AnyFault | None = None
    mark: str = ""


@dataclass(frozen=True)
class StandCommand:
    """Run one scenario's rig; started by hil, which speaks to it on standard input.

    Attributes:
        robot: robot file, hw_configs/NAME.toml.
        link: symbolic link to create, or the device to use.
        tape: file to leave behind.
        body: which plant.bodies table of the robot file to simulate.
        seed: of everything random.
        scenario: its name, for the tape.
        device: the link is a real serial adapter.
    """

    robot: Path
    link: Path
    tape: Path
    body: str = "nominal"
    seed: int = 0
    scenario: str = ""
    device: bool = False


class Stand:
    """Rig, line and the cues that arrive for them.

    Attributes:
        cues: waiting to be obeyed; any thread may append.
        obeyed: counts those that were.
    """

    def __init__(
        self,
        stage: Stage,
        baud: int,
        terminal: Terminal,
        clock_ns: Callable[[], int],
        glance: GlanceWriter | None = None,
    ) -> None:
        self.cues: deque[Cue] = deque()
        self.obeyed = threading.Semaphore(0)
        self._stage, self._glance = stage, glance
        self._wrong: list[AnyFault] = []
        self.link = Link(stage, baud, terminal, clock_ns, self._obey)

    def tape(self, spec: RobotSpec, command: StandCommand) -> Tape:
        """Everything so far."""
        statistics = self.link.statistics()
        return Tape(
            robot=spec.name,
            digest=spec.digest(),
            body=command.body,
            seed=command.seed,
            scenario=command.scenario,
            started_ns=self.link.started_ns,
            elapsed_s=statistics.elapsed_s,
            lost_ms=statistics.lost_ms,
            worst_lag_ms=statistics.worst_lag_ms,
            end_ns=self._stage.time_ns,
            events=tuple(self._stage.events),
        )

    def _obey(self) -> None:
        while self.cues:
            cue = self.cues.popleft()
            self._stage.turn(cue.begins, cue.fault, cue.mark)
            self._note(cue)
            if isinstance(cue.fault, Unplug):
                self._plug(cue.begins)
            self.obeyed.release()
        if self._glance is not None:
            self._glance.show(self._stage.time_ns, ", ".join(map(kind_of, self._wrong)))

    def _plug(self, pulled: bool) -> None:
        """Pull the adapter, or plug it in again if nothing else keeps it away."""
        if pulled:
            self.link.close()
        elif not any(isinstance(fault, Unplug) for fault in self._wrong):
            self.link.open()

    def _note(self, cue: Cue) -> None:
        if cue.fault is None:
            return
        if cue.begins:
            self._wrong.append(cue.fault)
        elif cue.fault in self._wrong:
            self._wrong.remove(cue.fault)


def run_stand(command: StandCommand) -> None:
    """Serve until standard input ends. Raises ConfigError before anything is created."""
    spec = load_robot_spec(command.robot)
    stage = Stage(spec, command.robot.parent, command.body, command.seed)
    baud, link = spec.bus.baud, command.link
    terminal = SerialDevice(link, baud) if command.device else PseudoTerminal(link)
    body = spec.body(command.body)
    beside = glance_path(command.tape.with_name(LINK))  # a device lies where nobody may write
    glance = GlanceWriter(beside, spec, body, stage.plant, stage.firmware)
    stand = Stand(stage, baud, terminal, time.monotonic_ns, glance)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stand.link.stop())
    stand.link.open()
    try:
        glance.open()
        threading.Thread(target=_listen, args=(stand,), daemon=True).start()
        print(become_realtime(), flush=True)
        stand.link.serve()
    finally:
        glance.close()
        stand.link.close()
    write_tape(command.tape, stand.tape(spec, command))


def _listen(stand: Stand) -> None:
    for line in sys.stdin:
        stand.cues.append(msgspec.json.decode(line, type=Cue))
        stand.obeyed.acquire(timeout=OBEYED_S)
        print(flush=True)
    stand.link.stop()
