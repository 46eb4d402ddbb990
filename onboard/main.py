"""``wombet-onboard``: run a robot, and talk to one that runs.

Exit status: 0 done; 1 the answer is no; 2 wrong configuration or command line; 3 the motor bus
failed; 4 control is not running; 5 storage failed; more in onboard/exit_status.py.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import tyro

from onboard.backends_command import Backend, backends, engines_of
from onboard.budget_command import budget
from onboard.console_command import converse
from onboard.control_api import LATCH_FILE, SOCKET_FILE, Clear, Estop, Request, Start, Stop
from onboard.control_socket import ControlClient
from onboard.estop_latch import latch_alone
from onboard.exit_status import Exit, exit_for
from onboard.flight_commands import dump, replay
from onboard.install_check import check_install
from onboard.policy_command import policy
from onboard.release_command import release
from onboard.runtime_directory import STATE, make_private, runtime_directory
from onboard.status_text import describe
from onboard.update_command import update
from onboard.wall_clock import Trust
from protocol.errors import WireError, WombetError
from protocol.robot_spec import RobotSpec, load_robot_spec

_Robot = Annotated[Path, tyro.conf.arg(help="robot file, hw_configs/NAME.toml.")]
_State = Annotated[Path, tyro.conf.arg(help="durable directory of this robot.")]
_Runtime = Annotated[
    Path | None,
    tyro.conf.arg(help="directory on tmpfs for ring and socket; by default in /dev/shm, by name."),
]


def run(
    robot: Path,
    port: Path,
    server: str,
    task: str | None = None,
    state: Path = STATE,
    runtime: Path | None = None,
    estop: tuple[str, ...] = (),
    metrics_port: int = 0,
    backend: Backend = "auto",
    clock: Trust = "synchronised",
) -> int:
    """Run the robot: control and agent, each restarted if it dies. SIGTERM stops both.

    Args:
        robot: robot file, hw_configs/NAME.toml.
        port: serial device of the motor bus.
        server: where the training server listens, tcp://HOST:PORT.
        task: task of the robot file; may be left out if there is only one.
        state: durable directory of this robot.
        runtime: directory on tmpfs for ring and socket; by default in /dev/shm, by robot name.
        estop: emergency stops: gpio:/dev/gpiochip0,LINE input:/dev/input/event0[,KEY] key
        metrics_port: port on loopback where Prometheus may scrape; 0 for none.
        backend: what runs the policies; `wombet-onboard backends` tells what works here.
        clock: take new policies while the clock is synchronised, or go by it as it is set.
    """
    from onboard.estop_choice import chosen_source  # noqa: PLC0415 - other commands stay light
    from onboard.supervisor import Supervisor  # noqa: PLC0415

    for word in estop:
        chosen_source(word)  # a word that means nothing is refused before anything is started
    _, name, place = _checked(robot, task, state, runtime)
    paths = {"--robot": robot, "--state": state, "--runtime": place}
    common = [part for key, path in paths.items() for part in (key, str(path))]
    common += ["--task", name, "--supervised", str(os.getpid())]
    python = [sys.executable, "-m", "onboard.main"]
    metrics, inference = ["--metrics-port", str(metrics_port)], ["--backend", backend]
    supervisor = Supervisor(
        {
            "control": [
                *python,
                "control",
                "--port",
                str(port),
                *common,
                *inference,
                "--estop",
                *estop,
            ],
            "agent": [*python, "agent", "--server", server, *common, *metrics, "--clock", clock],
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
    state: Path = STATE,
    runtime: Path | None = None,
    supervised: int = 0,
    estop: tuple[str, ...] = (),
    backend: Backend = "auto",
) -> int:
    """Run only the control process. It moves nothing until it is told to start.

    Args:
        robot: robot file, hw_configs/NAME.toml.
        port: serial device of the motor bus.
        task: task of the robot file; may be left out if there is only one.
        state: durable directory of this robot.
        runtime: directory on tmpfs for ring and socket; by default in /dev/shm, by robot name.
        supervised: process id of the parent with which this process ends; 0 for none.
        estop: emergency stops: gpio:/dev/gpiochip0,LINE input:/dev/input/event0[,KEY] key
        backend: what runs the policies; `wombet-onboard backends` tells what works here.
    """
    from onboard.backends.probe import Machine, choose  # noqa: PLC0415
    from onboard.control_process import run_control  # noqa: PLC0415
    from onboard.estop_choice import chosen_source  # noqa: PLC0415
    from onboard.realtime import end_with_parent  # noqa: PLC0415

    if supervised:
        end_with_parent(supervised)
    _hang_up_ends()
    spec, name, place = _checked(robot, task, state, runtime)
    inference = choose(Machine(engines_of(state)), backend)
    sources = [chosen_source(word) for word in estop]
    return run_control(spec, name, port, state, place, inference, sources)


def agent(
    robot: Path,
    server: str,
    task: str | None = None,
    state: Path = STATE,
    runtime: Path | None = None,
    supervised: int = 0,
    metrics_port: int = 0,
    clock: Trust = "synchronised",
    unit_root: Path | None = None,
) -> int:
    """Run only the agent: records to the server, policies from it.

    Args:
        robot: robot file, hw_configs/NAME.toml.
        server: where the training server listens, tcp://HOST:PORT.
        task: task of the robot file; may be left out if there is only one.
        state: durable directory of this robot.
        runtime: directory on tmpfs for ring and socket; by default in /dev/shm, by robot name.
        supervised: process id of the parent with which this process ends; 0 for none.
        metrics_port: port on loopback where Prometheus may scrape; 0 for none.
        clock: take new policies while the clock is synchronised, or go by it as it is set.
        unit_root: root directory of a field unit, which takes releases of the runtime too.
    """
    from onboard.agent import run_agent  # noqa: PLC0415
    from onboard.realtime import end_with_parent  # noqa: PLC0415
    from onboard.wall_clock import wall_clock  # noqa: PLC0415

    if supervised:
        end_with_parent(supervised)
    _hang_up_ends()
    spec, name, place = _checked(robot, task, state, runtime)
    return run_agent(spec, name, server, state, place, wall_clock(clock), metrics_port, unit_root)


def selftest(
    robot: Path,
    port: Path,
    arm: bool = False,
    state: Path = STATE,
    runtime: Path | None = None,
    estop: tuple[str, ...] = (),
) -> int:
    """Check the motor bus, its timing and the encoders; control must not be running.

    Moves nothing, unless armed.

    Args:
        robot: robot file, hw_configs/NAME.toml.
        port: serial device of the motor bus.
        arm: then move every motor by a few degrees and trip its watchdog; stand clear.
        state: durable directory of this robot.
        runtime: directory on tmpfs for ring and socket; by default in /dev/shm, by robot name.
        estop: with --arm: gpio:/dev/gpiochip0,LINE input:/dev/input/event0[,KEY] key
    """
    from onboard.estop_choice import chosen_source  # noqa: PLC0415
    from onboard.self_test_run import run_self_test  # noqa: PLC0415

    sources = [chosen_source(word) for word in estop]
    spec = load_robot_spec(robot)
    place = make_private(runtime_directory(spec, state, runtime))
    return run_self_test(spec, port, place, arm, sources)


def status(
    robot: Path, state: Path = STATE, runtime: Path | None = None, json: bool = False
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
    print(msgspec.json.encode(found).decode() if json else describe(found))
    return 0


def start(robot: _Robot, state: _State = STATE, runtime: _Runtime = None) -> int:
    """Leave IDLE: drive home, then run episodes of the task."""
    return _tell(Start(), robot, state, runtime)


def stop(robot: _Robot, state: _State = STATE, runtime: _Runtime = None) -> int:
    """Stop moving: torque off, back to IDLE."""
    return _tell(Stop(), robot, state, runtime)


def estop(robot: _Robot, state: _State = STATE, runtime: _Runtime = None) -> int:
    """Emergency stop: torque off, latched until cleared.

    If control does not answer it is latched all the same, for an armed self-test and the next
    start of control; nobody has confirmed then that the torque is off, and exit status is 4.
    """
    try:
        return _tell(Estop(), robot, state, runtime)
    except (WireError, KeyboardInterrupt):
        place = runtime_directory(load_robot_spec(robot), state, runtime)
        print(f"wombet-onboard: {latch_alone(place / LATCH_FILE)}", file=sys.stderr, flush=True)
        raise


def clear(robot: _Robot, state: _State = STATE, runtime: _Runtime = None) -> int:
    """Acknowledge a fault or emergency stop: self-test, then IDLE."""
    return _tell(Clear(), robot, state, runtime)


def console(robot: _Robot, state: _State = STATE, runtime: _Runtime = None) -> int:
    """Orders from standard input, a word a line: start, stop, estop, clear or status; JSON back."""
    client = _client(robot, state, runtime)
    place = runtime_directory(load_robot_spec(robot), state, runtime)
    try:
        latch = partial(latch_alone, place / LATCH_FILE)
        converse(client, sys.stdin, partial(print, flush=True), latch)
    finally:
        client.close()
    return 0


def main() -> None:
    """Entry point of ``wombet-onboard``; see the module for exit status."""
    os.umask(0o077)  # spool, ring and counters are nobody else's
    if sys.stderr is not None:
        faulthandler.enable()  # a watchdog's SIGABRT shows where the loop hung
    robot = (run, control, agent, selftest, status, start, stop, estop, clear, console)
    commands = (*robot, policy, update, release, backends, dump, replay, budget)
    try:
        check_install()
        code = tyro.extras.subcommand_cli_from_dict(
            {command.__name__: command for command in commands},
            prog="wombet-onboard",
            description=__doc__,
        )
    except WombetError as error:
        print(f"wombet-onboard: {error}", file=sys.stderr)
        raise SystemExit(exit_for(error)) from error
    except Exception as error:
        traceback.print_exc()
        raise SystemExit(Exit.DEFECT) from error
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
    return spec, spec.task_name(task), make_private(runtime_directory(spec, state, runtime))


def _client(robot: Path, state: Path, runtime: Path | None) -> ControlClient:
    directory = runtime_directory(load_robot_spec(robot), state, runtime)
    return ControlClient(directory / SOCKET_FILE)


def _tell(request: Request, robot: Path, state: Path, runtime: Path | None) -> int:
    client = _client(robot, state, runtime)
    try:
        done = client.command(request)
    finally:
        client.close()
    print(done.detail or "done", file=sys.stdout if done.ok else sys.stderr)
    return 0 if done.ok else 1


if __name__ == "__main__":
    main()
