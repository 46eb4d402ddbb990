"""Does the bound hold as often as stated, and is none claimed where it does not?"""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
import torch
from made_learning import Line
from torch import Tensor

from offboard.calibration import (
    CalibrationConfig,
    bound,
    bounds,
    conformal_penalty,
)
from offboard.open_loop import Returns, open_loop, windows
from offboard.replay import Batch

CONFIG = CalibrationConfig()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def walk(length: int, first: float = 0.0, ends: bool = False, step: float = 1.0) -> Batch:
    """An episode along a line, worth x where it arrives at x."""
    x = first + step * torch.arange(length + 1.0)[:, None]
    terminated = torch.zeros(length)
    terminated[-1] = float(ends)
    return Batch(x[:-1], torch.full((length, 1), step), x[1:, 0], x[1:], terminated)


@pytest.mark.parametrize(("episodes", "rank"), [(9, 9), (19, 18), (99, 90), (100, 91)])
def test_the_penalty_is_the_finite_sample_quantile(episodes: int, rank: int) -> None:
    """⌈(n + 1) · 0.9⌉ of n."""
    scores = torch.randperm(episodes, generator=generator())[:, None] + 1.0
    assert conformal_penalty(scores, 0.9) == rank


def test_too_few_episodes_can_claim_nothing() -> None:
    assert conformal_penalty(torch.zeros(8, 1), 0.9) == math.inf
    assert conformal_penalty(torch.zeros(8, 100), 0.9) == math.inf


def test_a_model_that_underrates_itself_needs_no_penalty() -> None:
    assert conformal_penalty(-1.0 - torch.rand(50, 1), 0.9) == 0.0


def coverage_over_repeats(draw, episodes: int, windows: int, repeats: int = 3_000) -> float:
    """How often a window of a fresh episode is covered, over many calibrations."""
    covered = 0
    for _ in range(repeats):
        scores = draw(episodes + 1, windows)
        covered += float(scores[-1, 0]) <= conformal_penalty(scores[:-1], 0.9)
    return covered / repeats


def test_coverage_is_exact_for_independent_windows() -> None:
    """With n = 19 and 90 %: the rank is 18 and the coverage 18/20, whatever the distribution."""
    noise = generator(1)

    def draw(episodes: int, windows: int) -> Tensor:
        return torch.rand(episodes, windows, generator=noise).exp()

    assert coverage_over_repeats(draw, 19, 1) == pytest.approx(0.9, abs=0.02)


def test_coverage_holds_though_the_windows_of_an_episode_are_all_alike() -> None:
    """Ten windows that agree are one sample: the quantile of 190 would cover 90 % of nothing."""
    noise = generator(2)

    def draw(episodes: int, windows: int) -> Tensor:
        return torch.rand(episodes, 1, generator=noise).expand(-1, windows) + 1.0

    assert coverage_over_repeats(draw, 19, 10) == pytest.approx(0.9, abs=0.02)


def test_a_window_never_leaves_its_episode() -> None:
    episodes = [walk(12, first=100.0 * index) for index in range(5)]
    drawn = windows(episodes, 4, 3, generator())
    assert drawn.steps.obs.shape == (5, 3, 4, 1)
    assert drawn.live.all()
    x = drawn.steps.obs[..., 0]
    assert (x.diff(dim=2) == 1.0).all()
    for index in range(5):
        assert (x[index] >= 100.0 * index).all()
        assert (x[index] < 100.0 * index + 12).all()
    assert drawn.steps.obs[:, :, 0].unique().numel() > 5


def test_every_start_is_possible_and_none_beyond() -> None:
    starts = windows([walk(6)], 4, 200, generator()).steps.obs[0, :, 0, 0]
    assert starts.unique().tolist() == [0.0, 1.0, 2.0]


def test_an_episode_cut_short_by_time_is_left_out_and_one_that_ended_is_padded() -> None:
    drawn = windows([walk(3), walk(3, first=50.0, ends=True)], 5, 20, generator())
    assert drawn.live.shape == (1, 20, 5)
    assert (drawn.steps.obs >= 50.0).all()
    assert drawn.live.sum(2).unique().tolist() == [1, 2, 3]


def test_a_horizon_beyond_every_episode_has_no_bound() -> None:
    episodes = [walk(10)] * 40
    (found,) = bounds(WORLD, None, doubt, episodes, episodes, (11,), 0.9, CONFIG, generator())
    assert found.penalty is None
    assert "too few" in found.reason


WORLD = Line(reward_at=lambda x: 2.0 * x)  # promises twice what it holds


def doubt(state: object, obs: Tensor, applied: Tensor) -> Tensor:
    return obs[:, 0] + 1.0


def test_returns_by_hand() -> None:
    """From x = 3 with γ = ½: rewards 4 and 5 are promised as 8 and 10, doubts are 4 and 5."""
    drawn = windows([walk(2, first=3.0)], 2, 1, generator())
    found = open_loop(WORLD, None, doubt, drawn, 0.5)
    assert float(found.true) == 4.0 + 2.5
    assert float(found.predicted) == 8.0 + 5.0
    assert float(found.uncertainty) == 4.0 + 2.5
    assert float(found.scores) == 1.0


def test_the_model_goes_its_own_way_with_the_recorded_actions() -> None:
    slipped = walk(3)._replace(applied=torch.full((3, 1), 0.5))
    found = open_loop(WORLD, None, doubt, windows([slipped], 3, 1, generator()), 1.0)
    assert float(found.true) == 1.0 + 2.0 + 3.0
    assert float(found.predicted) == 1.0 + 2.0 + 3.0  # twice 0.5, 1, 1.5
    assert float(found.uncertainty) == 1.0 + 1.5 + 2.0


def test_an_imagined_end_stops_promise_and_doubt_and_a_real_one_the_truth() -> None:
    mortal = Line(reward_at=lambda x: 2.0 * x, ends_at=lambda x: x >= 1.0)
    drawn = windows([walk(3)], 3, 1, generator())
    found = open_loop(mortal, None, doubt, drawn, 1.0)
    assert (float(found.predicted), float(found.uncertainty)) == (2.0, 1.0)
    assert float(found.true) == 6.0
    dead = windows([walk(1, ends=True)], 3, 1, generator())
    assert float(open_loop(WORLD, None, doubt, dead, 1.0).true) == 1.0


def noisy(episodes: int, seed: int, bias: float = 0.0) -> Returns:
    """Promises that miss the truth by N(bias, 1) of their own uncertainty; truths spread by 10."""
    true = 10.0 * torch.rand(episodes, 4, generator=generator(seed))
    uncertainty = 0.5 + torch.rand(episodes, 4, generator=generator(seed + 1))
    miss = bias + torch.randn(episodes, 4, generator=generator(seed + 2))
    return Returns(true + uncertainty * miss, uncertainty, true)


def test_the_penalty_is_the_quantile_of_a_known_distribution() -> None:
    """The 90 % quantile of N(0, 1) is 1.28."""
    found = bound(noisy(900, 0), noisy(2_000, 10), 5, CONFIG)
    assert found.penalty == pytest.approx(1.28, abs=0.1)
    assert found.coverage == pytest.approx(0.9, abs=0.02)
    assert (found.horizon, found.stated, found.reason) == (5, 0.9, "")
    # mean gap 1.28 · E[u] = 1.28 over a spread of nine
    assert found.tightness == pytest.approx(1.28 / 9.0, abs=0.02)


def test_the_penalty_is_chosen_and_checked_on_different_episodes() -> None:
    """The last half is worse: a claim made from the first is refused by it."""
    sound, biased = noisy(300, 0), noisy(300, 3, bias=1.0)
    drifted = Returns(*(torch.cat(pair) for pair in zip(sound, biased, strict=True)))
    found = bound(drifted, noisy(500, 10), 5, CONFIG)
    assert found.penalty is None
    assert re.match(r"6\d% instead of 90% on its own check", found.reason)
    assert found.coverage is not None


def test_no_bound_is_claimed_from_too_few_episodes() -> None:
    found = bound(noisy(12, 0), noisy(500, 10), 50, CONFIG)
    assert (found.penalty, found.coverage, found.tightness) == (None, None, None)
    assert "6 episodes are too few to check a claim of 90%" in found.reason


def test_a_bound_that_tells_nothing_apart_is_none() -> None:
    vague = noisy(900, 0)
    vague = vague._replace(predicted=vague.true + 100.0 * (vague.predicted - vague.true))
    found = bound(vague, vague, 5, CONFIG)
    assert found.penalty is None
    assert "return scales below the truth" in found.reason
    assert bound(vague, vague, 5, replace(CONFIG, tightness_max=1e6)).penalty is not None


def test_bounds_are_found_for_every_horizon() -> None:
    def episodes(seed: int) -> list[Batch]:
        """Steps that slip: the world goes less far than the model believes."""
        slips = 1.0 - 0.3 * torch.rand(60, generator=generator(seed))
        walks = [walk(30, step=float(slip)) for slip in slips]
        return [episode._replace(applied=torch.ones(30, 1)) for episode in walks]

    world = Line(reward_at=lambda x: x)
    found = bounds(world, None, doubt, episodes(0), episodes(1), (2, 10), 0.99, CONFIG, generator())
    assert [one.horizon for one in found] == [2, 10]
    for one in found:
        assert one.penalty is not None
        assert one.coverage == pytest.approx(0.9, abs=0.08)
    again = bounds(world, None, doubt, episodes(0), episodes(1), (2, 10), 0.99, CONFIG, generator())
    assert again == found
