"""Does numpy compute every allow-listed operator as ONNX Runtime does, bit widths included?"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from onboard.backends import reference
from onboard.backends.operators import OPERATORS
from protocol.bundle import OPERATORS as ALLOWED
from protocol.errors import BundleError

Array = NDArray[Any]


class Case(NamedTuple):
    """One node: its first input is the observation of ``shape``, if any, the others constants."""

    operator: str
    shape: tuple[int, ...]
    rest: tuple[Array | None, ...] = ()
    attributes: Mapping[str, Any] = MappingProxyType({})


def f32(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def i64(*values: int) -> Array:
    return np.array(values, dtype=np.int64)


def scalar(value: float) -> Array:
    return np.array(value, dtype=np.float32)


WIDE = (1, 6)
CASES = {
    **{
        f"{name} with broadcasting": Case(name, (2, 3), (f32(1, 3) + 3.0,))
        for name in ("Add", "Sub", "Mul", "Div", "Min", "Max", "Greater", "Less")
    },
    **{
        name: Case(name, WIDE)
        for name in (
            *("Neg", "Abs", "Exp", "Tanh", "Relu", "Elu", "Sigmoid", "Softplus", "Softmax"),
            *("Identity", "Sqrt"),
        )
    },
    "Min of three": Case("Min", WIDE, (f32(*WIDE, seed=2), f32(*WIDE, seed=3))),
    "Max of one": Case("Max", WIDE),
    "Elu with alpha": Case("Elu", WIDE, attributes={"alpha": 0.3}),
    "Clip on both sides": Case("Clip", WIDE, (scalar(-0.2), scalar(0.4))),
    "Clip above": Case("Clip", WIDE, (None, scalar(0.4))),
    "Clip on neither": Case("Clip", WIDE),
    "Pow": Case("Pow", WIDE, (scalar(2.0),)),
    "Where": Case("Where", (), (np.array([True, False, True]), f32(2, 3), scalar(0.0))),
    "Softmax over an axis": Case("Softmax", (2, 3), attributes={"axis": 0}),
    "Gather of a column": Case("Gather", (2, 3), (np.array(1),), {"axis": 1}),
    "Gather from behind": Case("Gather", (2, 3), (i64(-1, 0),), {"axis": -1}),
    "Expand": Case("Expand", (1, 3), (i64(2, 4, 3),)),
    "Expand that keeps": Case("Expand", (2, 3), (i64(2, 1),)),
    "Gemm": Case("Gemm", (1, 3), (f32(3, 4), f32(4))),
    "Gemm as torch writes it": Case("Gemm", (1, 3), (f32(4, 3), f32(4)), {"transB": 1}),
    "Gemm of everything": Case(
        "Gemm",
        (3, 1),
        (f32(4, 3), f32(1, 4)),
        {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0},
    ),
    "Gemm without bias": Case("Gemm", (1, 3), (f32(3, 4),)),
    "MatMul": Case("MatMul", (1, 3), (f32(3, 4),)),
    "MatMul in batches": Case("MatMul", (2, 1, 3), (f32(2, 3, 4),)),
    "LayerNormalization": Case("LayerNormalization", WIDE, (f32(6), f32(6))),
    "LayerNormalization without bias": Case(
        "LayerNormalization", WIDE, (f32(6),), {"axis": 1, "epsilon": 1e-3}
    ),
    "LayerNormalization over two axes": Case(
        "LayerNormalization", (2, 3, 4), (f32(3, 4), f32(3, 4)), {"axis": 1}
    ),
    "Transpose": Case("Transpose", (2, 3)),
    "Transpose by a permutation": Case("Transpose", (2, 3, 4), attributes={"perm": [1, 2, 0]}),
    "Concat": Case("Concat", WIDE, (f32(1, 2),), {"axis": 1}),
    "Concat at the front": Case("Concat", WIDE, (f32(*WIDE),), {"axis": -2}),
    "Reshape": Case("Reshape", WIDE, (i64(2, 3),)),
    "Reshape that infers": Case("Reshape", WIDE, (i64(3, -1),)),
    "Reshape that keeps": Case("Reshape", (2, 3), (i64(0, 3, 1),)),
    "Slice": Case("Slice", WIDE, (i64(1), i64(4), i64(1))),
    "Slice to the end": Case("Slice", WIDE, (i64(2), i64(2**62), i64(-1))),
    "Slice from behind": Case("Slice", WIDE, (i64(-3), i64(-1), i64(1))),
    "Slice backwards": Case("Slice", WIDE, (i64(-1), i64(-(2**62)), i64(1), i64(-2))),
    "Slice backwards from far": Case("Slice", WIDE, (i64(99), i64(1), i64(1), i64(-1))),
    "Slice of two axes": Case("Slice", (3, 4), (i64(0, 1), i64(2, 3))),
    **{
        f"{name} {what}": Case(name, (2, 3), rest, attributes)
        for name in ("ReduceMean", "ReduceSum", "ReduceMin")
        for what, rest, attributes in (
            ("of all", (), {}),
            ("of an axis", (i64(1),), {}),
            ("without the axis", (i64(-1),), {"keepdims": 0}),
        )
    },
    "Constant": Case("Constant", (), (), {"value": numpy_helper.from_array(f32(2))}),
    "Constant of floats": Case("Constant", (), (), {"value_floats": [0.5, 1.5]}),
    "Constant of one float": Case("Constant", (), (), {"value_float": 0.0}),
}


def test_every_allowed_operator_is_known_and_tried() -> None:
    assert set(OPERATORS) == ALLOWED
    assert {case.operator for case in CASES.values()} == ALLOWED


def graph_of(case: Case) -> bytes:
    """``obs`` through the node into ``result``; ``noise`` and ``action`` keep the contract."""
    constants = {f"c{index}": value for index, value in enumerate(case.rest)}
    names = [name if value is not None else "" for name, value in constants.items()]
    inputs = ["obs", *names] if case.shape else names
    nodes = [
        helper.make_node(case.operator, inputs, ["result"], **case.attributes),
        helper.make_node("Identity", ["noise"], ["action"]),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("obs", case.shape or (1,)), ("noise", (1, 1)), ("action", (1, 1)))
    ]
    result = helper.make_empty_tensor_value_info("result")
    initializers = [
        numpy_helper.from_array(value, name)
        for name, value in constants.items()
        if value is not None
    ]
    graph = helper.make_graph(nodes, "one", values[:2], [values[2], result], initializers)
    opset = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())


@pytest.mark.parametrize("name", CASES)
def test_an_operator_agrees_with_onnx_runtime(name: str) -> None:
    case = CASES[name]
    graph, obs = graph_of(case), f32(*(case.shape or (1,)), seed=7)
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    feed = {"obs": obs, "noise": np.zeros((1, 1), dtype=np.float32)}
    (wanted,) = session.run(["result"], feed)
    runner = reference.build(graph).stage({})
    runner.obs[:] = obs
    runner.run()
    found = runner._values["result"]
    assert isinstance(found, np.ndarray)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert found == pytest.approx(wanted, abs=1e-6, rel=1e-5, nan_ok=True)


@pytest.mark.parametrize("operator", ["ReduceMean", "ReduceSum", "ReduceMin"])
def test_a_reduction_over_no_axes_may_be_none_at_all(operator: str) -> None:
    """ONNX Runtime 1.23, the last one for JetPack 6, fails here."""
    case = Case(operator, WIDE, attributes={"noop_with_empty_axes": 1})
    runner = reference.build(graph_of(case)).stage({})
    runner.obs[:] = f32(*WIDE)
    runner.run()
    assert np.array_equal(runner._values["result"], runner.obs)


@pytest.mark.parametrize("operator", ["Sigmoid", "Softplus", "Elu", "Tanh"])
def test_an_activation_of_huge_numbers_stays_finite(operator: str) -> None:
    runner = reference.build(graph_of(Case(operator, WIDE))).stage({})
    runner.obs[:] = [-1e30, -200.0, -0.0, 0.0, 200.0, 1e30]
    runner.run()
    assert np.isfinite(runner._values["result"]).all()


def test_nan_is_an_answer_and_no_warning() -> None:
    runner = reference.build(graph_of(Case("Sqrt", WIDE))).stage({})
    runner.obs[:] = -1.0
    runner.run()
    assert np.isnan(runner._values["result"]).all()


def test_an_unknown_operator_is_refused() -> None:
    with pytest.raises(BundleError, match="operator ReduceMax is unknown"):
        reference.build(graph_of(Case("ReduceMax", WIDE)))


def test_a_graph_without_the_contracts_ends_is_refused() -> None:
    with pytest.raises(BundleError, match=r"it has no \['action', 'noise', 'obs'\]"):
        reference.build(b"")
