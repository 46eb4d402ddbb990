"""From an offered directory to a slot that is proven fit to drive; a refusal changes nothing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from onboard.backends.port import Build
from onboard.control_api import GRAPH_FILE, MANIFEST_FILE, WEIGHTS_FILE, Offer
from onboard.graph_check import check_graph
from onboard.policy import Engines, Slot, ready_slot
from onboard.swap_steps import Step, Watch, unwatched
from onboard.weights_check import check_weights
from protocol.bundle import (
    GRAPH_MAX_BYTES,
    MANIFEST_MAX_BYTES,
    WEIGHTS_MAX_BYTES,
    Golden,
    Manifest,
    check_manifest,
    decode_manifest,
)
from protocol.errors import BundleError
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec

INFERENCE_SHARE = 0.5
"""Of a tick: what is left belongs to the bus. Source: hw_configs, bus.read_timeout_s."""


class Stager:
    """Verifies and loads bundles of one robot and task, off the real-time path."""

    def __init__(
        self,
        spec: RobotSpec,
        task: str,
        clock_ns: Callable[[], int],
        build: Build,
        at: Watch = unwatched,
    ) -> None:
        self._spec, self._task, self._clock_ns, self._at = spec, task, clock_ns, at
        self._layout = Layout(spec)
        self._engines = Engines(build)

    def load(self, offer: Offer, floor: int) -> Slot:
        """The slot of an offered bundle.

        Args:
            offer: a directory whose signature was verified.
            floor: only greater versions pass.

        Raises:
            BundleError: naming the first thing that does not fit.
        """
        directory = Path(offer.directory)
        manifest = decode_manifest(_read(directory / MANIFEST_FILE, MANIFEST_MAX_BYTES))
        if manifest.version != offer.version:
            raise BundleError(f"bundle {manifest.version} was offered as {offer.version}")
        golden = check_manifest(manifest, self._spec, self._task, floor)
        graph, weights = _files(directory, manifest)
        self._at(Step.READ)
        tensors = check_weights(weights, check_graph(graph, self._layout))
        self._at(Step.CHECKED)
        engine = self._engines.engine(manifest.graph_sha256, graph)
        self._at(Step.BUILT)
        slot = ready_slot(engine, tensors, manifest, golden, offer.directory)
        self._check_speed(slot, golden)
        self._at(Step.PROVEN)
        return slot

    def _check_speed(self, slot: Slot, golden: Golden) -> None:
        took_s, budget_s = slot.time(golden.obs[0], self._clock_ns), self._spec.tick_s
        if took_s > INFERENCE_SHARE * budget_s:
            slot.close()
            raise BundleError(
                f"bundle {slot.version} takes {1e3 * took_s:.1f} ms to answer; a tick of "
                f"{1e3 * budget_s:.1f} ms leaves it {1e3 * INFERENCE_SHARE * budget_s:.1f} ms"
            )


def _files(directory: Path, manifest: Manifest) -> tuple[bytes, bytes]:
    """Graph and weights; the bytes that are hashed are the bytes that are loaded."""
    graph = _read(directory / GRAPH_FILE, GRAPH_MAX_BYTES)
    weights = _read(directory / WEIGHTS_FILE, WEIGHTS_MAX_BYTES)
    claims = (
        (GRAPH_FILE, graph, manifest.graph_sha256),
        (WEIGHTS_FILE, weights, manifest.weights_sha256),
    )
    for name, data, claimed in claims:
        if hashlib.sha256(data).hexdigest() != claimed:
            raise BundleError(f"bundle {manifest.version}: {name} is not the file of the manifest")
    return graph, weights


def _read(path: Path, limit: int) -> bytes:
    """The file, in memory of its size: a buffer of ``limit`` bytes would stall a locked process."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(min(size, limit) + 1)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error})") from error
    if len(data) > limit:
        raise BundleError(f"{path} exceeds the cap of {limit} bytes")
    return data
