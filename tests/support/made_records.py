"""Step records as a robot would make them: valid, and different from one another."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from protocol.modes import Mode
from protocol.robot_spec import RobotSpec, load_robot_spec
from protocol.step_record import End, Rows, dtype_of

ROBOT_FILE = Path(__file__).parents[2] / "hw_configs" / "furuta.toml"
SPEC: RobotSpec = load_robot_spec(ROBOT_FILE)
DTYPE = dtype_of(SPEC)
GENERATION = 1 << 40


def make_records(first: int, count: int, generation: int = 1, episode_steps: int = 0) -> Rows:
    """``count`` rows numbered from ``first``; an episode ends every ``episode_steps`` rows."""
    rows = np.zeros(count, dtype=DTYPE)
    numbers = np.arange(first, first + count)
    rows["seq"] = generation * GENERATION + numbers
    rows["tick"] = numbers
    rows["sense_ns"] = numbers * 20_000_000
    rows["act_ns"] = rows["sense_ns"] + 1_000_000
    rows["mode"] = Mode.RUN
    rows["obs"] = np.random.default_rng(first).normal(size=rows["obs"].shape)
    rows["applied"] = np.sin(numbers)[:, None]
    rows["requested"] = rows["applied"]
    if episode_steps:
        rows["episode"] = numbers // episode_steps
        rows["step"] = numbers % episode_steps
        rows["end"][rows["step"] == episode_steps - 1] = End.TRUNCATED
    return rows
