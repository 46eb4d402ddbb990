"""Does every backend keep the port's promises: own buffers, true numbers, clean refusals?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from onboard.backends import onnx_runtime, reference
from onboard.backends.port import Build, FloatArray
from onboard.policy import KEPT_ENGINES, Engines, ready_slot
from protocol.bundle import Manifest, decode_manifest, golden_of
from protocol.errors import BundleError
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec

Make = Callable[..., Path]

BUILDS: dict[str, Build] = {"onnx": onnx_runtime.build, "numpy": reference.build}
OBS = np.full(7, 0.3, dtype=np.float32)


@pytest.fixture(params=BUILDS)
def build(request: pytest.FixtureRequest) -> Build:
    return BUILDS[request.param]


@pytest.fixture
def graph(make_bundle: Make) -> bytes:
    return (make_bundle(1) / "graph.onnx").read_bytes()


@pytest.fixture
def weights(make_bundle: Make) -> dict[str, FloatArray]:
    tensors = safetensors.numpy.load_file(make_bundle(1) / "weights.safetensors")
    return {name: tensor.copy() for name, tensor in tensors.items()}


@pytest.fixture
def manifest(make_bundle: Make) -> Manifest:
    return decode_manifest((make_bundle(1) / "manifest.json").read_bytes())


def by_hand(weights: Mapping[str, FloatArray], noise: float = 0.0) -> FloatArray:
    action: FloatArray = np.clip(np.tanh(OBS @ weights["w"] + weights["b"]) + noise, -1.0, 1.0)
    return action


def test_a_runner_computes_the_graph(
    build: Build, graph: bytes, weights: dict[str, FloatArray]
) -> None:
    runner = build(graph).stage(weights)
    runner.obs[0], runner.noise[:] = OBS, 0.25
    runner.run()
    assert runner.action[0] == pytest.approx(by_hand(weights, 0.25), abs=1e-6)


def test_nobody_else_can_write_into_a_running_policy(
    build: Build, graph: bytes, weights: dict[str, FloatArray]
) -> None:
    """Runtimes alias numpy memory; a runner must own its copy."""
    runner = build(graph).stage(weights)
    wanted = by_hand(weights)
    for tensor in weights.values():
        tensor[:] = 9.0
    runner.obs[0] = OBS
    runner.run()
    assert runner.action[0] == pytest.approx(wanted, abs=1e-6)


def test_two_runners_of_one_engine_share_nothing(
    build: Build, graph: bytes, weights: dict[str, FloatArray]
) -> None:
    engine = build(graph)
    first = engine.stage(weights)
    second = engine.stage({name: -tensor for name, tensor in weights.items()})
    first.obs[0] = second.obs[0] = OBS
    first.noise[:] = 0.1
    first.run()
    second.run()
    assert first.action[0] == pytest.approx(by_hand(weights, 0.1), abs=1e-6)
    assert second.action[0] == pytest.approx(-by_hand(weights), abs=1e-6)
    second.close()
    first.run()
    assert first.action[0] == pytest.approx(by_hand(weights, 0.1), abs=1e-6)


def test_weights_the_backend_refuses_are_a_bundle_error(
    build: Build, graph: bytes, manifest: Manifest, furuta: RobotSpec
) -> None:
    """Behind all checks of ours, the backend's own refusal still is a rejection."""
    weights = {"w": np.zeros((3, 3), dtype=np.float32), "b": np.zeros(1, dtype=np.float32)}
    golden = golden_of(manifest, Layout(furuta))
    with pytest.raises(BundleError, match="bundle 1 does not run"):
        ready_slot(build(graph), weights, manifest, golden)


def test_a_missing_weight_is_a_bundle_error(
    build: Build, graph: bytes, weights: dict[str, FloatArray]
) -> None:
    del weights["b"]
    with pytest.raises(BundleError):
        build(graph).stage(weights)


def test_garbage_is_no_graph(build: Build) -> None:
    with pytest.raises(BundleError, match="refuses the graph"):
        build(b"\x08\x07garbage")


def test_a_ready_slot_gives_the_trainers_answers(
    build: Build,
    graph: bytes,
    weights: dict[str, FloatArray],
    manifest: Manifest,
    furuta: RobotSpec,
) -> None:
    golden = golden_of(manifest, Layout(furuta))
    slot = ready_slot(build(graph), weights, manifest, golden, "here")
    assert (slot.version, slot.directory) == (1, "here")
    assert (slot.noise == 0.0).all()  # the golden noise is gone
    assert slot.infer(OBS) == pytest.approx(by_hand(weights), abs=1e-6)
    weights["b"] += 0.01
    with pytest.raises(BundleError, match="golden vector 0 is off"):
        ready_slot(build(graph), weights, manifest, golden)


def test_engines_are_shared_by_graph_and_the_oldest_is_dropped(build: Build, graph: bytes) -> None:
    engines = Engines(build)
    first = engines.engine("0", graph)
    assert engines.engine("0", graph) is first
    for name in range(1, KEPT_ENGINES + 1):
        engines.engine(str(name), graph)
    assert engines.engine("0", graph) is not first
