"""``make test-page``: a browser beside a robot that learns; pictures of all it saw.

First a recorded run, then the demo itself with small budgets: the server opens the page, the robot
moves, somebody looks at everything, pins a policy, sees the robot take it, and lets go again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import tyro
from made_page import UNIT, make_run
from page_visit import (
    DESK,
    PHONE,
    VIEWS,
    Visitor,
    chromium,
    free_port,
    page_of,
    standing_in,
    wait_for_page,
)
from rich.console import Console

CONFIGS = Path(__file__).parents[2] / "hw_configs"
SMALL = {
    "--source-options": "--online.env-steps 1200 --online.evaluate-every 600 "
    "--online.updates-per-step 1 --model-steps 200 --holdout-steps 300",
    "--generate-options": "--generate.trajectories 16 --generate.steps 40",
    "--expert-options": "--online.env-steps 300 --online.evaluate-every 300",
    "--session.episodes": "200",
    "--session.zero-shot-episodes": "1",
    "--session.final-episodes": "2",
    "--session.publish-every": "90",
    "--session.updates-per-turn": "10",
}
START_S, STEP_S = 600.0, 480.0
WINDOWS = {"desktop": (DESK, 1.0), "phone": (PHONE, 2.0)}


@dataclass(frozen=True)
class Walk:
    """Where the pictures go."""

    out: Path


def main(walk: Walk) -> None:
    """Walk through it; the exit status is 1 with the reason if anything is not as it should be."""
    walk.out.mkdir(parents=True, exist_ok=True)
    say = Console().print
    with tempfile.TemporaryDirectory() as place, chromium() as browser:
        say("a recorded run")
        _recorded(Path(place) / "recorded", browser, walk.out)
        say("a running demo")
        _live(Path(place) / "live", browser, walk.out)
    say(f"{len([*walk.out.glob('*.png')])} pictures in {walk.out}")


def _recorded(place: Path, browser: Any, out: Path) -> None:
    run = make_run(place)
    with standing_in(run), page_of(run) as address:
        for window, (size, scale) in WINDOWS.items():
            visitor = Visitor(browser, address, size, scale)
            visitor.page.goto(f"{address}/login")
            visitor.page.screenshot(path=out / f"recorded-login-{window}.png")
            visitor.log_in(run)
            for view in VIEWS:
                _picture(visitor, view, out / f"recorded-{_name(view)}-{window}.png")
            _leave(visitor)


def _live(place: Path, browser: Any, out: Path) -> None:
    with _demo(place) as (address, run):
        visitor = Visitor(browser, address, DESK)
        visitor.page.set_default_timeout(1000 * STEP_S)
        visitor.log_in(run)
        visitor.page.wait_for_selector(".chip:text-is('working')")
        visitor.go(f"/robot/{UNIT}")
        visitor.page.wait_for_selector("text=Live, a second or two behind the robot.")
        _pin(visitor, run)
        _leave(visitor)
        for window, (size, scale) in WINDOWS.items():
            guest = Visitor(browser, address, size, scale)
            guest.log_in(run)
            for view in VIEWS:
                _picture(guest, view, out / f"live-{_name(view)}-{window}.png")
            _leave(guest)
    assert not _answers(address), "the page outlived its server"


def _pin(visitor: Visitor, run: Path) -> None:
    """Send the robot back to its first policy, see it drive, and let it go."""
    visitor.go("/policies")
    visitor.page.wait_for_selector(".name:text-is('Policy 3')")
    visitor.page.click("[aria-label='Go back to this one: 1']")
    visitor.page.click("button:has-text('Pin it')")
    visitor.page.wait_for_selector("text=Robots stay with policy 1, which is pinned.")
    visitor.go("/")
    visitor.page.wait_for_selector("details.fact:has-text('Policy') .value:has-text('the newest')")
    visitor.go("/policies")
    newest = visitor.page.locator(".box:has(.chip:text-is('newest'))")
    newest.locator(f"text={UNIT} took it over").or_(
        newest.locator(f"text=/{UNIT} kept it/")
    ).first.wait_for()
    assert newest.locator(".chip:text-is('not exploring')").count() == 1
    visitor.page.click("button:has-text('Let newer policies out')")
    visitor.page.wait_for_selector("text=No policy is pinned")
    assert not (run / "pin.json").exists()


@contextmanager
def _demo(place: Path) -> Iterator[tuple[str, Path]]:
    """A small demo at work, ended with the block; the page's address and the serve run."""
    place.mkdir()
    text = (CONFIGS / "furuta.toml").read_text()
    (place / "furuta.toml").write_text(text.replace("episode_steps = 250", "episode_steps = 100"))
    shutil.copy(CONFIGS / "furuta.xml", place)
    port = free_port()
    command = [
        str(Path(sys.executable).with_name("wombet-offboard")), "demo",
        "--robot", str(place / "furuta.toml"), "--out", str(place / "run"),
        "--endpoint", f"tcp://127.0.0.1:{free_port()}", "--page-port", str(port),
        *(f"{option}={value}" for option, value in SMALL.items()),
    ]  # fmt: skip
    environment = {**os.environ, "TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    with (place / "demo.log").open("wb") as log:
        demo = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        run, address = place / "run" / "serve", f"http://127.0.0.1:{port}"
        _until((run / "page.key").exists, demo, place / "demo.log")
        wait_for_page(address)
        yield address, run
    finally:
        demo.terminate()
        demo.wait()


def _until(there: Any, demo: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + START_S
    while not there():
        assert demo.poll() is None, log.read_text()
        assert time.monotonic() < deadline_s, f"the server did not start within {START_S:g} s"
        time.sleep(0.2)


def _answers(address: str) -> bool:
    with suppress(OSError), urlopen(f"{address}/login", timeout=5.0):
        return True
    return False


def _picture(visitor: Visitor, view: str, path: Path) -> None:
    """Go there, let it draw, see that it fits, and take its picture."""
    visitor.go(view)
    visitor.page.wait_for_timeout(6000 if view.startswith("/robot") else 2000)
    assert visitor.too_wide_px() <= 0, f"{view} is {visitor.too_wide_px()} px too wide"
    visitor.page.screenshot(path=path, full_page=True)


def _leave(visitor: Visitor) -> None:
    assert visitor.complaints == [], visitor.complaints
    visitor.context.close()


def _name(view: str) -> str:
    return view.strip("/").replace("/", "-") or "robots"


if __name__ == "__main__":
    main(tyro.cli(Walk, config=(tyro.conf.OmitArgPrefixes,)))
