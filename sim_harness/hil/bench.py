"""What all scenarios of a suite share: the robot, the machine it runs on, what it starts with."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from protocol.robot_spec import RobotSpec
from sim_harness.hil.host import Host


class Outfit(NamedTuple):
    """What a robot needs before it can run.

    Attributes:
        state: state directory with an identity.
        policies: the plain ones, in directories called like their versions; None to use what the
            state directory holds.
    """

    state: Path
    policies: Path | None


class Bench(NamedTuple):
    """A robot and where its runtime lives.

    Attributes:
        spec: the robot.
        robot: its file here; ``onboard_robot`` is the same one there.
        onboard_robot: see ``robot``.
        host: where the runtime lives; ``place`` is a directory for it there.
        place: see ``host``.
        program: how ``wombet-onboard`` is called there.
        port: its serial port there; empty for a pseudo terminal of each scenario's own.
        serial: the adapter on this machine at the other end of it.
        outfit: what the robot starts with.
        boot_s: how long starting and homing may take.
    """

    spec: RobotSpec
    robot: Path
    onboard_robot: str
    host: Host
    place: str
    program: tuple[str, ...]
    port: str
    serial: Path | None
    outfit: Outfit
    boot_s: float
