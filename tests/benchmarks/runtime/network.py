"""The benchmark's policy: a 3×256 network behind a normaliser, as weights, graph and bundle.

``action = tanh(MLP((obs - mean) / std) + noise)`` with ELU between the layers. Every contender
computes this function of the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import safetensors.numpy
from made_bundle import Bundle
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from onboard.control_api import GRAPH_FILE, MANIFEST_FILE, WEIGHTS_FILE
from protocol.bundle import ACTION_OUTPUT, NOISE_INPUT, OBS_INPUT, Manifest, encode_manifest
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec

HIDDEN = (256, 256, 256)
HEAD_GAIN = 0.01
"""Of the last layer: a policy that hardly moves the arm, so that episodes run their full length."""
EXPLORATION = 0.1
GOLDEN = 16

FloatArray = NDArray[np.float32]
Weights = dict[str, FloatArray]


def make_weights(O: int, A: int, seed: int, head_gain: float = 1.0) -> Weights:
    """Normaliser and layers; those of a seed are always the same."""
    rng = np.random.default_rng(seed)
    sizes = (O, *HIDDEN, A)
    found = {"mean": 0.1 * rng.standard_normal((1, O)), "std": rng.uniform(0.5, 2.0, (1, O))}
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        gain = head_gain if layer == len(HIDDEN) else 1.0
        found[f"w{layer}"] = gain * rng.standard_normal((inputs, outputs)) / np.sqrt(inputs)
        found[f"b{layer}"] = 0.1 * gain * rng.standard_normal(outputs)
    return {name: value.astype(np.float32) for name, value in found.items()}


def answer(weights: Weights, obs: FloatArray, noise: FloatArray) -> FloatArray:
    """``obs`` (B, O), ``noise`` (B, A) → (B, A), by numpy."""
    x = (obs - weights["mean"]) / weights["std"]
    for layer in range(len(HIDDEN)):
        x = x @ weights[f"w{layer}"] + weights[f"b{layer}"]
        x = np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0)))
    head = x @ weights[f"w{len(HIDDEN)}"] + weights[f"b{len(HIDDEN)}"]
    return np.tanh(head + noise).astype(np.float32)


def make_graph(weights: Weights, constant: bool = False) -> bytes:
    """The network in ONNX; ``weights`` as inputs, or as ``constant`` parts of the graph."""
    O, A = weights["mean"].shape[1], weights[f"b{len(HIDDEN)}"].shape[0]
    shapes = {OBS_INPUT: (1, O), NOISE_INPUT: (1, A)}
    if not constant:
        shapes |= {name: tensor.shape for name, tensor in weights.items()}
    kept = [numpy_helper.from_array(each, name) for name, each in weights.items()]
    graph = helper.make_graph(
        _nodes(),
        "policy",
        [_value(name, shape) for name, shape in shapes.items()],
        [_value(ACTION_OUTPUT, (1, A))],
        kept if constant else [],
    )
    opset = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())


def _nodes() -> list[onnx.NodeProto]:
    nodes = [
        helper.make_node("Sub", [OBS_INPUT, "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "std"], ["x0"]),
    ]
    for layer in range(len(HIDDEN)):
        inputs = [f"x{layer}", f"w{layer}", f"b{layer}"]
        nodes.append(helper.make_node("Gemm", inputs, [f"sum{layer}"]))
        nodes.append(helper.make_node("Elu", [f"sum{layer}"], [f"x{layer + 1}"]))
    last = len(HIDDEN)
    nodes.append(helper.make_node("Gemm", [f"x{last}", f"w{last}", f"b{last}"], ["head"]))
    nodes.append(helper.make_node("Add", ["head", NOISE_INPUT], ["noisy"]))
    nodes.append(helper.make_node("Tanh", ["noisy"], [ACTION_OUTPUT]))
    return nodes


def _value(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def make_bundle(spec: RobotSpec, version: int) -> Bundle:
    """``version`` of a policy for ``spec``; its golden vectors are true."""
    layout, rng = Layout(spec), np.random.default_rng(version)
    weights = make_weights(layout.size, layout.action_size, version, HEAD_GAIN)
    obs = rng.standard_normal((GOLDEN, layout.size), dtype=np.float32)
    noise = rng.standard_normal((GOLDEN, layout.action_size), dtype=np.float32)
    graph, data = make_graph(weights), safetensors.numpy.save(weights)
    manifest = Manifest(
        version=version,
        parent_version=version - 1,
        robot_digest=spec.digest(),
        task=spec.task_name(None),
        observation=layout.labels,
        action_size=layout.action_size,
        control_hz=spec.control_hz,
        graph_sha256=hashlib.sha256(graph).hexdigest(),
        weights_sha256=hashlib.sha256(data).hexdigest(),
        exploration_scale=EXPLORATION,
        run="bench-runtime",
        commit="",
        golden_obs=obs.tobytes(),
        golden_noise=noise.tobytes(),
        golden_action=answer(weights, obs, noise).tobytes(),
        evaluation={},
    )
    return Bundle(manifest, graph, data)


def lay_out(bundle: Bundle, folder: Path) -> Path:
    """Write ``bundle`` into the new ``folder``, as the agent's store would hold it."""
    manifest = encode_manifest(bundle.manifest)
    files: Mapping[str, bytes] = {
        MANIFEST_FILE: manifest, GRAPH_FILE: bundle.graph, WEIGHTS_FILE: bundle.weights
    }  # fmt: skip
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder
