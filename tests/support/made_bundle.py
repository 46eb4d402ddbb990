"""A small policy bundle that keeps the contract, and ways to break it."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np
import onnx
import safetensors.numpy
from made_records import SPEC
from numpy.typing import NDArray
from onnx import TensorProto, helper

from protocol.bundle import Manifest
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec

HIDDEN = 4


class Bundle(NamedTuple):
    manifest: Manifest
    graph: bytes
    weights: bytes


def make_model(spec: RobotSpec = SPEC) -> onnx.ModelProto:
    """tanh(B elu(A (obs - mean)) + noise) with A, B and mean as inputs."""
    layout = Layout(spec)

    def value(name: str, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    nodes = [
        helper.make_node("Sub", ["obs", "mean"], ["centred"]),
        helper.make_node("Gemm", ["centred", "a"], ["hidden"], transB=1),
        helper.make_node("Elu", ["hidden"], ["active"]),
        helper.make_node("Gemm", ["active", "b"], ["raw"], transB=1),
        helper.make_node("Add", ["raw", "noise"], ["noisy"]),
        helper.make_node("Tanh", ["noisy"], ["action"]),
    ]
    inputs = [
        value("obs", 1, layout.size),
        value("noise", 1, layout.action_size),
        value("mean", 1, layout.size),
        value("a", HIDDEN, layout.size),
        value("b", layout.action_size, HIDDEN),
    ]
    outputs = [value("action", 1, layout.action_size)]
    graph = helper.make_graph(nodes, "policy", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def make_weights(seed: int, spec: RobotSpec = SPEC) -> dict[str, NDArray[np.float32]]:
    layout, rng = Layout(spec), np.random.default_rng(seed)
    shapes = {
        "mean": (1, layout.size),
        "a": (HIDDEN, layout.size),
        "b": (layout.action_size, HIDDEN),
    }
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def make_bundle(version: int, spec: RobotSpec = SPEC, task: str = "swing_up") -> Bundle:
    """Bundle ``version`` for ``spec``; its golden vectors are true."""
    layout, rng = Layout(spec), np.random.default_rng(version)
    graph, tensors = make_model(spec).SerializeToString(), make_weights(version, spec)
    obs = rng.normal(size=(3, layout.size)).astype(np.float32)
    noise = np.zeros((3, layout.action_size), dtype=np.float32)
    hidden = (obs - tensors["mean"]) @ tensors["a"].T
    active = np.where(hidden > 0, hidden, np.expm1(np.minimum(hidden, 0)))
    action = np.tanh(active @ tensors["b"].T + noise).astype(np.float32)
    weights = safetensors.numpy.save(tensors)
    manifest = Manifest(
        version=version,
        parent_version=version - 1,
        robot_digest=spec.digest(),
        task=task,
        observation=layout.labels,
        action_size=layout.action_size,
        control_hz=spec.control_hz,
        graph_sha256=hashlib.sha256(graph).hexdigest(),
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        exploration_scale=0.1,
        run="test",
        commit="0" * 40,
        golden_obs=obs.tobytes(),
        golden_noise=noise.tobytes(),
        golden_action=action.tobytes(),
        evaluation={"return_mean": 1.0},
    )
    return Bundle(manifest, graph, weights)
