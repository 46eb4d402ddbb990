"""Is a reward written in a robot file worth what its formula says, everywhere it is computed?"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from made_robot import make_robot

from onboard.step_judge import StepJudge
from protocol.errors import ConfigError
from protocol.factor_spec import Factor
from protocol.factors import JERK_COST
from protocol.outcome import Outcome
from protocol.robot_spec import RobotSpec, Task, load_robot_spec
from protocol.tasks import judge_for

RAMP = Factor(of="position:pan", target=0.8, width=2.0, shape="ramp")
BELL = Factor(of="velocity:pan", target=0.0, width=3.0, floor=0.6)
ENDING = Factor(of="position:pan", target=0.0, width=9.0, shape="ramp", ends_beyond=1.5)


@pytest.fixture
def spec(tmp_path: Path) -> RobotSpec:
    return load_robot_spec(make_robot(tmp_path, joints=1))


def judged(
    spec: RobotSpec, *factors: Factor, at: float = 0.0, speed: float = 0.0, change: float = 0.0
) -> Outcome:
    """A step to ``at`` rad with ``speed`` rad/s and an action that changed by ``change``."""
    judge = judge_for(spec, task(spec, *factors))
    following = np.array([at * 0.5, speed * 0.1, change, 0.0], dtype=np.float32)
    return judge(np.zeros(4, np.float32), np.array([change], np.float32), following)


def task(spec: RobotSpec, *factors: Factor) -> Task:
    return msgspec.structs.replace(spec.task("point"), factors=[*factors])


@pytest.mark.parametrize(("at", "worth"), [(0.8, 1.0), (-0.2, 0.5), (1.8, 0.5), (3.0, 0.0)])
def test_a_ramp_falls_evenly_to_its_floor(spec: RobotSpec, at: float, worth: float) -> None:
    assert judged(spec, RAMP, at=at).reward == pytest.approx(worth, abs=1e-6)


@pytest.mark.parametrize(("speed", "above"), [(0.0, 1.0), (3.0, math.exp(-1.0)), (-30.0, 0.0)])
def test_a_bell_is_at_37_percent_at_its_width(spec: RobotSpec, speed: float, above: float) -> None:
    assert judged(spec, BELL, speed=speed).reward == pytest.approx(0.6 + 0.4 * above, abs=1e-6)


def test_factors_are_multiplied(spec: RobotSpec) -> None:
    alone = [judged(spec, each, at=0.3, speed=2.0).reward for each in (RAMP, BELL)]
    both = judged(spec, RAMP, BELL, at=0.3, speed=2.0).reward
    assert both == pytest.approx(math.prod(alone))


@pytest.mark.parametrize(("change", "cost"), [(0.5, 0.25), (2.0, 1.0)])
def test_jerks_cost(spec: RobotSpec, change: float, cost: float) -> None:
    rough = judged(spec, RAMP, at=0.8, change=change).reward
    assert rough == pytest.approx(1.0 - JERK_COST * cost)


@pytest.mark.parametrize(("at", "ended"), [(1.49, 0.0), (-1.51, 1.0)])
def test_beyond_its_end_a_step_earns_nothing_and_is_the_last(
    spec: RobotSpec, at: float, ended: float
) -> None:
    outcome = judged(spec, ENDING, at=at)
    assert outcome.terminated == ended
    assert (outcome.reward == 0.0) == bool(ended)


def test_the_robot_judges_with_plain_floats_as_arrays_do(spec: RobotSpec) -> None:
    judge = judge_for(spec, task(spec, RAMP, BELL, ENDING))
    quick, rng = StepJudge(judge, 4, 1), np.random.default_rng(0)
    assert quick.plain
    obs, following = rng.normal(0.0, 0.6, (2, 50, 4)).astype(np.float32)
    applied = rng.uniform(-1.0, 1.0, (50, 1)).astype(np.float32)
    many = judge(obs, applied, following)
    for i in range(50):
        one = quick(obs[i].tolist(), applied[i].tolist(), following[i].tolist())
        assert (one.reward, one.terminated) == pytest.approx(
            (many.reward[i], many.terminated[i]), abs=1e-6
        )


def test_what_cannot_be_observed_cannot_be_rewarded(spec: RobotSpec) -> None:
    with pytest.raises(ConfigError, match="observation has no 'cos:pan'"):
        judge_for(spec, task(spec, Factor(of="cos:pan", target=1.0, width=1.0)))


def test_a_reward_without_factors_is_refused(spec: RobotSpec) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        judge_for(spec, task(spec))


def test_a_robot_without_factors_keeps_its_digest() -> None:
    """Bundles made before there were factors stay good."""
    furuta = load_robot_spec(Path(__file__).parents[2] / "hw_configs" / "furuta.toml")
    assert "factors" not in msgspec.to_builtins(furuta)["tasks"]["swing_up"]
