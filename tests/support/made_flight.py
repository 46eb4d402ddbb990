"""Flies the simulated rig and keeps the flight as the file that must replay for ever.

Run it only after a change that is meant to alter what the robot does, and say why in the commit:
``PYTHONPATH=. .venv/bin/python tests/support/made_flight.py``
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from made_loop import Bench
from made_policy import write_bundle
from made_rig import ROBOT, make_rig_port

from onboard.control_api import Start, Stop
from onboard.flight_file import encode_flight
from onboard.flight_ring import read_flight
from onboard.recorder import flight_dtype
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec, load_robot_spec

FLIGHT = Path(__file__).parents[1] / "replay" / "furuta.mcap"
LIFE = 0
VERSIONS = (1, 2)
EXPLORATION = 0.2


def make_bundles(spec: RobotSpec, folder: Path) -> None:
    """The policies of the flight; the same bytes each time."""
    for version in VERSIONS:
        write_bundle(folder, spec, version, exploration=EXPLORATION)


def fly(spec: RobotSpec, folder: Path) -> bytes:
    """Home, run, swap, lose the bus for two ticks, be late, hold, run on, stop."""
    make_bundles(spec, folder)
    bench = Bench(spec, make_rig_port(spec), folder)
    bench.boot()
    bench.load(folder / "bundle-1", 1)
    bench.obey(Start())
    bench.until(Mode.RUN)
    bench.run(30)
    bench.load(folder / "bundle-2", 2)
    bench.run(30)
    bench.port.mute = True
    bench.run(2)
    bench.port.mute = False
    bench.run(10)
    bench.clock.sleep(0.15)
    bench.run(5)
    bench.until(Mode.RUN)
    bench.run(10)
    bench.obey(Stop())
    bench.run(2)
    flight = read_flight(folder / "flight", flight_dtype(spec))
    bench.close()
    assert flight is not None
    rows = flight.rows
    for column in ("work_us", "section_work_us"):  # of this machine, not of the robot
        rows[column] = 0.0
    facts = {"cause": "demand", "reason": "golden flight", "task": "swing_up", "life": str(LIFE)}
    return encode_flight(spec, rows, facts)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        FLIGHT.write_bytes(fly(load_robot_spec(ROBOT), Path(scratch)))
