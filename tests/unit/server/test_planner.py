"""Does the planner find what pays, look beyond its horizon, and shun what the model does not know?

The world is a line: an action is a step along it. Everything can be worked out in the head.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from made_learning import Line, blind_critics, indifferent_actor, right_seeing_critics
from torch import Tensor

from offboard.planner import PlanConfig, Planner

H, WIDTH = 4, 8
CONFIG = PlanConfig(
    horizon=H, policy_candidates=16, random_candidates=48, elites=8, temperature=0.1, penalty=0.0
)
INDIFFERENT, BLIND = indifferent_actor(WIDTH), blind_critics(WIDTH)


def first_actions(
    world: Line, starts: list[float], config: PlanConfig = CONFIG, values=BLIND, discount=0.99
) -> Tensor:
    """The action chosen at each start after three rounds of planning: (S,)."""
    planner = Planner(
        world, None, INDIFFERENT, values, config, discount, torch.Generator().manual_seed(0)
    )
    obs, plan = torch.tensor(starts)[:, None], torch.zeros(len(starts), config.horizon, 1)
    for _ in range(3):
        action, plan = planner.plan(obs, plan)
    assert action.shape == (len(starts), 1)
    assert plan.shape == (len(starts), config.horizon, 1)
    assert torch.equal(action, plan[:, 0])
    assert (plan.abs() <= 1.0).all()
    return action[:, 0]


def test_it_moves_to_where_reward_is() -> None:
    assert float(first_actions(Line(lambda x: x), [0.0])) > 0.5
    assert float(first_actions(Line(lambda x: -x), [0.0])) < -0.5


def test_every_start_gets_a_plan_of_its_own() -> None:
    actions = first_actions(Line(lambda x: -x.abs()), [-2.0, 0.0, 2.0])
    assert float(actions[0]) > 0.5
    assert abs(float(actions[1])) < 0.3
    assert float(actions[2]) < -0.5


def rewarding_right(x: Tensor) -> Tensor:
    return torch.where(x > 0.0, 1.0, 0.5)


def doubtful_right(x: Tensor) -> Tensor:
    return torch.where(x > 0.0, 1.0, 0.0)


@pytest.mark.parametrize(("penalty", "side"), [(0.0, 1), (0.3, 1), (0.8, -1), (10.0, -1)])
def test_the_penalty_decides_whether_reward_is_worth_the_uncertainty(penalty, side) -> None:
    """Right is worth 0.5 more and costs one unit of disagreement: λ = 0.5 is the break-even."""
    world = Line(rewarding_right, doubtful_right)
    action = float(first_actions(world, [0.0], replace(CONFIG, penalty=penalty)))
    assert side * action > 0.1


def test_without_candidates_off_the_policy_the_penalty_has_nothing_to_choose() -> None:
    """Why half of the candidates are broad noise (LEARNING.md § 4, Q3)."""
    sure = {**INDIFFERENT, "actor.head.bias": torch.tensor([1.0, -1e3])}  # always right, no spread
    world = Line(rewarding_right, doubtful_right)
    config = replace(CONFIG, penalty=10.0)
    chosen = []
    for narrow in (True, False):
        sizes = {"policy_candidates": 64, "random_candidates": 0} if narrow else {}
        planner = Planner(
            world, None, sure, BLIND, replace(config, **sizes), 0.99, torch.Generator()
        )
        action, _ = planner.plan(torch.zeros(1, 1), torch.zeros(1, H, 1))
        chosen.append(float(action))
    assert chosen[0] > 0.5
    assert chosen[1] < 0.0


def test_the_terminal_value_shows_what_lies_beyond_the_horizon() -> None:
    nothing = Line(torch.zeros_like)
    assert abs(float(first_actions(nothing, [-0.5], values=BLIND))) < 0.5
    assert float(first_actions(nothing, [-0.5], values=right_seeing_critics(WIDTH))) > 0.1


def test_the_terminal_value_is_worth_less_the_further_off_it_lies() -> None:
    """0.4 now for staying left against a value of about 1 afterwards: patience decides."""
    world = Line(lambda x: torch.where(x > 0.0, 0.0, 0.4))
    config = replace(CONFIG, horizon=1)
    patient, hasty = (
        float(first_actions(world, [-0.01], config, right_seeing_critics(WIDTH), discount))
        for discount in (0.9, 0.2)
    )
    assert patient > 0.1
    assert hasty < -0.1


def test_a_life_that_ends_gains_nothing_afterwards() -> None:
    """0.5 once for going right and ending there, or 0.2 a tick for staying alive."""
    world = Line(lambda x: torch.where(x > 0.0, 0.5, 0.2), ends_at=lambda x: x > 0.0)
    assert float(first_actions(world, [-0.01])) < 0.0
    short = replace(CONFIG, horizon=1)
    assert float(first_actions(world, [-0.01], short)) > 0.0


def test_nothing_is_worth_having_after_the_end() -> None:
    """The critics promise 1 on the right; but who goes there is dead by then."""
    world = Line(lambda x: torch.where(x > 0.0, 0.0, 0.1), ends_at=lambda x: x > 0.0)
    config = replace(CONFIG, horizon=1)
    assert float(first_actions(world, [-0.01], config, right_seeing_critics(WIDTH))) < 0.0


def test_a_cold_planner_takes_the_best_and_a_warm_one_the_mean_of_the_elites() -> None:
    config = replace(CONFIG, horizon=1, policy_candidates=0, random_std=0.1)
    cold, warm = (
        float(first_actions(Line(lambda x: x), [0.0], replace(config, temperature=temperature)))
        for temperature in (1e-3, 1e3)
    )
    assert 0.3 < warm < cold - 0.05


def test_a_plan_without_new_ideas_stays_the_plan() -> None:
    config = replace(CONFIG, policy_candidates=0, random_std=0.0)
    planner = Planner(Line(lambda x: x), None, INDIFFERENT, BLIND, config, 0.9, torch.Generator())
    plan = torch.tensor([[0.1], [-0.4], [0.9], [0.0]])[None]
    torch.testing.assert_close(planner.plan(torch.zeros(1, 1), plan)[1], plan)


def test_a_confident_policy_alone_is_followed() -> None:
    sure = {**INDIFFERENT, "actor.head.bias": torch.tensor([0.5, -1e3])}
    config = replace(CONFIG, random_candidates=0)
    planner = Planner(Line(lambda x: x), None, sure, BLIND, config, 0.9, torch.Generator())
    _, plan = planner.plan(torch.zeros(2, 1), torch.zeros(2, H, 1))
    torch.testing.assert_close(plan, torch.full((2, H, 1), 0.5).tanh(), atol=0.02, rtol=0.0)


def test_equal_seeds_give_equal_plans() -> None:
    world = Line(rewarding_right, doubtful_right)
    assert torch.equal(first_actions(world, [0.0, 1.0]), first_actions(world, [0.0, 1.0]))
