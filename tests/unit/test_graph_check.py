"""Every way in which a signed graph may still not run here, and one in which it may."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from made_bundle import make_model
from made_records import SPEC
from onnx import TensorProto, helper, numpy_helper, shape_inference

from onboard.graph_check import (
    NODES_MAX,
    VALUE_MAX_ELEMENTS,
    _check_size,
    _check_versions,
    check_graph,
)
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


def boolean_weight(model: onnx.ModelProto) -> None:
    """Comparisons may happen inside; nothing but float32 comes from outside."""
    model.graph.input[2].type.tensor_type.elem_type = TensorProto.BOOL


def second_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("raw", TensorProto.FLOAT, [1, 1]))


def shadowed_weight(model: onnx.ModelProto) -> None:
    constant(model, np.zeros((1, LAYOUT.size), np.float32), "mean")


def mismatched_shapes(model: onnx.ModelProto) -> None:
    model.graph.input[3].type.tensor_type.shape.dim[1].dim_value = 5


def training(model: onnx.ModelProto) -> None:
    model.training_info.add()


def input_named_twice(model: onnx.ModelProto) -> None:
    model.graph.input.append(model.graph.input[2])


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
        (boolean_weight, "mean"),
        (second_output, "action"),
        (shadowed_weight, "mean"),
        (mismatched_shapes, "shapes"),
        (training, "training information"),
        (input_named_twice, "names an input twice"),
    ],
)
def test_a_broken_rule_is_named(break_it: Callable[[onnx.ModelProto], None], named: str):
    model = make_model()
    break_it(model)
    assert named in refused(model)


def bytes_refused(data: bytes) -> str:
    with pytest.raises(BundleError) as caught:
        check_graph(data, LAYOUT)
    return str(caught.value)


def padded(model: onnx.ModelProto, size: int) -> bytes:
    """The model in exactly ``size`` bytes."""
    model.doc_string = "x" * (size - model.ByteSize())
    model.doc_string = model.doc_string[: size - model.ByteSize()]
    data = model.SerializeToString()
    assert len(data) == size
    return data


def test_a_graph_of_exactly_the_cap_is_read():
    assert check_graph(padded(make_model(), GRAPH_MAX_BYTES), LAYOUT)


def test_what_is_no_graph_is_said_in_so_many_words():
    data = make_model().SerializeToString()
    assert bytes_refused(data[:-1]) == "graph is not an ONNX file, or is cut short"


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (training, "graph carries training information"),
        (sparse, "graph has a sparse initializer"),
        (input_named_twice, "graph names an input twice"),
    ],
)
def test_a_rule_without_a_name_to_tell_is_told_as_it_is(
    break_it: Callable[[onnx.ModelProto], None], told: str
):
    model = make_model()
    break_it(model)
    assert refused(model) == told


def test_the_output_that_is_expected_is_told():
    model = make_model()
    second_output(model)
    told = refused(model)
    assert told.endswith("; only action of shape (1, 1) is expected")


@pytest.mark.parametrize("trace", ["location", "data"])
def test_one_trace_of_outside_data_is_enough(trace: str):
    model = make_model()
    constant(model, np.zeros(1, np.float32), "secret")
    tensor = model.graph.initializer[-1]
    if trace == "location":
        tensor.data_location = TensorProto.EXTERNAL
    else:
        tensor.external_data.add(key="location", value="../../etc/passwd")
    assert refused(model) == "tensor secret lies outside the graph file"


@pytest.mark.parametrize(("nodes", "fits"), [(NODES_MAX, True), (NODES_MAX + 1, False)])
def test_nodes_are_counted(nodes: int, fits: bool):
    model = make_model()
    for index in range(nodes - len(model.graph.node)):
        model.graph.node.append(helper.make_node("Relu", ["hidden"], [f"r{index}"]))
    if fits:
        assert check_graph(model.SerializeToString(), LAYOUT)
    else:
        assert f"{nodes} nodes; {NODES_MAX} are allowed" in refused(model)


@pytest.mark.parametrize(("version", "fits"), [(0, False), (1, True), (10, True), (11, False)])
def test_ir_versions_have_a_range(version: int, fits: bool):
    """Old ones differ in nothing a policy uses."""
    model = make_model()
    model.ir_version = version
    if fits:
        _check_versions(model)
    else:
        with pytest.raises(BundleError, match=f"IR version {version}; at most 10"):
            _check_versions(model)


def test_a_constant_of_a_node_without_output_is_named_by_its_operator():
    model = make_model()
    tensor = numpy_helper.from_array(np.array([np.nan], np.float32))
    model.graph.node.append(helper.make_node("Constant", [], [], value=tensor))
    assert refused(model) == "constant Constant is not finite"


@pytest.mark.parametrize(
    ("shape", "fits"),
    [
        ((VALUE_MAX_ELEMENTS,), True),
        ((VALUE_MAX_ELEMENTS + 1,), False),
        ((0, 3), True),
        ((1, 3), True),
        ((-1, 3), False),
    ],
)
def test_shapes_are_sized(shape: tuple[int, ...], fits: bool):
    """An empty one takes no memory; a negative one is nonsense."""
    if fits:
        _check_size("value x", shape)
    else:
        with pytest.raises(BundleError, match="value x of shape"):
            _check_size("value x", shape)


def test_types_are_inferred_too():
    """Two operands of different types: no shape is wrong."""
    model = make_model()
    constant(model, np.array([1]), "whole")
    model.graph.node.append(helper.make_node("Add", ["hidden", "whole"], ["mixed"]))
    assert "cannot be inferred" in refused(model)


def test_a_shape_that_constants_compute_is_known():
    """Sliced from another constant, as exporters do it."""
    model = make_model()
    for name, value in (("sizes", [1, -1, 7]), ("zero", [0]), ("two", [2])):
        constant(model, np.array(value), name)
    model.graph.node.append(helper.make_node("Slice", ["sizes", "zero", "two"], ["shape"]))
    model.graph.node.append(helper.make_node("Reshape", ["hidden", "shape"], ["flat"]))
    check_graph(model.SerializeToString(), LAYOUT)


def test_a_value_whose_shape_nobody_infers_is_refused(monkeypatch: pytest.MonkeyPatch):
    """An inference that passes over an operator in silence has proven nothing about it."""
    monkeypatch.setattr(shape_inference, "infer_shapes", lambda model, **_: model)
    assert refused(make_model()) == "Sub output centred has no static shape"


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


def test_comparisons_inside_the_graph_are_accepted():
    """A planner compares: an imagined episode that ended earns nothing more."""
    model = make_model()
    for name, value in (("limit", 2.5), ("nothing", 0.0)):
        constant(model, np.array(value, np.float32), name)
    model.graph.node.extend(
        [
            helper.make_node("Greater", ["hidden", "limit"], ["ended"]),
            helper.make_node("Where", ["ended", "nothing", "hidden"], ["alive"]),
        ]
    )
    check_graph(model.SerializeToString(), LAYOUT)


def test_a_domain_that_is_no_text_is_refused_like_any_other():
    """Found by fuzzing: protobuf hands such a name over as bytes."""
    model = make_model()
    model.opset_import.append(helper.make_opsetid("abcd", 1))
    with pytest.raises(BundleError, match=r"foreign operator domains: '', b'ab\\xffd'"):
        check_graph(model.SerializeToString().replace(b"abcd", b"ab\xffd"), LAYOUT)
