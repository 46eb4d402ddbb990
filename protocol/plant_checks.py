"""What is wrong with the ranges that simulated bodies are drawn from, and with the test set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import UNSET

from protocol.plant_spec import Body, Range

if TYPE_CHECKING:
    from protocol.robot_spec import RobotSpec

NOMINAL = "nominal"


def plant_problems(spec: RobotSpec) -> Iterator[str]:
    """One line for each, naming the key and the remedy."""
    for task, ranges in spec.plant.randomise.items():
        if task not in spec.tasks:
            yield f"plant.randomise.{task}: there is no such task"
        for name, (low, high) in ranges.items():
            if name not in Body.__struct_fields__:
                yield f"plant.randomise.{task}.{name}: a body has no such parameter"
            elif not 0.0 <= low <= high:
                yield f"plant.randomise.{task}.{name}: write 0 <= lowest <= highest"
            elif lacking := _lacking(spec, name):
                yield f"plant.randomise.{task}.{name}: {spec.name} has no {lacking}; remove it"
    for name in spec.plant.unseen:
        body = spec.plant.bodies.get(name)
        if body is None:
            yield f"plant.unseen: there is no body {name!r}"
            continue
        for task, ranges in spec.plant.randomise.items():
            if not outside(body, ranges):
                yield f"plant.unseen: {name!r} is within every range of {task}; training may see it"


def _lacking(spec: RobotSpec, name: str) -> str:
    """The part a parameter is about, where the robot has no such part."""
    if name.startswith("pendulum_") and all(joint.actuated for joint in spec.joints):
        return "joint without a motor"
    return "imu" if name.startswith("imu_") and spec.imu is UNSET else ""


def outside(body: Body, ranges: dict[str, Range]) -> list[str]:
    """Parameters of ``body`` that no draw from ``ranges`` can have."""
    found = []
    for name, (low, high) in ranges.items():
        if not low <= getattr(body, name, low) <= high:
            found.append(name)
    return found
