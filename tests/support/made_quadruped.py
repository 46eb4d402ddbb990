"""The walker behind a port, in simulated time, and ways to move it by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from made_rig import RigPort, make_rig_port
from numpy.typing import NDArray

from protocol.robot_spec import RobotSpec, load_robot_spec

QUADRUPED = Path(__file__).parents[2] / "hw_configs" / "quadruped.toml"


def load_quadruped() -> RobotSpec:
    """The robot file we ship."""
    return load_robot_spec(QUADRUPED)


def make_quadruped_port(spec: RobotSpec) -> RigPort:
    """The nominal walker, lying where its legs gave way."""
    port = make_rig_port(spec)
    port.clock.sleep(1.0)
    port.catch_up()
    return port


def lay(plant: Any, quaternion: tuple[float, float, float, float], height_m: float = 0.3) -> None:
    """Turn the body over, at rest, above the floor."""
    plant._data.qpos[2] = height_m
    plant._data.qpos[3:7] = np.array(quaternion) / np.linalg.norm(quaternion)
    plant._data.qvel[:6] = 0.0


def trot(time_s: float) -> NDArray[np.float32]:
    """Unit actions (12,) of a gait without feedback: two diagonal pairs take turns."""
    action = np.zeros((4, 3), dtype=np.float32)
    for leg, phase in enumerate((0.0, 0.5, 0.5, 0.0)):
        angle = 2.0 * np.pi * (2.0 * time_s + phase)
        lifted = 0.8 * max(0.0, np.sin(angle))
        action[leg, 1:] = -0.5 * np.cos(angle) + 0.5 * lifted, -lifted
    return action.ravel()
