"""``wombet-onboard``: run a robot, and talk to one that runs.

Exit status: 0 done; 1 refused by the robot; 2 wrong configuration or command line; 3 the motor bus
failed; 4 control is not running; 5 storage failed. An unexpected error ends with Python's traceback
and 1, after control has cut the torque.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import msgspec
import tyro

from onboard.control_api import SOCKET_FILE, Clear, Estop, Request, Start, Status, Stop
from onboard.control_socket import ControlClient
from onboard.install_check import check_install
from onboard.runtime_directory import make_private
from protocol.errors import BusError, ConfigError, StoreError, WireError, WombetError
from protocol.robot_spec import RobotSpec, load_robot_spec

_EXIT = {ConfigError: 2, BusError: 3, WireError: 4, StoreError: 5}
_SHARED_MEMORY = Path("/dev") / "shm"
_STATE = Path("state")


def run(
    robot: Path,
    port: Path,
    server: str,
    task: str | None = None,
    state: Path = _STATE,
    runtime: Path | None = None,
) -> int:
    """Run the robot: control and agent, each restarted if it dies. SIGTERM stops both.

    Args:
        robot: robot file, hw_configs/NAME.toml.
        port: serial device of the motor bus.
        server: where the training server listens, tcp://HOST:PORT.
        task: task of the robot file; may be left out if there is only one.
        state: durable directory of this robot.
        runtime: directory on tmpfs for ring and socket; by default in /dev/shm, by robot name.
    """
    from onboard.supervisor import Supervisor  # noqa: PLC0415 - other commands stay light

    _, name, place = _checked(robot, task, state, runtime)
    paths = {"--robot": robot, "--state": state, "--runtime": place}
    common = [part for key, path in paths.items() for part in (key, str(path))]
    common += ["--task", name, "--supervised", str(os.getpid())]
    python = [sys.executable, "-m", "onboard.main"]
    supervisor = Supervisor(
        {
            "control": [*python, "control", "--port", str(port), *common],
            "agent": [*python, "agent", "--server", server, *common],
        },
        log=lambda line: print(f"run: {line}", file=sys.stderr, flush=True),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.end())
    _hang_up_ends()
    return supervisor.run()


def control(
    robot: Path,
    port: Path,
    task: str | None = None,
    state: Path = _STATE,
    runtime: Path | None = None,
    supervised: int = 0,
) -> int:
    """Run only the control process. It moves nothing until it is told to start.

    Args:
        robot: robot file, hw_configs/NAME.toml.
        port: serial device of the motor bus.
        task: task of the robot file; may be left out if there is only one.
        state: durable directory of this robot.
        runtime: directory on tmpfs for ring and socket; by default in /dev/shm, by robot name.
        supervised: process id of the parent with which this process ends; 0 for none.
    """
    from onboard.control_process import run_control  # noqa: PLC0415
    from onboard.realtime import end_with_parent  # noqa: PLC0415

    if supervised:
        end_with_parent(supervised)
    _hang_up_ends()
    spec, name, place = _checked(robot, task, state, runtime)
    return run_control(spec, name, port, state, place)


def agent(
    robot: Path,
    server: str,
    task: str | None = None,
    state: Path = _STATE,
    runtime: Path | None = None,
    supervised: int = 0,
) -> int:
    """Run only the agent: records to the server, policies from it.

    Args:
        robot: robot file, hw_configs/NAME.toml.
        server: where the training server listens, tcp://HOST:PORT.
        task: task of the robot file; may be left out if there is only one.
        state: durable directory of this robot.
        runtime: directory on tmpfs for ring and socket; by default in /dev/shm, by robot name.
        supervised: process id of the parent with which this process ends; 0 for none.
    """
    from onboard.agent import run_agent  # noqa: PLC0415
    from onboard.realtime import end_with_parent  # noqa: PLC0415

    if supervised:
        end_with_parent(supervised)
    _hang_up_ends()
    spec, name, place = _checked(robot, task, state, runtime)
    return run_agent(spec, name, server, state, place)


def selftest(robot: Path, port: Path) -> int:
    """Check the motor bus and time it. Moves nothing; control must not be running.

    Args:
        robot: robot file, hw_configs/NAME.toml.
        port: serial device of the motor bus.
    """
    from onboard.bus import Bus  # noqa: PLC0415
    from onboard.self_test import self_test  # noqa: PLC0415
    from onboard.serial_port import SerialPort  # noqa: PLC0415

    spec = load_robot_spec(robot)
    bus = Bus(spec, lambda: SerialPort(port, spec.bus.baud).open(), time.monotonic)
    try:
        print("\n".join(self_test(spec, bus, port, time.monotonic_ns)))
    finally:
        bus.close()
    return 0


def status(
    robot: Path, state: Path = _STATE, runtime: Path | None = None, json: bool = False
) -> int:
    """Show what the robot is doing.

    Args:
        robot: robot file, hw_configs/NAME.toml.
        state: durable directory of this robot.
        runtime: directory on tmpfs for ring and socket; by default in /dev/shm, by robot name.
        json: one JSON object instead of text.
    """
    client = _client(robot, state, runtime)
    try:
        found = client.status()
    finally:
        client.close()
    print(msgspec.json.encode(found).decode() if json else _described(found))
    return 0


def start(robot: Path, state: Path = _STATE, runtime: Path | None = None) -> int:
    """Leave IDLE: drive home, then run episodes of the task."""
    return _tell(Start(), robot, state, runtime)


def stop(robot: Path, state: Path = _STATE, runtime: Path | None = None) -> int:
    """Stop moving: torque off, back to IDLE."""
    return _tell(Stop(), robot, state, runtime)


def estop(robot: Path, state: Path = _STATE, runtime: Path | None = None) -> int:
    """Emergency stop: torque off, latched until cleared."""
    return _tell(Estop(), robot, state, runtime)


def clear(robot: Path, state: Path = _STATE, runtime: Path | None = None) -> int:
    """Acknowledge a fault or emergency stop: self-test, then IDLE."""
    return _tell(Clear(), robot, state, runtime)


def main() -> None:
    """Entry point of ``wombet-onboard``; see the module for exit status."""
    os.umask(0o077)  # spool, ring and counters are nobody else's
    commands = (run, control, agent, selftest, status, start, stop, estop, clear)
    try:
        check_install()
        code = tyro.extras.subcommand_cli_from_dict(
            {command.__name__: command for command in commands},
            prog="wombet-onboard",
            description=__doc__,
        )
    except WombetError as error:
        print(f"wombet-onboard: {error}", file=sys.stderr)
        raise SystemExit(_EXIT.get(type(error), 1)) from error
    raise SystemExit(code)


def _hang_up_ends() -> None:
    """A closed terminal ends the process as SIGTERM does, unless ``nohup`` said otherwise."""
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))


def _checked(
    robot: Path, task: str | None, state: Path, runtime: Path | None
) -> tuple[RobotSpec, str, Path]:
    """Robot, task name and runtime directory, all known to exist; the directory is ours alone."""
    spec = load_robot_spec(robot)
    if task is None and len(spec.tasks) == 1:
        task = next(iter(spec.tasks))
    spec.task(task or "")
    return spec, task or "", make_private(_runtime_directory(spec, state, runtime))


def _runtime_directory(spec: RobotSpec, state: Path, runtime: Path | None) -> Path:
    if runtime is not None:
        return runtime
    return _SHARED_MEMORY / f"wombet-{spec.name}" if _SHARED_MEMORY.is_dir() else state / "run"


def _client(robot: Path, state: Path, runtime: Path | None) -> ControlClient:
    directory = _runtime_directory(load_robot_spec(robot), state, runtime)
    return ControlClient(directory / SOCKET_FILE)


def _tell(request: Request, robot: Path, state: Path, runtime: Path | None) -> int:
    client = _client(robot, state, runtime)
    try:
        done = client.command(request)
    finally:
        client.close()
    print(done.detail or "done", file=sys.stdout if done.ok else sys.stderr)
    return 0 if done.ok else 1


def _described(found: Status) -> str:
    work, error = found.work_us, found.period_error_us
    return "\n".join(
        (
            f"{found.robot}: {found.mode} ({found.reason})",
            f"episode {found.episode}, step {found.step}, policy {found.active_version}",
            f"{found.ticks} ticks, {found.missed_ticks} missed, {found.late_ticks} late, "
            f"scheduling {found.scheduling}",
            f"work p50 {work.p50:.0f} µs, p99 {work.p99:.0f} µs, max {work.max:.0f} µs; "
            f"period error p50 {error.p50:.0f} µs, p99 {error.p99:.0f} µs, max {error.max:.0f} µs",
            f"{found.produced} records, {found.dropped} dropped; {found.bus_misses} bus misses, "
            f"{found.interventions} interventions",
            f"policies: {found.activated} activated, {found.committed} committed, "
            f"{found.rejected} rejected, {found.rolled_back} rolled back",
        )
    )


if __name__ == "__main__":
    main()
