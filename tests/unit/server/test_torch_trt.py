"""PyTorch's kernels in TensorRT's place: do they compute what our exporter writes?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from gpu.torch_trt import OnHost, TorchTrt
from made_gpu import GPU, HostCuda
from runtime import planner
from runtime.network import answer, make_graph, make_weights

from onboard.backends import onnx_runtime
from onboard.backends.engine_cache import open_cache
from onboard.backends.tensor_rt import TensorRt


@pytest.fixture
def backend(tmp_path: Path) -> TensorRt:
    cuda = HostCuda()
    return TensorRt(TorchTrt(OnHost(cuda)), cuda, GPU, open_cache(tmp_path / "engines"))


def test_an_actor(backend: TensorRt) -> None:
    weights, rng = make_weights(17, 6, 0), np.random.default_rng(0)
    runner = backend.build(make_graph(weights)).stage(weights)
    for _ in range(3):
        runner.obs[:], runner.noise[:] = rng.standard_normal((1, 17)), rng.standard_normal((1, 6))
        runner.run()
        assert runner.action == pytest.approx(answer(weights, runner.obs, runner.noise), abs=1e-5)


def test_a_planner(backend: TensorRt, tmp_path: Path) -> None:
    planner.make(tmp_path)
    graph = (tmp_path / "graph.onnx").read_bytes()
    weights = safetensors.numpy.load((tmp_path / "weights.safetensors").read_bytes())
    runners = [build(graph).stage(weights) for build in (backend.build, onnx_runtime.build)]
    rng = np.random.default_rng(0)
    obs, noise = (
        rng.standard_normal(runners[0].obs.shape),
        rng.standard_normal(runners[0].noise.shape),
    )
    for runner in runners:
        runner.obs[:], runner.noise[:] = obs, noise
        runner.run()
    assert runners[0].action == pytest.approx(runners[1].action, abs=1e-4)
