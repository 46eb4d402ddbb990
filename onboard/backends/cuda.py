"""The dozen CUDA calls a policy needs, by ctypes: no CUDA package for Python has to be installed.

:func:`find_gpu` asks the driver whether there is a GPU at all; nothing else of NVIDIA's may be
touched before, because a TensorRT runtime without a driver kills the process on first use.
Source: RUNTIME.md, Inference § 1; CUDA Runtime API 12 and 13 (the calls are the same in both).
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections.abc import Callable
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from protocol.errors import BundleError

FloatArray = NDArray[np.float32]
Library = Callable[[str], Any]
"""Opens a shared library by name; raises OSError. ``ctypes.CDLL`` is one."""

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
_HOST_TO_DEVICE, _DEVICE_TO_HOST = 1, 2
_NON_BLOCKING = 1
_THREAD_LOCAL = 1
"""Capture mode: what other threads do with CUDA meanwhile is their business."""


class Gpu(NamedTuple):
    """What an engine is bound to.

    Attributes:
        name: as the driver reports it.
        capability: compute capability, "8.7".
        driver: newest CUDA version the driver supports, 12060 for 12.6.
    """

    name: str
    capability: str
    driver: int


def find_gpu(library: Library = ctypes.CDLL) -> Gpu:
    """The first GPU. Raises BundleError saying why there is none."""
    try:
        cuda = library("libcuda.so.1")
    except OSError as error:
        raise BundleError(f"no NVIDIA driver ({error})") from error
    count, driver = c_int(), c_int()
    if (code := cuda.cuInit(0)) != 0:
        raise BundleError(f"the NVIDIA driver does not start (cuInit: error {code})")
    if cuda.cuDeviceGetCount(byref(count)) != 0 or count.value == 0:
        raise BundleError("no NVIDIA GPU")
    name, major, minor = ctypes.create_string_buffer(256), c_int(), c_int()
    cuda.cuDriverGetVersion(byref(driver))
    cuda.cuDeviceGetName(name, len(name), 0)
    cuda.cuDeviceGetAttribute(byref(major), _MAJOR, 0)
    cuda.cuDeviceGetAttribute(byref(minor), _MINOR, 0)
    return Gpu(name.value.decode(), f"{major.value}.{minor.value}", driver.value)


class Cuda(Protocol):
    """What a runner needs of a GPU. Streams, graphs and addresses are plain numbers.

    Every method raises BundleError if the GPU refuses.
    """

    def allocate(self, size: int) -> int:
        """Address of ``size`` bytes of device memory."""

    def free(self, address: int) -> None:
        """Give device memory back."""

    def host_array(self, shape: tuple[int, ...]) -> FloatArray:
        """Zeros in host memory that the GPU can reach; freed with the last reference to it."""

    def open_stream(self) -> int:
        """A queue of work of its own."""

    def close_stream(self, stream: int) -> None:
        """Give a stream back."""

    def upload(self, address: int, array: FloatArray, stream: int) -> None:
        """Queue a copy to the device; ``array`` must stay until the stream is synchronized."""

    def download(self, array: FloatArray, address: int, stream: int) -> None:
        """Queue a copy from the device, likewise."""

    def synchronize(self, stream: int) -> None:
        """Wait until everything queued is done."""

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        """A graph of what ``work`` queues on ``stream``; nothing of it is done."""

    def launch(self, graph: int, stream: int) -> None:
        """Queue everything of a graph at once."""

    def drop(self, graph: int) -> None:
        """Give a graph back."""


_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cudaMalloc": (c_void_p, c_size_t),
    "cudaFree": (c_void_p,),
    "cudaHostAlloc": (c_void_p, c_size_t, c_uint),
    "cudaFreeHost": (c_void_p,),
    "cudaStreamCreateWithFlags": (c_void_p, c_uint),
    "cudaStreamDestroy": (c_void_p,),
    "cudaMemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "cudaStreamSynchronize": (c_void_p,),
    "cudaStreamBeginCapture": (c_void_p, c_int),
    "cudaStreamEndCapture": (c_void_p, c_void_p),
    "cudaGraphInstantiateWithFlags": (c_void_p, c_void_p, c_ulonglong),
    "cudaGraphLaunch": (c_void_p, c_void_p),
    "cudaGraphDestroy": (c_void_p,),
    "cudaGraphExecDestroy": (c_void_p,),
}


def open_runtime(gpu: Gpu, library: Library = ctypes.CDLL) -> CudaRuntime:
    """The CUDA runtime that fits the driver. Raises BundleError if there is none."""
    majors = range(gpu.driver // 1000, 11, -1)
    names = [*(f"libcudart.so.{major}" for major in majors), "libcudart.so"]
    for name in names:
        try:
            return CudaRuntime(library(name))
        except (OSError, AttributeError):  # not there, or too old for a call
            continue
    raise BundleError(f"no CUDA runtime: none of {', '.join(names)} can be loaded")


class CudaRuntime:
    """:class:`Cuda` by NVIDIA's runtime library."""

    def __init__(self, library: Any) -> None:
        self._calls = {name: getattr(library, name) for name in _SIGNATURES}
        for name, types in _SIGNATURES.items():
            self._calls[name].argtypes, self._calls[name].restype = types, c_int
        self._text = library.cudaGetErrorString
        self._text.argtypes, self._text.restype = (c_int,), c_char_p

    def allocate(self, size: int) -> int:
        """See the port."""
        return self._made("cudaMalloc", size)

    def free(self, address: int) -> None:
        """See the port."""
        self._call("cudaFree", address)

    def host_array(self, shape: tuple[int, ...]) -> FloatArray:
        """See the port."""
        count = math.prod(shape)
        address = self._made("cudaHostAlloc", max(4 * count, 4), 0)
        memory = (ctypes.c_float * count).from_address(address)
        weakref.finalize(memory, self._calls["cudaFreeHost"], address)
        array: FloatArray = np.ctypeslib.as_array(memory).reshape(shape)
        array[...] = 0.0
        return array

    def open_stream(self) -> int:
        """See the port. It does not wait for the default stream."""
        return self._made("cudaStreamCreateWithFlags", _NON_BLOCKING)

    def close_stream(self, stream: int) -> None:
        """See the port."""
        self._call("cudaStreamDestroy", stream)

    def upload(self, address: int, array: FloatArray, stream: int) -> None:
        """See the port."""
        source = array.ctypes.data
        self._call("cudaMemcpyAsync", address, source, array.nbytes, _HOST_TO_DEVICE, stream)

    def download(self, array: FloatArray, address: int, stream: int) -> None:
        """See the port."""
        target = array.ctypes.data
        self._call("cudaMemcpyAsync", target, address, array.nbytes, _DEVICE_TO_HOST, stream)

    def synchronize(self, stream: int) -> None:
        """See the port."""
        self._call("cudaStreamSynchronize", stream)

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        """See the port."""
        recorded = c_void_p()
        self._call("cudaStreamBeginCapture", stream, _THREAD_LOCAL)
        try:
            work()
        finally:
            self._call("cudaStreamEndCapture", stream, byref(recorded))
        try:
            return self._made("cudaGraphInstantiateWithFlags", recorded, 0)
        finally:
            self._call("cudaGraphDestroy", recorded)

    def launch(self, graph: int, stream: int) -> None:
        """See the port."""
        self._call("cudaGraphLaunch", graph, stream)

    def drop(self, graph: int) -> None:
        """See the port."""
        self._call("cudaGraphExecDestroy", graph)

    def _made(self, name: str, *arguments: Any) -> int:
        """The handle or address that a call puts where its first argument points."""
        handle = c_void_p()
        self._call(name, byref(handle), *arguments)
        return handle.value or 0

    def _call(self, name: str, *arguments: Any) -> None:
        code = self._calls[name](*arguments)
        if code != 0:
            raise BundleError(f"{name} failed: {self._text(code).decode()} (error {code})")
