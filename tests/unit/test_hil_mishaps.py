"""What befalls one run must not cost the others: a plant that dies, an adapter that is pulled."""

from __future__ import annotations

import os
import pty
import sqlite3
import subprocess
import time
import tty
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_rig import ROBOT

from protocol.errors import ConfigError
from protocol.robot_spec import load_robot_spec
from sim_harness.hil import suite, trial
from sim_harness.hil.scenario import Must, Scenario
from sim_harness.hil.stage import Stage
from sim_harness.hil.stand import Cue
from sim_harness.hil.suite import run_one
from sim_harness.hil.trial import Trial
from sim_harness.link import Link
from sim_harness.terminal import Opened

SPEC = load_robot_spec(ROBOT)
SCENARIO = Scenario(name="one", about="", must=Must(end=["RUN"]))
BENCH = SimpleNamespace(robot=ROBOT, serial=None, spec=SPEC)


class Adapter:
    """A line whose other end can be pulled."""

    def open(self) -> Opened:
        self.near, self.far = pty.openpty()
        tty.setraw(self.far)
        os.set_blocking(self.near, False)
        return Opened(self.near, "adapter")

    def close(self) -> None:
        os.close(self.near)


def served(meanwhile) -> None:
    adapter = Adapter()
    stage = Stage(SPEC, ROBOT.parent, "nominal", 0)
    link = Link(stage, SPEC.bus.baud, adapter, time.monotonic_ns, lambda: meanwhile(link, adapter))
    link.open()
    try:
        link.serve()
    finally:
        link.close()


def test_a_line_that_goes_is_told_and_not_thrown_up():
    with pytest.raises(ConfigError, match="the serial line has gone"):
        served(lambda _, adapter: os.close(adapter.far))


def test_so_is_one_that_goes_before_an_answer(monkeypatch):
    def pull(link: Link, adapter: Adapter) -> None:
        link._outbox.append((0, b"answer"))
        monkeypatch.setattr(link, "_read", lambda: b"")
        os.close(adapter.near)
        link._line = adapter.near = os.open(os.devnull, os.O_RDONLY)

    with pytest.raises(ConfigError, match="the serial line has gone"):
        served(pull)


def test_so_is_one_that_hangs_up():
    def hang_up(link: Link, adapter: Adapter) -> None:
        os.close(adapter.near)
        link._line = adapter.near = os.open(os.devnull, os.O_RDONLY)

    with pytest.raises(ConfigError, match="hung up"):
        served(hang_up)


@pytest.mark.parametrize("last_words", ["", "read line; ", "read line; echo; "])
def test_a_plant_that_dies_ends_its_run_with_a_reason(last_words, monkeypatch, tmp_path: Path):
    plant = tmp_path / "plant"
    plant.write_text(f"#!/bin/sh\necho ready\n{last_words}exit 1\n")
    plant.chmod(0o755)
    monkeypatch.setattr(trial, "sys", SimpleNamespace(executable=str(plant)))
    run = Trial(BENCH, SCENARIO, tmp_path)

    def cues() -> None:
        with (tmp_path / "log").open("wb") as log, run._stand(log) as (run._cues, run._heard):
            for _ in range(3):
                run._cue(Cue())

    with pytest.raises(ConfigError, match="the plant has ended"):
        cues()


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("no plant"),
        BrokenPipeError("no plant"),
        sqlite3.DatabaseError("no plant"),
        subprocess.TimeoutExpired("no plant", 1.0),
    ],
)
def test_a_run_that_breaks_off_is_invalid_and_says_why(error, monkeypatch, tmp_path: Path):
    def run(_: Trial) -> None:
        raise error

    monkeypatch.setattr(suite.Trial, "run", run)
    course = run_one(BENCH, SCENARIO, tmp_path)
    assert course.result.verdict == "invalid"
    assert "no plant" in course.result.reasons[0]
    assert course.truth is None
