"""``wombet-sim check``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import TextWrapper
from typing import Annotated

import tyro

from protocol.observation import Layout
from protocol.robot_spec import RobotSpec, load_robot_spec
from sim_harness.check.examination import examine

_wrapped = TextWrapper(100, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


@dataclass(frozen=True)
class CheckCommand:
    """Say everything that is wrong with a robot file and its MJCF, by line; 2 if anything is.

    A sound one is described: its joints, observation, tasks and simulated bodies.

    Attributes:
        robot: robot file, hw_configs/NAME.toml.
    """

    robot: Annotated[Path, tyro.conf.Positional]


def run_check(command: CheckCommand) -> int:
    """Exit status 0 for a sound robot. Raises ConfigError if the file cannot be read."""
    found = examine(command.robot)
    if found:
        count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
        lines = [f"wombet-sim: {count}; mend and check again", *map(str, found)]
        sys.stderr.write("\n".join(lines) + "\n")
        return 2
    sys.stdout.write(described(load_robot_spec(command.robot)))
    return 0


def described(spec: RobotSpec) -> str:
    """What a sound robot file means, in lines."""
    layout = Layout(spec)
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
        _wrapped.fill(f"observation {' '.join(layout.labels)}"),
        *(
            f"task {name}: reward {task.reward}, {task.episode_steps} steps of {spec.tick_s:g} s"
            for name, task in spec.tasks.items()
        ),
        f"bodies {', '.join(spec.plant.bodies)} from {spec.plant.mjcf}",
    ]
    return "\n".join(lines) + "\n"
