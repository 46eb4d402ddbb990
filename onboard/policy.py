"""Policies ready to drive: a runner of some backend, and what the bundle says about it.

A :class:`Slot` owns everything one inference needs. Swapping policies is changing which slot the
loop calls. Engines are shared by all slots of the same graph and built off the real-time path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median

import numpy as np
from numpy.typing import NDArray

from onboard.backends.port import Build, Engine, Runner
from protocol.bundle import GOLDEN_TOLERANCE, Golden, Manifest
from protocol.errors import BundleError

FloatArray = NDArray[np.float32]

KEPT_ENGINES = 2
WARM_UP_RUNS = 20


class Slot:
    """One policy, ready to run.

    Attributes:
        version: of the bundle it came from.
        directory: of that bundle; where it is found again after a restart.
        exploration_scale: what unit normals are multiplied by, in [0, 1].
        runner: what computes it.
        noise: (A,) input buffer; the caller fills it before :meth:`infer`.
        action: (A,) output buffer of the last :meth:`infer`.
    """

    def __init__(
        self, runner: Runner, version: int, exploration_scale: float, directory: str = ""
    ) -> None:
        self.version, self.exploration_scale = version, exploration_scale
        self.runner, self.directory = runner, directory
        self._obs: FloatArray = runner.obs[0]
        self.noise: FloatArray = runner.noise[0]
        self.action: FloatArray = runner.action[0]

    def infer(self, obs: FloatArray) -> FloatArray:
        """Action (A,) for ``obs`` (O,) and the present ``noise``; the same array at every call."""
        self._obs[:] = obs
        self.runner.run()
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

    def close(self) -> None:
        """Give its buffers back; it is never asked again."""
        self.runner.close()


def ready_slot(
    engine: Engine,
    weights: Mapping[str, FloatArray],
    manifest: Manifest,
    golden: Golden,
    directory: str = "",
) -> Slot:
    """A slot whose outputs were compared with the trainer's.

    Raises:
        BundleError: the backend refuses the weights, or :meth:`Slot.check` fails.
    """
    try:
        runner = engine.stage(weights)
    except BundleError as error:
        raise BundleError(f"bundle {manifest.version} does not run: {error}") from error
    slot = Slot(runner, manifest.version, manifest.exploration_scale, directory)
    try:
        slot.check(golden)
    except BundleError:
        slot.close()
        raise
    return slot


class Engines:
    """One engine per graph, by the graph's SHA-256; the newest few are kept."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._engines: dict[str, Engine] = {}

    def engine(self, sha256: str, graph: bytes) -> Engine:
        """The engine of ``graph``, built if it is new.

        Raises:
            BundleError: the backend does not accept the graph.
        """
        if sha256 not in self._engines:
            self._engines[sha256] = self._build(graph)
        found = self._engines.pop(sha256)
        self._engines[sha256] = found  # newest last
        while len(self._engines) > KEPT_ENGINES:
            self._engines.pop(next(iter(self._engines))).close()
        return found
