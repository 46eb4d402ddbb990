"""Is the gap between source and target measured, and nothing but the gap?"""

from __future__ import annotations

import math

import pytest
import torch
from made_learning import JUDGE, LAYOUT, SMALL_MODEL, linear_transitions

from offboard.mismatch import Mismatch, measure, overlap, pessimism
from offboard.model_state import ModelState
from offboard.world_model import WorldModel

pytestmark = pytest.mark.usefixtures("eager")

PRIOR = linear_transitions(1_500, seed=0)
TARGET_GAIN = 0.9


@pytest.fixture(scope="module")
def model(eager) -> WorldModel:
    return WorldModel(LAYOUT, JUDGE, SMALL_MODEL)


@pytest.fixture(scope="module")
def source(model: WorldModel) -> ModelState:
    return model.fit(model.initial(PRIOR, 0), PRIOR, 300, generator())


@pytest.fixture(scope="module")
def adapted(model: WorldModel, source: ModelState) -> ModelState:
    return model.fit(source, linear_transitions(500, 1, TARGET_GAIN), 150, generator())


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def between(model, source, adapted, gain: float) -> Mismatch:
    held = linear_transitions(400, seed=2, gain=gain)
    return measure(model, source, adapted, PRIOR, held, generator())


def test_a_change_of_dynamics_shows_in_the_source_models_error_alone(model, source, adapted):
    here, there = (between(model, source, adapted, gain) for gain in (0.3, TARGET_GAIN))
    assert here.source_nmse < 0.02
    assert there.source_nmse > 0.2
    assert there.adapted_nmse < 0.3 * there.source_nmse
    assert here.adapted_nmse > here.source_nmse
    for gap in (here, there):
        assert gap.overlap > 0.7
        assert gap.column_support > 0.99
        assert gap.support > 0.95


def test_errors_are_the_models_own(model, source, adapted) -> None:
    held = linear_transitions(400, seed=2, gain=0.9)
    found = measure(model, source, adapted, PRIOR, held, generator())
    assert found.source_nmse == model.nmse(source, held)
    assert found.adapted_nmse == model.nmse(adapted, held)
    assert found.source_reward_nmse == model.reward_nmse(source, held)
    assert found.adapted_reward_nmse == model.reward_nmse(adapted, held)


def test_support_counts_prior_states_inside_the_targets_range_and_a_tenth_more(
    model, source, adapted
) -> None:
    held = linear_transitions(400, seed=2)
    arm = LAYOUT.column("position:arm")
    held.obs[:, arm] = torch.linspace(0.0, 1.0, 400)  # with the margin: [-0.1, 1.1]
    found = measure(model, source, adapted, PRIOR, held, generator())
    inside = float((PRIOR.obs[:, arm] >= -0.1).float().mean())
    assert found.support == pytest.approx(inside, abs=0.02)
    columns = LAYOUT.size
    assert found.column_support == pytest.approx((columns - 1 + inside) / columns, abs=0.01)


def cloud(count: int, seed: int, columns: int = 5, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(count, columns, generator=generator(seed)) + shift


@pytest.mark.parametrize("columns", [2, 17])
def test_equal_distributions_overlap_whatever_their_dimension(columns: int) -> None:
    assert overlap(cloud(1_000, 0, columns), cloud(1_000, 1, columns), generator()) > 0.85


@pytest.mark.parametrize("columns", [2, 17])
def test_disjoint_distributions_do_not_overlap(columns: int) -> None:
    assert overlap(cloud(500, 0, columns), cloud(500, 1, columns, 5.0), generator()) < 0.02


def test_overlap_falls_as_the_distributions_part() -> None:
    prior = cloud(1_000, 0)
    found = [overlap(prior, cloud(1_000, 1, shift=by), generator()) for by in (0.0, 0.3, 0.8)]
    assert found[0] > found[1] + 0.1 > found[2] + 0.2


def test_a_ring_around_a_blob_is_told_apart_though_their_means_agree() -> None:
    ring = torch.nn.functional.normalize(cloud(600, 0, 2), dim=1) * 4.0
    assert overlap(ring, cloud(600, 1, 2), generator()) < 0.1


def test_a_small_target_counts_as_much_as_a_large_prior() -> None:
    prior, target = cloud(3_000, 0), cloud(100, 1, shift=1.5)
    assert overlap(prior, target, generator()) < 0.3


def test_equal_seeds_measure_equally(model, source, adapted) -> None:
    assert between(model, source, adapted, 0.5) == between(model, source, adapted, 0.5)


@pytest.mark.parametrize(
    ("error", "stated", "factor"),
    [
        (1.0, 1.0, 1.0),
        (0.25, 1.0, 1.0),
        (4.0, 1.0, 2.0),
        (0.04, 0.01, 2.0),
        (9.0, 1.0, 3.0),
        (400.0, 1.0, 3.0),
        (1.0, 0.0, 3.0),
        (math.nan, 1.0, 3.0),
        (1.0, math.nan, 3.0),
        (math.inf, 1.0, 3.0),
    ],
)
def test_the_penalty_grows_with_what_uncertainty_leaves_out(error, stated, factor) -> None:
    assert pessimism(error, stated) == pytest.approx(factor)
