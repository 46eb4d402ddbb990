"""Does a planner's tensor get the same reward from a robot file as the robot's array?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from made_robot import make_robot

from offboard.task_setup import load_task


def test_tensors_and_arrays_are_judged_alike(tmp_path: Path) -> None:
    judge = load_task(make_robot(tmp_path), "point").judge
    rng = np.random.default_rng(1)
    obs, following = rng.normal(0.0, 0.5, (2, 3, 40, 8)).astype(np.float32)
    applied = rng.uniform(-1.0, 1.0, (3, 40, 2)).astype(np.float32)
    arrays = judge(obs, applied, following)
    tensors = judge(*(torch.from_numpy(each) for each in (obs, applied, following)))
    assert tensors.reward.shape == (3, 40)
    for a, t in zip(arrays, tensors, strict=True):
        np.testing.assert_allclose(a, t.numpy(), atol=1e-6)
