"""From an MJCF and the parameters of a plant body to a compiled MuJoCo model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco

from protocol.errors import ConfigError
from protocol.robot_spec import Body, Joint, RobotSpec

REST_KEY = "rest"
ROD, TIP = "rod", "tip"


def compile_model(spec: RobotSpec, body: Body, directory: Path) -> mujoco.MjModel:
    """The simulated rig of ``spec`` with the parameters of ``body``.

    Args:
        spec: the robot; its joints must exist as hinges in the MJCF under the same names.
        body: replaces the MJCF's lengths, masses, friction and armature.
        directory: where ``spec.plant.mjcf`` lies, that is beside the TOML.

    Raises:
        ConfigError: the MJCF cannot be read or compiled, or lacks a joint, geom or key it needs.
    """
    path = directory / spec.plant.mjcf
    try:
        mjcf = mujoco.MjSpec.from_file(str(path))
    except (ValueError, OSError, mujoco.FatalError) as error:
        raise ConfigError(f"{path}: MuJoCo refuses the MJCF ({error})") from error
    _check(mjcf, spec, path)
    mjcf.option.timestep = 1.0 / spec.plant.physics_hz
    _apply_pendulum(mjcf, body)
    try:
        model = mjcf.compile()
    except ValueError as error:
        raise ConfigError(f"{path}: MuJoCo cannot compile the model ({error})") from error
    for joint in spec.joints:
        _apply_friction(model, int(model.joint(joint.name).dofadr[0]), body, joint)
    return model


def _check(mjcf: Any, spec: RobotSpec, path: Path) -> None:
    """Everything this module will look up must be there."""
    names = [joint.name for joint in mjcf.joints]
    for joint in spec.joints:
        if joint.name not in names:
            raise ConfigError(f"{path}: no joint {joint.name!r} of the TOML; the MJCF has {names}")
        if mjcf.joint(joint.name).type != mujoco.mjtJoint.mjJNT_HINGE:
            raise ConfigError(f"{path}: joint {joint.name!r} must be a hinge")
    extra = sorted(set(names) - {joint.name for joint in spec.joints})
    if extra:
        raise ConfigError(f"{path}: joints {extra} are not in the TOML; no node would read them")
    for geom in (ROD, TIP):
        if mjcf.geom(geom) is None:
            raise ConfigError(f"{path}: no geom {geom!r}; plant.bodies sets its length and mass")
    if mjcf.key(REST_KEY) is None:
        raise ConfigError(f"{path}: no key {REST_KEY!r}; it holds the pose a reset starts from")


def _apply_pendulum(mjcf: Any, body: Body) -> None:
    rod, tip = mjcf.geom(ROD), mjcf.geom(TIP)
    rod.fromto = [0.0, 0.0, 0.0, 0.0, 0.0, body.pendulum_length_m]
    rod.mass = body.pendulum_rod_kg
    tip.pos = [0.0, 0.0, body.pendulum_length_m]
    tip.mass = body.pendulum_tip_kg


def _apply_friction(model: mujoco.MjModel, dof: int, body: Body, joint: Joint) -> None:
    """Motor friction and armature, seen through the gear, on driven joints; bearings on others."""
    if joint.actuated:
        model.dof_damping[dof] = body.motor_damping_nm_s * joint.gear**2
        model.dof_frictionloss[dof] = body.motor_friction_nm * joint.gear
        model.dof_armature[dof] = body.motor_armature_kg_m2 * joint.gear**2
    else:
        model.dof_damping[dof] = body.pendulum_damping_nm_s
        model.dof_frictionloss[dof] = body.pendulum_friction_nm
        model.dof_armature[dof] = 0.0
