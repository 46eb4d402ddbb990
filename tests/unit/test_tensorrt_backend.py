"""The TensorRT slots over a GPU of numpy: is every copy queued, in its own buffers, in order?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from made_gpu import GPU, DataType, HostCuda, HostTrt

from onboard.backends.cuda import FloatArray
from onboard.backends.engine_cache import open_cache
from onboard.backends.tensor_rt import TensorRt, check_version
from onboard.control_api import Offer
from onboard.hotswap import HotSwap
from protocol.errors import BundleError
from protocol.robot_spec import RobotSpec

Make = Callable[..., Path]

OBS = np.full(7, 0.3, dtype=np.float32)


@pytest.fixture
def cuda() -> HostCuda:
    return HostCuda()


@pytest.fixture
def trt(cuda: HostCuda) -> HostTrt:
    return HostTrt(cuda)


@pytest.fixture
def backend(trt: HostTrt, cuda: HostCuda, tmp_path: Path) -> TensorRt:
    return TensorRt(trt, cuda, GPU, open_cache(tmp_path / "engines"))


@pytest.fixture
def graph(make_bundle: Make) -> bytes:
    return (make_bundle(1) / "graph.onnx").read_bytes()


def weights_of(folder: Path) -> dict[str, FloatArray]:
    return safetensors.numpy.load_file(folder / "weights.safetensors")


def by_hand(weights: dict[str, FloatArray], noise: float = 0.0) -> FloatArray:
    action: FloatArray = np.clip(np.tanh(OBS @ weights["w"] + weights["b"]) + noise, -1.0, 1.0)
    return action


def test_a_runner_computes_the_graph_by_launching_it(
    backend: TensorRt, cuda: HostCuda, graph: bytes, make_bundle: Make
) -> None:
    weights = weights_of(make_bundle(1))
    runner = backend.build(graph).stage(weights)
    launches = cuda.launches
    runner.obs[0], runner.noise[:] = OBS, 0.25
    runner.run()
    assert runner.action[0] == pytest.approx(by_hand(weights, 0.25), abs=1e-6)
    runner.obs[0], runner.noise[:] = 0.0, 0.0
    runner.run()
    assert runner.action[0] == pytest.approx(np.tanh(weights["b"]), abs=1e-6)
    assert cuda.launches == launches + 2


def test_two_runners_have_everything_of_their_own(
    backend: TensorRt, cuda: HostCuda, graph: bytes, make_bundle: Make
) -> None:
    engine, first, second = backend.build(graph), *map(weights_of, (make_bundle(1), make_bundle(2)))
    runners = [engine.stage(first), engine.stage(second)]
    assert cuda.in_use == (2 * 5, 2, 2)
    for runner in runners:
        runner.obs[0] = OBS
    runners[0].noise[:] = 0.1
    for runner in reversed(runners):
        runner.run()
    assert runners[0].action[0] == pytest.approx(by_hand(first, 0.1), abs=1e-6)
    assert runners[1].action[0] == pytest.approx(by_hand(second), abs=1e-6)


def test_an_update_uses_the_idle_buffers_and_the_captured_graph_again(
    backend: TensorRt, cuda: HostCuda, graph: bytes, make_bundle: Make
) -> None:
    engine = backend.build(graph)
    driving, retired = (
        engine.stage(weights_of(make_bundle(1))),
        engine.stage(weights_of(make_bundle(2))),
    )
    held, before = cuda.in_use, driving.action.copy()
    for version in range(3, 9):
        retired.close()
        weights = weights_of(make_bundle(version))
        retired = engine.stage(weights)
        retired.obs[0] = OBS
        retired.run()
        assert retired.action[0] == pytest.approx(by_hand(weights), abs=1e-6)
    assert cuda.in_use == held
    assert (driving.action == before).all()


def test_a_closed_engine_gives_everything_back_once_its_runners_are(
    backend: TensorRt, cuda: HostCuda, graph: bytes, make_bundle: Make
) -> None:
    engine, weights = backend.build(graph), weights_of(make_bundle(1))
    idle, driving = engine.stage(weights), engine.stage(weights)
    idle.close()
    engine.close()
    assert cuda.in_use == (5, 1, 1)
    driving.obs[0] = OBS
    driving.run()
    assert driving.action[0] == pytest.approx(by_hand(weights), abs=1e-6)
    driving.close()
    assert cuda.in_use == (0, 0, 0)


@pytest.mark.parametrize("room", range(5))
def test_a_full_gpu_refuses_the_candidate_and_leaks_nothing(
    room: int, trt: HostTrt, cuda: HostCuda, tmp_path: Path, graph: bytes, make_bundle: Make
) -> None:
    engine = TensorRt(trt, cuda, GPU, open_cache(tmp_path)).build(graph)
    cuda.room = room
    with pytest.raises(BundleError, match="out of memory"):
        engine.stage(weights_of(make_bundle(1)))
    assert cuda.in_use == (0, 0, 0)


def test_weights_that_do_not_fit_never_reach_the_gpu(
    backend: TensorRt, cuda: HostCuda, graph: bytes
) -> None:
    with pytest.raises(BundleError, match="TensorRT refuses the weights"):
        backend.build(graph).stage({"w": np.zeros((3, 3), dtype=np.float32)})
    assert cuda.in_use == (0, 0, 0)


def test_an_architecture_is_built_once_on_this_machine(
    backend: TensorRt, trt: HostTrt, cuda: HostCuda, tmp_path: Path, graph: bytes
) -> None:
    backend.build(graph)
    backend.build(graph)
    assert trt.built == 1
    again = TensorRt(trt, cuda, GPU, open_cache(tmp_path / "engines"))
    again.build(graph)
    assert trt.built == 1
    for other in (GPU._replace(name="b"), GPU._replace(driver=13000), GPU._replace(capability="1")):
        TensorRt(trt, cuda, other, open_cache(tmp_path / "engines")).build(graph)
    newer = HostTrt(cuda, "10.7.0")
    TensorRt(newer, cuda, GPU, open_cache(tmp_path / "engines")).build(graph)
    assert (trt.built, newer.built) == (4, 1)


def test_an_engine_from_elsewhere_is_never_loaded(
    backend: TensorRt, trt: HostTrt, tmp_path: Path, graph: bytes
) -> None:
    """Native code in the cache's place: it is built anew instead."""
    backend.build(graph)
    (plan,) = (tmp_path / "engines").glob("*.plan")
    plan.write_bytes(plan.read_bytes()[:-5] + b"alien")
    backend.build(graph)
    assert trt.built == 2


def test_what_tensorrt_makes_of_other_types_is_refused(
    backend: TensorRt, trt: HostTrt, graph: bytes
) -> None:
    trt.dtype = DataType.HALF
    with pytest.raises(BundleError, match="not float32"):
        backend.build(graph)


def test_garbage_is_no_graph(backend: TensorRt) -> None:
    with pytest.raises(BundleError, match="TensorRT refuses the graph: Failed to parse"):
        backend.build(b"\x08\x07garbage")


@pytest.mark.parametrize(
    ("refuses", "text"),
    [
        ("build", "cannot build the graph"),
        ("load", "cannot load the engine it built"),
        ("context", "no room for another execution context"),
        ("work", "does not take the work"),
    ],
)
def test_each_refusal_of_tensorrt_is_a_bundle_error_and_leaks_nothing(
    refuses: str,
    text: str,
    backend: TensorRt,
    trt: HostTrt,
    cuda: HostCuda,
    graph: bytes,
    make_bundle: Make,
) -> None:
    trt.refuses = refuses
    with pytest.raises(BundleError, match=text):
        backend.build(graph).stage(weights_of(make_bundle(1)))
    assert cuda.in_use == (0, 0, 0)


def test_a_runner_that_was_freed_cannot_be_asked(
    backend: TensorRt, graph: bytes, make_bundle: Make
) -> None:
    runner = backend.build(graph).stage(weights_of(make_bundle(1)))
    runner.free()
    with pytest.raises(BundleError, match="without weights"):
        runner.run()


@pytest.mark.parametrize("version", ["10.3.0", "10.13.2.6", "11.4.1"])
def test_versions_in_range_are_taken(version: str, cuda: HostCuda) -> None:
    assert check_version(HostTrt(cuda, version)) == version


@pytest.mark.parametrize("version", ["8.6.2", "10.2.9", "12.0.0"])
def test_versions_out_of_range_are_refused(version: str, cuda: HostCuda) -> None:
    with pytest.raises(BundleError, match="not in"):
        check_version(HostTrt(cuda, version))


def test_it_swaps_under_the_same_transaction(
    backend: TensorRt, cuda: HostCuda, furuta: RobotSpec, make_bundle: Make
) -> None:
    swap = HotSwap(furuta, "swing_up", build=backend.build)
    for version in range(1, 12):
        swap.stage(Offer(version=version, directory=str(make_bundle(version))))
        assert swap.flip(), swap.events[-1]
        assert swap.active is not None
        weights = weights_of(make_bundle(version))
        assert swap.active.infer(OBS) == pytest.approx(by_hand(weights), abs=1e-6)
    allocations, streams, graphs = cuda.in_use
    assert streams == graphs == 3  # the driver, the one to return to, the candidate
    assert allocations == 3 * 5
