"""Does the harness catch a robot that is broken on purpose? In simulated time, one defect each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_loop
import pytest
from made_rig import ROBOT
from made_trial import LockStep
from msgspec.structs import replace

from onboard.control_api import Estop, Stop
from onboard.modes import Event
from onboard.ring import RingWriter
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec, load_robot_spec
from sim_harness.hil.command import SCENARIOS
from sim_harness.hil.scenario import load_suite

SPEC = load_robot_spec(ROBOT)
SUITE = {scenario.name: scenario for scenario in load_suite(SCENARIOS).scenarios}
SMALL, NOWHERE_RAD = 64, 1e6


def timid() -> RobotSpec:
    """It gives up after one missed answer."""
    return replace(SPEC, bus=replace(SPEC.bus, misses_to_fault=1))


def boundless(spec: RobotSpec) -> RobotSpec:
    """It knows of no limits: nothing calls a joint back before its end stop."""
    joints = (
        replace(joint, position_min_rad=-NOWHERE_RAD, position_max_rad=NOWHERE_RAD)
        for joint in spec.joints
    )
    return replace(spec, joints=tuple(joints))


def halved(folder: Path) -> Path:
    """A robot file that allows half the effort: who goes by the other one is too strong for it."""
    allowed = f"effort_max_nm = {SPEC.safety.effort_max_nm:g}"
    text = ROBOT.read_text(encoding="utf-8")
    assert allowed in text
    weaker = f"effort_max_nm = {SPEC.safety.effort_max_nm / 2:g}"
    (folder / ROBOT.name).write_text(text.replace(allowed, weaker), encoding="utf-8")
    (folder / "furuta.xml").symlink_to(ROBOT.with_suffix(".xml"))
    return folder / ROBOT.name


def deaf(trial: LockStep) -> None:
    """Operators can say what they like."""
    obey = trial.bench.obey
    change(
        trial.bench, "obey", lambda asked: None if isinstance(asked, Stop | Estop) else obey(asked)
    )


def stubborn(trial: LockStep) -> None:
    """Neither a dead bus nor a motor in trouble is a reason to stop."""
    life = trial.bench.control.life
    post, fatal = life.post, (Event.BUS_DEAD, Event.MOTOR_FAULT)
    change(life, "post", lambda event, why: None if event in fatal else post(event, why))


def eager(trial: LockStep) -> None:
    """It does not wait for START."""
    run = trial.bench.run

    def start_at_once(ticks: int) -> None:
        run(ticks)
        if trial.bench.mode is Mode.IDLE:
            trial.bench.control.life.start()

    change(trial.bench, "run", start_at_once)


def change(whole: Any, name: str, part: Callable[..., Any]) -> None:
    """Give one object another method."""
    setattr(whole, name, part)


HABITS = {"deaf": deaf, "stubborn": stubborn, "eager": eager}
"""Robots that do something else than they should."""


@pytest.mark.parametrize(
    ("robot", "name", "complaint"),
    [
        ("deaf", "operator_stop", "ended in R"),
        ("deaf", "operator_estop", "without torque never"),
        ("stubborn", "silent_wire", "ended in "),
        ("stubborn", "motor_overloaded", "ended in "),
        ("stubborn", "supply_too_low", "ended in "),
        ("timid", "silent_for_three_ticks", "came to FAULT"),
        ("eager", "never_started", "before anybody said start"),
    ],
)
def test_a_broken_robot_fails(robot: str, name: str, complaint: str, tmp_path: Path) -> None:
    trial = LockStep(SUITE[name], tmp_path, believed=timid() if robot == "timid" else None)
    HABITS.get(robot, lambda _: None)(trial)
    result, _, _ = trial.run()
    assert result.verdict == "fail"
    assert complaint in "; ".join(result.reasons)


@pytest.mark.parametrize(
    "name", ["wild_policy", "motor_encoder_stuck", "motor_encoder_jumps", "all_sensors_frozen"]
)
def test_a_robot_that_pushes_too_hard_fails(name: str, tmp_path: Path) -> None:
    result, _, _ = LockStep(SUITE[name], tmp_path, halved(tmp_path), believed=SPEC).run()
    assert result.verdict == "fail"
    assert "of the limit" in "; ".join(result.reasons)


@pytest.mark.parametrize(
    ("robot", "name"),
    [
        ("furuta", "wild_policy"),
        ("furuta", "pressing_policy"),
        ("furuta_mcu", "pressing_policy"),
        ("arm5", "pressing_policy"),
    ],
)
def test_a_robot_without_a_barrier_fails(robot: str, name: str, tmp_path: Path) -> None:
    """Its end stops hold it, so its place alone would not show it."""
    path = ROBOT.with_name(f"{robot}.toml")
    believed = boundless(load_robot_spec(path))
    result, _, _ = LockStep(SUITE[name], tmp_path, path, believed).run()
    assert result.verdict == "fail"
    assert "pushed towards a limit" in "; ".join(result.reasons)


def test_a_robot_that_keeps_too_few_records_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def small(path: Path, dtype: Any, _: int, generation: Callable[[], int]) -> RingWriter:
        return RingWriter(path, dtype, SMALL, generation)

    monkeypatch.setattr(made_loop, "RingWriter", small)
    result, _, _ = LockStep(SUITE["calm"], tmp_path).run()
    assert "records lost" in "; ".join(result.reasons)
