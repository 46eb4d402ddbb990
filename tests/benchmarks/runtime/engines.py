"""Ways to compute the benchmark's network on one core, each behind the same call.

The peers get what their users would give them: constant weights, which their optimisers fold and
pack. Our port has them as inputs, the price of a swap that is a pointer flip.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from onboard.backends import onnx_runtime, reference
from onboard.backends.port import Build
from onboard.policy import Slot
from protocol.bundle import ACTION_OUTPUT, NOISE_INPUT, OBS_INPUT
from runtime.network import FloatArray, Weights, make_graph

Infer = Callable[[FloatArray], NDArray[Any]]
"""(O,) → actions, (A,) or (1, A)."""


def in_process(weights: Weights) -> dict[str, Infer]:
    """Everything that runs in the robot's own environment."""
    return {
        "port": _port(weights, onnx_runtime.build),
        "bare_io_binding": _bare(weights, constant=True),
        "bare_io_binding_weights_as_inputs": _bare(weights, constant=False),
        "session_run": _session_run(weights),
        "port_numpy": _port(weights, reference.build),
    }


def _port(weights: Weights, build: Build) -> Infer:
    """As the loop asks its policy."""
    runner = build(make_graph(weights)).stage(weights)
    return Slot(runner, version=1, exploration_scale=0.0).infer


def _bare(weights: Weights, constant: bool) -> Infer:
    """Buffers bound once; a call copies the observation and runs."""
    session = _session(weights, constant)
    buffers = {
        end.name: np.zeros(end.shape, np.float32)
        for end in (*session.get_inputs(), *session.get_outputs())
        if end.name in (OBS_INPUT, NOISE_INPUT, ACTION_OUTPUT)
    }
    binding, action, obs = session.io_binding(), buffers.pop(ACTION_OUTPUT), buffers[OBS_INPUT][0]
    for name, array in {**buffers, **({} if constant else weights)}.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
    binding.bind_ortvalue_output(ACTION_OUTPUT, ort.OrtValue.ortvalue_from_numpy(action))
    run, answer = session.run_with_iobinding, action[0]

    def infer(given: FloatArray) -> FloatArray:
        obs[:] = given
        run(binding)
        return answer

    return infer


def _session_run(weights: Weights) -> Infer:
    """The call of every tutorial."""
    session = _session(weights, constant=True)
    noise = np.zeros((1, weights["b3"].shape[0]), np.float32)

    def infer(given: FloatArray) -> FloatArray:
        answer: FloatArray = session.run(None, {OBS_INPUT: given[None], NOISE_INPUT: noise})[0]
        return answer

    return infer


def _session(weights: Weights, constant: bool) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    graph = make_graph(weights, constant)
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
