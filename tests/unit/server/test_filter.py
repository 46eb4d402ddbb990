"""Is only kept what is good and certain, cut where doubt begins, and wide enough to learn from?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from offboard.filter import (
    FilterConfig,
    cover,
    keep_mask,
    kept_transitions,
    select,
    trusted_steps,
)
from offboard.generate import Trajectories
from offboard.regions import regions
from offboard.replay import Batch

HALVES = FilterConfig(return_quantile=0.5, uncertainty_quantile=0.5, regions=0)
NO_LIMIT = float("inf")


def trajectories(
    reward: list[list[float]],
    uncertainty: list[list[float]] | None = None,
    ends: list[int] | None = None,
    at: Tensor | None = None,
) -> Trajectories:
    """M trajectories along a line; ``ends`` names the step that terminates, or -1 for none."""
    rewards = torch.tensor(reward)
    M, T = rewards.shape
    x = torch.arange(float(T)).expand(M, T)[..., None] if at is None else at[..., None]
    terminated = torch.zeros(M, T)
    for row, step in enumerate(ends or []):
        if step >= 0:
            terminated[row, step] = 1.0
    doubt = torch.zeros(M, T) if uncertainty is None else torch.tensor(uncertainty)
    return Trajectories(Batch(x, torch.zeros(M, T, 1), rewards, x + 1.0, terminated), doubt)


def test_both_criteria_are_needed() -> None:
    returns = torch.tensor([9.0, 9.0, 1.0, 1.0])
    uncertainty = torch.tensor([0.1, 0.9, 0.1, 0.9])
    assert keep_mask(returns, uncertainty, HALVES).tolist() == [True, False, False, False]


def test_thresholds_are_quantiles_and_inclusive() -> None:
    ramp = torch.arange(11.0)
    config = FilterConfig(return_quantile=0.3, uncertainty_quantile=0.7)
    assert keep_mask(ramp, ramp, config).nonzero().flatten().tolist() == [3, 4, 5, 6, 7]


VALUES = st.lists(st.tuples(st.floats(0, 250, width=32), st.floats(0, 5, width=32)), min_size=1)


@given(VALUES)
def test_what_is_kept_is_better_and_surer_than_the_thresholds(pairs) -> None:
    returns, uncertainty = torch.tensor(pairs).unbind(1)
    keep = keep_mask(returns, uncertainty, FilterConfig())
    assert (returns[keep] >= returns.quantile(0.3)).all()
    assert (uncertainty[keep] <= uncertainty.quantile(0.7)).all()
    dropped = ~keep
    assert (
        (returns[dropped] < returns.quantile(0.3))
        | (uncertainty[dropped] > uncertainty.quantile(0.7))
    ).all()


def test_a_trajectory_is_cut_before_the_first_step_beyond_the_limit_for_good() -> None:
    made = trajectories([[1.0] * 4] * 2, [[0.1, 0.5, 0.1, 0.1], [0.2, 0.2, 0.2, 0.2]])
    assert trusted_steps(made, 0.2).tolist() == [[True, False, False, False], [True] * 4]


def test_nothing_after_an_end_is_trusted() -> None:
    made = trajectories([[1.0, 1.0, 0.0, 0.0]], ends=[1])
    assert trusted_steps(made, NO_LIMIT).tolist() == [[True, True, False, False]]


def test_what_was_cut_off_counts_at_the_rate_of_what_was_not() -> None:
    """Three steps of 2 and then a promise of 9 nobody believes: 4 steps at 2, not 15, not 6."""
    made = trajectories([[2.0, 2.0, 2.0, 9.0]] * 2, [[0.0, 0.0, 0.0, 1.0], [0.0] * 4])
    chosen = select(made, 0.5, HALVES)
    assert chosen.returns.tolist() == [8.0, 15.0]
    assert chosen.uncertainty.tolist() == [0.0, 0.0]


def test_dying_is_not_mended_by_being_cut_off_first() -> None:
    made = trajectories([[2.0, 2.0, 0.0, 0.0]], [[0.0, 1.0, 0.0, 0.0]], ends=[1])
    assert select(made, 0.5, HALVES).returns.tolist() == [4.0]


def test_a_trajectory_is_as_uncertain_as_its_trusted_steps() -> None:
    made = trajectories([[1.0] * 4], [[0.1, 0.3, 9.0, 0.1]])
    assert select(made, 1.0, HALVES).uncertainty.tolist() == pytest.approx([0.2])


def test_a_trajectory_doubtful_from_the_start_is_never_kept_and_spoils_no_quantile() -> None:
    made = trajectories([[1.0] * 2, [2.0] * 2, [99.0] * 2], [[0.1] * 2, [0.1] * 2, [5.0, 0.0]])
    chosen = select(made, 1.0, replace(HALVES, regions=2, gain_min=0.0, evenness=9.0))
    assert chosen.keep.tolist() == [True, True, False]
    assert select(made, 1.0, HALVES).keep.tolist() == [False, True, False]


def test_nothing_is_kept_where_nothing_is_certain() -> None:
    made = trajectories([[1.0] * 3] * 2, [[2.0] * 3] * 2)
    for config in (HALVES, FilterConfig()):
        chosen = select(made, 1.0, config)
        assert not chosen.keep.any()
        assert not chosen.steps.any()
        assert kept_transitions(made, chosen.steps).size == 0
    assert chosen.coverage == 0.0


def test_transitions_are_the_trusted_steps_of_the_kept() -> None:
    made = trajectories([[5.0] * 3, [1.0] * 3], [[0.0, 0.0, 2.0], [0.0] * 3])
    chosen = select(made, 1.0, replace(HALVES, uncertainty_quantile=1.0))
    batch = kept_transitions(made, chosen.steps)
    assert batch.obs[:, 0].tolist() == [0.0, 1.0]
    assert batch.following[:, 0].tolist() == [1.0, 2.0]


VISITS = torch.tensor([[9.0, 0.0, 0.0], [0.0, 6.0, 3.0], [8.0, 1.0, 0.0], [0.0, 0.0, 9.0]])
FIRST, ALL = torch.tensor([True, False, False, False]), torch.ones(4, dtype=torch.bool)


def test_coverage_brings_back_what_visits_the_unvisited() -> None:
    assert cover(VISITS, FIRST, ALL, 3.0, 0.2).tolist() == [True, True, False, False]


def test_coverage_goes_on_while_regions_want() -> None:
    assert cover(VISITS, FIRST, ALL, 6.0, 0.2).tolist() == [True, True, False, True]


def test_coverage_never_waives_certainty() -> None:
    certain = torch.tensor([True, False, True, True])
    assert cover(VISITS, FIRST, certain, 3.0, 0.2).tolist() == [True, False, False, True]


def test_coverage_leaves_out_what_adds_little() -> None:
    certain = torch.tensor([True, False, True, False])
    assert cover(VISITS, FIRST, certain, 3.0, 0.2).tolist() == FIRST.tolist()
    assert cover(VISITS, FIRST, certain, 3.0, 0.1).tolist() == [True, False, True, False]


def test_coverage_does_not_change_what_it_was_given() -> None:
    before = FIRST.clone()
    cover(VISITS, FIRST, ALL, 6.0, 0.0)
    assert torch.equal(FIRST, before)


def poor_but_elsewhere() -> Trajectories:
    """Seven good trajectories near 0; a poor and certain one far off; a poor and doubtful one."""
    at = torch.rand(9, 20, generator=torch.Generator().manual_seed(0))
    at[7], at[8] = at[7] + 50.0, at[8] - 50.0
    reward = [[10.0 + row] * 20 for row in range(7)] + [[1.0] * 20] * 2
    return trajectories(reward, [[0.1] * 20] * 8 + [[0.9] * 20], at=at)


def test_the_kept_set_is_wider_with_the_coverage_term() -> None:
    made = poor_but_elsewhere()
    config = FilterConfig(return_quantile=0.5, uncertainty_quantile=0.8, regions=4)
    narrow, wide = select(made, 1.0, replace(config, regions=0)), select(made, 1.0, config)
    assert narrow.keep.nonzero().flatten().tolist() == [2, 3, 4, 5, 6]
    assert wide.keep.nonzero().flatten().tolist() == [2, 3, 4, 5, 6, 7]
    assert wide.coverage > 0.5


def test_regions_spread_over_the_range_not_over_the_crowd() -> None:
    crowd = 0.1 * torch.rand(500, 2, generator=torch.Generator().manual_seed(0))
    corners = torch.tensor([[10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])
    found = regions(torch.cat([crowd, corners]), 4)
    assert found[:500].unique().numel() == 1
    assert found[[0, 500, 501, 502]].unique().numel() == 4


def test_every_point_lies_in_the_region_of_its_nearest_centre() -> None:
    points = torch.randn(200, 3, generator=torch.Generator().manual_seed(1))
    found = regions(points, 10)
    assert found.unique().tolist() == [*range(10)]
    x = (points - points.mean(0)) / points.std(0, unbiased=False)
    radius = max(
        float(torch.cdist(x[found == index], x[found == index]).max()) for index in range(10)
    )
    assert radius < 0.8 * float(torch.cdist(x, x).max())


def test_columns_of_any_scale_count_alike_and_constant_ones_not_at_all() -> None:
    points = torch.randn(100, 2, generator=torch.Generator().manual_seed(2))
    scaled = torch.cat([points * torch.tensor([1.0, 1e4]), torch.full((100, 1), 3.0)], 1)
    assert torch.equal(regions(points, 8), regions(scaled, 8))


def test_fewer_points_than_regions_get_one_each() -> None:
    assert sorted(regions(torch.tensor([[0.0], [1.0], [5.0]]), 8).tolist())[0] >= 0
    assert regions(torch.tensor([[0.0], [1.0], [5.0]]), 8).unique().numel() == 3
