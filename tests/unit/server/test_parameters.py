"""Are parameters named, flattened and stepped as torch does it?"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from offboard.parameters import Adam, Space

SPACE = Space({"net.weight": (3, 4), "net.bias": (4,), "net.gain": (2, 1, 4)})
SHAPES = st.lists(st.integers(1, 4), max_size=3).map(tuple)


@given(st.dictionaries(st.text("ab.", min_size=1), SHAPES, min_size=1, max_size=5))
def test_viewing_and_flattening_undo_each_other(shapes) -> None:
    space = Space(shapes)
    flat = torch.arange(float(space.size))
    named = space.view(flat)
    assert {name: tuple(tensor.shape) for name, tensor in named.items()} == shapes
    assert torch.equal(space.flatten(named), flat)


def test_a_view_is_no_copy() -> None:
    flat = torch.zeros(SPACE.size)
    SPACE.view(flat)["net.bias"][0] = 1.0
    assert flat.sum() == 1.0


def test_a_missing_name_is_told() -> None:
    named = SPACE.view(torch.zeros(SPACE.size))
    del named["net.bias"]
    with pytest.raises(KeyError, match=r"net\.bias"):
        SPACE.flatten(named)


def test_start_values_are_bounded_by_fan_in_with_no_bias_and_unit_gain() -> None:
    space = Space({"w.weight": (2, 16, 500), "b.bias": (5,), "g.gain": (5,)})
    named = space.view(space.initial(torch.Generator().manual_seed(0)))
    assert 0.99 / 4 < float(named["w.weight"].abs().max()) <= 1 / 4
    assert abs(float(named["w.weight"].mean())) < 0.01
    assert named["b.bias"].tolist() == [0.0] * 5
    assert named["g.gain"].tolist() == [1.0] * 5


def test_adam_steps_as_torchs_own() -> None:
    generator = torch.Generator().manual_seed(0)
    theirs = torch.randn(8, generator=generator).requires_grad_()
    ours, m, v = theirs.detach().clone(), torch.zeros(8), torch.zeros(8)
    reference, adam = torch.optim.Adam([theirs], lr=3e-3), Adam(lr=3e-3)
    for t in range(1, 51):
        gradient = torch.randn(8, generator=generator) * 10.0 ** (t % 5 - 3)
        theirs.grad = gradient
        reference.step()
        ours, m, v = adam.step(ours, gradient, m, v, torch.tensor(float(t)))
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-7)


def test_adams_first_step_has_the_length_of_the_learning_rate() -> None:
    gradient = torch.tensor([4.0, -0.5])
    value, _, _ = Adam(lr=0.1).step(
        torch.zeros(2), gradient, torch.zeros(2), torch.zeros(2), torch.ones(())
    )
    assert value.tolist() == pytest.approx([-0.1, 0.1], rel=1e-4)


def test_the_size_counts_every_scalar() -> None:
    assert SPACE.size == math.prod((3, 4)) + 4 + 8
