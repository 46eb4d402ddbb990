"""wombet-sim: robot files, their simulated robots, tests with hardware in the loop.

new-robot → check → hil is the order for a robot of your own.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from protocol.errors import ConfigError, StoreError
from protocol.robot_spec import load_robot_spec
from sim_harness.check.command import CheckCommand, run_check
from sim_harness.firmware import Firmware, firmware_for
from sim_harness.glance import GlanceWriter, glance_path
from sim_harness.hil.command import HilCommand, ReliveCommand, run_hil, run_relive
from sim_harness.hil.stand import StandCommand, run_stand
from sim_harness.link import Link
from sim_harness.model import compile_model
from sim_harness.new_robot.command import NewRobotCommand, run_new_robot
from sim_harness.plant import Plant
from sim_harness.realtime import become_realtime
from sim_harness.rig import Rig
from sim_harness.terminal import PseudoTerminal
from sim_harness.view.command import ScreenshotCommand, ViewCommand, run_screenshot, run_view


@dataclass(frozen=True)
class PlantCommand:
    """Simulate a rig in real time behind a serial port.

    Attributes:
        robot: robot file, hw_configs/NAME.toml.
        link: symbolic link to create; give it to the runtime as its serial port.
        body: which plant.bodies table of the robot file to simulate.
        seed: of the noise in the start pose.
        stats: file to write on exit: real-time factor, lost time, frames.
    """

    robot: Path
    link: Path
    body: str = "nominal"
    seed: int = 0
    stats: Path | None = None


Command = (
    Annotated[NewRobotCommand, tyro.conf.subcommand("new-robot")]
    | Annotated[CheckCommand, tyro.conf.subcommand("check")]
    | Annotated[PlantCommand, tyro.conf.subcommand("plant")]
    | Annotated[HilCommand, tyro.conf.subcommand("hil")]
    | Annotated[ReliveCommand, tyro.conf.subcommand("relive")]
    | Annotated[StandCommand, tyro.conf.subcommand("stand")]
    | Annotated[ViewCommand, tyro.conf.subcommand("view")]
    | Annotated[ScreenshotCommand, tyro.conf.subcommand("screenshot")]
)


def main() -> None:
    """Entry point; exit status 2 with one line on standard error for a wrong configuration."""
    command = tyro.cli(Command, prog="wombet-sim", description=__doc__)
    try:
        raise SystemExit(run(command))
    except (ConfigError, StoreError) as error:
        sys.stderr.write(f"wombet-sim: {error}\n")
        raise SystemExit(2) from error


def run(command: Command) -> int:
    """Exit status of a command. Raises ConfigError, StoreError."""
    return _RUN[type(command)](command) or 0


def run_plant(command: PlantCommand) -> None:
    """Serve the rig until SIGTERM or SIGINT. Raises ConfigError before anything is created."""
    spec = load_robot_spec(command.robot)
    body = spec.body(command.body)
    model = compile_model(spec, body, command.robot.parent)
    plant = Plant(spec, body, model, command.seed)
    firmware = firmware_for(spec)
    rig = Rig(spec, command.body, plant, firmware)
    glance = GlanceWriter(glance_path(command.link), spec, body, plant, firmware)
    terminal = PseudoTerminal(command.link)
    link = Link(rig, spec.bus.baud, terminal, time.monotonic_ns, lambda: glance.show(rig.time_ns))
    name = link.open()
    try:
        glance.open()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: link.stop())
        granted = become_realtime()
        print(f"{spec.name}/{command.body} on {command.link} -> {name} ({granted})", flush=True)
        link.serve()
        if command.stats is not None:
            write_statistics(command.stats, link, firmware)
    finally:
        glance.close()
        link.close()


def write_statistics(path: Path, link: Link, firmware: Firmware) -> None:
    """Leave the run's numbers as JSON. Raises ConfigError if ``path`` cannot be written."""
    statistics = link.statistics()
    numbers = {
        **statistics._asdict(),
        "realtime_factor": statistics.realtime_factor,
        "frames": firmware.frames,
        "crc_errors": firmware.crc_errors,
    }
    try:
        path.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write --stats {path} ({error})") from error


_RUN: dict[type, Callable[[Any], int | None]] = {
    NewRobotCommand: run_new_robot,
    CheckCommand: run_check,
    PlantCommand: run_plant,
    HilCommand: run_hil,
    ReliveCommand: run_relive,
    StandCommand: run_stand,
    ViewCommand: run_view,
    ScreenshotCommand: run_screenshot,
}


if __name__ == "__main__":
    main()
