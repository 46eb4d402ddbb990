"""Three policies without training, so that the harness can test a runtime before there is one.

``action = clip(tanh(obs w + b) + noise)``: "gentle" moves a little, "wild" asks for full effort
most of the time, "pressing" moves the first motor towards one end for ever. They exercise the
runtime; they solve no task.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import safetensors.numpy
from numpy.typing import NDArray
from onnx import TensorProto, helper

from protocol.bundle import Manifest, encode_manifest
from protocol.observation import Layout
from protocol.robot_spec import PositionAction, RobotSpec
from sim_harness.hil.scenario import VERSIONS, Temper

_GAIN: dict[Temper, float] = {"gentle": 0.15, "wild": 8.0, "pressing": 0.0}
_EXPLORATION: dict[Temper, float] = {"gentle": 0.1, "wild": 0.3, "pressing": 0.0}
_GOLDEN = 3


def write_policy(parent: Path, spec: RobotSpec, task: str, temper: Temper) -> Path:
    """Write a bundle for ``spec`` into ``parent/VERSION``; its directory."""
    layout, rng = Layout(spec), np.random.default_rng(VERSIONS[temper])
    O, A = layout.size, layout.action_size
    weights = {
        "w": (_GAIN[temper] * rng.standard_normal((O, A))).astype(np.float32),
        "b": plain_bias(spec, temper),
    }
    graph, packed = _graph(O, A), safetensors.numpy.save(weights)
    obs = rng.standard_normal((_GOLDEN, O)).astype(np.float32)
    noise = rng.standard_normal((_GOLDEN, A)).astype(np.float32)
    mean = np.tanh(obs @ weights["w"] + weights["b"])
    action = np.clip(mean + noise, -1.0, 1.0).astype(np.float32)
    manifest = Manifest(
        version=VERSIONS[temper],
        parent_version=0,
        robot_digest=spec.digest(),
        task=task,
        observation=layout.labels,
        action_size=A,
        control_hz=spec.control_hz,
        graph_sha256=hashlib.sha256(graph).hexdigest(),
        weights_sha256=hashlib.sha256(packed).hexdigest(),
        exploration_scale=_EXPLORATION[temper],
        run="hil",
        commit="none",
        golden_obs=obs.tobytes(),
        golden_noise=noise.tobytes(),
        golden_action=action.tobytes(),
        evaluation={},
    )
    folder = parent / str(manifest.version)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_bytes(encode_manifest(manifest))
    (folder / "graph.onnx").write_bytes(graph)
    (folder / "weights.safetensors").write_bytes(packed)
    return folder


def plain_bias(spec: RobotSpec, temper: Temper) -> NDArray[np.float32]:
    """(A,): towards an end as fast as goals may move, or with effort small enough to be stopped."""
    bias = np.zeros(len(spec.actuated), dtype=np.float32)
    if temper == "pressing":
        bias[0] = 8.0 if isinstance(spec.action, PositionAction) else 0.25
    return bias


def _graph(O: int, A: int) -> bytes:
    nodes = [
        helper.make_node("Gemm", ["obs", "w", "b"], ["linear"]),
        helper.make_node("Tanh", ["linear"], ["mean"]),
        helper.make_node("Add", ["mean", "noise"], ["noisy"]),
        helper.make_node("Clip", ["noisy", "low", "high"], ["action"]),
    ]
    limits = [helper.make_tensor(name, TensorProto.FLOAT, [], [at]) for name, at in _LIMITS.items()]
    inputs = [_value("obs", 1, O), _value("noise", 1, A), _value("w", O, A), _value("b", A)]
    graph = helper.make_graph(nodes, "policy", inputs, [_value("action", 1, A)], limits)
    opset = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())


def _value(name: str, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


_LIMITS = {"low": -1.0, "high": 1.0}
