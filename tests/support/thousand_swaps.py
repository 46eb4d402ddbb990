"""A thousand swaps of a policy of real size in motion: ``thousand_swaps.py DIRECTORY``.

A process of its own, as control is one: what else has run in a process decides when its memory
grows. Prints one line of JSON.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import safetensors.numpy
from made_loop import Bench
from made_policy import write_bundle
from made_rig import ROBOT, make_rig_port
from numpy.typing import NDArray
from onnx import TensorProto, helper

from onboard.control_api import Start
from protocol.modes import Mode
from protocol.robot_spec import load_robot_spec

WIDTH = 256
SWAPS, WARM_UP = 1000, 200


def wide_graph() -> bytes:
    """7 → 256 → 256 → 256 → 1, as large as a real policy."""
    nodes, values, last = [], [], "obs"
    sizes = (7, WIDTH, WIDTH, WIDTH, 1)
    for index, shape in enumerate(pairwise(sizes)):
        name, out = f"w{index}", f"h{index}"
        values.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        nodes.append(helper.make_node("MatMul", [last, name], [f"m{index}"]))
        nodes.append(helper.make_node("Tanh", [f"m{index}"], [out]))
        last = out
    nodes.append(helper.make_node("Add", [last, "noise"], ["action"]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, size))
        for name, size in (("obs", 7), ("noise", 1), ("action", 1))
    ]
    graph = helper.make_graph(nodes, "wide", [*ends[:2], *values], ends[2:])
    opset = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())


def wide_bundle(make: Callable[..., Path], version: int, graph: bytes) -> Path:
    rng, sizes = np.random.default_rng(version), (7, WIDTH, WIDTH, WIDTH, 1)
    tensors: dict[str, NDArray[np.float32]] = {
        f"w{index}": (0.05 * rng.standard_normal(shape)).astype(np.float32)
        for index, shape in enumerate(pairwise(sizes))
    }
    obs = rng.standard_normal((2, 7)).astype(np.float32)
    hidden = obs
    for tensor in tensors.values():
        hidden = np.tanh(hidden @ tensor)
    weights = safetensors.numpy.save(tensors)
    folder = make(
        version,
        graph=graph,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        golden_obs=obs.tobytes(),
        golden_noise=np.zeros(2, dtype=np.float32).tobytes(),
        golden_action=hidden.astype(np.float32).tobytes(),
    )
    (folder / "weights.safetensors").write_bytes(weights)
    return folder


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main(directory: Path) -> None:
    """Without the garbage collector, as in the control process."""
    spec, graph = load_robot_spec(ROBOT), wide_graph()
    make = partial(write_bundle, directory, spec)
    bench = Bench(spec, make_rig_port(spec), directory)
    bench.boot()
    bench.load(make(1), 1)
    bench.obey(Start())
    bench.until(Mode.RUN)
    gc.collect()
    gc.disable()
    before = 0
    for version in range(2, SWAPS + 2):
        folder = wide_bundle(make, version, graph)
        bench.load(folder, version)
        bench.swap.ledger.settle()
        # What other threads and the simulated wire take away.
        bench.control.life.journal.clear()
        bench.port.written.clear()
        shutil.rmtree(folder)
        if version == WARM_UP:
            before = resident_bytes()
    found = {
        "growth_bytes": resident_bytes() - before,
        "activated": bench.swap.counts["activated"] - 1,
        "missed_ticks": bench.control.counters.missed_ticks,
    }
    bench.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
