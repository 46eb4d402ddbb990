"""Is each baseline's update one static graph, and does that graph compute what it says?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from made_bench import DISCOUNT, SMALL, A, O, bandit
from torch import Tensor

from offboard.baselines.balanced_replay import Balanced, BalancedConfig
from offboard.baselines.conservative import Conservative, CqlConfig, valued
from offboard.baselines.iql import Iql, IqlConfig
from offboard.compiled import can_compile
from offboard.sac import Sac

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_compile(), reason="needs a C++ compiler and Python's headers"),
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),  # torch about itself
]

CONFIG = replace(SMALL, width=8, critics=3, target_subset=2)
BATCH, OTHER = bandit(SMALL.batch, 0), bandit(SMALL.batch, 1)


def iql() -> list[Tensor]:
    learner = Iql(O, A, DISCOUNT, CONFIG, IqlConfig())
    state, loss = learner.update(learner.initial(0), BATCH)
    return [*state, *loss]


def cal_ql() -> list[Tensor]:
    sac = Sac(O, A, DISCOUNT, CONFIG)
    learner = Conservative(sac, DISCOUNT, CqlConfig(weight=1.0, actions=2, calibrate=True))
    noise = learner.noise(torch.Generator().manual_seed(0))
    state, loss = learner.update(sac.initial(0), valued(BATCH, DISCOUNT), noise)
    return [*state, *loss]


def balanced() -> list[Tensor]:
    sac = Sac(O, A, DISCOUNT, CONFIG)
    learner = Balanced(O, A, sac, BalancedConfig())
    noise = sac.noise(torch.Generator().manual_seed(0))
    state, ratio, priority = learner.update(
        sac.initial(0), learner.initial(0), BATCH, OTHER, BATCH, noise
    )
    return [*state, *ratio, priority]


@pytest.mark.parametrize("update", [iql, cal_ql, balanced])
def test_the_compiled_update_equals_the_eager_one(update, monkeypatch) -> None:
    fast = update()
    monkeypatch.setattr("offboard.compiled.can_compile", lambda: False)
    for ours, theirs in zip(fast, update(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
