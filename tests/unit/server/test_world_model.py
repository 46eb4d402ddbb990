"""Does the ensemble learn dynamics, keep what is known exactly, and know what it does not know?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from made_learning import JUDGE, LAYOUT, SMALL_MODEL, linear_transitions

from offboard.columns import Unnamed
from offboard.model_state import ModelState
from offboard.replay import Batch
from offboard.world_model import WorldModel

pytestmark = pytest.mark.usefixtures("eager")

DATA = linear_transitions(2_000, seed=0)
FRESH = linear_transitions(500, seed=1)
HISTORY = [LAYOUT.column("applied:arm:1"), LAYOUT.column("applied:arm:2")]
CIRCLE = [LAYOUT.column("cos:pendulum"), LAYOUT.column("sin:pendulum")]
LEARNED = [column for column in range(LAYOUT.size) if column not in HISTORY]


@pytest.fixture(scope="module")
def model(eager) -> WorldModel:
    return WorldModel(LAYOUT, JUDGE, SMALL_MODEL)


@pytest.fixture(scope="module")
def learned(model: WorldModel) -> ModelState:
    return model.fit(model.initial(DATA, seed=0), DATA, 800, generator(0))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def still(model: WorldModel) -> ModelState:
    """A model that predicts no change, with variance at its upper bound."""
    state = model.initial(DATA, seed=0)
    return state._replace(weights=torch.zeros_like(state.weights))


def test_it_learns_a_linear_system(model: WorldModel, learned: ModelState) -> None:
    assert model.nmse(model.initial(DATA, seed=0), FRESH) > 0.3
    assert model.nmse(learned, FRESH) < 0.01


def test_the_error_of_predicting_no_change_is_the_change_in_source_units(model) -> None:
    state = still(model)
    change = (DATA.following - DATA.obs)[:, LEARNED]
    wanted = ((change / change.std(0)) ** 2).mean()
    assert model.nmse(state, DATA) == pytest.approx(float(wanted), rel=1e-4)
    halfway = DATA._replace(following=0.5 * (DATA.obs + DATA.following))
    assert model.nmse(state, halfway) == pytest.approx(0.25 * float(wanted), rel=1e-4)


def of_three_minds(model: WorldModel) -> ModelState:
    """Members that predict changes of -1, 0 and 4 in every column, whatever they are asked."""
    state = still(model)
    named = model.space.view(state.weights.clone())
    named["model.mean.bias"] += torch.tensor([-1.0, 0.0, 4.0])[:, None, None]
    named["model.max_log_var"].fill_(-30.0)
    named["model.min_log_var"].fill_(-31.0)
    return state._replace(weights=model.space.flatten(named))


def test_the_prediction_is_the_mean_of_the_members(model: WorldModel) -> None:
    state = of_three_minds(model)
    speed = LAYOUT.column("velocity:arm")
    obs, applied = torch.zeros(1, LAYOUT.size), torch.zeros(1, 1)
    change = float(state.out_std[LEARNED.index(speed)])
    assert float(model.expect(state, obs, applied).following[0, speed]) == pytest.approx(change)
    truth = DATA._replace(following=DATA.obs.clone())
    truth.following[:, LEARNED] += state.out_std
    assert model.nmse(state, truth) == pytest.approx(0.0, abs=1e-9)


def test_it_learns_how_noisy_each_column_is(model: WorldModel) -> None:
    speed = LAYOUT.column("velocity:arm")
    noisy = DATA._replace(following=DATA.following.clone())
    noisy.following[:, speed] += 0.2 * torch.randn(DATA.size, generator=generator(7))
    state = model.fit(model.initial(noisy, seed=0), noisy, 800, generator(0))
    _, log_var = model.predict(state, FRESH.obs, FRESH.applied)
    std = (0.5 * log_var).exp().mean((0, 1)) * state.out_std
    assert float(std[LEARNED.index(speed)]) == pytest.approx(0.2, rel=0.25)
    assert float(std[LEARNED.index(LAYOUT.column("position:arm"))]) < 0.05


def steps(model: WorldModel, state: ModelState, data: Batch):
    yield model.expect(state, data.obs, data.applied)
    yield model.imagine(state, data.obs, data.applied, generator(3))


def test_the_action_history_is_copied_not_learned(model: WorldModel) -> None:
    for step in steps(model, model.initial(DATA, seed=0), FRESH):
        assert torch.equal(step.following[:, HISTORY[0]], FRESH.applied[:, 0])
        assert torch.equal(step.following[:, HISTORY[1]], FRESH.obs[:, HISTORY[0]])


def test_cosine_and_sine_stay_on_the_circle(model: WorldModel) -> None:
    for step in steps(model, model.initial(DATA, seed=0), FRESH):
        torch.testing.assert_close(step.following[:, CIRCLE].norm(dim=1), torch.ones(FRESH.size))


def test_no_prediction_leaves_the_range_that_was_seen(model: WorldModel) -> None:
    state = model.initial(DATA, seed=0)
    wild = state._replace(weights=50.0 * state.weights)
    free = [column for column in LEARNED if column not in CIRCLE]
    seen = torch.cat([DATA.obs, DATA.following])[:, free]
    margin = 0.1 * (seen.amax(0) - seen.amin(0)) + 1e-6
    for step in steps(model, wild, FRESH):
        following = step.following[:, free]
        assert (following >= seen.amin(0) - margin).all()
        assert (following <= seen.amax(0) + margin).all()
        assert (following > seen.amax(0)).any()


def test_widening_takes_in_new_data_and_gives_nothing_up(model, learned: ModelState) -> None:
    arm = LAYOUT.column("position:arm")
    far = DATA._replace(obs=DATA.obs.clone())
    far.obs[0, arm] = 7.0
    wider = model.widen(learned, far)
    assert float(wider.high[arm]) == 7.0
    assert torch.equal(wider.low, learned.low)
    assert torch.equal(model.widen(wider, DATA.take(torch.arange(3))).high, wider.high)


def test_members_disagree_more_where_they_saw_nothing(model, learned: ModelState) -> None:
    here = model.disagreement(learned, FRESH.obs, FRESH.applied)
    there = model.disagreement(learned, 4.0 * FRESH.obs, FRESH.applied)
    assert float(here.min()) > 0.0
    assert float(there.median()) > 5.0 * float(here.median())


def test_disagreement_is_the_spread_of_the_members_means(model, learned: ModelState) -> None:
    mean, _ = model.predict(learned, FRESH.obs, FRESH.applied)
    assert mean.shape == (3, FRESH.size, len(LEARNED))
    variance = ((mean - mean.mean(0)) ** 2).mean(0)
    torch.testing.assert_close(
        model.disagreement(learned, FRESH.obs, FRESH.applied), variance.mean(1).sqrt()
    )


def test_fitting_keeps_the_weights_that_were_best_on_held_out_data(learned: ModelState) -> None:
    reckless = WorldModel(LAYOUT, JUDGE, replace(SMALL_MODEL, lr=3.0, check_every=5, patience=2))
    taken: list[int] = []
    after = reckless.fit(learned, DATA, 100, generator(1), taken.append)
    assert torch.equal(after.weights, learned.weights)
    assert len(taken) == 10  # two rises in a row


def test_held_out_data_are_never_trained_on(model: WorldModel, monkeypatch) -> None:
    seen: set[tuple[float, ...]] = set()

    def read(state: ModelState, batch: Batch, mask: torch.Tensor) -> ModelState:
        seen.update(tuple(row) for row in batch.obs.flatten(0, 1).tolist())
        return state

    monkeypatch.setattr(model, "_train_step", read)
    data = DATA.take(torch.arange(100))
    model.fit(model.initial(data, seed=0), data, 20, generator(0))
    assert len(seen) == 90


def test_fitting_reports_every_step_and_repeats_itself(model: WorldModel) -> None:
    taken: list[int] = []
    start = model.initial(DATA, seed=0)
    before = start.weights.clone()
    first = model.fit(start, DATA, 30, generator(5), taken.append)
    again = model.fit(start, DATA, 30, generator(5))
    assert taken == [*range(1, 31)]
    assert torch.equal(first.weights, again.weights)
    assert torch.equal(start.weights, before)
    assert not torch.equal(first.weights, before)


def test_members_learn_from_samples_of_their_own(model: WorldModel) -> None:
    twins = model.initial(DATA, seed=0)
    named = model.space.view(twins.weights)
    for name, tensor in named.items():
        if tensor.dim() == 3:
            named[name] = tensor[:1].expand_as(tensor)
    twins = twins._replace(weights=model.space.flatten(named))
    assert float(model.disagreement(twins, FRESH.obs, FRESH.applied).max()) < 1e-6
    trained = model.fit(twins, DATA, 50, generator(0))
    assert float(model.disagreement(trained, FRESH.obs, FRESH.applied).min()) > 1e-4


def test_relabelling_asks_the_model_not_the_data(model: WorldModel, learned: ModelState) -> None:
    lies = FRESH._replace(
        reward=torch.full((FRESH.size,), 9.0),
        following=torch.full_like(FRESH.following, 9.0),
        terminated=torch.ones(FRESH.size),
    )
    relabelled, spread = model.relabel(learned, lies)
    assert torch.equal(relabelled.obs, FRESH.obs)
    assert torch.equal(relabelled.applied, FRESH.applied)
    torch.testing.assert_close(relabelled.following, FRESH.following, atol=0.1, rtol=0.0)
    torch.testing.assert_close(relabelled.reward, FRESH.reward, atol=0.1, rtol=0.0)
    assert not relabelled.terminated.any()
    assert torch.equal(spread, model.disagreement(learned, FRESH.obs, FRESH.applied))


def test_reward_and_termination_are_the_tasks_own(model: WorldModel, learned: ModelState) -> None:
    far = FRESH.obs.clone()
    far[:, LAYOUT.column("position:arm")] = 2.0  # 4 rad: beyond the cable's end
    wider = learned._replace(high=learned.high + 2.0)
    for obs in (FRESH.obs, far):
        step = model.expect(wider, obs, FRESH.applied)
        outcome = JUDGE(obs, FRESH.applied, step.following)
        torch.testing.assert_close(step.reward, outcome.reward)
        assert torch.equal(step.terminated, outcome.terminated)
    assert step.terminated.all()


def test_every_imagined_step_is_that_of_one_random_member(model: WorldModel) -> None:
    state = of_three_minds(model)._replace(high=torch.full((LAYOUT.size,), 10.0))
    obs, applied = torch.zeros(900, LAYOUT.size), torch.zeros(900, 1)
    speed = LAYOUT.column("velocity:arm")
    moved = model.imagine(state, obs, applied, generator(0)).following[:, speed]
    members = (moved / state.out_std[LEARNED.index(speed)]).round(decimals=3)
    values, counts = members.unique(return_counts=True)
    assert values.tolist() == [-1.0, 0.0, 4.0]
    assert int(counts.min()) > 240


def test_imagined_steps_are_as_noisy_as_the_model_believes(model: WorldModel) -> None:
    state = still(model)
    named = model.space.view(state.weights.clone())
    named["model.max_log_var"].fill_(-2.0)
    named["model.min_log_var"].fill_(-20.0)
    state = state._replace(weights=model.space.flatten(named))
    obs, applied = torch.zeros(4_000, LAYOUT.size), torch.zeros(4_000, 1)
    _, log_var = model.predict(state, obs[:1], applied[:1])
    speed = LAYOUT.column("velocity:arm")
    moved = model.imagine(state, obs, applied, generator(0)).following[:, speed]
    believed = (0.5 * log_var[0, 0]).exp() * state.out_std
    assert float(moved.std()) == pytest.approx(float(believed[LEARNED.index(speed)]), rel=0.05)


def test_a_reward_and_an_ending_without_a_judge_are_learned(eager: None) -> None:
    """A walk on a line: the reward is where one is, and beyond 1.5 it is over."""
    noise = torch.Generator().manual_seed(3)
    obs = 4.0 * torch.rand(2_000, 1, generator=noise) - 2.0
    applied = 2.0 * torch.rand(2_000, 1, generator=noise) - 1.0
    following = obs + 0.5 * applied
    ended = (following[:, 0].abs() > 1.5).float()
    data = Batch(obs, applied, 10.0 * following[:, 0] - 3.0, following, ended)
    model = WorldModel(Unnamed(1, 1), None, SMALL_MODEL)
    state = model.fit(model.initial(data, seed=0), data, 800, generator(0))
    step = model.expect(state, obs, applied)
    assert model.nmse(state, data) < 0.01
    assert model.reward_nmse(state, data) < 0.01
    guess = 1.0 - float(ended.mean())  # that it never ends
    assert float((step.terminated == ended).float().mean()) > guess + 0.1
    assert step.reward.min() >= data.reward.min()
