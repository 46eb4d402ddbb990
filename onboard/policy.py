"""Policies in ONNX Runtime: weights are graph inputs, so an update is a new slot, not a new engine.

A :class:`Slot` owns everything one inference needs, bound once: its copy of the weights, its
observation, noise and action buffers, its I/O binding. Swapping policies is changing which slot the
loop calls. Sessions are shared by all slots of the same graph and built off the real-time path.
Source: RUNTIME.md, Inference § 3 (15 µs per call; binding once; one intra-op thread, no spinning).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from protocol.bundle import (
    ACTION_OUTPUT,
    GOLDEN_TOLERANCE,
    NOISE_INPUT,
    OBS_INPUT,
    Golden,
    Manifest,
)
from protocol.errors import BundleError
from protocol.observation import Layout

FloatArray = NDArray[np.float32]

KEPT_SESSIONS = 2
WARM_UP_RUNS = 20


class Slot:
    """One policy, ready to run.

    Attributes:
        version: of the bundle it came from.
        exploration_scale: what unit normals are multiplied by, in [0, 1].
        noise: (A,) input buffer; the caller fills it before :meth:`infer`.
        action: (A,) output buffer of the last :meth:`infer`.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        weights: Mapping[str, FloatArray],
        layout: Layout,
        version: int,
        exploration_scale: float,
    ) -> None:
        self.version, self.exploration_scale = version, exploration_scale
        self._session = session
        self._obs = np.zeros((1, layout.size), dtype=np.float32)
        self._noise = np.zeros((1, layout.action_size), dtype=np.float32)
        self._action = np.zeros((1, layout.action_size), dtype=np.float32)
        self.noise: FloatArray = self._noise[0]
        self.action: FloatArray = self._action[0]
        # An OrtValue on the CPU aliases the array it is made from: buffers rely on it, weights are
        # copied first so that nobody else can write into a running policy.
        self._weights = {name: np.array(value, order="C") for name, value in weights.items()}
        self._binding = session.io_binding()
        inputs = {OBS_INPUT: self._obs, NOISE_INPUT: self._noise, **self._weights}
        for name, array in inputs.items():
            self._binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(array))
        output = ort.OrtValue.ortvalue_from_numpy(self._action)
        self._binding.bind_ortvalue_output(ACTION_OUTPUT, output)

    def infer(self, obs: FloatArray) -> FloatArray:
        """Action (A,) for ``obs`` (O,) and the present ``noise``; the same array at every call."""
        self._obs[0] = obs
        self._session.run_with_iobinding(self._binding)
        return self.action

    def check(self, golden: Golden) -> None:
        """Compare with the trainer's recorded outputs.

        Raises:
            BundleError: an output is not finite or differs by more than ``GOLDEN_TOLERANCE``.
        """
        for index, (obs, noise, wanted) in enumerate(
            zip(golden.obs, golden.noise, golden.action, strict=True)
        ):
            self.noise[:] = noise
            error = float(np.max(np.abs(self.infer(obs) - wanted)))
            if not error <= GOLDEN_TOLERANCE:  # NaN is not
                raise BundleError(
                    f"bundle {self.version}: golden vector {index} is off by {error:.3g}; "
                    f"{GOLDEN_TOLERANCE} is allowed"
                )
        self.noise[:] = 0.0

    def time(self, obs: FloatArray, clock_ns: Callable[[], int]) -> float:
        """Warm up on ``obs`` (O,); median time of an answer in seconds."""
        took_ns = []
        for _ in range(WARM_UP_RUNS):
            start_ns = clock_ns()
            self.infer(obs)
            took_ns.append(clock_ns() - start_ns)
        return 1e-9 * median(took_ns)


def ready_slot(
    session: ort.InferenceSession,
    weights: Mapping[str, FloatArray],
    layout: Layout,
    manifest: Manifest,
    golden: Golden,
) -> Slot:
    """A slot whose outputs were compared with the trainer's.

    Raises:
        BundleError: the runtime refuses the weights, or :meth:`Slot.check` fails.
    """
    try:
        slot = Slot(session, weights, layout, manifest.version, manifest.exploration_scale)
        slot.check(golden)
    except BundleError:
        raise
    except Exception as error:  # ONNX Runtime's own classes have no common base
        raise BundleError(f"bundle {manifest.version} does not run: {error}") from error
    return slot


class Sessions:
    """One ONNX Runtime session per graph, by the graph's SHA-256; the newest few are kept."""

    def __init__(self) -> None:
        self._sessions: dict[str, ort.InferenceSession] = {}

    def session(self, sha256: str, graph: bytes) -> ort.InferenceSession:
        """The session of ``graph``, built if it is new.

        Raises:
            BundleError: the runtime does not accept the graph.
        """
        if sha256 not in self._sessions:
            self._sessions[sha256] = _build(graph)
        found = self._sessions.pop(sha256)
        self._sessions[sha256] = found  # newest last
        while len(self._sessions) > KEPT_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return found


def _build(graph: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own classes have no common base
        raise BundleError(f"ONNX Runtime refuses the graph: {error}") from error
