"""A ``tensorrt`` module whose engines are PyTorch's kernels: everything of ours around it is real.

Where there is a GPU but no TensorRT, our runner, CUDA calls, captured graphs and swap can still be
rehearsed: NVIDIA's builder and kernels alone are replaced. An engine computes the steps that the
numpy reference reads out of the graph, on the stream and at the addresses it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, Protocol

import numpy as np
import torch
from made_gpu import HostCuda, HostTrt
from torch import Tensor
from torch.nn import functional

from onboard.backends.operators import OPERATORS
from onboard.backends.reference import ReferenceEngine
from protocol.bundle import ACTION_OUTPUT

Operator = Callable[..., Tensor]
Work = Callable[[], None]


class Place(Protocol):
    """Where an engine computes."""

    device: torch.device

    def view(self, address: int, shape: tuple[int, ...]) -> Tensor:
        """Memory of this place as a tensor, without a copy."""

    def queue(self, stream: int, work: Work) -> None:
        """Do ``work`` on ``stream``, after what is there already."""


class OnGpu:
    """The first GPU."""

    device = torch.device("cuda")

    def view(self, address: int, shape: tuple[int, ...]) -> Tensor:
        return torch.as_tensor(_Memory(address, shape), device=self.device)

    def queue(self, stream: int, work: Work) -> None:
        with torch.cuda.stream(torch.cuda.ExternalStream(stream)):
            work()


class OnHost:
    """The GPU made of numpy: shows on any machine that the engine computes the graph."""

    device = torch.device("cpu")

    def __init__(self, cuda: HostCuda) -> None:
        self._cuda = cuda

    def view(self, address: int, shape: tuple[int, ...]) -> Tensor:
        return torch.from_numpy(self._cuda.block(address)).view(shape)

    def queue(self, stream: int, work: Work) -> None:
        self._cuda.queue(stream, work)


class TorchTrt(HostTrt):
    """See the module; a plan is the graph, as in the ``tensorrt`` made of numpy."""

    def __init__(self, place: Place) -> None:
        super().__init__(HostCuda())
        self._place = place

    def context(self, engine: ReferenceEngine) -> TorchContext:
        return TorchContext(engine, self._place)


class TorchContext:
    """Buffers of one runner, and what an engine does with them."""

    def __init__(self, engine: ReferenceEngine, place: Place) -> None:
        self._engine, self._place = engine, place
        self._values: dict[str, Any] = {
            name: _on(place, value) for name, value in engine._constants.items()
        }
        self._values[""] = None
        self._steps = [
            (_operator(step.operator), step.inputs, step.output) for step in engine._steps
        ]

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._values[name] = self._place.view(address, self._engine._shapes[name])
        return True

    def execute_async_v3(self, stream: int) -> bool:
        self._place.queue(stream, self._compute)
        return True

    def _compute(self) -> None:
        """What lies between is kept: a captured graph goes on writing there."""
        values = self._values
        answer = values[ACTION_OUTPUT]
        for operator, inputs, output in self._steps:
            values[output] = operator(*[values[name] for name in inputs])
        answer.copy_(values[ACTION_OUTPUT])
        values[ACTION_OUTPUT] = answer


class _Memory:
    """Device memory as PyTorch takes it in."""

    def __init__(self, address: int, shape: tuple[int, ...]) -> None:
        self.__cuda_array_interface__ = {
            "shape": shape, "typestr": "<f4", "data": (address, False), "version": 3
        }  # fmt: skip


def _on(place: Place, value: np.ndarray[Any, Any]) -> Tensor:
    """Indices and shapes stay with the host, which needs to know them."""
    tensor = torch.from_numpy(np.array(value))
    return tensor if tensor.dtype == torch.int64 else tensor.to(place.device)


def _operator(numpys: Any) -> Operator:
    """PyTorch's of one of numpy's, with the same attributes."""
    name = _NAMES[numpys.func]
    return lambda *inputs: _OPERATORS[name](*inputs, **numpys.keywords)


def _gemm(
    a: Tensor, b: Tensor, c: Tensor | None = None, *,
    alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0,
) -> Tensor:  # fmt: skip
    a, b = a.T if transA else a, b.T if transB else b
    return alpha * (a @ b) if c is None else torch.addmm(c, a, b, beta=beta, alpha=alpha)


def _layer_norm(
    x: Tensor, scale: Tensor, bias: Tensor | None = None, *, epsilon: float = 1e-5, **_: int
) -> Tensor:
    """Over the last axis, as our exporter writes it."""
    return functional.layer_norm(x, x.shape[-1:], scale, bias, epsilon)


def _slice(x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor, steps: Tensor) -> Tensor:
    bounds = zip(*(each.tolist() for each in (axes, starts, ends, steps)), strict=True)
    window = [slice(None)] * x.ndim
    for axis, start, end, step in bounds:
        window[axis] = slice(start, end, step)
    return x[tuple(window)]


def _reduced(function: Callable[..., Tensor]) -> Operator:
    def operator(x: Tensor, axes: Tensor, *, keepdims: int = 1, **_: int) -> Tensor:
        return function(x, dim=tuple(axes.tolist()), keepdim=bool(keepdims))

    return operator


_NAMES: Mapping[Any, str] = {function: name for name, function in OPERATORS.items()}
_OPERATORS: Mapping[str, Operator] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": torch.div,
    "Neg": torch.neg,
    "Abs": torch.abs,
    "Pow": torch.pow,
    "Exp": torch.exp,
    "Sqrt": torch.sqrt,
    "Clip": lambda x, low=None, high=None: torch.clamp(x, low, high),
    "Min": lambda *parts: reduce(torch.minimum, parts),
    "Max": lambda *parts: reduce(torch.maximum, parts),
    "Greater": torch.gt,
    "Less": torch.lt,
    "Where": torch.where,
    "Tanh": torch.tanh,
    "Relu": torch.relu,
    "Elu": functional.elu,
    "Sigmoid": torch.sigmoid,
    "Softplus": functional.softplus,
    "Softmax": lambda x, axis=-1: torch.softmax(x, axis),
    "LayerNormalization": _layer_norm,
    "Gemm": _gemm,
    "MatMul": torch.matmul,
    "Transpose": lambda x, perm: x.permute(*perm),
    "Concat": lambda *parts, axis: torch.cat(parts, axis),
    "Slice": _slice,
    "Gather": lambda x, index, axis=0: x.select(axis, int(index)),
    "Reshape": lambda x, shape, allowzero=0: x.reshape(shape.tolist()),
    "Expand": lambda x, shape: x.expand(torch.broadcast_shapes(x.shape, tuple(shape.tolist()))),
    "ReduceMean": _reduced(torch.mean),
    "ReduceSum": _reduced(torch.sum),
    "ReduceMin": _reduced(torch.amin),
    "Identity": lambda x: x,
}
"""Those our exporter uses; shapes are static, and so are the kernels."""
