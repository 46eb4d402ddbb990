"""Edits of an MJCF in memory: what turns a nominal body into a broken, loaded or reshaped one.

An :data:`Edit` changes a ``mujoco.MjSpec`` in place, before it is compiled. Numbers are in the
units of the MJCF they are applied to (angles too: its ``compiler`` says radian or degree).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import mujoco

from protocol.errors import ConfigError

Edit = Callable[[Any], None]

Point = tuple[float, float, float]

BodyT = TypeVar("BodyT")


def find_body(bodies: Mapping[str, BodyT], name: str) -> BodyT:
    """The body called ``name``. Raises ConfigError naming those that exist."""
    if name not in bodies:
        raise ConfigError(f"no body {name!r}; bodies are {sorted(bodies)}")
    return bodies[name]


def compiled(mjcf: Any) -> mujoco.MjModel:
    """The model of ``mjcf``, scaled to its ``settotalmass`` if it has one.

    MuJoCo gives up that attribute; the scaling is done on the compiled model, as it advises.

    Raises:
        ValueError: MuJoCo cannot compile it.
    """
    total_kg, mjcf.compiler.settotalmass = mjcf.compiler.settotalmass, -1.0
    model = mjcf.compile()
    mjcf.compiler.settotalmass = total_kg
    if total_kg > 0.0:
        mujoco.mj_setTotalmass(model, total_kg)
        mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


def unchanged(mjcf: Any) -> None:
    """The body as it is."""


def in_turn(*edits: Edit) -> Edit:
    """All ``edits``, one after the other."""

    def apply(mjcf: Any) -> None:
        for edit in edits:
            edit(mjcf)

    return apply


def joint_ranges(**ranges: tuple[float, float]) -> Edit:
    """New limits (low, high) for the named joints."""

    def apply(mjcf: Any) -> None:
        for name, limits in ranges.items():
            mjcf.joint(name).range = limits

    return apply


def capsules(**ends: tuple[Point, Point]) -> Edit:
    """New end points for the named capsules, in their body's frame; radii stay."""

    def apply(mjcf: Any) -> None:
        for name, (start, end) in ends.items():
            mjcf.geom(name).pos = [0.0, 0.0, 0.0]  # a centre and end points exclude each other
            mjcf.geom(name).fromto = [*start, *end]

    return apply


def half_lengths(**lengths: float) -> Edit:
    """New half-lengths for the named capsules, which keep their centres and directions."""

    def apply(mjcf: Any) -> None:
        for name, half_length in lengths.items():
            radius, _, unused = mjcf.geom(name).size
            mjcf.geom(name).size = [radius, half_length, unused]

    return apply


def geom_centres(**centres: Point) -> Edit:
    """New centres for the named geoms, in their body's frame."""

    def apply(mjcf: Any) -> None:
        for name, centre in centres.items():
            mjcf.geom(name).pos = centre

    return apply


def body_origins(**origins: Point) -> Edit:
    """New origins for the named bodies, in their parent's frame."""

    def apply(mjcf: Any) -> None:
        for name, origin in origins.items():
            mjcf.body(name).pos = origin

    return apply


def scaled_gears(share: float) -> Edit:
    """Every actuator gives ``share`` of its force."""

    def apply(mjcf: Any) -> None:
        for actuator in mjcf.actuators:
            actuator.gear = _scaled(actuator.gear, share)

    return apply


def scaled_friction(share: float) -> Edit:
    """Sliding, torsional and rolling friction of every geom, the floor's included."""

    def apply(mjcf: Any) -> None:
        for geom in mjcf.geoms:
            geom.friction = _scaled(geom.friction, share)

    return apply


def heavier_body(name: str, share: float) -> Edit:
    """The named body gets ``share`` heavier, evenly; all other masses stay.

    For files that fix the total mass (``settotalmass``): density and total are raised together.
    """

    def apply(mjcf: Any) -> None:
        mass_kg = float(compiled(mjcf).body(name).mass[0])
        for geom in mjcf.body(name).geoms:
            geom.density *= 1.0 + share
        mjcf.compiler.settotalmass += share * mass_kg

    return apply


def _scaled(values: Sequence[float], share: float) -> list[float]:
    return [share * value for value in values]
