"""Does each way of adapting move only what it may, learn the target, and does the best one win?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from made_learning import JUDGE, LAYOUT, SMALL_MODEL, linear_transitions

from offboard.adaptation import (
    adapt_best,
    adapt_each,
    adapt_last_layers,
    adapt_residual,
    adapt_whole,
    choose,
    ways,
)
from offboard.replay import Batch
from offboard.world_model import ModelState, WorldModel
from protocol.errors import ConfigError

pytestmark = pytest.mark.usefixtures("eager")

SOURCE = linear_transitions(1_500, seed=0)
TARGET = linear_transitions(500, seed=1, gain=0.9)
UNSEEN = linear_transitions(300, seed=2, gain=0.9)
STEPS = 150
MOVED = {
    adapt_whole: {"model.0", "model.1", "model.mean", "model.log_var", "model.bound"},
    adapt_last_layers: {"model.mean", "model.log_var", "model.bound"},
    adapt_residual: {"model.residual"},
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def model(eager) -> WorldModel:
    return WorldModel(LAYOUT, JUDGE, replace(SMALL_MODEL, residual=16))


@pytest.fixture(scope="module")
def source(model: WorldModel) -> ModelState:
    return adapt_whole(model, model.initial(SOURCE, 0), SOURCE, 300, generator())


def moved(model: WorldModel, before: ModelState, after: ModelState) -> set[str]:
    """Groups of parameters of which any scalar differs."""
    old, new = model.space.view(before.weights), model.space.view(after.weights)
    differing = {name for name in old if not torch.equal(old[name], new[name])}
    bounds = {"model.max_log_var", "model.min_log_var"}
    return {
        "model.bound" if name in bounds else ".".join(name.split(".")[:2]) for name in differing
    }


@pytest.mark.parametrize("adapt", MOVED, ids=lambda adapt: adapt.__name__)
def test_each_way_moves_its_own_weights_and_no_other(model, source, adapt) -> None:
    after = adapt(model, source, TARGET, 20, generator())
    assert moved(model, source, after) == MOVED[adapt]


@pytest.mark.parametrize("adapt", MOVED, ids=lambda adapt: adapt.__name__)
def test_each_way_learns_the_target(model, source, adapt) -> None:
    after = adapt(model, source, TARGET, STEPS, generator())
    assert model.nmse(after, UNSEEN) < 0.6 * model.nmse(source, UNSEEN)


def test_a_residual_begins_as_nothing(model: WorldModel) -> None:
    plain = WorldModel(LAYOUT, JUDGE, SMALL_MODEL)
    state = model.initial(SOURCE, 0)
    named = model.space.view(state.weights)
    same = plain.initial(SOURCE, 0)._replace(
        weights=plain.space.flatten({name: named[name] for name in plain.space.shapes})
    )
    for mine, theirs in zip(
        model.predict(state, SOURCE.obs, SOURCE.applied),
        plain.predict(same, SOURCE.obs, SOURCE.applied),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_a_residual_is_part_of_every_prediction(model: WorldModel, source: ModelState) -> None:
    after = adapt_residual(model, source, TARGET, STEPS, generator())
    speed = LAYOUT.column("velocity:arm")
    truth = UNSEEN.following[:, speed]
    relabelled, _ = model.relabel(after, UNSEEN)
    for following in (
        model.expect(after, UNSEEN.obs, UNSEEN.applied).following,
        model.imagine(after, UNSEEN.obs, UNSEEN.applied, generator()).following,
        relabelled.following,
        model.member_steps(after, UNSEEN.obs, UNSEEN.applied).mean(0),
    ):
        torch.testing.assert_close(following[:, speed], truth, atol=0.35, rtol=0.0)


def test_without_a_residual_network_that_way_is_closed() -> None:
    plain = WorldModel(LAYOUT, JUDGE, SMALL_MODEL)
    assert ways(plain).keys() == {"whole", "last_layers"}
    with pytest.raises(ConfigError, match="residual above 0"):
        adapt_residual(plain, plain.initial(SOURCE, 0), TARGET, 1, generator())


def test_adapting_lets_the_model_reach_as_far_as_the_data_do(model, source) -> None:
    far = TARGET._replace(obs=TARGET.obs.clone())
    far.obs[0, 0] = 9.0
    for adapt in ways(model).values():
        assert float(adapt(model, source, far, 1, generator()).high[0]) == 9.0


def test_the_least_error_on_new_data_wins(model: WorldModel, source: ModelState) -> None:
    good = adapt_whole(model, source, TARGET, STEPS, generator())
    assert choose(model, {"old": source, "new": good}, UNSEEN) == "new"
    assert choose(model, {"new": good, "old": source}, SOURCE) == "old"


def test_candidates_go_further_each_in_its_own_way(model, source) -> None:
    once = adapt_each(model, dict.fromkeys(ways(model), source), TARGET, 20, generator())
    twice = adapt_each(model, once, TARGET, 20, generator())
    for name, adapt in ways(model).items():
        assert moved(model, source, once[name]) == MOVED[adapt]
        assert moved(model, once[name], twice[name]) == MOVED[adapt]


def test_the_best_way_is_chosen_on_the_newest_data_and_then_learns_them(model, source) -> None:
    trained_on: list[Batch] = []
    judged_on: list[Batch] = []

    class Watched:
        config, mask, widen = model.config, model.mask, model.widen

        def fit(self, state, data, steps, generator, trained):
            trained_on.append(data)
            return model.fit(state, data, steps, generator, trained=trained)

        def nmse(self, state, data):
            judged_on.append(data)
            return model.nmse(state, data)

    name, after = adapt_best(Watched(), source, TARGET, 50, generator())
    assert name in ways(model)
    assert [data.size for data in trained_on] == [400, 400, 400, 500]
    assert all(torch.equal(data.obs, TARGET.obs[400:]) for data in judged_on)
    assert len(judged_on) == 3
    assert model.nmse(after, UNSEEN) < model.nmse(source, UNSEEN)
