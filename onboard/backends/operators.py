"""The allow-listed ONNX operators in numpy, one function each, as opset 18 defines them.

Each takes its input arrays (``None`` for an optional one left out) and its attributes by name, and
returns its first output: no operator of the list needs a second one.
Source: https://onnx.ai/onnx/operators, the version of each operator in force at opset 18.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Operator = Callable[..., Array]


def _gemm(
    a: Array,
    b: Array,
    c: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Array:
    product: Array = (a.T if transA else a) @ (b.T if transB else b)
    if alpha != 1.0:
        product = np.float32(alpha) * product
    if c is not None:
        product = product + (c if beta == 1.0 else np.float32(beta) * c)
    return product


def _elu(x: Array, *, alpha: float = 1.0) -> Array:
    return np.where(x > 0.0, x, np.float32(alpha) * np.expm1(np.minimum(x, 0.0)))


def _sigmoid(x: Array) -> Array:
    """``1 / (1 + exp(-x))`` without overflow: the exponent is never positive."""
    decay = np.exp(-np.abs(x))
    return np.where(x >= 0.0, np.float32(1.0), decay) / (np.float32(1.0) + decay)


def _clip(x: Array, low: Array | None = None, high: Array | None = None) -> Array:
    if low is not None:
        x = np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _layer_normalization(
    x: Array,
    scale: Array,
    bias: Array | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Array:
    """``stash_type`` asks for float32 inside, which is all there is here."""
    axes = tuple(range(axis % x.ndim, x.ndim))
    centred = x - x.mean(axis=axes, keepdims=True)
    variance = np.mean(centred * centred, axis=axes, keepdims=True)
    scaled: Array = centred / np.sqrt(variance + np.float32(epsilon)) * scale
    return scaled if bias is None else scaled + bias


def _slice(
    x: Array,
    starts: Array,
    ends: Array,
    axes: Array | None = None,
    steps: Array | None = None,
) -> Array:
    along = range(len(starts)) if axes is None else axes.tolist()
    strides = [1] * len(starts) if steps is None else steps.tolist()
    window = [slice(None)] * x.ndim
    for axis, start, end, step in zip(along, starts.tolist(), ends.tolist(), strides, strict=True):
        window[axis] = slice(*_bounds(start, end, step, x.shape[axis]), step)
    return x[tuple(window)]


def _bounds(start: int, end: int, step: int, size: int) -> tuple[int, int | None]:
    """Of a Python slice: ONNX clamps to the axis and has no way to say "before the first"."""
    start, end = (bound + size if bound < 0 else bound for bound in (start, end))
    if step > 0:
        return min(max(start, 0), size), min(max(end, 0), size)
    return min(max(start, 0), size - 1), end if end >= 0 else None


def _reshape(x: Array, shape: Array, *, allowzero: int = 0) -> Array:
    wanted = shape.tolist()
    if not allowzero:
        wanted = [x.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    return x.reshape(wanted)


def _reduce(function: Callable[..., Array]) -> Operator:
    def reduce(
        x: Array, axes: Array | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Array:
        along = () if axes is None else tuple(axes.tolist())
        if not along and noop_with_empty_axes:
            return x
        return np.asarray(function(x, axis=along or None, keepdims=bool(keepdims)))

    return reduce


def _softmax(x: Array, *, axis: int = -1) -> Array:
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    normal: Array = powers / powers.sum(axis=axis, keepdims=True)
    return normal


def _expand(x: Array, shape: Array) -> Array:
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape.tolist())))


def _gather(x: Array, indices: Array, *, axis: int = 0) -> Array:
    return np.take(x, indices, axis=axis)


def _fold(function: Callable[[Array, Array], Array]) -> Operator:
    """Min and Max take any number of inputs."""

    def fold(first: Array, *rest: Array) -> Array:
        for each in rest:
            first = function(first, each)
        return first

    return fold


def _concat(*parts: Array, axis: int) -> Array:
    return np.concatenate(parts, axis=axis)


def _transpose(x: Array, *, perm: Sequence[int] | None = None) -> Array:
    return np.transpose(x, perm)


def _constant(
    *,
    value: Array | None = None,
    value_float: float | None = None,
    value_floats: Sequence[float] = (),
    value_int: int | None = None,
    value_ints: Sequence[int] = (),
) -> Array:
    if value is not None:
        return value
    if value_float is not None or value_floats:
        return np.array(value_floats or value_float, dtype=np.float32)
    return np.array(value_ints if value_int is None else value_int, dtype=np.int64)


OPERATORS: Mapping[str, Operator] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Neg": np.negative,
    "Abs": np.abs,
    "Pow": np.power,
    "Exp": np.exp,
    "Sqrt": np.sqrt,
    "Clip": _clip,
    "Min": _fold(np.minimum),
    "Max": _fold(np.maximum),
    "Greater": np.greater,
    "Less": np.less,
    "Where": np.where,
    "Tanh": np.tanh,
    "Relu": lambda x: np.maximum(x, 0),
    "Elu": _elu,
    "Sigmoid": _sigmoid,
    "Softplus": lambda x: np.logaddexp(np.float32(0.0), x),
    "Softmax": _softmax,
    "LayerNormalization": _layer_normalization,
    "Gemm": _gemm,
    "MatMul": np.matmul,
    "Transpose": _transpose,
    "Concat": _concat,
    "Slice": _slice,
    "Gather": _gather,
    "Reshape": _reshape,
    "Expand": _expand,
    "ReduceMean": _reduce(np.mean),
    "ReduceSum": _reduce(np.sum),
    "ReduceMin": _reduce(np.min),
    "Constant": _constant,
    "Identity": lambda x: x,
}
