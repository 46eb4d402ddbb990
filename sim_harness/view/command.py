"""``wombet-sim view`` and ``wombet-sim screenshot``."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mujoco

from protocol.errors import ConfigError, StoreError
from protocol.robot_spec import RobotSpec, load_robot_spec
from sim_harness.camera import HEIGHT, WIDTH, Camera
from sim_harness.glance import GlanceReader, glance_path
from sim_harness.hil.console import SocketConsole, Status
from sim_harness.model import REST_KEY, compile_model
from sim_harness.png import png
from sim_harness.view.page import Page
from sim_harness.view.panel import panel

LOOK_S, ASK_EVERY_LOOKS = 1.0 / 30.0, 8
PLANT_START_S = 20.0


@dataclass(frozen=True)
class ViewCommand:
    """Show a rig in the browser while it lives.

    Attributes:
        robot: robot file, hw_configs/NAME.toml.
        link: serial port of a rig that runs already, started by plant or hil (there it is
            OUT/SCENARIO/tty); by default a plant of its own is started.
        runtime: runtime directory of the robot's software; its mode is shown, nothing is ordered.
        body: which plant.bodies table of the robot file is shown.
        port: of the page, on this machine only; 0 for a free one.
        open: open a browser.
    """

    robot: Path
    link: Path | None = None
    runtime: Path | None = None
    body: str = "nominal"
    port: int = 8090
    open: bool = False


@dataclass(frozen=True)
class ScreenshotCommand:
    """Save a picture of a rig, without a screen.

    Attributes:
        robot: robot file, hw_configs/NAME.toml.
        out: PNG file to write.
        link: serial port of a rig that runs; by default its rest pose is drawn.
        body: which plant.bodies table of the robot file is shown.
        width: of the picture.
        height: of the picture.
    """

    robot: Path
    out: Path
    link: Path | None = None
    body: str = "nominal"
    width: int = WIDTH
    height: int = HEIGHT


class Viewer:
    """Looks at a rig and tells a page, until it is stopped.

    Args:
        spec: the robot.
        reader: of its rig.
        page: where it is shown.
        status: what the runtime says; None if there is none to ask.
    """

    def __init__(
        self,
        spec: RobotSpec,
        reader: GlanceReader,
        page: Page,
        status: Callable[[], Status | None] | None,
    ) -> None:
        self._spec, self._reader, self._page, self._ask = spec, reader, page, status
        self._status: Status | None = None
        self._looks = 0

    def look(self) -> None:
        """Once: pose, torque and faults; every now and then the mode."""
        if self._ask is not None and self._looks % ASK_EVERY_LOOKS == 0:
            self._status = self._ask()
        self._looks += 1
        glance = self._reader.look()
        text = panel(self._spec, glance, self._status, self._ask is not None)
        if self._reader.ended:
            text = f"**The rig has ended.** What it showed last:\n\n{text}"
        if glance is not None:
            self._page.show(glance.qpos, text)

    def run(self, stopped: threading.Event) -> None:
        """Until ``stopped``."""
        while not stopped.wait(LOOK_S):
            self.look()


def run_view(command: ViewCommand) -> int:
    """Serve until SIGINT or SIGTERM. Raises ConfigError."""
    spec, model = _rig(command.robot, command.body)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    ask = None if command.runtime is None else SocketConsole(command.runtime).status
    with _linked(command) as link:
        reader = GlanceReader(glance_path(link), model.nq, len(spec.actuated)).open()
        with Page(model, spec.name, command.port) as page:
            print(f"{spec.name} behind {link}: {page.address}", flush=True)
            if command.open:
                webbrowser.open(page.address)
            Viewer(spec, reader, page, ask).run(stopped)
    return 0


def run_screenshot(command: ScreenshotCommand) -> int:
    """Write the picture.

    Raises:
        ConfigError: robot file, rig or machine are not what is needed.
        StoreError: it cannot be written.
    """
    spec, model = _rig(command.robot, command.body)
    qpos = model.key(REST_KEY).qpos
    if command.link is not None:
        reader = GlanceReader(glance_path(command.link), model.nq, len(spec.actuated)).open()
        glance = reader.look()
        qpos = qpos if glance is None else glance.qpos
    with Camera(model, command.width, command.height) as camera:
        picture = png(camera.take(qpos))
    try:
        command.out.write_bytes(picture)
    except OSError as error:
        raise StoreError(f"{command.out}: cannot write the picture ({error})") from error
    print(command.out)
    return 0


def _rig(robot: Path, body: str) -> tuple[RobotSpec, mujoco.MjModel]:
    spec = load_robot_spec(robot)
    return spec, compile_model(spec, spec.body(body), robot.parent)


@contextmanager
def _linked(command: ViewCommand) -> Iterator[Path]:
    """The serial port of the rig to look at; one of our own lives as long as the view."""
    if command.link is not None:
        yield command.link
        return
    with tempfile.TemporaryDirectory(prefix="wombet-view-") as folder:
        link = Path(folder) / "tty"
        argv = [sys.executable, "-m", "sim_harness.main", "plant", "--robot", str(command.robot)]
        argv += ["--link", str(link), "--body", command.body]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as plant:
            try:
                if plant.stdout is None or not plant.stdout.readline():
                    raise ConfigError("the plant did not start; see above")
                yield link
            finally:
                plant.terminate()
