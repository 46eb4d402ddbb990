"""``python -m harness --out DIR``: measure everything, write ``DIR/harness.json``.

``lock_step`` is simulated over processor time of the real onboard loop (sense, policy, safety, bus
driver, records) with the rig at the other end of its bus, on one core; the bar is 20 for the furuta
and 5 for the quadruped. ``plant_share`` is the rate of ``Plant.advance``, its motors powered, over
that of bare ``mujoco.mj_step`` calls from Python on the same model in the same state; the bar is
0.7. Both take turns; medians of ``ROUNDS``.
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
from protocol.robot_spec import PositionAction, RobotSpec, load_robot_spec
from sim_harness.model import compile_model
from sim_harness.plant import Plant
from sim_harness.wire_end import Setpoint

ROUNDS = 5
STEPS = 20_000
SETTLING_STEPS = 500
TICKS = 500
BARS = {
    "furuta": {"lock_step": 20.0, "plant_share": 0.7},
    "quadruped": {"lock_step": 5.0, "plant_share": 0.7},
}


def lock_step(spec: RobotSpec) -> float:
    """Simulated over processor time while the robot runs its task."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        bench = Bench(spec, make_rig_port(spec), folder)
        bench.boot()
        bench.load(write_bundle(folder, spec, 1), 1)
        assert bench.obey(Start()).ok
        bench.until(Mode.RUN, 2000)
        began_ns, began_s = bench.clock.ns, time.process_time()
        bench.run(TICKS)
        ratio = (bench.clock.ns - began_ns) * 1e-9 / (time.process_time() - began_s)
        bench.close()
    return ratio


def driven_plant(spec: RobotSpec) -> Plant:
    """Its motors powered, and as asked: at home, or without current."""
    body, home = spec.body("nominal"), spec.homing.home_rad
    plant = Plant(spec, body, compile_model(spec, body, ROBOT.parent), 0)
    position_mode = isinstance(spec.action, PositionAction)
    plant.command([Setpoint(place, 1.0, 0.0) if position_mode else 0.0 for place in home])
    plant.advance(SETTLING_STEPS)
    return plant


def plant_rates(spec: RobotSpec) -> tuple[float, float]:
    """Physics steps per second of processor time: the plant's, and MuJoCo's alone."""
    plant = driven_plant(spec)
    began_s = time.process_time()
    plant.advance(STEPS)
    turned_s = time.process_time()
    model, data = plant._model, plant._data
    for _ in range(STEPS):
        mujoco.mj_step(model, data)
    return STEPS / (turned_s - began_s), STEPS / (time.process_time() - turned_s)


def measured(robot: str) -> dict[str, float]:
    """Medians for the robot of that name."""
    spec = load_robot_spec(ROBOT.with_name(f"{robot}.toml"))
    rounds = [(lock_step(spec), *plant_rates(spec)) for _ in range(ROUNDS)]
    loops, plants, bares = ([*column] for column in zip(*rounds, strict=True))
    return {
        "lock_step": median(loops),
        "plant_share": median(plant / bare for plant, bare in zip(plants, bares, strict=True)),
        "plant_steps_s": median(plants),
        "bare_steps_s": median(bares),
    }


def main() -> None:
    """Measure, write, and say which bars are missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    robots = {robot: measured(robot) for robot in BARS}
    missed = [
        f"{robot}.{name}"
        for robot, bars in BARS.items()
        for name, least in bars.items()
        if robots[robot][name] < least
    ]
    facts = {"bars": BARS, "missed": missed, "machine": machine(), "commit": commit()}
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"robots": robots, **facts}, indent=2)
    (out / "harness.json").write_text(text + "\n", encoding="utf-8")
    for robot, found in robots.items():
        for name, value in found.items():
            print(f"{robot:12}{name:16}{value:12.2f}")
    raise SystemExit(1 if missed else 0)


if __name__ == "__main__":
    main()
