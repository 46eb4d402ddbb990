"""Server, simulated rig and robot on this machine: brought up, watched, and accounted for."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offboard.command_line import arguments
from offboard.demo.processes import Family, ProcessError, ProcessTimeoutError, ask, call, family
from offboard.keys import enrol_robot, init_server
from offboard.serve_status import ServeStatus, read_status
from offboard.stages.serve_wiring import ServeConfig
from protocol.errors import StoreError
from protocol.robot_spec import load_robot_spec

POLL_S = 0.5
LAST_RECORDS_S = 30.0
BELOW_ROBOT = 10
"""Niceness of the learner, where it shares the machine with a control loop."""


@dataclass(frozen=True)
class Loop:
    """What runs beside what.

    Attributes:
        serve: the server's configuration; its robot, task, unit and endpoint are everybody's.
        body: what the rig simulates.
        seed: of the rig's start poses.
        out: gets ``serve``, ``robot``, ``keys`` (where ``serve.keys`` says), ``logs`` and
            ``plant.json``.
    """

    serve: ServeConfig
    body: str
    seed: int
    out: Path


def learner_cpus(robot: Path) -> tuple[int, ...]:
    """Every core but the control process's, where there is another. Raises ConfigError."""
    allowed = os.sched_getaffinity(0)
    return tuple(sorted(allowed - {load_robot_spec(robot).timing.cpu} or allowed))


@contextlib.contextmanager
def running(loop: Loop) -> Iterator[Running]:
    """A robot that has begun to move; nothing of it lives on after the block.

    Raises:
        ConfigError, StoreError: keys or directories are there already.
        ProcessError: a process did not start or died.
    """
    init_server(loop.serve.keys)
    enrol_robot(loop.serve.keys, loop.serve.unit, loop.out / "robot")
    memory = Path("/dev/shm")  # noqa: S108  the runtime directory must not be a disk
    runtime = tempfile.mkdtemp(prefix="wombet-loop-", dir=memory if memory.is_dir() else None)
    try:
        with family(loop.out / "logs") as children:
            onboard = _Onboard(loop, Path(runtime))
            _start(loop, onboard, children)
            yield Running(loop, onboard, children)
    finally:
        shutil.rmtree(runtime, ignore_errors=True)


def deaths(loop: Loop) -> list[str]:
    """What the robot's supervisor had to start again."""
    lines = (loop.out / "logs" / "onboard.log").read_text(errors="replace").splitlines()
    return [line.removeprefix("run: ") for line in lines if line.startswith("run: ")]


class Running:
    """A loop at work; made by :func:`running`."""

    def __init__(self, loop: Loop, onboard: _Onboard, children: Family) -> None:
        self._loop, self._onboard, self._children = loop, onboard, children

    def until(self, over: Callable[[ServeStatus], bool], timeout_s: float) -> None:
        """Ask ``over`` about the server's state twice a second until it is, or time is out.

        Raises ProcessError if a process dies meanwhile.
        """
        deadline_s = time.monotonic() + timeout_s
        while not over(_status(self._loop)) and time.monotonic() < deadline_s:
            self._children.check()
            time.sleep(POLL_S)

    def stop(self) -> dict[str, Any]:
        """Stop the robot, wait for its last records, end all; the control process's last status.

        Raises ProcessError if the robot does not answer or a process ends with an error.
        """
        self._onboard.command("stop")
        control = self._onboard.status()
        if control is None:
            raise ProcessError("the robot does not answer any more")
        whole = control["produced"] - control["dropped"]
        with contextlib.suppress(ProcessTimeoutError):  # what is missing is counted as lost
            self._children.wait_for(
                "last records", lambda: _status(self._loop).committed >= whole, LAST_RECORDS_S
            )
        for name in ("onboard", "serve", "plant"):
            if code := self._children.stop(name):
                logs = self._loop.out / "logs"
                raise ProcessError(f"{name} ended with status {code}; see {logs}")
        return control


class _Onboard:
    """The robot's command line."""

    def __init__(self, loop: Loop, runtime: Path) -> None:
        serve = loop.serve
        self.port = runtime / "ttyRig"
        self._where = (
            "--robot", str(serve.robot), "--state", str(loop.out / "robot"),
            "--runtime", str(runtime),
        )  # fmt: skip
        self._run = (
            "--task", serve.task, "--port", str(self.port), "--server", serve.endpoint,
            "--clock", "as-set",
        )  # fmt: skip

    def run_arguments(self) -> list[str]:
        """Command line of the supervisor."""
        return [*self._arguments("run"), *self._run]

    def status(self) -> dict[str, Any] | None:
        """Status of the control process, or None if it does not answer."""
        return ask(*self._arguments("status"), "--json")

    def has_policy(self) -> bool:
        """Whether a policy is active and nothing moves yet."""
        status = self.status()
        return status is not None and status["active_version"] > 0

    def command(self, verb: str) -> None:
        """Start or stop. Raises ProcessError if the robot refuses."""
        call(*self._arguments(verb))

    def _arguments(self, verb: str) -> list[str]:
        return ["wombet-onboard", verb, *self._where]


def _start(loop: Loop, robot: _Onboard, children: Family) -> None:
    """Bring everything up in the order of dependence; then let the robot move."""
    out, serve = loop.out, loop.serve
    children.start(
        "serve", "wombet-offboard", "serve", *arguments(serve), "--out", str(out / "serve")
    )
    children.start(
        "plant", "wombet-sim", "plant", "--robot", str(serve.robot), "--body", loop.body,
        "--link", str(robot.port), "--seed", str(loop.seed), "--stats", str(out / "plant.json"),
    )  # fmt: skip
    children.wait_for("serial port", robot.port.exists, 30.0)
    children.wait_for("server", lambda: read_status(out / "serve") is not None, 240.0)
    children.start("onboard", *robot.run_arguments())
    children.wait_for("first policy on the robot", robot.has_policy, 60.0)
    robot.command("start")


def _status(loop: Loop) -> ServeStatus:
    status = read_status(loop.out / "serve")
    if status is None:
        raise StoreError(f"{loop.out / 'serve'}: the server's status is gone")
    return status
