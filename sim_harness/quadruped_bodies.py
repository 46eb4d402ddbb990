"""The quadruped's bodies, and its model compiled with one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco

from protocol import walk
from protocol.errors import ConfigError
from sim_harness.body_edits import Edit, find_body, in_turn, scaled_friction, unchanged

PAYLOAD_KG = 1.0
PAYLOAD_HEIGHT_M = 0.07
WEAK_SHARE = 0.35
SLIPPERY_SHARE = 0.25
TRUNK = "trunk"
STANCE_KEY = "stance"
WEAK_LEG = ("rear_right_roll", "rear_right_pitch", "rear_right_knee")


def payload(mass_kg: float, height_m: float) -> Edit:
    """A ball of ``mass_kg`` on the back, ``height_m`` above the trunk's centre."""

    def apply(mjcf: Any) -> None:
        mjcf.body(TRUNK).add_geom(
            name="payload",
            type=mujoco.mjtGeom.mjGEOM_SPHERE,
            size=[0.03, 0.0, 0.0],
            pos=[0.0, 0.0, height_m],
            mass=mass_kg,
            contype=1,
            conaffinity=0,
        )

    return apply


def weak_servos(share: float, *names: str) -> Edit:
    """The named servos give ``share`` of their torque at the same position error."""

    def apply(mjcf: Any) -> None:
        for name in names:
            servo = mjcf.actuator(name)
            servo.gainprm[0] *= share
            servo.biasprm[1] *= share
            servo.forcerange = [share * limit_nm for limit_nm in servo.forcerange]

    return apply


_LOADED = payload(PAYLOAD_KG, PAYLOAD_HEIGHT_M)
_WEAK = weak_servos(WEAK_SHARE, *WEAK_LEG)
_SLIPPERY = scaled_friction(SLIPPERY_SHARE)

BODIES: dict[str, Edit] = {
    "nominal": unchanged,
    "payload": _LOADED,
    "weak_leg": _WEAK,
    "low_friction": _SLIPPERY,
    "loaded_weak_slippery": in_turn(_LOADED, _WEAK, _SLIPPERY),
}
"""What each body changes; the last is the benchmark's target. Source: our own choice."""


def compile_quadruped(path: Path, body: str) -> mujoco.MjModel:
    """The model of ``path`` with ``body``'s change.

    Raises:
        ConfigError: ``body`` does not exist, MuJoCo refuses the file, or it is no such walker.
    """
    edit = find_body(BODIES, body)
    try:
        mjcf = mujoco.MjSpec.from_file(str(path))
        _check(mjcf, path)
        edit(mjcf)
        return mjcf.compile()
    except (ValueError, OSError, mujoco.FatalError) as error:
        raise ConfigError(f"{path}: MuJoCo refuses the MJCF ({error})") from error


def _check(mjcf: Any, path: Path) -> None:
    """Everything that is looked up by name or counted on must be there."""
    if mjcf.body(TRUNK) is None or mjcf.key(STANCE_KEY) is None:
        raise ConfigError(f"{path}: need a body {TRUNK!r} and a key {STANCE_KEY!r} to start from")
    servos = [actuator.name for actuator in mjcf.actuators]
    if len(servos) != walk.JOINTS or len(mjcf.joints) != walk.JOINTS + 1:
        raise ConfigError(f"{path}: need a free joint and {walk.JOINTS} servos, found {servos}")
    missing = sorted(set(WEAK_LEG) - set(servos))
    if missing:
        raise ConfigError(f"{path}: no servos {missing}, which a body here weakens")
