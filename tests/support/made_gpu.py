"""A GPU of numpy: device memory, streams and graphs behave as CUDA's do, only slower.

Work waits in its stream until somebody synchronizes it. A graph replays what was queued while it
was captured, with the addresses of that moment. Memory that was given back holds NaN.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from enum import Enum, IntEnum
from typing import Any

import numpy as np

from onboard.backends import reference
from onboard.backends.cuda import FloatArray, Gpu
from protocol.bundle import ACTION_OUTPUT, NOISE_INPUT, OBS_INPUT
from protocol.errors import BundleError

GPU = Gpu("numpy", "0.0", 12060)

Work = Callable[[], None]


class HostCuda:
    """A real implementation of :class:`onboard.backends.cuda.Cuda`.

    Attributes:
        room: allocations left before the memory is full.
        launches: graphs launched so far.
    """

    def __init__(self, room: int = 1000) -> None:
        self.room, self.launches = room, 0
        self._memory: dict[int, FloatArray] = {}
        self._streams: dict[int, list[Work]] = {}
        self._graphs: dict[int, list[Work]] = {}
        self._capturing: dict[int, list[Work]] = {}
        self._number = 0

    @property
    def in_use(self) -> tuple[int, int, int]:
        """Allocations, streams and graphs that nobody has given back."""
        return len(self._memory), len(self._streams), len(self._graphs)

    def allocate(self, size: int) -> int:
        if self.room == 0:
            raise BundleError("cudaMalloc failed: out of memory (error 2)")
        self.room -= 1
        block = np.full(size // 4, np.nan, dtype=np.float32)
        self._memory[block.ctypes.data] = block
        return block.ctypes.data

    def free(self, address: int) -> None:
        self._memory.pop(address)[:] = np.nan

    def host_array(self, shape: tuple[int, ...]) -> FloatArray:
        return np.zeros(shape, dtype=np.float32)

    def open_stream(self) -> int:
        self._number += 1
        self._streams[self._number] = []
        return self._number

    def close_stream(self, stream: int) -> None:
        del self._streams[stream]

    def upload(self, address: int, array: FloatArray, stream: int) -> None:
        self.queue(stream, lambda: self._copy(address, array.ctypes.data, array.nbytes))

    def download(self, array: FloatArray, address: int, stream: int) -> None:
        self.queue(stream, lambda: self._copy(array.ctypes.data, address, array.nbytes))

    def synchronize(self, stream: int) -> None:
        while self._streams[stream]:
            self._streams[stream].pop(0)()

    def capture(self, stream: int, work: Work) -> int:
        self._capturing[stream] = []
        try:
            work()
        finally:
            captured = self._capturing.pop(stream)
        self._number += 1
        self._graphs[self._number] = captured
        return self._number

    def launch(self, graph: int, stream: int) -> None:
        self.launches += 1
        self._streams[stream] += self._graphs[graph]

    def drop(self, graph: int) -> None:
        del self._graphs[graph]

    def queue(self, stream: int, work: Work) -> None:
        self._capturing.get(stream, self._streams[stream]).append(work)

    def block(self, address: int) -> FloatArray:
        """Memory of the device by its address."""
        return self._memory[address]

    def _copy(self, target: int, source: int, size: int) -> None:
        ctypes.memmove(target, source, size)


class _Flags(IntEnum):
    STRONGLY_TYPED = 0
    TF32 = 1
    WORKSPACE = 2


class DataType(Enum):
    FLOAT = 0
    HALF = 1


class Config:
    """What a builder was told."""

    def __init__(self) -> None:
        self.flags = {_Flags.TF32}

    def clear_flag(self, flag: _Flags) -> None:
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool: _Flags, size: int) -> None:
        pass


class HostTrt:
    """A ``tensorrt`` module whose engines are read by the numpy reference; a plan is the graph.

    Attributes:
        built: plans built so far.
        dtype: that engines claim for their tensors.
        refuses: what does not work today: "build", "load", "context" or "work".
    """

    float32 = DataType.FLOAT
    NetworkDefinitionCreationFlag = BuilderFlag = MemoryPoolType = _Flags

    class Logger:
        ERROR = 1

        def __init__(self, severity: int) -> None:
            pass

    def __init__(self, cuda: HostCuda, version: str = "10.3.0") -> None:
        self.__version__, self._cuda = version, cuda
        self.built, self.dtype, self.refuses = 0, DataType.FLOAT, ""

    def Builder(self, logger: Logger) -> HostTrt:  # noqa: N802 - NVIDIA's name
        return self

    def create_network(self, flags: int) -> list[bytes]:
        return []

    def OnnxParser(self, network: list[bytes], logger: Logger) -> _Parser:  # noqa: N802 - NVIDIA's name
        return _Parser(network)

    def create_builder_config(self) -> Config:
        return Config()

    def build_serialized_network(self, network: list[bytes], config: Config) -> bytes | None:
        assert config.flags == set()
        if self.refuses == "build":
            return None
        self.built += 1
        return network[0]

    def Runtime(self, logger: Logger) -> HostTrt:  # noqa: N802 - NVIDIA's name
        return self

    def deserialize_cuda_engine(self, plan: bytes) -> _Engine | None:
        return None if self.refuses == "load" else _Engine(plan, self)

    def context(self, engine: reference.ReferenceEngine) -> Any:
        return _Context(engine, self._cuda, self)


class _Parser:
    num_errors = 1

    def __init__(self, network: list[bytes]) -> None:
        self._network = network

    def parse(self, graph: bytes) -> bool:
        try:
            reference.build(graph)
        except BundleError:
            return False
        self._network.append(graph)
        return True

    def get_error(self, index: int) -> _Parser:
        return self

    def desc(self) -> str:
        return "Failed to parse the ONNX model"


class _Engine:
    def __init__(self, graph: bytes, trt: HostTrt) -> None:
        self._engine, self._trt = reference.build(graph), trt
        self._shapes: dict[str, tuple[int, ...]] = self._engine._shapes
        self._names: Sequence[str] = list(self._shapes)
        self.num_io_tensors = len(self._names)

    def get_tensor_name(self, index: int) -> str:
        return self._names[index]

    def get_tensor_dtype(self, name: str) -> DataType:
        return self._trt.dtype

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    def create_execution_context(self) -> Any:
        if self._trt.refuses == "context":
            return None
        return self._trt.context(self._engine)


class _Context:
    def __init__(self, engine: reference.ReferenceEngine, cuda: HostCuda, trt: HostTrt) -> None:
        self._engine, self._cuda, self._trt = engine, cuda, trt
        self._addresses: dict[str, int] = {}

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        if self._trt.refuses == "work":
            return False
        addresses = dict(self._addresses)
        self._cuda.queue(stream, lambda: self._compute(addresses))
        return True

    def _compute(self, addresses: dict[str, int]) -> None:
        weights: dict[str, Any] = {
            name: self._cuda.block(addresses[name]).reshape(shape)
            for name, shape in self._engine._weights.items()
        }
        runner = self._engine.stage(weights)
        for name, buffer in ((OBS_INPUT, runner.obs), (NOISE_INPUT, runner.noise)):
            buffer.reshape(-1)[:] = self._cuda.block(addresses[name])
        runner.run()
        self._cuda.block(addresses[ACTION_OUTPUT])[:] = runner.action.reshape(-1)
