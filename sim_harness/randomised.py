"""Bodies drawn from the ranges that a robot file allows for training."""

from __future__ import annotations

import msgspec
import numpy as np

from protocol.errors import ConfigError
from protocol.plant_spec import Body
from protocol.robot_spec import RobotSpec


def drawn(spec: RobotSpec, task: str, body: Body, rng: np.random.Generator) -> Body:
    """``body`` with every parameter of ``plant.randomise.TASK`` drawn evenly from its range.

    Raises:
        ConfigError: the task has no ranges, or a draw makes no body.
    """
    ranges = spec.plant.randomise.get(task)
    if not ranges:
        raise ConfigError(f"{spec.name}: no ranges to draw from; write [plant.randomise.{task}]")
    values = {name: _draw(body, name, rng.uniform(*ends)) for name, ends in sorted(ranges.items())}
    try:
        return msgspec.convert({**msgspec.structs.asdict(body), **values}, Body)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{spec.name}: plant.randomise.{task} makes no body ({error})") from error


def _draw(body: Body, name: str, value: float) -> float:
    return round(value) if isinstance(getattr(body, name), int) else value
