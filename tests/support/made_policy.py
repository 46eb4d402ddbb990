"""A linear policy that can be computed by hand, as a bundle directory; and ways to spoil it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import safetensors.numpy
from onnx import TensorProto, helper

from protocol.bundle import Manifest, encode_manifest
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec


def linear_graph(layout: Layout) -> bytes:
    """``action = clip(tanh(obs w + b) + noise)`` with ``w`` and ``b`` as inputs."""
    O, A = layout.size, layout.action_size

    def value(name: str, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    limits = [
        helper.make_tensor("low", TensorProto.FLOAT, [], [-1.0]),
        helper.make_tensor("high", TensorProto.FLOAT, [], [1.0]),
    ]
    nodes = [
        helper.make_node("Gemm", ["obs", "w", "b"], ["linear"]),
        helper.make_node("Tanh", ["linear"], ["mean"]),
        helper.make_node("Add", ["mean", "noise"], ["noisy"]),
        helper.make_node("Clip", ["noisy", "low", "high"], ["action"]),
    ]
    inputs = [value("obs", 1, O), value("noise", 1, A), value("w", O, A), value("b", A)]
    graph = helper.make_graph(nodes, "policy", inputs, [value("action", 1, A)], limits)
    opset = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())


def write_bundle(
    parent: Path,
    spec: RobotSpec,
    version: int,
    *,
    gain: float = 0.2,
    bias: float = 0.0,
    exploration: float = 0.0,
    graph: bytes | None = None,
    **claims: Any,
) -> Path:
    """``version`` of a linear policy; ``claims`` replace what its manifest says."""
    layout = Layout(spec)
    rng = np.random.default_rng(version)
    A = layout.action_size
    w = (gain * rng.standard_normal((layout.size, A))).astype(np.float32)
    b = np.full(A, bias, dtype=np.float32)
    graph = linear_graph(layout) if graph is None else graph
    weights = safetensors.numpy.save({"w": w, "b": b})
    obs = rng.standard_normal((3, layout.size)).astype(np.float32)
    noise = rng.standard_normal((3, A)).astype(np.float32)
    action = np.clip(np.tanh(obs @ w + b) + noise, -1.0, 1.0).astype(np.float32)
    honest = {
        "version": version,
        "parent_version": 0,
        "robot_digest": spec.digest(),
        "task": spec.task_name(None),
        "observation": layout.labels,
        "action_size": A,
        "control_hz": spec.control_hz,
        "graph_sha256": hashlib.sha256(graph).hexdigest(),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "exploration_scale": exploration,
        "run": "test",
        "commit": "test",
        "golden_obs": obs.tobytes(),
        "golden_noise": noise.tobytes(),
        "golden_action": action.tobytes(),
        "evaluation": {},
    }
    folder = parent / f"bundle-{version}"
    folder.mkdir(exist_ok=True)
    manifest = Manifest(**{**honest, **claims})
    (folder / "manifest.json").write_bytes(encode_manifest(manifest))
    (folder / "graph.onnx").write_bytes(graph)
    (folder / "weights.safetensors").write_bytes(weights)
    return folder
