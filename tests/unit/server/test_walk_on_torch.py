"""A planner judges the walk on tensors: the same numbers as numpy gets."""

import numpy as np
import torch

from protocol import walk


def test_tensors_are_judged_like_arrays():
    rng = np.random.default_rng(0)
    obs, following = (rng.normal(size=(64, walk.SIZE)).astype(np.float32) for _ in range(2))
    applied = rng.uniform(-1, 1, (64, walk.JOINTS)).astype(np.float32)
    arrays = walk.walk(obs, applied, following)
    tensors = walk.walk(*(torch.from_numpy(part) for part in (obs, applied, following)))
    np.testing.assert_allclose(tensors.reward.numpy(), arrays.reward, atol=1e-6)
    np.testing.assert_array_equal(tensors.terminated.numpy(), arrays.terminated)
