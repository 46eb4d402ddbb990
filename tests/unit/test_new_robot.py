"""Does `wombet-sim new-robot` write a robot that works as it is, and never over another one?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_robot import make_robot

from onboard.homing import homing_for
from protocol.errors import ConfigError, StoreError
from protocol.robot_spec import load_robot_spec
from sim_harness.check.examination import examine
from sim_harness.env import RigEnv
from sim_harness.new_robot.command import NewRobotCommand, write_robot

BOTH = pytest.mark.parametrize("joints", [1, 2])


@BOTH
def test_a_new_robot_passes_every_check(tmp_path: Path, joints: int) -> None:
    assert examine(make_robot(tmp_path, joints=joints)) == []


@BOTH
def test_a_new_robot_has_as_many_motors_as_asked_for(tmp_path: Path, joints: int) -> None:
    spec = load_robot_spec(make_robot(tmp_path, joints=joints))
    assert (spec.name, len(spec.actuated)) == ("rig", joints)
    homing_for(spec)


@BOTH
@pytest.mark.parametrize("body", ["nominal", "target"])
def test_going_to_the_point_is_worth_more_than_staying(
    tmp_path: Path, joints: int, body: str
) -> None:
    robot = make_robot(tmp_path, joints=joints)
    stays, goes = (score(robot, body, gain) for gain in (0.0, 1.5))
    assert goes > 0.85 * 150 > 0.5 * 150 > stays > 0.0


def score(robot: Path, body: str, gain: float) -> float:
    """Return of one episode under a plain controller of angles."""
    env, spec = RigEnv(robot, "point", body), load_robot_spec(robot)
    factors = spec.task("point").factors
    assert isinstance(factors, list)
    goal_rad = [factor.target for factor in factors if factor.shape == "ramp"]
    J = len(goal_rad)
    obs, _ = env.reset(seed=0)
    total, over = 0.0, False
    while not over:
        position, velocity = obs[:J] / 0.5, obs[J : 2 * J] / 0.1
        action = gain * (goal_rad - position) - 0.1 * gain * velocity
        obs, reward, terminated, over, _ = env.step(np.clip(action, -1, 1).astype(np.float32))
        assert not terminated
        total += reward
    return total


@pytest.mark.parametrize("there", ["rig.toml", "rig.xml"])
def test_nothing_is_overwritten(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(ConfigError, match=f"{there} is there already"):
        write_robot(NewRobotCommand("rig", dir=tmp_path))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["My-Rig", "1rig", "../rig", "rig.toml", "", "r" * 33])
def test_a_name_that_no_robot_may_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="small letters"):
        write_robot(NewRobotCommand(name, dir=tmp_path))
    assert not [*tmp_path.iterdir()]


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="--dir"):
        write_robot(NewRobotCommand("rig", dir=tmp_path / "file" / "below"))
