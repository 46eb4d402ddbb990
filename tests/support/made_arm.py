"""The five-joint arm behind a port, in simulated time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from made_rig import RigPort, make_rig_port

from protocol.robot_spec import RobotSpec, load_robot_spec

ARM = Path(__file__).parents[2] / "hw_configs" / "arm5.toml"


def load_arm() -> RobotSpec:
    """The robot file we ship."""
    return load_robot_spec(ARM)


def make_arm_port(spec: RobotSpec) -> RigPort:
    """The nominal arm, held nowhere yet."""
    return make_rig_port(spec)


def servo(port: Any, node: int) -> Any:
    """The emulated servo of a joint."""
    return port.rig._firmware._nodes[node]
