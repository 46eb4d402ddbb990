"""Weights must be exactly what the graph takes."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.numpy
from made_bundle import make_weights

from onboard.weights_check import check_weights
from protocol.bundle import WEIGHTS_MAX_BYTES
from protocol.errors import BundleError

EXPECTED = {name: tensor.shape for name, tensor in make_weights(0).items()}


def saved(**changes: np.ndarray | None) -> bytes:
    tensors = {**make_weights(0), **changes}
    return safetensors.numpy.save({k: v for k, v in tensors.items() if v is not None})


def test_the_right_weights_come_back_as_they_were():
    tensors = check_weights(saved(), EXPECTED)
    for name, tensor in make_weights(0).items():
        np.testing.assert_array_equal(tensors[name], tensor)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"a": None}, "a is missing"),
        ({"extra": np.zeros(3, np.float32)}, "extra is no input"),
        ({"a": np.zeros((2, 2), np.float32)}, "a is float32"),
        ({"a": np.zeros(EXPECTED["a"], np.float64)}, "a is float64"),
        ({"a": np.full(EXPECTED["a"], np.nan, np.float32)}, "a is not finite"),
        ({"a": np.full(EXPECTED["a"], -np.inf, np.float32)}, "a is not finite"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(changes, named):
    with pytest.raises(BundleError, match=named):
        check_weights(saved(**changes), EXPECTED)


@pytest.mark.parametrize("data", [b"", b"\xff" * 64, saved()[:-4], saved()[:20]])
def test_files_that_are_cut_or_random_are_refused(data):
    with pytest.raises(BundleError, match="safetensors"):
        check_weights(data, EXPECTED)


def test_a_file_of_exactly_the_cap_is_read():
    with pytest.raises(BundleError, match="no safetensors file"):
        check_weights(bytes(WEIGHTS_MAX_BYTES), EXPECTED)


def test_an_oversized_file_is_refused_unread():
    with pytest.raises(BundleError, match="exceed the cap"):
        check_weights(bytes(WEIGHTS_MAX_BYTES + 1), EXPECTED)
