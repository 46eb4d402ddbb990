"""Does NVIDIA's own parser accept the graphs we export, and its builder, without a GPU?

TensorRT itself cannot even parse without one; its sibling for workstations can, with the same API:
``pip install -r requirements/tensorrt-rtx.txt``. Source: RUNTIME.md, Inference § 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from made_learning import JUDGE, LAYOUT, SMALL_MODEL, SMALL_SAC, A, O
from made_records import SPEC
from onnx import ModelProto

from offboard.architecture import ActorArchitecture, Architecture
from offboard.export import Exporter
from offboard.planner_policy import PlannerArchitecture, SearchConfig
from offboard.sac import Sac
from offboard.world_model import WorldModel
from onboard.backends.tensor_rt import build_plan
from onboard.graph_check import check_graph
from protocol.errors import BundleError
from protocol.observation import Layout

trt: Any = pytest.importorskip(
    "tensorrt_rtx", reason="pip install -r requirements/tensorrt-rtx.txt (95 MB)"
)
pytestmark = pytest.mark.usefixtures("eager")

SAC = Sac(O, A, 0.98, SMALL_SAC)
ARCHITECTURES: dict[str, Architecture] = {
    "actor": ActorArchitecture(SAC.actor_space),
    "planner": PlannerArchitecture(
        WorldModel(LAYOUT, JUDGE, SMALL_MODEL), SAC, 0.98, SearchConfig(horizon=2, pairs=2)
    ),
}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def exported(request: pytest.FixtureRequest) -> bytes:
    """A graph as the server publishes it."""
    torch.set_num_threads(1)
    return Exporter(SPEC, "swing_up", ARCHITECTURES[request.param]).graph


class Network(NamedTuple):
    """NVIDIA's reading of a graph, and what keeps it alive."""

    network: Any
    keepers: tuple[Any, ...]


def parsed(graph: bytes) -> Network:
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(graph), parser.get_error(0).desc()
    return Network(network, (logger, builder, parser))


def ends(tensors: list[Any]) -> dict[str, tuple[int, ...]]:
    assert {tensor.dtype for tensor in tensors} == {trt.float32}
    return {tensor.name: tuple(tensor.shape) for tensor in tensors}


def test_names_and_shapes_come_through(exported: bytes) -> None:
    network = parsed(exported).network
    inputs = ends([network.get_input(index) for index in range(network.num_inputs)])
    outputs = ends([network.get_output(index) for index in range(network.num_outputs)])
    layout = Layout(SPEC)
    weights = check_graph(exported, layout)
    assert len(weights) > 5
    assert inputs == {
        "obs": (1, layout.size), "noise": (1, layout.action_size), **weights
    }  # fmt: skip
    assert outputs == {"action": (1, layout.action_size)}


def test_an_engine_is_built_without_a_gpu(exported: bytes) -> None:
    assert len(build_plan(trt, exported)) > 10_000


def test_garbage_is_refused() -> None:
    with pytest.raises(BundleError, match=r"TensorRT refuses the graph: .*[Ff]ailed to parse"):
        build_plan(trt, b"\x08\x07garbage")


def test_a_custom_operator_is_refused(exported: bytes) -> None:
    """Ours are refused before; this is what would happen if they were not."""
    model = ModelProto.FromString(exported)
    model.graph.node[-1].op_type = "Backdoor"
    model.graph.node[-1].domain = "evil"
    model.opset_import.add(domain="evil", version=1)
    with pytest.raises(BundleError, match=r"TensorRT refuses the graph: .*[Pp]lugin"):
        build_plan(trt, model.SerializeToString())


def test_tf32_is_on_unless_it_is_switched_off() -> None:
    """Why ``build_plan`` clears it."""
    config = trt.Builder(trt.Logger(trt.Logger.ERROR)).create_builder_config()
    assert config.get_flag(trt.BuilderFlag.TF32)


def test_every_call_the_backend_makes_exists() -> None:
    """Names only: engines cannot be loaded without a GPU."""
    for kind, methods in {
        trt.Runtime: ("deserialize_cuda_engine",),
        trt.ICudaEngine: (
            *("num_io_tensors", "get_tensor_name", "get_tensor_dtype", "get_tensor_shape"),
            "create_execution_context",
        ),
        trt.IExecutionContext: ("set_tensor_address", "execute_async_v3"),
        trt.IBuilderConfig: ("clear_flag", "set_memory_pool_limit"),
    }.items():
        assert set(methods) <= set(dir(kind))
