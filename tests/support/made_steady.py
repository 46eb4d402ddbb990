"""A loop in RUN for good, over a bus in memory: what it is like when nothing happens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
from made_bus import MemoryPort
from made_loop import Bench
from made_rig import Clock

from onboard.control_api import Start
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec


def steady_bench(spec: RobotSpec, make_bundle: Callable[..., Path], folder: Path) -> Bench:
    """In an episode that lasts longer than any test."""
    task = msgspec.structs.replace(spec.tasks["swing_up"], episode_steps=100_000)
    safety = msgspec.structs.replace(spec.safety, operator_timeout_s=86_400.0)
    spec = msgspec.structs.replace(spec, tasks={"swing_up": task}, safety=safety)
    bench = Bench(spec, MemoryPort(spec, Clock()), folder)
    bench.boot()
    bench.load(make_bundle(1, robot_digest=spec.digest(), exploration=0.1), 1)
    assert bench.obey(Start()).ok
    bench.until(Mode.RUN)
    return bench
