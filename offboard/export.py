"""From a policy to a bundle: one static ONNX graph whose weights are inputs.

The graph is exported once per architecture, be it an actor or a planner; an update is a new weight
file. Facts behind choices (opset 18, no external data, stripped metadata): RUNTIME.md, "Inference
5".
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import warnings
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
import safetensors.torch
import torch
from torch import Tensor

from offboard.architecture import Architecture
from offboard.networks import Named
from protocol.bundle import (
    ACTION_OUTPUT,
    NOISE_INPUT,
    OBS_INPUT,
    OPERATORS,
    Manifest,
)
from protocol.errors import BundleError
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec

OPSET = 18
PARITY_SAMPLES = 256
PARITY_ATOL, PARITY_RTOL = 1e-5, 9e-5  # together the robot's GOLDEN_TOLERANCE, for |action| <= 1
EXTREME, EXTREME_ATOL = 5.0, 1e-4  # so far outside, float32 sums differ in their last bits
GOLDEN_SAMPLES = 16


@dataclass(frozen=True)
class Origin:
    """Where weights come from, as the manifest records it."""

    version: int
    parent_version: int
    run: str
    commit: str
    exploration_scale: float
    evaluation: dict[str, float]


@dataclass(frozen=True)
class Bundle:
    """A manifest and the bytes it names."""

    manifest: Manifest
    graph: bytes
    weights: bytes


class _Module(torch.nn.Module):
    """An architecture as a module whose every tensor is an argument."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self._architecture = architecture

    def forward(self, obs: Tensor, noise: Tensor, *weights: Tensor) -> Tensor:
        named = dict(zip(self._architecture.space.shapes, weights, strict=True))
        return self._architecture.act(named, obs, noise)


class Exporter:
    """Exports policies of one architecture for one robot and task.

    Construction exports the graph (seconds); :meth:`bundle` takes milliseconds.
    """

    def __init__(self, spec: RobotSpec, task: str, architecture: Architecture) -> None:
        self._spec, self._task, self._space = spec, task, architecture.space
        self._layout = Layout(spec)
        self._module = _Module(architecture)
        self.graph = self._export()
        self._session = ort.InferenceSession(
            self.graph, _session_options(), providers=["CPUExecutionProvider"]
        )
        inputs = {each.name for each in self._session.get_inputs()}
        self._inputs = [name for name in self._space.shapes if name in inputs]

    def bundle(self, policy: Tensor, seen: Tensor, origin: Origin) -> Bundle:
        """A bundle of ``policy`` (P,), proved equal to torch before it leaves.

        Args:
            policy: flat parameters, see :class:`~offboard.architecture.Architecture`.
            seen: (N, O) observations the policy meets; golden vectors and parity samples are
                drawn from them and from far outside them.
            origin: for the manifest.

        Raises:
            BundleError: weights not finite, or ONNX Runtime disagrees with torch.
        """
        if not bool(torch.isfinite(policy).all()):
            raise BundleError(f"version {origin.version}: weights are not finite; not published")
        named = self._space.view(policy)
        obs, noise, action = self._parity(named, seen, origin.version)
        data = safetensors.torch.save({name: named[name].contiguous() for name in self._inputs})
        golden = slice(0, GOLDEN_SAMPLES)
        manifest = Manifest(
            version=origin.version,
            parent_version=origin.parent_version,
            robot_digest=self._spec.digest(),
            task=self._task,
            observation=self._layout.labels,
            action_size=self._layout.action_size,
            control_hz=self._spec.control_hz,
            graph_sha256=hashlib.sha256(self.graph).hexdigest(),
            weights_sha256=hashlib.sha256(data).hexdigest(),
            exploration_scale=origin.exploration_scale,
            run=origin.run,
            commit=origin.commit,
            golden_obs=obs[golden].tobytes(),
            golden_noise=noise[golden].tobytes(),
            golden_action=action[golden].tobytes(),
            evaluation=origin.evaluation,
        )
        return Bundle(manifest, self.graph, data)

    def _parity(
        self, named: Named, seen: Tensor, version: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inputs and torch's outputs, after ONNX Runtime gave the same: (N, O), (N, A), (N, A)."""
        generator = torch.Generator().manual_seed(version)
        index = torch.randint(seen.shape[0], (PARITY_SAMPLES,), generator=generator)
        obs = seen[index].clone()
        obs[PARITY_SAMPLES // 2 :] *= EXTREME
        noise = torch.randn(PARITY_SAMPLES, self._layout.action_size, generator=generator)
        feed = {name: named[name].numpy() for name in self._inputs}
        with torch.no_grad():
            wanted = self._module(obs, noise, *named.values()).numpy()
        got = np.concatenate(
            [
                self._session.run(
                    [ACTION_OUTPUT],
                    {OBS_INPUT: o[None], NOISE_INPUT: n[None], **feed},
                )[0]
                for o, n in zip(obs.numpy(), noise.numpy(), strict=True)
            ]
        )
        allowed = np.full_like(wanted, PARITY_ATOL) + PARITY_RTOL * np.abs(wanted)
        allowed[PARITY_SAMPLES // 2 :] = EXTREME_ATOL
        difference = np.abs(got - wanted)
        if not (difference <= allowed).all():  # NaN is not
            raise BundleError(
                f"version {version}: exported graph differs from torch by {difference.max():.2e}"
            )
        return obs.numpy(), noise.numpy(), wanted

    def _export(self) -> bytes:
        """ONNX bytes without source paths, checked against ``protocol/bundle.py``."""
        example = (
            torch.zeros(1, self._layout.size),
            torch.zeros(1, self._layout.action_size),
            *(torch.ones(shape) for shape in self._space.shapes.values()),
        )
        program = _quietly_export(
            self._module, example, [OBS_INPUT, NOISE_INPUT, *self._space.shapes]
        )
        model = _without_idle_inputs(_stripped(program.model_proto))
        onnx.checker.check_model(model, full_check=True)
        foreign = {node.op_type for node in model.graph.node} - OPERATORS
        if foreign:
            raise BundleError(f"graph uses operators outside the contract: {sorted(foreign)}")
        data: bytes = model.SerializeToString(deterministic=True)
        return data


def _quietly_export(
    module: torch.nn.Module, example: tuple[Tensor, ...], names: list[str]
) -> torch.onnx.ONNXProgram:
    """torch's exporter without its chatter on stdout and its warnings about itself."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            example,
            input_names=names,
            output_names=[ACTION_OUTPUT],
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
        )
    assert program is not None  # noqa: S101  only None when writing to a file
    return program


def _stripped(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the stack traces and source paths that torch leaves in the metadata."""
    for holder in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.input,
        *model.graph.value_info,
    ):
        del holder.metadata_props[:]
        holder.doc_string = ""
    del model.graph.value_info[:]
    del model.functions[:]
    return model


def _without_idle_inputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without weights that no node reads, such as those that only training needs."""
    read = {OBS_INPUT, NOISE_INPUT, *(name for node in model.graph.node for name in node.input)}
    for value in [each for each in model.graph.input if each.name not in read]:
        model.graph.input.remove(value)
    return model


def _session_options() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return options
