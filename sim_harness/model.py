"""From an MJCF and the parameters of a plant body to a compiled MuJoCo model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mujoco
from msgspec import UNSET

from protocol.errors import ConfigError
from protocol.plant_spec import Body
from protocol.robot_spec import Joint, RobotSpec
from sim_harness.encoders import PLAY

REST_KEY = "rest"
ROD, TIP = "rod", "tip"
PAYLOAD_RADIUS_M = 0.02
PLAY_ARMATURE_KG_M2, PLAY_DAMPING_NM_S = 1e-4, 1e-2
"""Of the gear's last wheel, so that the play is no joint without mass."""


def compile_model(spec: RobotSpec, body: Body, directory: Path) -> mujoco.MjModel:
    """The simulated rig of ``spec`` with the parameters of ``body``.

    Args:
        spec: the robot; its joints must exist as hinges in the MJCF under the same names.
        body: replaces the MJCF's lengths, masses, friction and armature.
        directory: where ``spec.plant.mjcf`` lies, that is beside the TOML.

    Raises:
        ConfigError: the MJCF cannot be read or compiled, or lacks a joint, geom or key it needs.
    """
    path, mjcf = directory / spec.plant.mjcf, load_mjcf(spec, directory)
    found = [*misfits(mjcf, spec, body)]
    if found:
        raise ConfigError(f"{path}: " + "; ".join(found))
    mjcf.option.timestep = 1.0 / spec.plant.physics_hz
    _remove_actuators(mjcf)
    if body.pendulum_length_m > 0.0:
        _apply_pendulum(mjcf, body)
    if body.payload_kg > 0.0:
        _apply_payload(mjcf, body)
    if body.backlash_rad > 0.0:
        _apply_play(mjcf, spec, body)
    try:
        model = mjcf.compile()
    except ValueError as error:
        raise ConfigError(f"{path}: MuJoCo cannot compile the model ({error})") from error
    for joint in spec.joints:
        _apply_friction(model, int(model.joint(joint.name).dofadr[0]), body, joint)
    return model


def misfits(mjcf: Any, spec: RobotSpec, body: Body) -> Iterator[str]:
    """What of all that this module will look up is not there; nothing for a sound MJCF."""
    free = [joint for joint in mjcf.joints if joint.type == mujoco.mjtJoint.mjJNT_FREE]
    names = [joint.name for joint in mjcf.joints if joint not in free]
    if spec.imu is not UNSET and len(free) != 1:
        yield "an imu needs a body with a free joint"
    for joint in spec.joints:
        if joint.name not in names:
            yield f"no joint {joint.name!r} of the TOML; the MJCF has {names}"
        elif mjcf.joint(joint.name).type != mujoco.mjtJoint.mjJNT_HINGE:
            yield f"joint {joint.name!r} must be a hinge"
    for extra in sorted(set(names) - {joint.name for joint in spec.joints}):
        yield f"joint {extra!r} is not in the TOML; no node would read it"
    for geom in (ROD, TIP) if body.pendulum_length_m > 0.0 else ():
        if mjcf.geom(geom) is None:
            yield f"no geom {geom!r}; plant.bodies sets its length and mass"
    if body.payload_kg > 0.0 and mjcf.site(TIP) is None:
        yield f"no site {TIP!r}; a payload hangs there"
    if mjcf.key(REST_KEY) is None:
        yield f"no key {REST_KEY!r}; it holds the pose a reset starts from"


def _remove_actuators(mjcf: Any) -> None:
    """Those of the MJCF are for other uses of it: here the motors are the TOML's."""
    for actuator in [*mjcf.actuators]:
        mjcf.delete(actuator)
    for key in mjcf.keys:
        key.ctrl = []


def load_mjcf(spec: RobotSpec, directory: Path) -> Any:
    """The MJCF beside the TOML, not compiled. Raises ConfigError if MuJoCo refuses it."""
    path = directory / spec.plant.mjcf
    try:
        return mujoco.MjSpec.from_file(str(path))
    except (ValueError, OSError, mujoco.FatalError) as error:
        raise ConfigError(f"{path}: MuJoCo refuses the MJCF ({error})") from error


def _apply_pendulum(mjcf: Any, body: Body) -> None:
    rod, tip = mjcf.geom(ROD), mjcf.geom(TIP)
    rod.fromto = [0.0, 0.0, 0.0, 0.0, 0.0, body.pendulum_length_m]
    rod.mass = body.pendulum_rod_kg
    tip.pos = [0.0, 0.0, body.pendulum_length_m]
    tip.mass = body.pendulum_tip_kg


def _apply_payload(mjcf: Any, body: Body) -> None:
    """A ball at the tip that only the floor can touch."""
    tip = mjcf.site(TIP)
    tip.parent.add_geom(
        name="payload",
        type=mujoco.mjtGeom.mjGEOM_SPHERE,
        size=[PAYLOAD_RADIUS_M, 0.0, 0.0],
        pos=tip.pos,
        mass=body.payload_kg,
        contype=0,
        conaffinity=1,
    )


def _apply_play(mjcf: Any, spec: RobotSpec, body: Body) -> None:
    """Between each motor and its link a hinge that turns freely by ``backlash_rad``."""
    half_rad = 0.5 * body.backlash_rad
    pose = iter(mjcf.key(REST_KEY).qpos)
    rest = {joint.name: [next(pose) for _ in range(_width(joint))] for joint in mjcf.joints}
    for joint in spec.actuated:
        hinge = mjcf.joint(joint.name)
        hinge.parent.add_joint(
            name=PLAY.format(joint.name),
            type=mujoco.mjtJoint.mjJNT_HINGE,
            pos=hinge.pos,
            axis=hinge.axis,
            limited=mujoco.mjtLimited.mjLIMITED_TRUE,
            range=[-half_rad, half_rad],
            solref_limit=[0.004, 1.0],
            armature=PLAY_ARMATURE_KG_M2,
            damping=PLAY_DAMPING_NM_S,
            frictionloss=body.backlash_friction_nm,
            stiffness=0.0,
        )
    mjcf.key(REST_KEY).qpos = [
        angle for joint in mjcf.joints for angle in rest.get(joint.name, [0.0])
    ]


def _width(joint: Any) -> int:
    """How many numbers of a pose are a joint's; the others are hinges."""
    return 7 if joint.type == mujoco.mjtJoint.mjJNT_FREE else 1


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
