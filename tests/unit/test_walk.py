"""The walking task, by hand arithmetic."""

import math

import numpy as np
import pytest

from protocol import walk


def observation(
    *, forward=0.25, left=0.0, command=0.25, yaw=0.0, tilt_rad=0.0, last=0.0
) -> np.ndarray:
    obs = np.zeros(walk.SIZE, dtype=np.float32)
    obs[walk.GRAVITY] = [math.sin(tilt_rad), 0.0, -math.cos(tilt_rad)]
    obs[walk.TURN_RATE] = [0.0, 0.0, yaw * walk.TURN_RATE_SCALE]
    obs[walk.SPEED] = [forward * walk.SPEED_SCALE, left * walk.SPEED_SCALE]
    obs[walk.COMMAND] = command * walk.SPEED_SCALE
    obs[walk.LAST_ACTION] = last
    return obs


def judged(action=0.0, last=0.0, **following) -> walk.Outcome:
    applied = np.full(walk.JOINTS, action, dtype=np.float32)
    return walk.walk(observation(last=last), applied, observation(**following))


def reward(**changes) -> float:
    return float(judged(**changes).reward)


def test_columns_fill_the_observation_without_overlap():
    slices = [walk.JOINT_POSITION, walk.JOINT_VELOCITY, walk.GRAVITY, walk.TURN_RATE, walk.SPEED,
              slice(walk.COMMAND, walk.COMMAND + 1), walk.LAST_ACTION]  # fmt: skip
    columns = [column for part in slices for column in range(part.start, part.stop)]
    assert columns == list(range(walk.SIZE))


def test_walking_as_commanded_is_worth_one():
    assert reward() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("forward", "worth"),
    [(0.0, 0.0625), (0.125, 0.75**4), (0.5, 0.0625), (-0.25, 0.0), (-1.0, 0.0)],
)
def test_the_speed_is_tracked_within_a_tolerance(forward, worth):
    assert reward(forward=forward) == pytest.approx(worth, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "worth"),
    [
        ({"yaw": 1.5}, math.exp(-1)),
        ({"left": -0.2}, math.exp(-1)),
        ({"tilt_rad": 0.5}, math.cos(0.5) ** 2),
        ({"action": 0.5}, 1.0 - 0.3 * 0.25),
        ({"action": 1.0, "last": -1.0}, 0.7),
        ({"action": 1.0, "last": 1.0}, 1.0),
    ],
)
def test_each_term_alone(change, worth):
    assert reward(**change) == pytest.approx(worth, rel=1e-5)


@pytest.mark.parametrize(("tilt_rad", "fallen"), [(0.79, 0.0), (0.81, 1.0), (3.1, 1.0)])
def test_a_fall_ends_the_episode(tilt_rad, fallen):
    assert judged(tilt_rad=tilt_rad).terminated == fallen


def test_a_batch_is_judged_row_by_row():
    rows = [observation(forward=speed) for speed in (0.25, 0.0)]
    outcome = walk.walk(np.stack(rows), np.zeros((2, walk.JOINTS), np.float32), np.stack(rows))
    np.testing.assert_allclose(outcome.reward, [1.0, 0.0625], rtol=1e-5)
    assert outcome.terminated.shape == (2,)


def test_nothing_observed_is_worth_less_than_0_or_more_than_1():
    obs = np.random.default_rng(0).normal(0.0, 3.0, (500, walk.SIZE)).astype(np.float32)
    obs[:, walk.COMMAND] = np.abs(obs[:, walk.COMMAND]) + 0.1
    applied = obs[:, walk.LAST_ACTION]
    rewards = walk.walk(obs, applied, obs[::-1].copy()).reward
    assert rewards.min() >= 0.0
    assert rewards.max() <= 1.0
