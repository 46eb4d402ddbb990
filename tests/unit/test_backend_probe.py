"""Is a backend chosen because it works here, and is a broken one passed over with its reason?"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from ctypes import c_int, c_void_p
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from made_gpu import HostCuda, HostTrt

from onboard.backends import onnx_runtime, probe, reference
from onboard.backends.cuda import CudaRuntime, Gpu, find_gpu, open_runtime
from onboard.backends.probe import Machine, choose, findings, self_test
from onboard.backends_command import backends
from protocol.errors import BundleError, ConfigError


class Driver:
    """``libcuda.so.1`` of a machine with ``gpus`` GPUs."""

    def __init__(self, gpus: int = 1, init: int = 0) -> None:
        self._gpus, self._init = gpus, init

    def cuInit(self, flags: int) -> int:  # noqa: N802 - NVIDIA's names
        return self._init

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = self._gpus
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = 12060
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: int) -> int:  # noqa: N802
        name.value = b"Orin"
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: int) -> int:  # noqa: N802
        value._obj.value = {75: 8, 76: 7}[attribute]
        return 0


def absent(name: str) -> Any:
    raise OSError(f"{name}: cannot open shared object file")


def libraries(**found: Any) -> Callable[[str], Any]:
    """Only these can be opened, whatever their version."""

    def library(name: str) -> Any:
        stem = name.partition(".")[0]
        return found[stem] if stem in found else absent(name)

    return library


def modules(**found: Any) -> Callable[[str], Any]:
    def load(name: str) -> Any:
        if name in found:
            if isinstance(found[name], Exception):
                raise found[name]
            return found[name]
        return importlib.import_module(name)

    return load


def test_on_this_machine_the_cpu_backends_work(tmp_path: Path) -> None:
    found = {each.name: each for each in findings(Machine(tmp_path, library=absent))}
    assert list(found) == ["tensorrt", "onnx", "numpy"]
    assert found["tensorrt"].build is None
    assert "no NVIDIA driver" in found["tensorrt"].detail
    assert found["onnx"].build is onnx_runtime.build
    assert found["numpy"].build is reference.build


def test_the_best_that_works_is_chosen_and_the_better_ones_are_explained(tmp_path: Path) -> None:
    chosen = choose(Machine(tmp_path, library=absent), "auto")
    assert chosen.build is onnx_runtime.build
    assert chosen.remark.startswith("policies run on onnx (ONNX Runtime ")
    assert "not on tensorrt: no NVIDIA driver" in chosen.remark


def test_numpy_is_the_last_resort(tmp_path: Path) -> None:
    broken = ImportError("libonnxruntime.so: wrong ELF class")
    machine = Machine(tmp_path, modules(onnxruntime=broken), absent)
    chosen = choose(machine, "auto")
    assert chosen.build is reference.build
    assert "not on onnx: libonnxruntime.so: wrong ELF class" in chosen.remark


def test_one_that_is_asked_for_and_does_not_work_is_an_error(tmp_path: Path) -> None:
    machine = Machine(tmp_path, library=absent)
    with pytest.raises(ConfigError, match="no policy can run here: not on tensorrt: no NVIDIA"):
        choose(machine, "tensorrt")
    assert choose(machine, "numpy").build is reference.build


def test_tensorrt_is_not_even_imported_without_a_driver(tmp_path: Path) -> None:
    imported = []
    machine = Machine(tmp_path, imported.append, absent)
    assert next(findings(machine)).build is None
    assert imported == []


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        (lambda folder: (modules(), libraries(libcuda=Driver(gpus=0))), "no NVIDIA GPU"),
        (lambda folder: (modules(), libraries(libcuda=Driver(init=100))), "cuInit: error 100"),
        (
            lambda folder: (
                modules(tensorrt=ImportError("libnvonnxparser.so.11")),
                libraries(libcuda=Driver()),
            ),
            "libnvonnxparser",
        ),
        (
            lambda folder: (
                modules(tensorrt=HostTrt(HostCuda(), "8.6.2")),
                libraries(libcuda=Driver()),
            ),
            "TensorRT 8.6.2 is not in",
        ),
        (
            lambda folder: (modules(tensorrt=HostTrt(HostCuda())), libraries(libcuda=Driver())),
            "no CUDA runtime: none of libcudart.so.12, libcudart.so can be loaded",
        ),
    ],
    ids=["no gpu", "driver does not start", "bindings without libraries", "too old", "no runtime"],
)
def test_each_thing_tensorrt_lacks_is_named(
    machine: Callable[[Path], tuple[Any, Any]], reason: str, tmp_path: Path
) -> None:
    load, library = machine(tmp_path)
    found = next(findings(Machine(tmp_path, load, library)))
    assert (found.name, found.build) == ("tensorrt", None)
    assert reason in found.detail


def test_tensorrt_is_taken_where_it_gives_the_right_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = HostCuda()
    monkeypatch.setattr(probe, "open_runtime", lambda gpu, library: cuda)
    trt = HostTrt(cuda)
    machine = Machine(tmp_path, modules(tensorrt=trt), libraries(libcuda=Driver()))
    found = next(findings(machine))
    assert (found.name, found.detail) == ("tensorrt", "TensorRT 10.3.0 on Orin")
    assert choose(machine, "auto").build is not None
    assert trt.built == 1  # the second time from the cache


@pytest.mark.parametrize("answer", [0.0, float("nan")])
def test_a_backend_that_answers_wrongly_does_not_work(answer: float) -> None:
    runner = SimpleNamespace(
        obs=np.zeros((1, 2)), noise=np.zeros((1, 1)), action=np.full((1, 1), answer),
        run=lambda: None, close=lambda: None,
    )  # fmt: skip
    engine: Any = SimpleNamespace(stage=lambda weights: runner)
    with pytest.raises(BundleError, match=r"where 0\.149668 is right"):
        self_test(lambda graph: engine)


def test_the_command_prints_a_line_for_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert backends(tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["tensorrt", "onnx", "numpy"]
    assert lines[1].split()[1] == "works"


# CUDA itself.


def test_the_gpu_is_described_by_the_driver() -> None:
    assert find_gpu(libraries(libcuda=Driver())) == Gpu("Orin", "8.7", 12060)


class Cudart:
    """``libcudart``: counts calls, hands out numbers, fails on demand."""

    def __init__(self, fails: str = "") -> None:
        self.called: list[str] = []
        self._fails, self._number = fails, 100

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cuda"):
            raise AttributeError(name)

        def call(*arguments: Any) -> Any:
            if name == "cudaGetErrorString":
                return b"out of memory"
            self.called.append(name)
            if arguments and hasattr(arguments[0], "_obj"):
                self._number += 1
                arguments[0]._obj.value = self._number
            return 2 if name == self._fails else 0

        setattr(self, name, call)
        return call


def test_the_runtime_that_fits_the_driver_is_opened() -> None:
    opened = []

    def library(name: str) -> Any:
        opened.append(name)
        return Cudart() if name == "libcudart.so.12" else absent(name)

    assert isinstance(open_runtime(Gpu("", "", 13000), library), CudaRuntime)
    assert opened == ["libcudart.so.13", "libcudart.so.12"]


def test_a_refusal_of_the_gpu_is_told_in_its_words() -> None:
    runtime = CudaRuntime(Cudart(fails="cudaMalloc"))
    with pytest.raises(BundleError, match=r"cudaMalloc failed: out of memory \(error 2\)"):
        runtime.allocate(64)


def test_each_method_is_one_call() -> None:
    library = Cudart()
    runtime, array = CudaRuntime(library), np.zeros(4, dtype=np.float32)
    stream, address = runtime.open_stream(), runtime.allocate(16)
    runtime.upload(address, array, stream)
    runtime.download(array, address, stream)
    runtime.launch(7, stream)
    runtime.synchronize(stream)
    runtime.drop(7)
    runtime.free(address)
    runtime.close_stream(stream)
    assert library.called == [
        *("cudaStreamCreateWithFlags", "cudaMalloc", "cudaMemcpyAsync", "cudaMemcpyAsync"),
        *("cudaGraphLaunch", "cudaStreamSynchronize", "cudaGraphExecDestroy", "cudaFree"),
        "cudaStreamDestroy",
    ]


def test_a_capture_ends_whatever_happens_in_it() -> None:
    library = Cudart()
    runtime = CudaRuntime(library)

    def broken() -> None:
        raise BundleError("TensorRT does not take the work")

    with pytest.raises(BundleError, match="does not take"):
        runtime.capture(1, broken)
    assert library.called == ["cudaStreamBeginCapture", "cudaStreamEndCapture"]


def test_a_captured_graph_is_dropped_once_it_is_instantiated() -> None:
    library = Cudart()
    assert CudaRuntime(library).capture(1, lambda: None) > 0
    assert library.called[-2:] == ["cudaGraphInstantiateWithFlags", "cudaGraphDestroy"]


def test_pinned_memory_goes_back_with_the_last_view_of_it() -> None:
    library, memory = Cudart(), (ctypes.c_float * 6)()

    def host_alloc(target: Any, size: int, flags: int) -> int:
        target._obj.value = ctypes.addressof(memory)
        return 0

    library.cudaHostAlloc = host_alloc
    array = CudaRuntime(library).host_array((2, 3))
    row = array[1]
    del array
    assert library.called == []
    row[:] = 5.0
    assert list(memory) == [0.0, 0.0, 0.0, 5.0, 5.0, 5.0]
    del row
    assert library.called == ["cudaFreeHost"]


def test_nvidias_own_runtime_has_every_call_and_refuses_without_a_gpu() -> None:
    try:
        library = ctypes.CDLL("libcudart.so.13")
    except OSError as error:
        pytest.skip(f"no CUDA runtime is installed: {error}")
    count = c_int()
    library.cudaGetDeviceCount.argtypes = (c_void_p,)
    if library.cudaGetDeviceCount(ctypes.byref(count)) == 0 and count.value > 0:
        pytest.skip("there is a GPU here")
    with pytest.raises(BundleError, match=r"cudaMalloc failed: .*driver.*\(error"):
        CudaRuntime(library).allocate(64)
