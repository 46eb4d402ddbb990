"""``wombet-onboard budget``: measure a running robot and compare with its limits."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import msgspec

from onboard.budget import Look, Measure, measures, size_of, usage_of
from onboard.control_api import AGENT_PID_FILE, FLIGHTS, SOCKET_FILE
from onboard.control_socket import ControlClient
from onboard.durable import read_number
from onboard.exit_status import Exit
from onboard.log_file import LOG_FILE
from onboard.runtime_directory import STATE, runtime_directory
from protocol.errors import ConfigError, WireError
from protocol.robot_spec import Budget, RobotSpec, load_robot_spec, parse_budget


def budget(
    robot: Path,
    seconds: float = 25.0,
    limits: Path | None = None,
    state: Path = STATE,
    runtime: Path | None = None,
    json: bool = False,
) -> int:
    """Measure the running robot against its limits; 1 if one is exceeded.

    Args:
        robot: robot file, hw_configs/NAME.toml.
        seconds: how long to measure.
        limits: TOML file with a [budget] table to use in place of the robot file's.
        state: durable directory of this robot.
        runtime: directory on tmpfs for ring and socket; by default in /dev/shm, by robot name.
        json: one JSON object instead of text.
    """
    spec = load_robot_spec(robot)
    allowed, place = _limits(spec, limits), runtime_directory(spec, state, runtime)
    with closing(ControlClient(place / SOCKET_FILE)) as client:
        before = _look(client, state, place)
        time.sleep(seconds)
        after = _look(client, state, place)
    found = measures(before, after, allowed)
    print(_encoded(found, after, seconds) if json else _described(found, after, seconds))
    return Exit.DONE if all(measure.kept for measure in found) else Exit.NO


def _limits(spec: RobotSpec, file: Path | None) -> Budget:
    if file is not None:
        try:
            return parse_budget(file.read_text(encoding="utf-8"), str(file))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: cannot read the limits ({error})") from error
    if spec.budget is None:
        raise ConfigError(f"{spec.name}: the robot file has no [budget] table; pass --limits FILE")
    return spec.budget


def _look(client: ControlClient, state: Path, runtime: Path) -> Look:
    status = client.status()
    control = usage_of(status.pid)
    if control is None:
        raise WireError(f"control's process {status.pid} cannot be seen from here")
    agent = usage_of(read_number(runtime / AGENT_PID_FILE))
    folders = [(state / LOG_FILE).parent, state / FLIGHTS]
    return Look(status, control, agent, size_of(folders))


def _encoded(found: list[Measure], after: Look, seconds: float) -> str:
    rows = [{**measure._asdict(), "kept": measure.kept} for measure in found]
    document = {"seconds": seconds, "mode": after.status.mode, "measures": rows}
    return msgspec.json.encode(document).decode()


def _described(found: list[Measure], after: Look, seconds: float) -> str:
    status = after.status
    lines = [f"{status.robot}, {status.mode}, scheduling {status.scheduling}, {seconds:g} s"]
    lines += [
        f"{'ok  ' if measure.kept else 'OVER'} {measure.name}: {measure.value:.4g}, "
        f"limit {measure.limit:g}"
        for measure in found
    ]
    return "\n".join(lines)
