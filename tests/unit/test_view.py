"""The rig in the browser: what is written, what moves, and who can reach it."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocol.errors import ConfigError
from protocol.robot_spec import load_robot_spec
from sim_harness.glance import Glance
from sim_harness.hil.console import Status
from sim_harness.model import compile_model
from sim_harness.view.command import Viewer
from sim_harness.view.page import Page
from sim_harness.view.panel import panel

CONFIGS = Path(__file__).parents[2] / "hw_configs"
SPEC = load_robot_spec(CONFIGS / "furuta.toml")
MODEL = compile_model(SPEC, SPEC.body("nominal"), CONFIGS)


def glance(**changes: Any) -> Glance:
    still = Glance(
        time_s=1.5,
        qpos=np.array([0.3, 3.0]),
        torque_nm=np.array([0.148]),
        asked=np.array([True]),
        supply_v=4.9,
        faults="",
    )
    return still._replace(**changes)


def status(mode: str, reason: str = "") -> Status:
    return Status(mode, reason, 1, 0, 1, 0, 0, [])


def test_torque_supply_and_faults_are_told() -> None:
    text = panel(SPEC, glance(faults="drop"), None, asked=False)
    assert "| arm | +0.148 | █████ 50% | yes |" in text
    assert "supply 4.90 V" in text
    assert "Faults: drop" in text


@pytest.mark.parametrize(
    ("told", "asked", "line"),
    [
        (status("RUN"), True, "Mode: **RUN**"),
        (status("FAULT", "hot"), True, "Mode: **FAULT** — hot"),
        (None, True, "the runtime does not answer"),
        (None, False, "not known without --runtime; on the bus, motors are asked for torque"),
    ],
)
def test_the_mode_is_only_told_if_the_runtime_tells_it(told, asked, line) -> None:
    assert line in panel(SPEC, glance(), told, asked)


def test_a_bus_without_demands_says_so() -> None:
    text = panel(SPEC, glance(asked=np.array([False])), None, asked=False)
    assert "no motor is asked for anything" in text


def test_before_the_rig_shows_itself_the_mode_is_told() -> None:
    text = panel(SPEC, None, status("IDLE"), asked=True)
    assert "IDLE" in text
    assert "not shown itself" in text


def test_what_others_write_never_becomes_markup() -> None:
    text = panel(SPEC, glance(), status("FAULT", "<img src=x> [a](b) **c**"), asked=True)
    assert "<img" not in text.replace("\\<", "")
    assert "\\[a\\]\\(b\\)" in text


@pytest.fixture
def page() -> Iterator[Page]:
    pytest.importorskip("viser", reason="viser is not installed")
    with Page(MODEL, "furuta", 0) as page:
        yield page


def test_the_page_is_served_here_and_nowhere_else(page: Page) -> None:
    assert page.address.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(page.address, timeout=20) as answer:
        assert b"<html" in answer.read()
    assert page._server.get_host() == "127.0.0.1"


def test_bodies_stand_where_the_pose_puts_them(page: Page) -> None:
    page.show(np.array([0.0, np.pi]), "")
    frames = {frame.name.split("_")[-1]: frame for frame in page._bodies._frames}
    assert frames["pendulum"].position == pytest.approx([0.1, 0.0, 0.2])
    page.show(np.array([np.pi / 2, np.pi]), "")
    assert frames["pendulum"].position == pytest.approx([0.0, 0.1, 0.2], abs=1e-6)


def test_the_viewer_brings_rig_and_runtime_onto_the_page(page: Page) -> None:
    class Rig:
        def __init__(self) -> None:
            self.seen = iter([None, glance(), glance(faults="half"), glance()])
            self.ended = False

        def look(self) -> Glance | None:
            return next(self.seen)

    rig = Rig()
    viewer = Viewer(SPEC, rig, page, lambda: status("RUN"))  # type: ignore[arg-type]
    for _ in range(2):
        viewer.look()
    assert "Mode: **RUN**" in page.text
    viewer.look()
    assert "Faults: half" in page.text
    assert "has ended" not in page.text
    rig.ended = True
    viewer.look()
    assert "has ended" in page.text


def test_without_viser_one_is_told_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(ConfigError, match=r"wombet\[view\]"), Page(MODEL, "furuta", 0):
        pass
