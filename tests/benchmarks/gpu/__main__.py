"""``python -m gpu --out DIR``: what a GPU does for the learner and for a policy in the loop.

Writes ``DIR/gpu.json``. ``swaps`` and ``inference`` run through our TensorRT backend: through
TensorRT where it can be imported, else through PyTorch's kernels in its place (``torch_trt.py``).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from runtime.machine import ROOT, commit, machine
from runtime.percentiles import Json

from gpu import learning, swaps
from gpu.inference import measure as measure_inference
from gpu.torch_trt import OnGpu, TorchTrt
from onboard.backends.cuda import find_gpu, open_runtime
from onboard.backends.engine_cache import open_cache
from onboard.backends.tensor_rt import TensorRt
from onboard.realtime import place
from protocol.errors import BundleError
from protocol.robot_spec import load_robot_spec

ROBOT = ROOT / "hw_configs" / "furuta.toml"
PARTS = ("learning", "inference", "swaps")


def main() -> None:
    """The command line."""
    options = _options()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    try:
        gpu = find_gpu()
    except BundleError as error:
        raise SystemExit(
            f"bench-gpu: {error}; it needs a machine with CUDA, see docs/gpu.md"
        ) from None
    document: Json = {"machine": machine(), "commit": commit(), "gpu": gpu._asdict()}
    document["torch"] = torch.__version__
    for part in options.parts:
        tell(part)
        document |= _tried(part, partial(_PARTS[part], options.seconds))
        (out / "gpu.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))
    raise SystemExit(any("failed" in part for part in document.values() if isinstance(part, dict)))


def _tried(part: str, measure: Callable[[], Json]) -> Json:
    """What was measured, or why nothing was: the other parts are worth having."""
    try:
        return measure()
    except Exception as error:
        traceback.print_exc()
        return {part: {"failed": f"{type(error).__name__}: {error}"}}


def _learning(_: float) -> Json:
    return {"learning": learning.measure(torch.device("cuda"))}


def _inference(_: float) -> Json:
    backend, name = _backend()
    return {"inference": {"backend": name, **measure_inference(backend.build)}}


def _swaps(seconds: float) -> Json:
    """The last part: it makes this process one that keeps time."""
    backend, name = _backend()
    spec, found = load_robot_spec(ROBOT), []
    torch.zeros(1, device="cuda")  # the context is there before memory is locked
    placement = place(spec.timing)
    for cell in swaps.CELLS:
        tell(f"{cell}")
        folder = Path(tempfile.mkdtemp(prefix="wombet-gpu-", dir="/dev/shm"))
        try:
            found.append(swaps.measure(cell, backend.build, spec, folder, seconds))
        finally:
            shutil.rmtree(folder)
    return {"swaps": {"backend": name, "placement": placement._asdict(), "cells": found}}


def _backend() -> tuple[TensorRt, str]:
    gpu = find_gpu()
    try:
        import tensorrt as trt
    except ImportError:
        trt = TorchTrt(OnGpu())
    cache = open_cache(Path(tempfile.mkdtemp(prefix="wombet-engines-")))
    name = (
        f"{type(trt).__name__} {trt.__version__}" if isinstance(trt, TorchTrt) else trt.__version__
    )
    return TensorRt(trt, open_runtime(gpu, _library), gpu, cache), name


def _library(name: str) -> ctypes.CDLL:
    """Also where PyTorch brings its own CUDA runtime."""
    try:
        return ctypes.CDLL(name)
    except OSError:
        for folder in map(Path, sys.path):
            for path in folder.glob(f"nvidia/*/lib/{name}"):
                return ctypes.CDLL(str(path))
        raise


def tell(what: str) -> None:
    """What is going on, for whoever waits."""
    print(f"bench-gpu: {what}", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "bench-gpu")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each loop")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    return parser.parse_args()


_PARTS = {"learning": _learning, "inference": _inference, "swaps": _swaps}

if __name__ == "__main__":
    main()
