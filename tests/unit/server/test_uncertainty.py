"""Does each estimator measure what its name says, and is it judged by the true error?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from made_learning import JUDGE, LAYOUT, SMALL_MODEL, A, O, linear_transitions

from offboard.model_state import ModelState
from offboard.networks import actor_space, critic_space
from offboard.spread import disagreement, max_pairwise, max_std, spread_named, total
from offboard.uncertainty import Values, estimator, estimators, judge, local_mean, quality
from offboard.world_model import WorldModel
from protocol.errors import ConfigError

pytestmark = pytest.mark.usefixtures("eager")

# three members, one state, two columns
MEAN = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])[:, None]
LOG_VAR = torch.tensor([[1.0, 4.0], [9.0, 16.0], [1.0, 1.0]])[:, None].log()
DATA = linear_transitions(1_000, seed=0)
FRESH = linear_transitions(400, seed=1)


def test_disagreement_is_the_rms_spread_of_the_means() -> None:
    """Variances 2 and 32/9 of the columns; their mean is 25/9."""
    assert float(disagreement(MEAN, LOG_VAR)) == pytest.approx(5.0 / 3.0)


def test_the_farthest_pair_is_the_second_and_third() -> None:
    assert float(max_pairwise(MEAN, LOG_VAR)) == pytest.approx(5.0)


def test_the_noisiest_member_decides_the_largest_deviation() -> None:
    assert float(max_std(MEAN, LOG_VAR)) == pytest.approx(5.0)


def test_total_is_the_deviation_of_the_mixture() -> None:
    """Mean variances 11/3 and 7, plus those of the means."""
    wanted = ((11 / 3 + 2) + (7 + 32 / 9)) / 2
    assert float(total(MEAN, LOG_VAR)) == pytest.approx(wanted**0.5)


def test_only_the_epistemic_ones_vanish_where_members_agree() -> None:
    agreed = MEAN[:1].expand_as(MEAN)
    assert float(disagreement(agreed, LOG_VAR)) == 0.0
    assert float(max_pairwise(agreed, LOG_VAR)) == 0.0
    assert float(max_std(agreed, LOG_VAR)) > 1.0
    assert float(total(agreed, LOG_VAR)) > 1.0


@pytest.fixture(scope="module")
def model(eager) -> WorldModel:
    return WorldModel(LAYOUT, JUDGE, SMALL_MODEL)


@pytest.fixture(scope="module")
def learned(model: WorldModel) -> ModelState:
    start = model.initial(DATA, seed=0)
    return model.fit(start, DATA, 150, torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def values() -> Values:
    generator = torch.Generator().manual_seed(0)
    actors, critics = actor_space(O, A, 8), critic_space(O, A, 8, 3)
    return Values(actors.view(actors.initial(generator)), critics.view(critics.initial(generator)))


def test_all_estimators_share_one_interface(model, learned, values) -> None:
    found = estimators(model, values)
    assert found.keys() == {
        "disagreement", "max_pairwise", "max_std", "total", "critics", "value"
    }  # fmt: skip
    for estimate in found.values():
        uncertainty = estimate(learned, FRESH.obs, FRESH.applied)
        assert uncertainty.shape == (FRESH.size,)
        assert (uncertainty >= 0.0).all()
        assert float(uncertainty.max()) > float(uncertainty.min())


@pytest.mark.parametrize("name", ["disagreement", "max_pairwise", "max_std", "total"])
def test_a_models_steps_carry_the_uncertainty_it_was_told_to(learned, name: str) -> None:
    told = WorldModel(LAYOUT, JUDGE, replace(SMALL_MODEL, uncertainty=name))
    wanted = estimator(name, told)(learned, FRESH.obs, FRESH.applied)
    generator = torch.Generator().manual_seed(0)
    for step in (
        told.expect(learned, FRESH.obs, FRESH.applied),
        told.imagine(learned, FRESH.obs, FRESH.applied, generator),
    ):
        assert torch.equal(step.uncertainty, wanted)
    assert torch.equal(told.relabel(learned, FRESH)[1], wanted)


def test_a_model_cannot_carry_what_its_members_do_not_predict(eager) -> None:
    with pytest.raises(ConfigError, match="no uncertainty 'value'"):
        WorldModel(LAYOUT, JUDGE, replace(SMALL_MODEL, uncertainty="value"))


def test_heads_that_agree_leave_no_value_uncertain(model, learned, values) -> None:
    twins = {name: tensor[:1].expand_as(tensor) for name, tensor in values.critics.items()}
    sure = estimators(model, Values(values.actor, twins))
    assert float(sure["critics"](learned, FRESH.obs, FRESH.applied).max()) < 1e-6
    assert float(sure["value"](learned, FRESH.obs, FRESH.applied).max()) > 1e-6


def test_members_that_agree_leave_the_value_certain(model, learned, values) -> None:
    named = {
        name: tensor[:1].expand_as(tensor) if tensor.dim() == 3 else tensor
        for name, tensor in model.space.view(learned.weights).items()
    }
    twins = learned._replace(weights=model.space.flatten(named))
    uncertainty = estimator("value", model, values)(twins, FRESH.obs, FRESH.applied)
    assert float(uncertainty.max()) < 1e-5


def test_an_unknown_name_is_refused_with_those_that_exist(model: WorldModel) -> None:
    with pytest.raises(ConfigError, match=r"no uncertainty 'gut'.*max_std"):
        estimator("gut", model)
    with pytest.raises(ConfigError, match="no uncertainty 'value' here"):
        estimator("value", model)
    with pytest.raises(ConfigError, match="no uncertainty 'value'; there are disagreement"):
        spread_named("value")


def test_knowing_the_error_is_the_best_and_its_opposite_the_worst() -> None:
    error = torch.rand(100, generator=torch.Generator().manual_seed(0))
    best, worst = judge(error.sqrt(), error, error[:, None]), judge(-error, error, error[:, None])
    assert best.spearman == pytest.approx(1.0)
    assert worst.spearman == pytest.approx(-1.0)
    assert (best.auc, worst.auc) == (1.0, 0.0)


def test_detecting_the_worst_tenth_is_all_that_the_area_asks() -> None:
    error = torch.arange(100.0)
    alarm = (error >= 90.0).float()
    assert judge(alarm, error, error[:, None]).auc == 1.0
    broad = judge((error >= 80.0).float(), error, error[:, None])
    assert broad.auc == pytest.approx(80 / 90 + 10 / 90 / 2)


def test_the_expected_error_is_ordered_though_single_draws_are_not() -> None:
    """Errors drawn around σ²(x): the estimator that knows σ is right about every expectation."""
    place = torch.linspace(-1.0, 1.0, 3_000)[:, None]
    sigma = (0.5 * place[:, 0]).exp()
    draw = torch.randn(3_000, generator=torch.Generator().manual_seed(0))
    found = judge(sigma, (sigma * draw) ** 2, place)
    assert found.spearman < 0.3
    assert found.spearman_expected > 0.6
    constant = judge(torch.rand(3_000, generator=torch.Generator().manual_seed(1)), draw**2, place)
    assert abs(constant.spearman_expected) < 0.1


def test_a_local_mean_takes_the_nearest_in_standard_units() -> None:
    values = torch.tensor([1.0, 2.0, 4.0, 8.0])
    place = torch.tensor([[0.0, 0.0], [0.1, 500.0], [3.0, 400.0], [3.1, 900.0]])
    assert local_mean(values, place, 1).tolist() == values.tolist()
    assert local_mean(values, place, 2).tolist() == [1.5, 1.5, 6.0, 6.0]
    assert local_mean(values, place, 9).tolist() == [3.75] * 4


def test_an_estimator_is_judged_by_the_models_own_error(model, learned) -> None:
    def clairvoyant(state, obs, applied):
        return model.squared_error(state, FRESH)

    assert quality(clairvoyant, model, learned, FRESH).spearman == pytest.approx(1.0)
    blind = quality(lambda state, obs, applied: -obs[:, 0], model, learned, FRESH)
    assert abs(blind.spearman) < 0.3


def test_noise_that_depends_on_the_state_is_seen_by_total_and_not_by_disagreement(model) -> None:
    speed = LAYOUT.column("velocity:arm")

    def noisy(data, seed):
        loud = 0.5 * (data.obs[:, speed] > 0.0)
        following = data.following.clone()
        following[:, speed] += loud * torch.randn(
            data.size, generator=torch.Generator().manual_seed(seed)
        )
        return data._replace(following=following)

    data, fresh = noisy(linear_transitions(2_000, seed=2), 3), noisy(FRESH, 4)
    state = model.fit(model.initial(data, 0), data, 400, torch.Generator().manual_seed(0))
    found = {
        name: quality(estimate, model, state, fresh) for name, estimate in estimators(model).items()
    }
    assert found["total"].spearman > 0.5
    assert found["total"].spearman > found["disagreement"].spearman + 0.2
    assert found["total"].auc > 0.7
