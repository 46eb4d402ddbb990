"""The flagship's planner as the robot gets it: its graph, and made weights of the true sizes.

Run as a program it writes both into the directory in its one argument: what makes them needs torch.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from onboard.backends import onnx_runtime
from onboard.graph_check import check_graph
from onboard.policy import Slot
from onboard.weights_check import check_weights
from protocol.observation import Layout
from protocol.robot_spec import load_robot_spec
from runtime.percentiles import Json, percentiles
from runtime.turns import observations, timed_ns

ROBOT, TASK = Path("hw_configs/furuta.toml"), "swing_up"
CALLS, WARM_UP = 2_000, 100


def measure(calls: int = CALLS) -> Json:
    """The ``planner`` entry of ``runtime.json``: microseconds a plan through our port, one core."""
    spec = load_robot_spec(ROBOT)
    layout = Layout(spec)
    with _made() as directory:
        graph = (directory / "graph.onnx").read_bytes()
        weights = check_weights(
            (directory / "weights.safetensors").read_bytes(), check_graph(graph, layout)
        )
        slot = Slot(onnx_runtime.build(graph).stage(weights), version=1, exploration_scale=0.0)
        turn = partial(timed_ns, slot.infer, observations(layout.size, seed=0))
        turn(WARM_UP)
        took_us = turn(calls) * 1e-3
    return {
        "planner": {
            **percentiles(took_us, "p50", "p99", "p999"),
            "period_us": 1e6 / spec.control_hz,
            "weights": int(sum(np.size(tensor) for tensor in weights.values())),
        }
    }


@contextmanager
def _made() -> Iterator[Path]:
    with TemporaryDirectory() as directory:
        subprocess.run([sys.executable, "-m", "runtime.planner", directory], check=True)
        yield Path(directory)


def make(directory: Path) -> None:
    """Write ``graph.onnx`` and ``weights.safetensors`` as the server would publish them."""
    from offboard.bench.contenders import made_transitions
    from offboard.bench.pairs import pair_named
    from offboard.bench.world import problem_of
    from offboard.export import Exporter, Origin
    from offboard.planner_policy import PlannerArchitecture, SearchConfig

    pair = pair_named("furuta")
    problem = problem_of(pair.target, pair.recipe.discount)
    model, sac = problem.world_model(pair.recipe.model), problem.sac(pair.recipe.target_sac)
    architecture = PlannerArchitecture(model, sac, problem.discount, SearchConfig())
    data = made_transitions(problem.layout.size, problem.layout.action_size, 1_000)
    flat = architecture.parameters(sac.initial(0), model.initial(data, 0))
    origin = Origin(1, 0, "bench-runtime", "", exploration_scale=0.0, evaluation={})
    bundle = Exporter(load_robot_spec(ROBOT), TASK, architecture).bundle(flat, data.obs, origin)
    (directory / "graph.onnx").write_bytes(bundle.graph)
    (directory / "weights.safetensors").write_bytes(bundle.weights)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
