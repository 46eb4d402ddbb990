"""``python -m harness --out DIR``: measure everything, write ``DIR/harness.json``.

``lock_step`` is simulated over processor time of the real onboard loop (sense, policy, safety, bus
driver, records) with the rig at the other end of its bus, on one core; the bar is 20 for the
furuta. ``plant_share`` is the rate of ``Plant.advance`` over that of bare ``mujoco.mj_step`` calls
from Python on the same model; the bar is 0.7. Both take turns; medians of ``ROUNDS``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import mujoco
from made_loop import Bench
from made_policy import write_bundle
from made_rig import ROBOT, make_rig_port
from runtime.machine import commit, machine

from onboard.control_api import Start
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec, load_robot_spec
from sim_harness.model import REST_KEY, compile_model
from sim_harness.plant import Plant

ROUNDS = 5
STEPS = 20_000
TICKS = 500
BARS = {"lock_step": 20.0, "plant_share": 0.7}


def lock_step(spec: RobotSpec) -> float:
    """Simulated over processor time while the robot runs its task."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        bench = Bench(spec, make_rig_port(spec), folder)
        bench.boot()
        bench.load(write_bundle(folder, spec, 1), 1)
        assert bench.obey(Start()).ok
        bench.until(Mode.RUN)
        began_ns, began_s = bench.clock.ns, time.process_time()
        bench.run(TICKS)
        ratio = (bench.clock.ns - began_ns) * 1e-9 / (time.process_time() - began_s)
        bench.close()
    return ratio


def plant_rate(spec: RobotSpec) -> float:
    """Physics steps per second of processor time."""
    body = spec.body("nominal")
    plant = Plant(spec, body, compile_model(spec, body, ROBOT.parent), 0)
    began_s = time.process_time()
    plant.advance(STEPS)
    return STEPS / (time.process_time() - began_s)


def bare_rate(spec: RobotSpec) -> float:
    """The same without anything around MuJoCo."""
    model = compile_model(spec, spec.body("nominal"), ROBOT.parent)
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key(REST_KEY).id)
    began_s = time.process_time()
    for _ in range(STEPS):
        mujoco.mj_step(model, data)
    return STEPS / (time.process_time() - began_s)


def main() -> None:
    """Measure, write, and say which bars are missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    spec = load_robot_spec(ROBOT)
    rounds = [(lock_step(spec), plant_rate(spec), bare_rate(spec)) for _ in range(ROUNDS)]
    loops, plants, bares = ([*column] for column in zip(*rounds, strict=True))
    found = {
        "lock_step": median(loops),
        "plant_share": median(plant / bare for plant, bare in zip(plants, bares, strict=True)),
        "plant_steps_s": median(plants),
        "bare_steps_s": median(bares),
    }
    missed = [name for name, least in BARS.items() if found[name] < least]
    result = {**found, "bars": BARS, "missed": missed, "machine": machine(), "commit": commit()}
    out.mkdir(parents=True, exist_ok=True)
    (out / "harness.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for name, value in found.items():
        print(f"{name:16}{value:12.2f}")
    raise SystemExit(1 if missed else 0)


if __name__ == "__main__":
    main()
