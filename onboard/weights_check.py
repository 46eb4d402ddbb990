"""Do these weights fit the graph? Names, shapes and types equal, every number finite."""

from __future__ import annotations

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from protocol.bundle import WEIGHTS_MAX_BYTES
from protocol.errors import BundleError

Shape = tuple[int, ...]


def check_weights(data: bytes, expected: dict[str, Shape]) -> dict[str, NDArray[np.float32]]:
    """Decode a safetensors file against the graph's weight inputs.

    Args:
        data: the file's bytes, signature already verified.
        expected: from :func:`onboard.graph_check.check_graph`.

    Returns:
        The tensors by name, float32, finite, of exactly the expected shapes.

    Raises:
        BundleError: naming the first tensor that does not fit.
    """
    if len(data) > WEIGHTS_MAX_BYTES:
        raise BundleError(f"weights of {len(data)} bytes exceed the cap of {WEIGHTS_MAX_BYTES}")
    try:
        tensors = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"weights are no safetensors file, or cut short: {error}") from error
    for name in sorted(expected.keys() | tensors.keys()):
        _check_tensor(name, expected.get(name), tensors.get(name))
    return tensors


def _check_tensor(name: str, shape: Shape | None, tensor: NDArray[np.float32] | None) -> None:
    if shape is None:
        raise BundleError(f"weight {name} is no input of the graph")
    if tensor is None:
        raise BundleError(f"weight {name} is missing")
    if tensor.dtype != np.float32 or tensor.shape != shape:
        raise BundleError(
            f"weight {name} is {tensor.dtype} {tensor.shape}; the graph wants float32 {shape}"
        )
    if not np.isfinite(tensor).all():
        raise BundleError(f"weight {name} is not finite")
