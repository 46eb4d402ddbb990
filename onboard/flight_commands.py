"""``wombet-onboard dump`` and ``replay``, without what they need: other commands stay light."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from onboard.runtime_directory import STATE, runtime_directory
from protocol.robot_spec import load_robot_spec


def dump(
    robot: Path, state: Path = STATE, runtime: Path | None = None, reason: str = "somebody asked"
) -> int:
    """Write the last half minute of ticks to STATE/flights, also after control was killed.

    Args:
        robot: robot file, hw_configs/NAME.toml.
        state: durable directory of this robot.
        runtime: directory on tmpfs for ring and socket; by default in /dev/shm, by robot name.
        reason: kept in the file.
    """
    from onboard.flight_replay import dump_flight  # noqa: PLC0415

    spec = load_robot_spec(robot)
    return dump_flight(spec, state, runtime_directory(spec, state, runtime), reason)


def replay(
    file: Annotated[Path, tyro.conf.Positional],
    bundle: Path | None = None,
    robot: Path | None = None,
) -> int:
    """Run a recorded flight through the present code; 1 if something comes out differently.

    Args:
        file: what `dump` or a fault wrote.
        bundle: a policy bundle or a folder of them; without it policies are not compared.
        robot: robot file to use in place of the recorded one.
    """
    from onboard.flight_replay import replay_file  # noqa: PLC0415

    return replay_file(file, bundle, robot)
