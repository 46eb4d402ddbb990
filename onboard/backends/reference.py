"""The graph as numpy reads it: the golden reference of the other backends, and the last resort.

No runtime, no compiler and no optimiser stand between the operators' definition and the result.
It needs numpy and the ONNX file format only, and takes about twice as long as ONNX Runtime.
Source: RUNTIME.md, Inference § 4 (numpy 24 µs against 14 µs for 3×256).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from onboard.backends.operators import OPERATORS, Operator
from protocol.bundle import ACTION_OUTPUT, NOISE_INPUT, OBS_INPUT
from protocol.errors import BundleError

FloatArray = NDArray[np.float32]
Array = NDArray[Any]


class _Step(NamedTuple):
    """One node: its operator with its attributes, and where its arrays are found."""

    operator: Operator
    inputs: tuple[str, ...]
    output: str


def build(graph: bytes) -> ReferenceEngine:
    """An engine of ``graph``. Raises BundleError if it is no graph, or has unknown operators."""
    try:
        model = onnx.ModelProto.FromString(graph)
    except DecodeError as error:
        raise BundleError(f"numpy refuses the graph: {error}") from error
    return ReferenceEngine(model.graph)


class ReferenceEngine:
    """A list of numpy calls; see :class:`onboard.backends.port.Engine`."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._steps = [_step(node) for node in graph.node]
        self._constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        self._shapes = {value.name: _shape(value) for value in (*graph.input, *graph.output)}
        if missing := {OBS_INPUT, NOISE_INPUT, ACTION_OUTPUT} - self._shapes.keys():
            raise BundleError(f"numpy refuses the graph: it has no {sorted(missing)}")
        weights = {value.name for value in graph.input} - {OBS_INPUT, NOISE_INPUT}
        self._weights = {name: self._shapes[name] for name in sorted(weights)}

    def stage(self, weights: Mapping[str, FloatArray]) -> ReferenceRunner:
        """See the port."""
        given = {name: tensor.shape for name, tensor in weights.items()}
        if given != self._weights:
            raise BundleError(f"numpy refuses the weights: {given} are not {self._weights}")
        own = {name: np.array(tensor, order="C") for name, tensor in weights.items()}
        return ReferenceRunner(self._steps, {**self._constants, **own}, self._shapes)

    def close(self) -> None:
        """Nothing is held outside of Python."""


class ReferenceRunner:
    """One set of weights; see :class:`onboard.backends.port.Runner`."""

    def __init__(
        self,
        steps: list[_Step],
        values: Mapping[str, Array],
        shapes: Mapping[str, tuple[int, ...]],
    ) -> None:
        self.obs, self.noise, self.action = (
            np.zeros(shapes[name], dtype=np.float32)
            for name in (OBS_INPUT, NOISE_INPUT, ACTION_OUTPUT)
        )
        self._steps = steps
        self._values: dict[str, Array | None] = {
            **values, OBS_INPUT: self.obs, NOISE_INPUT: self.noise, "": None
        }  # fmt: skip

    def run(self) -> None:
        """See the port."""
        values = self._values
        with np.errstate(all="ignore"):  # NaN is an answer that others judge
            for step in self._steps:
                values[step.output] = step.operator(*[values[name] for name in step.inputs])
        self.action[:] = values[ACTION_OUTPUT]

    def close(self) -> None:
        """Its memory goes with it."""


def _step(node: onnx.NodeProto) -> _Step:
    if node.op_type not in OPERATORS:
        raise BundleError(f"numpy refuses the graph: operator {node.op_type} is unknown")
    if any(node.output[1:]):
        raise BundleError(f"numpy refuses the graph: {node.op_type} has more than one output")
    attributes = {each.name: _value(each) for each in node.attribute}
    operator = partial(OPERATORS[node.op_type], **attributes)
    return _Step(operator, tuple(node.input), node.output[0])


def _value(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(int(each.dim_value) for each in value.type.tensor_type.shape.dim)
