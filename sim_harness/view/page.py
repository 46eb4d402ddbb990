"""The page: a scene, a panel, on this machine only."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from protocol.errors import ConfigError
from sim_harness.glance import Array
from sim_harness.view.bodies import Bodies

LOOPBACK = "127.0.0.1"


class Page:
    """One rig in every browser that looks; a context."""

    def __init__(self, model: mujoco.MjModel, title: str, port: int) -> None:
        """``port`` 0 takes a free one."""
        self._model, self._title, self._port = model, title, port

    def __enter__(self) -> Page:
        """Serve. Raises ConfigError without viser, or if nothing can listen on the port."""
        try:
            import viser  # noqa: PLC0415 - an extra; other commands do without
        except ImportError as error:
            raise ConfigError("the view needs viser: pip install 'wombet[view]'") from error
        try:
            self._server: Any = viser.ViserServer(
                host=LOOPBACK, port=self._port, label=self._title, verbose=False
            )
        except OSError as error:
            raise ConfigError(f"cannot listen on port {self._port} ({error})") from error
        self._server.gui.configure_theme(show_share_button=False, show_logo=False)
        self._text = self._server.gui.add_markdown("")
        self._bodies = Bodies(self._server.scene, self._model)
        self._look()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def address(self) -> str:
        """For a browser on this machine."""
        return f"http://{LOOPBACK}:{self._server.get_port()}"

    @property
    def text(self) -> str:
        """What stands in the panel."""
        return str(self._text.content)

    def show(self, qpos: Array, text: str) -> None:
        """This pose (nq,), these words."""
        with self._server.atomic():
            self._bodies.pose(qpos)
        if text != self._text.content:
            self._text.content = text

    def _look(self) -> None:
        """From where all of the rig is seen."""
        centre, extent = self._model.stat.center, self._model.stat.extent
        camera = self._server.initial_camera
        camera.look_at = centre
        camera.position = centre + extent * np.array([0.6, -0.7, 0.4])
