"""TensorRT on a Jetson's GPU: one engine per architecture, with the weights as its inputs.

Each runner has its own execution context, device buffers and CUDA graph. The graph holds the copies
of observation, noise and action and the network between them, captured once with the runner's own
addresses: a tick launches one graph, and an update is a copy of weights into an idle runner (there
are three: the driver, the one to return to, the candidate). No parser, builder or refit is on the
path of an update. Everything here takes the ``tensorrt`` module
as an argument and keeps to what 10.3 and 11 have in common, by name and never by number.
Source: RUNTIME.md, Inference § 2 and § 3 (design A).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from onboard.backends.cuda import Cuda, FloatArray, Gpu
from onboard.backends.engine_cache import EngineCache, plan_name
from protocol.bundle import ACTION_OUTPUT, NOISE_INPUT, OBS_INPUT
from protocol.errors import BundleError

OLDEST, TOO_NEW = (10, 3), (12, 0)
"""JetPack 6.1 brings 10.3; what 12 removes is not known."""
RECIPE = "float32 1"
"""Of :func:`build_plan`; another number when its result would differ."""
WORKSPACE_BYTES = 64 << 20

Shape = tuple[int, ...]


def check_version(trt: Any) -> str:
    """The version of ``trt``. Raises BundleError if this code was not written for it."""
    version = str(trt.__version__)
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if not OLDEST <= numbers < TOO_NEW:
        raise BundleError(f"TensorRT {version} is not in [10.3, 12)")
    return version


def build_plan(trt: Any, graph: bytes) -> bytes:
    """A serialized engine of an ONNX graph: float32 as it is written, without TF32.

    Raises:
        BundleError: NVIDIA's parser or builder refuses the graph.
    """
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    strongly_typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(strongly_typed)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(graph):
        errors = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
        raise BundleError(f"TensorRT refuses the graph: {errors}")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default, and worth 1e-3 in parity
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BundleError("TensorRT cannot build the graph; its log says why")
    return bytes(plan)


class TensorRt:
    """Makes engines on one GPU; :meth:`build` is a :data:`onboard.backends.port.Build`."""

    def __init__(self, trt: Any, cuda: Cuda, gpu: Gpu, cache: EngineCache) -> None:
        self._trt, self._cuda, self._cache = trt, cuda, cache
        self._bound_to = (check_version(trt), gpu.name, gpu.capability, str(gpu.driver), RECIPE)

    def build(self, graph: bytes) -> TensorRtEngine:
        """An engine of ``graph``, from the cache or after seconds of building.

        Raises:
            BundleError: NVIDIA's parser, builder or runtime refuses.
        """
        name = plan_name(graph, *self._bound_to)
        plan = self._cache.get(name)
        if plan is None:
            plan = build_plan(self._trt, graph)
            self._cache.put(name, plan)
        runtime = self._trt.Runtime(self._trt.Logger(self._trt.Logger.ERROR))
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise BundleError("TensorRT cannot load the engine it built; its log says why")
        return TensorRtEngine(engine, runtime, self._cuda, tensors(self._trt, engine))


def tensors(trt: Any, engine: Any) -> dict[str, Shape]:
    """Name and shape of every input and output. Raises BundleError for what is not float32."""
    shapes: dict[str, Shape] = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        if engine.get_tensor_dtype(name) != trt.float32:
            raise BundleError(f"TensorRT made {name} {engine.get_tensor_dtype(name)}, not float32")
        shapes[name] = tuple(int(size) for size in engine.get_tensor_shape(name))
    if missing := {OBS_INPUT, NOISE_INPUT, ACTION_OUTPUT} - shapes.keys():
        raise BundleError(f"TensorRT lost {sorted(missing)} of the graph")
    return shapes


class TensorRtEngine:
    """Idle and busy runners of one graph; see :class:`onboard.backends.port.Engine`."""

    def __init__(self, engine: Any, runtime: Any, cuda: Cuda, shapes: Mapping[str, Shape]) -> None:
        self._engine, self._runtime, self._cuda, self._shapes = engine, runtime, cuda, shapes
        ends = (OBS_INPUT, NOISE_INPUT, ACTION_OUTPUT)
        self._weights = {name: shape for name, shape in shapes.items() if name not in ends}
        self._idle: list[TensorRtRunner] = []
        self._closed = False

    def stage(self, weights: Mapping[str, FloatArray]) -> TensorRtRunner:
        """See the port. An idle runner is used again, captured graph and all."""
        given = {name: tensor.shape for name, tensor in weights.items()}
        if given != self._weights:
            raise BundleError(f"TensorRT refuses the weights: {given} are not {self._weights}")
        runner = self._idle.pop() if self._idle else self._make()
        try:
            runner.load(weights)
        except BundleError:
            runner.free()
            raise
        return runner

    def close(self) -> None:
        """See the port."""
        self._closed = True
        while self._idle:
            self._idle.pop().free()

    def _make(self) -> TensorRtRunner:
        context = self._engine.create_execution_context()
        if context is None:
            raise BundleError("TensorRT has no room for another execution context")
        return TensorRtRunner(context, self._cuda, self._shapes, self._take_back)

    def _take_back(self, runner: TensorRtRunner) -> None:
        if self._closed:
            runner.free()
        else:
            self._idle.append(runner)


class TensorRtRunner:
    """One set of weights on the GPU; see :class:`onboard.backends.port.Runner`."""

    def __init__(
        self,
        context: Any,
        cuda: Cuda,
        shapes: Mapping[str, Shape],
        take_back: Callable[[TensorRtRunner], None],
    ) -> None:
        self._context, self._cuda, self._take_back = context, cuda, take_back
        self._graph: int | None = None
        self._device: dict[str, int] = {}
        with ExitStack() as owned:
            self.obs, self.noise, self.action = (
                cuda.host_array(shapes[name]) for name in (OBS_INPUT, NOISE_INPUT, ACTION_OUTPUT)
            )
            self._stream = cuda.open_stream()
            owned.callback(cuda.close_stream, self._stream)
            for name, shape in shapes.items():
                self._device[name] = cuda.allocate(4 * math.prod(shape))
                owned.callback(cuda.free, self._device[name])
                context.set_tensor_address(name, self._device[name])
            self._owned = owned.pop_all()

    def load(self, weights: Mapping[str, FloatArray]) -> None:
        """Copy ``weights`` to the device; the first time also warm up and capture.

        Raises:
            BundleError: the GPU refuses.
        """
        plain = {name: np.ascontiguousarray(each, np.float32) for name, each in weights.items()}
        for name, tensor in plain.items():
            self._cuda.upload(self._device[name], tensor, self._stream)
        self._cuda.synchronize(self._stream)
        if self._graph is None:
            self._queue()  # TensorRT settles what it put off before a capture may begin
            self._cuda.synchronize(self._stream)
            self._graph = self._cuda.capture(self._stream, self._queue)
            self._owned.callback(self._cuda.drop, self._graph)
        self.run()

    def run(self) -> None:
        """See the port."""
        if self._graph is None:
            raise BundleError("a runner without weights was asked")
        self._cuda.launch(self._graph, self._stream)
        self._cuda.synchronize(self._stream)

    def close(self) -> None:
        """See the port. The next weights may come into the same buffers."""
        self._take_back(self)

    def free(self) -> None:
        """Give everything back to the GPU."""
        self._graph = None
        self._owned.close()

    def _queue(self) -> None:
        cuda, stream = self._cuda, self._stream
        cuda.upload(self._device[OBS_INPUT], self.obs, stream)
        cuda.upload(self._device[NOISE_INPUT], self.noise, stream)
        if not self._context.execute_async_v3(stream):
            raise BundleError("TensorRT does not take the work; its log says why")
        cuda.download(self.action, self._device[ACTION_OUTPUT], stream)
