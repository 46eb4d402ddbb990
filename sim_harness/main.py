"""``wombet-sim``: the plant on a pseudo terminal, tests with hardware in the loop, robot files."""

from __future__ import annotations

import json
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from protocol.errors import ConfigError, StoreError
from protocol.robot_spec import RobotSpec, load_robot_spec
from sim_harness.firmware import Firmware, firmware_for
from sim_harness.hil.command import HilCommand, ReliveCommand, run_hil, run_relive
from sim_harness.hil.stand import StandCommand, run_stand
from sim_harness.link import Link
from sim_harness.model import compile_model
from sim_harness.plant import Plant
from sim_harness.realtime import become_realtime
from sim_harness.rig import Rig
from sim_harness.terminal import PseudoTerminal


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


@dataclass(frozen=True)
class CheckCommand:
    """Read a robot file and its MJCF and print what was understood."""

    robot: Annotated[Path, tyro.conf.Positional]


Command = (
    Annotated[PlantCommand, tyro.conf.subcommand("plant")]
    | Annotated[CheckCommand, tyro.conf.subcommand("check")]
    | Annotated[HilCommand, tyro.conf.subcommand("hil")]
    | Annotated[ReliveCommand, tyro.conf.subcommand("relive")]
    | Annotated[StandCommand, tyro.conf.subcommand("stand")]
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
    if isinstance(command, HilCommand):
        return run_hil(command)
    if isinstance(command, ReliveCommand):
        return run_relive(command)
    if isinstance(command, StandCommand):
        run_stand(command)
    elif isinstance(command, PlantCommand):
        run_plant(command)
    else:
        sys.stdout.write(describe(load_robot_spec(command.robot), command.robot.parent))
    return 0


def run_plant(command: PlantCommand) -> None:
    """Serve the rig until SIGTERM or SIGINT. Raises ConfigError before anything is created."""
    spec = load_robot_spec(command.robot)
    body = spec.body(command.body)
    model = compile_model(spec, body, command.robot.parent)
    plant = Plant(spec, body, model, command.seed)
    firmware = firmware_for(spec)
    rig = Rig(spec, command.body, plant, firmware)
    link = Link(rig, spec.bus.baud, PseudoTerminal(command.link), time.monotonic_ns)
    terminal = link.open()
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: link.stop())
        granted = become_realtime()
        print(f"{spec.name}/{command.body} on {command.link} -> {terminal} ({granted})", flush=True)
        link.serve()
        if command.stats is not None:
            write_statistics(command.stats, link, firmware)
    finally:
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


def describe(spec: RobotSpec, directory: Path) -> str:
    """What a robot file means, in lines. Raises ConfigError if its MJCF or a body does not fit."""
    firmware_for(spec)
    for body in spec.plant.bodies.values():
        compile_model(spec, body, directory)
    lines = [
        f"robot {spec.name}, digest {spec.digest()[:16]}",
        f"bus {spec.bus.kind} at {spec.bus.baud} baud, control at {spec.control_hz} Hz, "
        f"physics at {spec.plant.physics_hz} Hz",
        *(
            f"joint {joint.name}: id {joint.id}, {joint.model}, "
            + ("actuated" if joint.actuated else "passive")
            + f", {joint.position_min_rad:g} .. {joint.position_max_rad:g} rad"
            for joint in spec.joints
        ),
        *(
            f"task {name}: {task.episode_steps} steps of {spec.tick_s:g} s"
            for name, task in spec.tasks.items()
        ),
        f"bodies {', '.join(spec.plant.bodies)} from {spec.plant.mjcf}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
