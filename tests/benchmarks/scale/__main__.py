"""``python -m scale --out DIR``: the same work on one worker and on two, ``DIR/scale.json``.

``generate`` is the wall time of the parts of one generation on a pool of processes that are warm;
pools take turns. ``learner`` is the wall time of one update by a crew that torchrun started on this
machine (gloo on loopback), the best of its rounds. A machine with other work to do shares that out,
too: leave it alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from made_records import ROBOT_FILE
from runtime.machine import commit, machine
from runtime.percentiles import Json

from offboard.generate import GenerateConfig
from offboard.parts import Part, parts_of
from offboard.stages.generate import OfflineConfig, make_part
from offboard.stages.source import SourceConfig, run_source
from offboard.train_online import OnlineConfig
from offboard.workers import Pool, gathered, workers
from scale import learner

WORKERS = (1, 2)
PARTS, TRAJECTORIES, STEPS, ROUNDS = 8, 64, 60, 5
PENALTY = 1.0
SOURCE_STEPS = 1_500
"""Enough for networks of their real size; what they know does not change what they cost."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scale", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/bench-scale"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    found = {
        "machine": machine(),
        "commit": commit(),
        "generate": generation(source(out / "source")),
        "learner": {str(count): crew(count, out / "crew.json") for count in WORKERS},
    }
    text = json.dumps(found, indent=2)
    (out / "scale.json").write_text(text + "\n", encoding="utf-8")
    print(text)


def source(out: Path) -> OfflineConfig:
    """What is generated, from a source run in ``out`` that is made if it is not there."""
    online = OnlineConfig(env_steps=SOURCE_STEPS)
    run_source(SourceConfig(ROBOT_FILE, "swing_up", online=online), out)
    return OfflineConfig(
        ROBOT_FILE,
        "swing_up",
        out,
        generate=GenerateConfig(trajectories=TRAJECTORIES, steps=STEPS),
        parts=PARTS,
    )


def generation(config: OfflineConfig) -> Json:
    """Wall seconds by the number of workers, every round and their median."""
    parts = parts_of(TRAJECTORIES, PARTS)
    took: dict[int, list[float]] = {count: [] for count in WORKERS}
    with workers(WORKERS[0]) as one, workers(WORKERS[1]) as two:
        pools = dict(zip(WORKERS, (one, two), strict=True))
        for pool in pools.values():
            made(pool, config, parts)
        for _ in range(ROUNDS):
            for count, pool in pools.items():
                took[count].append(made(pool, config, parts))
    medians = {str(count): median(each) for count, each in took.items()}
    return {
        "seconds": {str(count): each for count, each in took.items()},
        "median": medians,
        "speed_up": medians["1"] / medians["2"],
    }


def made(pool: Pool, config: OfflineConfig, parts: list[Part]) -> float:
    """Seconds until all parts are imagined."""
    began_s = time.perf_counter()
    gathered(pool, make_part, [(config, PENALTY, part, False) for part in parts])
    return time.perf_counter() - began_s


def crew(count: int, out: Path) -> Json:
    """Milliseconds an update, by the width of the networks."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    subprocess.run(
        [sys.executable, *torchrun, learner.__file__, str(out)],
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
        check=True,
    )
    found = json.loads(out.read_text(encoding="utf-8"))
    return {width: 1e3 * took_s for width, took_s in found.items()}


if __name__ == "__main__":
    main()
