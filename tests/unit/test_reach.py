"""Is the tip where the physics has it, and is the reward what the task wants?"""

from __future__ import annotations

import math
from itertools import pairwise

import msgspec
import mujoco
import numpy as np
import pytest
from made_arm import ARM, load_arm

from protocol.errors import ConfigError
from protocol.observation import Layout
from protocol.reach import TABLE_M, Tip, tip_m
from protocol.tasks import judge_for
from sim_harness.model import compile_model

SPEC = load_arm()
TASK, LAYOUT = SPEC.task("reach"), Layout(SPEC)
JUDGE, TIP = judge_for(SPEC, TASK), Tip(SPEC)
RNG = np.random.default_rng(0)
AT_GOAL = (0.505, 0.6, -0.2, 0.1, 0.0)


def seen(*angles_rad: float) -> np.ndarray:
    """An observation of the arm at rest at these angles."""
    obs = np.zeros(LAYOUT.size, dtype=np.float32)
    obs[:5] = angles_rad
    return obs


def at_goal() -> np.ndarray:
    """The angles whose tip is the goal, found by descent on the distance."""
    angles = np.array(AT_GOAL)
    for _ in range(200):
        errors = [distance(angles + 1e-5 * unit) - distance(angles) for unit in np.eye(5)]
        angles = angles - 0.5 * np.array(errors) / 1e-5 * distance(angles)
    return seen(*angles)


def distance(angles: np.ndarray) -> float:
    where = tip_m(SPEC.arm, *angles[:4])
    return float(np.linalg.norm(np.array(where) - TASK.goal_m))


def test_the_tip_is_where_the_model_has_it() -> None:
    """A hundred random poses: the same millimetre as MuJoCo's own kinematics."""
    body = msgspec.structs.replace(SPEC.body("nominal"), backlash_rad=0.0)
    model = compile_model(SPEC, body, ARM.parent)
    data = mujoco.MjData(model)
    for angles in RNG.uniform(-1.5, 1.5, (100, 5)):
        data.qpos[:] = angles
        mujoco.mj_kinematics(model, data)
        assert np.array(TIP(seen(*angles))) == pytest.approx(data.site("tip").xpos, abs=1e-6)


def test_at_the_goal_and_still_a_step_is_worth_one() -> None:
    there = at_goal()
    outcome = JUDGE(there, np.zeros(5, np.float32), there)
    assert float(outcome.reward) == pytest.approx(1.0, abs=0.01)
    assert float(outcome.terminated) == 0.0


def test_closer_is_better_from_home_to_the_goal() -> None:
    home, goal = np.array(SPEC.homing.home_rad), at_goal()[:5]
    way = [seen(*(home + share * (goal - home))) for share in np.linspace(0.0, 1.0, 20)]
    rewards = [float(JUDGE(obs, np.zeros(5, np.float32), obs).reward) for obs in way]
    assert all(later > before for before, later in pairwise(rewards))
    assert rewards[0] < 0.3


def test_jerks_cost_a_share() -> None:
    there = at_goal()
    calm, jerky = (JUDGE(there, np.full(5, a, np.float32), there).reward for a in (0.0, 1.0))
    assert float(jerky) == pytest.approx(0.85 * float(calm))


def test_a_tip_on_the_table_earns_nothing_and_ends_the_episode() -> None:
    fallen = seen(0.0, 1.2, 0.9, 0.4, 0.0)
    assert float(TIP(fallen)[2]) < TABLE_M
    outcome = JUDGE(fallen, np.zeros(5, np.float32), fallen)
    assert (float(outcome.reward), float(outcome.terminated)) == (0.0, 1.0)


def test_a_batch_is_judged_row_by_row() -> None:
    obs = RNG.uniform(-1.0, 1.0, (7, 3, LAYOUT.size)).astype(np.float32)
    applied = RNG.uniform(-1.0, 1.0, (7, 3, 5)).astype(np.float32)
    batch = JUDGE(obs, applied, obs)
    assert batch.reward.shape == batch.terminated.shape == (7, 3)
    single = JUDGE(obs[4, 1], applied[4, 1], obs[4, 1])
    assert float(batch.reward[4, 1]) == pytest.approx(float(single.reward))
    assert 0.0 <= float(batch.reward.min()) <= float(batch.reward.max()) <= 1.0


@pytest.mark.parametrize(
    ("spec", "task", "text"),
    [
        (SPEC, msgspec.structs.replace(TASK, goal_m=msgspec.UNSET), "goal_m"),
        (msgspec.structs.replace(SPEC, arm=msgspec.UNSET), TASK, r"\[arm\] table"),
        (msgspec.structs.replace(SPEC, observation=SPEC.observation[1:]), TASK, "position:pan"),
    ],
    ids=["no goal", "no lengths", "no angle"],
)
def test_what_is_missing_is_named(spec, task, text) -> None:
    with pytest.raises(ConfigError, match=text):
        judge_for(spec, task)


def test_the_goal_can_be_reached() -> None:
    assert distance(at_goal()) < 2e-3
    assert math.hypot(*TASK.goal_m[:2]) < 0.35
