"""One answer of a policy: our TensorRT backend's captured graph beside what else computes it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import safetensors.numpy
import torch
from runtime import planner
from runtime.engines import Infer
from runtime.network import FloatArray, Weights, answer, make_graph, make_weights
from runtime.percentiles import Json, percentiles
from runtime.turns import alternate, observations, timed_ns

from onboard.backends import onnx_runtime
from onboard.backends.port import Build
from onboard.policy import Slot

O, A, SEED = 17, 6, 0
ROUNDS, CALLS, WARM_UP = 10, 300, 300
TOLERANCE = 1e-4


def measure(gpu: Build) -> Json:
    """Microseconds an answer takes, of a 3×256 actor and of the flagship's planner."""
    with TemporaryDirectory() as folder:
        planner.make(Path(folder))
        graph, weights = (
            Path(folder, name).read_bytes() for name in ("graph.onnx", "weights.safetensors")
        )
    plan = safetensors.numpy.load(weights)
    actor = make_weights(O, A, SEED)
    return {
        "actor_3x256": _contest(make_graph(actor), actor, gpu, {"torch_eager_cuda": _eager(actor)}),
        "planner": _contest(graph, plan, gpu, {}),
    }


def _contest(graph: bytes, weights: Weights, gpu: Build, others: dict[str, Infer]) -> Json:
    slots = {
        name: Slot(build(graph).stage(weights), version=1, exploration_scale=0.0)
        for name, build in (("port_gpu", gpu), ("port_onnx_cpu", onnx_runtime.build))
    }
    infers: dict[str, Infer] = {**{name: slot.infer for name, slot in slots.items()}, **others}
    pool = observations(slots["port_gpu"]._obs.size, SEED)
    answers = {name: np.ravel(infer(pool[0])).copy() for name, infer in infers.items()}
    apart = max(float(np.abs(each - answers["port_onnx_cpu"]).max()) for each in answers.values())
    turns = {name: partial(timed_ns, infer, pool) for name, infer in infers.items()}
    took = alternate(turns, ROUNDS, CALLS, WARM_UP)
    return {
        **{name: percentiles(each.ravel() * 1e-3) for name, each in took.items()},
        "worst_difference": apart,
    }


def _eager(weights: Weights) -> Callable[[FloatArray], FloatArray]:
    """PyTorch on the GPU as one would write it, the answer back on the host."""
    p = {name: torch.from_numpy(tensor).cuda() for name, tensor in weights.items()}

    def infer(obs: FloatArray) -> FloatArray:
        x = (torch.from_numpy(obs).cuda() - p["mean"]) / p["std"]
        for layer in range(3):
            x = torch.nn.functional.elu(x @ p[f"w{layer}"] + p[f"b{layer}"])
        action: FloatArray = torch.tanh(x @ p["w3"] + p["b3"]).cpu().numpy()
        return action

    wanted = answer(weights, np.zeros((1, O), np.float32), np.zeros((1, A), np.float32))
    if not np.abs(infer(np.zeros(O, np.float32)) - wanted).max() <= TOLERANCE:
        raise RuntimeError("PyTorch computes another function")
    return infer
