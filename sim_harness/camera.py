"""Pictures of a rig without a screen: MuJoCo renders into memory through EGL or OSMesa."""

from __future__ import annotations

import importlib
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from protocol.errors import ConfigError
from sim_harness.png import Pixels

WIDTH, HEIGHT = 480, 360
BACKENDS = ("mujoco.egl", "mujoco.osmesa")
AZIMUTH_DEG, ELEVATION_DEG, DISTANCE_EXTENTS = 120.0, -20.0, 1.4
_GEOMS_MAX = 1000
_AMBIENT, _DIFFUSE = 0.4, 0.7


class Camera:
    """Stands before a rig and sees all of it. Use in one thread, as a context."""

    def __init__(self, model: mujoco.MjModel, width: int = WIDTH, height: int = HEIGHT) -> None:
        self._model, self._size = model, (width, height)

    def __enter__(self) -> Camera:
        """Get a place to render into. Raises ConfigError if this machine has none."""
        model, (width, height) = self._model, self._size
        self._context = _context(width, height)
        self._context.make_current()
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, width)
        model.vis.global_.offheight = max(model.vis.global_.offheight, height)
        model.vis.headlight.ambient, model.vis.headlight.diffuse = [_AMBIENT] * 3, [_DIFFUSE] * 3
        self._data, self._option = mujoco.MjData(model), mujoco.MjvOption()
        self._scene = mujoco.MjvScene(model, _GEOMS_MAX)
        self._renderer = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._renderer)
        self._view = mujoco.MjvCamera()
        self._view.lookat = model.stat.center
        self._view.distance = DISTANCE_EXTENTS * model.stat.extent
        self._view.azimuth, self._view.elevation = AZIMUTH_DEG, ELEVATION_DEG
        return self

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        self._renderer.free()
        self._context.free()

    def take(self, qpos: NDArray[np.float64]) -> Pixels:
        """(height, width, 3) of the rig in this pose (nq,)."""
        width, height = self._size
        self._data.qpos[:] = qpos
        mujoco.mj_forward(self._model, self._data)
        everything = int(mujoco.mjtCatBit.mjCAT_ALL)
        mujoco.mjv_updateScene(
            self._model, self._data, self._option, None, self._view, everything, self._scene
        )
        pixels: Pixels = np.empty((height, width, 3), np.uint8)
        viewport = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(viewport, self._scene, self._renderer)
        mujoco.mjr_readPixels(pixels, None, viewport, self._renderer)
        return np.flipud(pixels)


def _context(width: int, height: int) -> Any:
    refused = []
    for name in BACKENDS:
        try:
            return importlib.import_module(name).GLContext(width, height)
        except Exception as error:  # whatever its loaders raise
            refused.append(f"{name}: {error}")
    raise ConfigError(f"no pictures on this machine: install libegl1 ({'; '.join(refused)})")
