"""Is this ONNX graph what a policy may be? Rules in order, each before any runtime sees the bytes.

Size, no outside data, no functions, subgraphs, sparse tensors or foreign domains, known operators,
few nodes, the right opset, finite float32 constants, the contract's inputs and outputs, and a small
static shape for every value: a 152-byte graph can make a session allocate 4 GB while it folds
constants. Source: RUNTIME.md, Inference § 5.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper, shape_inference

from protocol.bundle import ACTION_OUTPUT, GRAPH_MAX_BYTES, NOISE_INPUT, OBS_INPUT, OPERATORS
from protocol.errors import BundleError
from protocol.observation import Layout

OPSET = 18
IR_VERSION_MAX = 10
NODES_MAX = 4096
VALUE_MAX_ELEMENTS = 1 << 20
_FLOAT, _INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
_BETWEEN_NODES = {int(_FLOAT), int(_INT64), int(onnx.TensorProto.BOOL)}  # indices, comparisons
_STANDARD_DOMAINS = ("", "ai.onnx")
_ALLOWED_ATTRIBUTES = frozenset(
    {
        onnx.AttributeProto.FLOAT,
        onnx.AttributeProto.INT,
        onnx.AttributeProto.STRING,
        onnx.AttributeProto.TENSOR,
        onnx.AttributeProto.FLOATS,
        onnx.AttributeProto.INTS,
    }
)

Shape = tuple[int, ...]


def check_graph(data: bytes, layout: Layout) -> dict[str, Shape]:
    """Refuse everything but a small static float32 graph of the policy contract.

    Args:
        data: the graph's bytes, signature already verified.
        layout: of the robot that would run it.

    Returns:
        Name and shape of every weight input.

    Raises:
        BundleError: naming the rule and the operator, tensor or number that breaks it.
    """
    if len(data) > GRAPH_MAX_BYTES:
        raise BundleError(f"graph of {len(data)} bytes exceeds the cap of {GRAPH_MAX_BYTES}")
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        raise BundleError("graph is not an ONNX file, or is cut short") from error
    _check_structure(model)
    _check_operators(model.graph)
    _check_versions(model)
    for name, tensor in _constants(model.graph):
        _check_constant(name, tensor)
    weights = _check_interface(model.graph, layout)
    _check_values(model)
    return weights


def _check_structure(model: onnx.ModelProto) -> None:
    if model.functions:
        raise BundleError(f"graph defines a function, {model.functions[0].name}")
    if model.training_info:
        raise BundleError("graph carries training information")
    if model.graph.sparse_initializer:
        raise BundleError("graph has a sparse initializer")
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type not in _ALLOWED_ATTRIBUTES:
                kind = onnx.AttributeProto.AttributeType.Name(attribute.type)
                raise BundleError(f"operator {node.op_type} has an attribute of kind {kind}")
    for name, tensor in _constants(model.graph):
        if tensor.data_location != onnx.TensorProto.DEFAULT or tensor.external_data:
            raise BundleError(f"tensor {name} lies outside the graph file")


def _check_operators(graph: onnx.GraphProto) -> None:
    if len(graph.node) > NODES_MAX:
        raise BundleError(f"graph has {len(graph.node)} nodes; {NODES_MAX} are allowed")
    for node in graph.node:
        if node.domain not in _STANDARD_DOMAINS:
            raise BundleError(f"operator {node.op_type} is of the foreign domain {node.domain}")
        if node.op_type not in OPERATORS:
            raise BundleError(f"operator {node.op_type} is not allowed")


def _check_versions(model: onnx.ModelProto) -> None:
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if any(domain not in _STANDARD_DOMAINS for domain in opsets):
        named = sorted(map(repr, opsets))  # what is not UTF-8 is bytes, which do not sort among str
        raise BundleError(f"graph imports foreign operator domains: {', '.join(named)}")
    if set(opsets.values()) != {OPSET}:
        raise BundleError(f"graph has opset {sorted(opsets.values())}; opset {OPSET} is expected")
    if not 1 <= model.ir_version <= IR_VERSION_MAX:
        raise BundleError(f"graph has IR version {model.ir_version}; at most {IR_VERSION_MAX}")


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Initializers and constants inside nodes, by name."""
    yield from ((tensor.name, tensor) for tensor in graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield node.output[0] if node.output else node.op_type, attribute.t


def _check_constant(name: str, tensor: onnx.TensorProto) -> None:
    if tensor.data_type not in (_FLOAT, _INT64):
        kind = onnx.TensorProto.DataType.Name(tensor.data_type)
        raise BundleError(f"constant {name} is {kind}; float32, or int64 for shapes, is allowed")
    _check_size(f"constant {name}", tuple(tensor.dims))
    try:
        value = numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise BundleError(f"constant {name} does not fill its shape") from error
    if not np.isfinite(value).all():
        raise BundleError(f"constant {name} is not finite")


def _check_interface(graph: onnx.GraphProto, layout: Layout) -> dict[str, Shape]:
    """Inputs and outputs as the contract has them; the rest of the inputs are weights."""
    inputs = {value.name: _static_shape(value, {_FLOAT}) for value in graph.input}
    outputs = {value.name: _static_shape(value, {_FLOAT}) for value in graph.output}
    if len(inputs) != len(graph.input):
        raise BundleError("graph names an input twice")
    shadowed = sorted(inputs.keys() & {tensor.name for tensor in graph.initializer})
    if shadowed:
        raise BundleError(f"input {shadowed[0]} is also a constant")
    wanted = {OBS_INPUT: (1, layout.size), NOISE_INPUT: (1, layout.action_size)}
    for name, shape in wanted.items():
        if inputs.pop(name, None) != shape:
            raise BundleError(f"graph has no float32 input {name} of shape {shape}")
    if outputs != {ACTION_OUTPUT: (1, layout.action_size)}:
        raise BundleError(
            f"graph outputs {outputs}; only {ACTION_OUTPUT} of shape {(1, layout.action_size)} "
            "is expected"
        )
    return inputs


def _check_values(model: onnx.ModelProto) -> None:
    """Every intermediate value has a known, small shape: nothing can grow at load or run time."""
    del model.graph.value_info[:]  # claims of the sender
    try:
        inferred = shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=True
        )
    except (shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise BundleError(f"graph shapes cannot be inferred: {error}") from error
    known = {value.name for value in inferred.graph.value_info}
    for value in inferred.graph.value_info:
        _static_shape(value, _BETWEEN_NODES)
    known.update(value.name for value in inferred.graph.output)
    for node in inferred.graph.node:
        for name in node.output:
            if name and name not in known:
                raise BundleError(f"{node.op_type} output {name} has no static shape")


def _static_shape(value: onnx.ValueInfoProto, kinds: set[int]) -> Shape:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or tensor.elem_type not in kinds:
        raise BundleError(f"value {value.name} is not a float32 tensor")
    if not tensor.HasField("shape") or not all(d.HasField("dim_value") for d in tensor.shape.dim):
        raise BundleError(f"value {value.name} has no static shape")
    shape = tuple(int(dimension.dim_value) for dimension in tensor.shape.dim)
    _check_size(f"value {value.name}", shape)
    return shape


def _check_size(name: str, shape: Shape) -> None:
    if any(dimension < 0 for dimension in shape) or math.prod(shape) > VALUE_MAX_ELEMENTS:
        raise BundleError(f"{name} of shape {shape} exceeds {VALUE_MAX_ELEMENTS} elements")
