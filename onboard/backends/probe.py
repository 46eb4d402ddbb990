"""Which backends work on this machine: tried out, not guessed from what is installed.

A backend works if it answers a tiny policy as hand arithmetic does. For TensorRT the driver comes
first: a runtime without one kills the process, and bindings may be there without their libraries.
Source: RUNTIME.md, Inference § 1 and § 6.
"""

from __future__ import annotations

import ctypes
import importlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from onnx import TensorProto, helper

from onboard.backends import onnx_runtime, reference
from onboard.backends.cuda import Library, find_gpu, open_runtime
from onboard.backends.engine_cache import open_cache
from onboard.backends.port import Build
from onboard.backends.tensor_rt import TensorRt, check_version
from onboard.backends_command import Backend
from protocol.bundle import ACTION_OUTPUT, GOLDEN_TOLERANCE, NOISE_INPUT, OBS_INPUT
from protocol.errors import BundleError, ConfigError, StoreError

Name = Literal["tensorrt", "onnx", "numpy"]
Load = Callable[[str], Any]
"""Imports a module by name; raises ImportError. ``importlib.import_module`` is one."""


class Finding(NamedTuple):
    """One backend on this machine.

    Attributes:
        name: of the backend.
        build: makes engines; ``None`` if it does not work.
        detail: version and place, or why it does not work.
    """

    name: Name
    build: Build | None
    detail: str


class Choice(NamedTuple):
    """The backend to use.

    Attributes:
        build: makes engines.
        remark: which one it is, and why not a better one.
    """

    build: Build
    remark: str


class Machine(NamedTuple):
    """Where backends are looked for.

    Attributes:
        engines: durable directory of TensorRT's plans.
        load: imports a module.
        library: opens a shared library.
    """

    engines: Path
    load: Load = importlib.import_module
    library: Library = ctypes.CDLL


def findings(machine: Machine) -> Iterator[Finding]:
    """Every backend, the best first; each is tried when it is asked for."""
    for name, find in _FINDERS.items():
        yield _tried(name, find, machine)


def choose(machine: Machine, wanted: Backend) -> Choice:
    """The best backend that works, or the wanted one.

    Args:
        machine: this one.
        wanted: a backend's name, or "auto" for the best that works.

    Raises:
        ConfigError: it does not work, and why.
    """
    failed: list[str] = []
    for name, find in _FINDERS.items():
        if wanted not in ("auto", name):
            continue
        found = _tried(name, find, machine)
        if found.build is not None:
            remark = "; ".join([f"policies run on {name} ({found.detail})", *failed])
            return Choice(found.build, remark)
        failed.append(f"not on {name}: {found.detail}")
    raise ConfigError(f"no policy can run here: {'; '.join(failed)}")


def self_test(build: Build) -> None:
    """A tiny policy whose answer is known. Raises BundleError if it comes out differently."""
    runner = build(_tiny_graph()).stage(
        {"w": np.array([[0.5], [-0.25]], np.float32), "b": np.array([0.1], np.float32)}
    )
    runner.obs[0], runner.noise[0] = (1.0, 2.0), 0.05
    runner.run()
    answer, wanted = float(runner.action[0, 0]), math.tanh(0.1) + 0.05
    runner.close()
    if not abs(answer - wanted) <= GOLDEN_TOLERANCE:  # NaN is not
        raise BundleError(f"it answers {answer:.6g} where {wanted:.6g} is right")


def _tried(name: Name, find: Callable[[Machine], tuple[Build, str]], machine: Machine) -> Finding:
    try:
        build, detail = find(machine)
        self_test(build)
    except (BundleError, StoreError, ImportError) as error:
        return Finding(name, None, str(error))
    return Finding(name, build, detail)


def _find_tensorrt(machine: Machine) -> tuple[Build, str]:
    gpu = find_gpu(machine.library)
    trt = machine.load("tensorrt")
    version = check_version(trt)
    runtime = open_runtime(gpu, machine.library)
    backend = TensorRt(trt, runtime, gpu, open_cache(machine.engines))
    return backend.build, f"TensorRT {version} on {gpu.name}"


def _find_onnx(machine: Machine) -> tuple[Build, str]:
    version = machine.load("onnxruntime").__version__
    return onnx_runtime.build, f"ONNX Runtime {version}, one CPU core"


def _find_numpy(machine: Machine) -> tuple[Build, str]:
    return reference.build, f"numpy {np.__version__}, one CPU core, slow"


_FINDERS: dict[Name, Callable[[Machine], tuple[Build, str]]] = {
    "tensorrt": _find_tensorrt,
    "onnx": _find_onnx,
    "numpy": _find_numpy,
}


def _tiny_graph() -> bytes:
    """``action = tanh(obs w + b) + noise``."""

    def value(name: str, *shape: int) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    nodes = [
        helper.make_node("Gemm", [OBS_INPUT, "w", "b"], ["linear"]),
        helper.make_node("Tanh", ["linear"], ["mean"]),
        helper.make_node("Add", ["mean", NOISE_INPUT], [ACTION_OUTPUT]),
    ]
    inputs = [value(OBS_INPUT, 1, 2), value(NOISE_INPUT, 1, 1), value("w", 2, 1), value("b", 1)]
    graph = helper.make_graph(nodes, "tiny", inputs, [value(ACTION_OUTPUT, 1, 1)])
    opset = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())
