"""Is the reward what its formula says, everywhere in [0, 1], and the same for numpy and torch?"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_records import SPEC

from protocol.errors import ConfigError
from protocol.observation import Layout
from protocol.tasks import Outcome, judge_for, upright_share

LAYOUT = Layout(SPEC)
JUDGE = judge_for(SPEC, SPEC.task("swing_up"))
UPRIGHT, LEVEL, HANGING = 1.0, 0.0, -1.0


def judged(
    arm_rad: float = 0.0,
    cos: float = UPRIGHT,
    speed_rad_s: float = 0.0,
    applied: float = 0.0,
    before: float = 0.0,
) -> Outcome:
    """The outcome of a step that ends in this state; ``before`` is the action sent before it."""
    obs, following = np.zeros(7, dtype=np.float64), np.zeros(7, dtype=np.float64)
    obs[LAYOUT.column("applied:arm:1")] = before
    for label, value in (
        ("position:arm", arm_rad),
        ("cos:pendulum", cos),
        ("velocity:pendulum", speed_rad_s),
    ):
        column = LAYOUT.column(label)
        following[column] = value * LAYOUT.scales[column]
    return JUDGE(obs, np.array([applied]), following)


def test_upright_rest_at_the_centre_is_worth_one() -> None:
    assert float(judged().reward) == pytest.approx(1.0)


def test_hanging_is_worth_nothing() -> None:
    assert float(judged(cos=HANGING).reward) == 0.0


def test_level_is_worth_half_the_height_without_the_bonus_for_stillness() -> None:
    bonus = 0.4 * math.exp(-1.0 / 0.06)
    assert float(judged(cos=LEVEL).reward) == pytest.approx(0.5 * (0.6 + bonus))


def test_speed_at_the_top_costs_the_bonus() -> None:
    assert float(judged(speed_rad_s=5.0).reward) == pytest.approx(0.6 + 0.4 * math.exp(-1.0))


@pytest.mark.parametrize(
    ("arm_rad", "factor"),
    [
        (1.0, 1 - 0.3 * 0.25),
        (1.7, 1 - 0.3 * 0.85**2),
        (1.95, 0.5 * (1 - 0.3 * 0.975**2)),
        (2.2, 0.0),
    ],
)
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_arm_pays_for_leaving_the_centre_and_loses_all_at_the_cables_end(
    arm_rad: float, factor: float, side: float
) -> None:
    assert float(judged(arm_rad=side * arm_rad).reward) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("applied", "before", "factor"),
    [(0.7, 0.7, 1.0), (0.5, 0.0, 1 - 0.15 * 0.25), (0.5, -0.5, 0.85), (1.0, -1.0, 0.85)],
)
def test_a_jump_between_actions_costs_up_to_fifteen_percent(
    applied: float, before: float, factor: float
) -> None:
    assert float(judged(applied=applied, before=before).reward) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("arm_rad", "ended"), [(2.49, 0.0), (2.51, 1.0), (-2.51, 1.0), (-2.49, 0.0)]
)
def test_an_episode_ends_where_the_cable_does(arm_rad: float, ended: float) -> None:
    assert float(judged(arm_rad=arm_rad).terminated) == ended


OBS = arrays(
    np.float32, (3, 7), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)
)
ACTION = arrays(np.float32, (3, 1), elements=st.floats(-1.0, 1.0, width=32))


@given(OBS, ACTION, OBS)
def test_any_finite_observation_is_worth_between_nothing_and_one(obs, applied, following) -> None:
    with np.errstate(over="ignore"):  # squares of absurd speeds; the outcome must still be bounded
        outcome = JUDGE(obs, applied, following)
    assert outcome.reward.shape == outcome.terminated.shape == (3,)
    assert ((outcome.reward >= 0.0) & (outcome.reward <= 1.0)).all()
    assert set(outcome.terminated.tolist()) <= {0.0, 1.0}


def test_numpy_and_torch_agree_on_batches_of_any_shape() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    obs, following = rng.normal(size=(2, 4, 5, 7)).astype(np.float32)
    applied = rng.uniform(-1.0, 1.0, (4, 5, 1)).astype(np.float32)
    by_numpy = JUDGE(obs, applied, following)
    by_torch = JUDGE(*map(torch.from_numpy, (obs, applied, following)))
    assert by_torch.reward.dtype == torch.float32
    np.testing.assert_allclose(by_torch.reward.numpy(), by_numpy.reward, atol=1e-6)
    np.testing.assert_array_equal(by_torch.terminated.numpy(), by_numpy.terminated)


def test_an_unknown_reward_is_answered_with_those_that_exist() -> None:
    task = msgspec.structs.replace(SPEC.task("swing_up"), reward="juggle")
    with pytest.raises(ConfigError, match="swing_up"):
        judge_for(SPEC, task)


def test_a_task_whose_terms_are_not_observed_is_refused_before_anything_moves() -> None:
    blind = [term for term in SPEC.observation if term.kind != "cos"]
    spec = msgspec.structs.replace(SPEC, observation=blind)
    with pytest.raises(ConfigError, match="cos:pendulum"):
        judge_for(spec, spec.task("swing_up"))


def test_upright_is_within_a_third_of_a_radian() -> None:
    cos = np.cos([0.0, 0.34, -0.34, 0.36, math.pi])
    assert upright_share(cos) == pytest.approx(3 / 5)
