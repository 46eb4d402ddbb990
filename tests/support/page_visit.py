"""A browser that visits the page, and a stand-in for the server whose run it shows."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import msgspec
from made_page import REPORT, STATUS, UNIT, swinging
from made_records import GENERATION, SPEC

from offboard.live_window import Windows
from offboard.page.key import make_key
from offboard.page.run_files import Robot
from offboard.policy_pin import PolicyPin

CHROMIUM = Path("/usr/bin/chromium")
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
VIEWS = ("/", f"/robot/{UNIT}", "/learning", "/prior", "/policies", "/alarms")
STARTS_S = 90.0
LEFT_EARLY = "WebSocket is closed before the connection is established"
"""What the browser says of a page that is left while it loads."""
BEAT_S = 0.25
BATCH = 25


class StandIn(threading.Thread):
    """Says it is alive, streams a swinging pendulum to whoever looks, and follows the pin."""

    def __init__(self, run: Path) -> None:
        super().__init__(name="stand-in", daemon=True)
        self._run, self._windows, self._pin = run, Windows(run, SPEC), PolicyPin(run)
        self._over = threading.Event()

    def run(self) -> None:
        rows = swinging(BATCH * 2_000)
        for beat in range(2_000):
            if self._over.wait(BEAT_S):
                return
            batch = rows[BATCH * beat : BATCH * (beat + 1)].copy()
            batch["seq"] += GENERATION
            self._windows.refresh()
            self._windows.saw(UNIT, batch)
            self._windows.refresh()
            self._pin.refresh()
            self._speak(ticks=REPORT.ticks + BATCH * beat)

    def _speak(self, ticks: int) -> None:
        report = msgspec.structs.replace(REPORT, ticks=ticks)
        robot = Robot(name=UNIT, heard_s=time.time(), report=report)
        status = msgspec.structs.replace(STATUS, robots=[robot], pinned=self._pin.version)
        part = self._run / ".status.json"
        part.write_bytes(msgspec.json.encode(status))
        part.replace(self._run / "status.json")

    def end(self) -> None:
        self._over.set()
        self.join()


@contextmanager
def standing_in(run: Path) -> Iterator[None]:
    """A server at work on ``run``, as far as its files tell."""
    server = StandIn(run)
    server.start()
    try:
        yield
    finally:
        server.end()


@contextmanager
def page_of(run: Path) -> Iterator[str]:
    """The page's process over ``run``; its address. NiceGUI behaves otherwise under pytest."""
    port = free_port()
    make_key(run)
    arguments = ("--run", str(run), "--port", str(port), "--parent", str(os.getpid()))
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    with (run / "page.log").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "offboard.page.main", *arguments],
            stdout=log, stderr=log, env=environment,
        )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for_page(address)
        yield address
    finally:
        child.terminate()
        child.wait()


@contextmanager
def chromium() -> Iterator[Any]:
    """Debian's browser without a window."""
    playwright = importlib.import_module("playwright.sync_api").sync_playwright()
    with playwright as found:
        arguments = ["--no-sandbox", "--disable-gpu"]
        browser = found.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def wait_for_page(address: str) -> None:
    """Until somebody answers at ``address``."""
    deadline_s = time.monotonic() + STARTS_S
    while time.monotonic() < deadline_s:
        with suppress(OSError), urlopen(f"{address}/login", timeout=5.0):
            return
        time.sleep(0.1)
    raise AssertionError(f"no page at {address} within {STARTS_S:g} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Visitor:
    """One person with one browser window; ``complaints`` is what the browser complained about."""

    def __init__(self, browser: Any, address: str, size: dict[str, int], scale: float = 1.0):
        self.address, self.size = address, size
        self.context = browser.new_context(viewport=size, device_scale_factor=scale)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.complaints: list[str] = []
        self.page.on("console", self._heard)
        self.page.on("request", self._asked)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning") and LEFT_EARLY not in message.text:
            self.complaints.append(message.text)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.complaints.append(f"asked outside: {request.url}")

    def log_in(self, run: Path) -> None:
        self.page.goto(f"{self.address}/login")
        self.page.fill("#key", (run / "page.key").read_text().strip())
        self.page.click("button")
        self.page.wait_for_selector("nav.tabs")

    def go(self, view: str) -> None:
        """To a view by its address, until it follows its run."""
        self.page.goto(f"{self.address}{view}")
        self.page.wait_for_selector("nav.tabs")
        self.page.wait_for_selector("main :is(h1, .box)")

    def drawn(self, charts: int) -> None:
        """Wait until that many charts are drawn."""
        self.page.wait_for_function(
            "n => [...document.querySelectorAll('.chart canvas')]"
            ".filter(canvas => canvas.offsetParent).length >= n",
            arg=charts,
        )

    def too_wide_px(self) -> int:
        """How far the page reaches beyond the window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth")
        return width - self.size["width"]
