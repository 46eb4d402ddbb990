"""ONNX Runtime on one CPU core: the backend of every robot without a GPU worth using.

Weights are graph inputs, so an update is a new binding, not a new session.
Source: RUNTIME.md, Inference § 3 (15 µs per call; binding once; one intra-op thread, no spinning).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocol.bundle import ACTION_OUTPUT, NOISE_INPUT, OBS_INPUT
from protocol.errors import BundleError

FloatArray = NDArray[np.float32]

# The 1.32 wheel reports usage to its maker: threads that wake in the real-time process, a database
# in the user's cache, HTTPS. Only this variable, set before the first import, prevents them.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def build(graph: bytes) -> OnnxEngine:
    """An engine of ``graph``. Raises BundleError if the runtime does not accept it."""
    import onnxruntime as ort  # noqa: PLC0415 - without it a robot still has numpy

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own classes have no common base
        raise BundleError(f"ONNX Runtime refuses the graph: {error}") from error
    return OnnxEngine(ort, session)


class OnnxEngine:
    """One session; see :class:`onboard.backends.port.Engine`."""

    def __init__(self, ort: Any, session: Any) -> None:
        self._ort, self._session = ort, session

    def stage(self, weights: Mapping[str, FloatArray]) -> OnnxRunner:
        """See the port."""
        try:
            runner = OnnxRunner(self._ort, self._session, weights)
            runner.run()  # names and types are refused at binding, shapes only here
        except Exception as error:  # as above
            raise BundleError(f"ONNX Runtime refuses the weights: {error}") from error
        return runner

    def close(self) -> None:
        """Sessions live as long as their runners."""


class OnnxRunner:
    """Everything one inference needs, bound once; see :class:`onboard.backends.port.Runner`.

    Attributes:
        weights: its own copy, by input name.
    """

    def __init__(self, ort: Any, session: Any, weights: Mapping[str, FloatArray]) -> None:
        ends = (*session.get_inputs(), *session.get_outputs())
        shapes = {end.name: end.shape for end in ends}
        self.obs, self.noise, self.action = (
            np.zeros(shapes[name], dtype=np.float32)
            for name in (OBS_INPUT, NOISE_INPUT, ACTION_OUTPUT)
        )
        # An OrtValue on the CPU aliases the array it is made from: buffers rely on it, weights are
        # copied first so that nobody else can write into a running policy.
        self.weights = {name: np.array(value, order="C") for name, value in weights.items()}
        binding = session.io_binding()
        inputs = {OBS_INPUT: self.obs, NOISE_INPUT: self.noise, **self.weights}
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        output = ort.OrtValue.ortvalue_from_numpy(self.action)
        binding.bind_ortvalue_output(ACTION_OUTPUT, output)
        self._run = partial(session.run_with_iobinding, binding)

    def run(self) -> None:
        """See the port."""
        self._run()

    def close(self) -> None:
        """Its memory goes with it."""
