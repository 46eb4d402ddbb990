"""Every way in which a signed graph may still not run here, and one in which it may."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from made_bundle import make_model
from made_records import SPEC
from onnx import TensorProto, helper, numpy_helper

from onboard.graph_check import check_graph
from protocol.bundle import GRAPH_MAX_BYTES
from protocol.errors import BundleError
from protocol.observation import Layout

LAYOUT = Layout(SPEC)


def refused(model: onnx.ModelProto) -> str:
    with pytest.raises(BundleError) as caught:
        check_graph(model.SerializeToString(), LAYOUT)
    return str(caught.value)


def node(model: onnx.ModelProto, op_type: str, outputs: int = 1, **attributes: object) -> None:
    """Append a node that reads ``hidden``."""
    names = [f"extra{index}" for index in range(outputs)]
    model.graph.node.append(helper.make_node(op_type, ["hidden"], names, **attributes))


def constant(model: onnx.ModelProto, value: np.ndarray, name: str = "c") -> None:
    model.graph.initializer.append(numpy_helper.from_array(value, name))


def test_the_contract_is_accepted_and_its_weights_are_named():
    weights = check_graph(make_model().SerializeToString(), LAYOUT)
    assert weights == {"mean": (1, LAYOUT.size), "a": (4, LAYOUT.size), "b": (1, 4)}


def unknown_operator(model: onnx.ModelProto) -> None:
    node(model, "Loop")


def foreign_domain(model: onnx.ModelProto) -> None:
    node(model, "Relu", domain="com.example")


def foreign_import(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.example", 1))


def function(model: onnx.ModelProto) -> None:
    model.functions.add().name = "Sneaky"


def subgraph(model: onnx.ModelProto) -> None:
    node(model, "Relu", body=make_model().graph)


def sparse(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add()


def external_data(model: onnx.ModelProto) -> None:
    constant(model, np.zeros(1, np.float32), "secret")
    tensor = model.graph.initializer[-1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def external_data_in_a_node(model: onnx.ModelProto) -> None:
    external_data(model)
    tensor = model.graph.initializer.pop()
    model.graph.node.append(helper.make_node("Constant", [], ["secret"], value=tensor))


def nan_constant(model: onnx.ModelProto) -> None:
    constant(model, np.array([1.0, np.nan], np.float32), "poison")


def double_constant(model: onnx.ModelProto) -> None:
    constant(model, np.zeros(3), "wide")


def constant_without_data(model: onnx.ModelProto) -> None:
    constant(model, np.zeros(3, np.float32), "hollow")
    model.graph.initializer[-1].dims[0] = 30_000


def huge_constant(model: onnx.ModelProto) -> None:
    constant(model, np.zeros(1, np.float32), "huge")
    model.graph.initializer[-1].dims[:] = [65536, 65536]


def outer_product(model: onnx.ModelProto) -> None:
    """Two small constants whose product takes 4 GB."""
    constant(model, np.ones((65536, 1), np.float32), "left")
    constant(model, np.ones((1, 16384), np.float32), "right")
    model.graph.node.append(helper.make_node("MatMul", ["left", "right"], ["product"]))


def doubling(model: onnx.ModelProto) -> None:
    """Concatenation with itself, thirty times."""
    last = "hidden"
    for index in range(30):
        names = [last, last], [f"twice{index}"]
        model.graph.node.append(helper.make_node("Concat", *names, axis=1))
        last = f"twice{index}"


def claimed_shape(model: onnx.ModelProto) -> None:
    """The sender vouches for a shape that nobody can derive."""
    constant(model, np.array([[1, 2], [0, 2]]), "sizes")
    constant(model, np.array([0]), "rows")
    model.graph.node.append(helper.make_node("ReduceSum", ["sizes", "rows"], ["sum"], keepdims=0))
    model.graph.node.append(helper.make_node("Reshape", ["hidden", "sum"], ["vouched"]))
    claim = helper.make_tensor_value_info("vouched", TensorProto.FLOAT, [1, 4])
    model.graph.value_info.append(claim)


def too_many_nodes(model: onnx.ModelProto) -> None:
    for index in range(5000):
        model.graph.node.append(helper.make_node("Relu", ["hidden"], [f"r{index}"]))


def wrong_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 23


def future_ir(model: onnx.ModelProto) -> None:
    model.ir_version = 99


def dynamic_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"


def wrong_observation(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value += 1


def no_noise(model: onnx.ModelProto) -> None:
    del model.graph.input[1]


def integer_weight(model: onnx.ModelProto) -> None:
    model.graph.input[2].type.tensor_type.elem_type = TensorProto.INT8


def second_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("raw", TensorProto.FLOAT, [1, 1]))


def shadowed_weight(model: onnx.ModelProto) -> None:
    constant(model, np.zeros((1, LAYOUT.size), np.float32), "mean")


def mismatched_shapes(model: onnx.ModelProto) -> None:
    model.graph.input[3].type.tensor_type.shape.dim[1].dim_value = 5


@pytest.mark.parametrize(
    ("break_it", "named"),
    [
        (unknown_operator, "Loop"),
        (foreign_domain, "com.example"),
        (foreign_import, "com.example"),
        (function, "Sneaky"),
        (subgraph, "Relu has an attribute of kind GRAPH"),
        (sparse, "sparse"),
        (external_data, "secret"),
        (external_data_in_a_node, "secret"),
        (nan_constant, "poison"),
        (double_constant, "wide is DOUBLE"),
        (constant_without_data, "hollow"),
        (huge_constant, "huge"),
        (outer_product, "product"),
        (doubling, "twice"),
        (claimed_shape, "vouched"),
        (too_many_nodes, "5006 nodes"),
        (wrong_opset, "23"),
        (future_ir, "99"),
        (dynamic_batch, "obs"),
        (wrong_observation, "obs"),
        (no_noise, "noise"),
        (integer_weight, "mean"),
        (second_output, "action"),
        (shadowed_weight, "mean"),
        (mismatched_shapes, "shapes"),
    ],
)
def test_a_broken_rule_is_named(break_it: Callable[[onnx.ModelProto], None], named: str):
    model = make_model()
    break_it(model)
    assert named in refused(model)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused(kept):
    data = make_model().SerializeToString()
    with pytest.raises(BundleError):
        check_graph(data[: int(kept * len(data))], LAYOUT)


def test_an_oversized_file_is_refused_unread():
    with pytest.raises(BundleError, match="exceeds the cap"):
        check_graph(bytes(GRAPH_MAX_BYTES + 1), LAYOUT)


def test_random_bytes_are_refused():
    rng = np.random.default_rng(0)
    for size in range(1, 200):
        with pytest.raises(BundleError):
            check_graph(rng.bytes(size), LAYOUT)


def test_shape_operators_of_an_exporter_are_accepted():
    """Reshape, slice and reduce with constant integers, as exporters write them."""
    model = make_model()
    for name, value in (("shape", [1, -1]), ("zero", [0]), ("two", [2]), ("one", [1])):
        constant(model, np.array(value), name)
    model.graph.node.extend(
        [
            helper.make_node("Reshape", ["hidden", "shape"], ["flat"]),
            helper.make_node("Slice", ["flat", "zero", "two", "one"], ["part"]),
            helper.make_node("ReduceMean", ["part", "one"], ["average"]),
        ]
    )
    check_graph(model.SerializeToString(), LAYOUT)
