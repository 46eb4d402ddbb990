"""The bodies of a MuJoCo model as shapes in a viser scene."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_GEOM = mujoco.mjtGeom


class Bodies:
    """All bodies of ``model``, each a frame with its geoms, moved by :meth:`pose`."""

    def __init__(self, scene: Any, model: mujoco.MjModel) -> None:
        self._model, self._data = model, mujoco.MjData(model)
        self._frames = [
            scene.add_frame(f"/{_name(model, body)}", show_axes=False)
            for body in range(model.nbody)
        ]
        for geom in range(model.ngeom):
            _add(scene, model, geom)
        self.pose(model.qpos0)

    def pose(self, qpos: Array) -> None:
        """Move every body to where it is at these coordinates (nq,)."""
        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(self._model, self._data)
        for body, frame in enumerate(self._frames):
            frame.position = self._data.xpos[body]
            frame.wxyz = self._data.xquat[body]


def _name(model: mujoco.MjModel, body: int) -> str:
    return f"body_{body}_{model.body(body).name}"


def _add(scene: Any, model: mujoco.MjModel, geom: int) -> None:
    """One geom beneath its body's frame; a plane becomes a grid."""
    size, kind = model.geom_size[geom], model.geom_type[geom]
    name = f"/{_name(model, int(model.geom_bodyid[geom]))}/geom_{geom}"
    place = {"position": model.geom_pos[geom], "wxyz": model.geom_quat[geom]}
    look = {"color": _colour(model, geom), **place}
    if kind == _GEOM.mjGEOM_PLANE:
        scene.add_grid(name, width=2.0, height=2.0, cell_size=0.1, **place)
    elif kind == _GEOM.mjGEOM_SPHERE:
        scene.add_icosphere(name, radius=size[0], **look)
    elif kind == _GEOM.mjGEOM_ELLIPSOID:
        scene.add_icosphere(name, radius=1.0, scale=tuple(size), **look)
    elif kind == _GEOM.mjGEOM_BOX:
        scene.add_box(name, dimensions=tuple(2.0 * size), **look)
    elif kind == _GEOM.mjGEOM_CYLINDER:
        scene.add_cylinder(name, radius=size[0], height=2.0 * size[1], **look)
    elif kind == _GEOM.mjGEOM_CAPSULE:
        _add_capsule(scene, name, size, look)
    elif kind == _GEOM.mjGEOM_MESH:
        vertices, faces = _mesh(model, int(model.geom_dataid[geom]))
        scene.add_mesh_simple(name, vertices, faces, **look)


def _add_capsule(scene: Any, name: str, size: Array, look: dict[str, Any]) -> None:
    scene.add_cylinder(name, radius=size[0], height=2.0 * size[1], **look)
    for end, height_m in (("top", size[1]), ("bottom", -size[1])):
        ball = {"radius": size[0], "color": look["color"], "position": (0.0, 0.0, height_m)}
        scene.add_icosphere(f"{name}/{end}", **ball)


def _mesh(model: mujoco.MjModel, mesh: int) -> tuple[NDArray[Any], NDArray[Any]]:
    vertices, faces = int(model.mesh_vertadr[mesh]), int(model.mesh_faceadr[mesh])
    return (
        model.mesh_vert[vertices : vertices + int(model.mesh_vertnum[mesh])],
        model.mesh_face[faces : faces + int(model.mesh_facenum[mesh])],
    )


def _colour(model: mujoco.MjModel, geom: int) -> tuple[int, int, int]:
    material = int(model.geom_matid[geom])
    shade = model.geom_rgba[geom] if material < 0 else model.mat_rgba[material]
    red, green, blue = (round(255 * float(each)) for each in shade[:3])
    return red, green, blue
