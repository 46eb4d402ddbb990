"""Does each way of adapting move only what it may, learn the target, and does the best one win?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from made_learning import JUDGE, LAYOUT, SMALL_MODEL, linear_transitions

from offboard.adaptation import (
    Adaptation,
    adapt_each,
    adapt_further,
    adapt_last_layers,
    adapt_residual,
    adapt_whole,
    rank,
    resumed,
    unadapted,
    ways,
)
from offboard.model_state import ModelState
from offboard.replay import Batch
from offboard.world_model import WorldModel
from protocol.errors import ConfigError, StoreError

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
    assert rank(model, {"old": source, "new": good}, UNSEEN) == ["new", "old"]
    assert rank(model, {"new": good, "old": source}, SOURCE) == ["old", "new"]


def test_a_candidate_that_diverged_never_wins(model: WorldModel, source: ModelState) -> None:
    broken = source._replace(weights=torch.full_like(source.weights, torch.nan))
    assert rank(model, {"broken": broken, "source": source}, TARGET) == ["source", "broken"]


def test_candidates_go_further_each_in_its_own_way(model, source) -> None:
    once = adapt_each(model, dict.fromkeys(ways(model), source), TARGET, 20, generator())
    twice = adapt_each(model, once, TARGET, 20, generator())
    for name, adapt in ways(model).items():
        assert moved(model, source, once[name]) == MOVED[adapt]
        assert moved(model, once[name], twice[name]) == MOVED[adapt]


class Watched:
    """A model that notes what it is trained on and judged on."""

    def __init__(self, model: WorldModel) -> None:
        self.config, self.mask, self.widen = model.config, model.mask, model.widen
        self.trained_on: list[Batch] = []
        self.trained_from: list[ModelState] = []
        self.judged_on: list[Batch] = []
        self._model = model

    def fit(self, state, data, steps, generator, trained):
        self.trained_on.append(data)
        self.trained_from.append(state)
        return self._model.fit(state, data, steps, generator, trained=trained)

    def nmse(self, state, data):
        self.judged_on.append(data)
        return self._model.nmse(state, data)


def rivals(whole: ModelState, residual: ModelState, *losses: int) -> Adaptation:
    """Two candidates; the whole network is believed so far."""
    names = ("whole", "residual")
    return Adaptation(
        dict(zip(names, (whole, residual), strict=True)),
        "whole",
        dict(zip(names, losses or (0, 0), strict=True)),
    )


def test_the_first_choice_is_made_on_a_fifth_that_was_held_back(model, source) -> None:
    watched = Watched(model)
    every = unadapted(model, source, tuple(ways(model)))
    first = adapt_further(watched, every, TARGET, 500, 50, generator())
    assert [data.size for data in watched.trained_on] == [400, 400, 400, 500, 500, 500]
    assert all(torch.equal(state.weights, source.weights) for state in watched.trained_from)
    assert len(watched.judged_on) == 3
    assert all(torch.equal(data.obs, TARGET.obs[400:]) for data in watched.judged_on)
    assert sorted(first.losses.values()) == [0, 1, 1]
    assert first.losses[first.way] == 0
    assert model.nmse(first.state, UNSEEN) < model.nmse(source, UNSEEN)


def test_a_way_without_rivals_is_fitted_once(model, source) -> None:
    watched = Watched(model)
    after = adapt_further(watched, unadapted(model, source, ["whole"]), TARGET, 500, 5, generator())
    assert [data.size for data in watched.trained_on] == [500]
    assert after.candidates.keys() == {"whole"}


@pytest.mark.parametrize("names", [[], ["whole", "half"]])
def test_a_way_that_is_not_there_is_named(model, source, names: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"choose from \['last_layers', 'residual', 'whole'\]"):
        unadapted(model, source, names)


def test_later_choices_are_made_on_what_is_new_before_it_is_learned(model, source) -> None:
    watched = Watched(model)
    adapt_further(watched, rivals(source, source), TARGET, 120, 10, generator())
    assert [data.size for data in watched.trained_on] == [500, 500]
    assert all(torch.equal(data.obs, TARGET.obs[380:]) for data in watched.judged_on)


@pytest.mark.parametrize("better", ["whole", "residual"])
def test_the_way_believed_is_the_one_that_predicted_best(model, source, better: str) -> None:
    learned = adapt_residual(model, source, TARGET, STEPS, generator())
    known = rivals(*((learned, source) if better == "whole" else (source, learned)))
    assert adapt_further(model, known, UNSEEN, 100, 1, generator()).way == better


def test_who_loses_twice_in_a_row_is_given_up(model, source) -> None:
    learned = adapt_residual(model, source, TARGET, STEPS, generator())
    once = adapt_further(model, rivals(source, learned), UNSEEN, 100, 1, generator())
    assert once.losses == {"whole": 1, "residual": 0}
    twice = adapt_further(model, rivals(source, learned, 1, 0), UNSEEN, 100, 1, generator())
    assert twice.candidates.keys() == twice.losses.keys() == {"residual"}


def test_a_win_makes_an_earlier_loss_forgotten(model, source) -> None:
    learned = adapt_residual(model, source, TARGET, STEPS, generator())
    after = adapt_further(model, rivals(source, learned, 0, 1), UNSEEN, 100, 1, generator())
    assert after.losses == {"whole": 1, "residual": 0}


@pytest.mark.parametrize("way", ["whole", "residual"])
def test_an_adaptation_survives_a_restart(model, source, way: str) -> None:
    known = rivals(source, adapt_residual(model, source, TARGET, 5, generator()), 0, 1)
    known = known._replace(way=way)
    again = resumed(model, known.tensors())
    assert (again.way, again.losses) == (way, known.losses)
    assert again.candidates.keys() == known.candidates.keys()
    for name, state in known.candidates.items():
        for ours, theirs in zip(again.candidates[name], state, strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    "lost", ["model.way", "model.whole.weights", "model.whole.losses", "model.residual.low"]
)
def test_a_checkpoint_that_lacks_something_is_refused_by_name(model, source, lost: str) -> None:
    tensors = rivals(source, source).tensors()
    del tensors[lost]
    with pytest.raises(StoreError, match=lost):
        resumed(model, tensors)
