"""The loop without bus and plant: the real ``Control``, tick by tick, over a bus in memory.

Time is simulated for the loop and real for the stopwatch here. Answers come from frames made
beforehand; what the bus in memory takes for them is subtracted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import msgspec
from made_bus import MemoryPort
from made_loop import Bench
from made_rig import Clock

from onboard.allocations import WARM_UP, blocks_grown
from onboard.control_api import Start
from protocol.modes import Mode
from protocol.robot_spec import RobotSpec
from runtime.network import lay_out, make_bundle
from runtime.percentiles import Json, percentiles

TICKS = 10_000
ROUNDS = 5
READ_EVERY = 1_000


class MeteredPort(MemoryPort):
    """Counts the time that is spent on the other side of the bus.

    Attributes:
        spent_ns: so far.
    """

    def __init__(self, spec: RobotSpec, clock: Clock) -> None:
        super().__init__(spec, clock)
        self.spent_ns = 0

    def write(self, data: bytes) -> None:
        began_ns = time.perf_counter_ns()
        super().write(data)
        self.spent_ns += time.perf_counter_ns() - began_ns

    def read(self, timeout_s: float) -> bytes:
        began_ns = time.perf_counter_ns()
        answer = super().read(timeout_s)
        self.spent_ns += time.perf_counter_ns() - began_ns
        return answer


def measure(spec: RobotSpec, folder: Path) -> Json:
    """``tick_without_serial_us`` and ``allocations_per_10k_ticks`` with the 3×256 policy.

    Of the rounds, which a shared machine makes differ by half, the one with the middle median.
    """
    with _running(spec, folder) as bench:
        rounds = sorted((_tick_us(bench) for _ in range(ROUNDS)), key=median)
        blocks = blocks_grown(lambda: _emptied(bench), TICKS)
        if bench.ring.dropped:
            raise RuntimeError(
                "the ring was full: these were not the ticks of a robot that streams"
            )
    return {
        "tick_without_serial_us": percentiles(rounds[ROUNDS // 2]),
        "tick_without_serial_medians_us": [median(took_us) for took_us in rounds],
        "allocations_per_10k_ticks": blocks,
    }


def _emptied(bench: Bench) -> None:
    """One tick, and now and then the agent's side of the ring."""
    bench.run(1)
    if bench.control.counters.ticks % READ_EVERY == 0:
        bench.reader.release(len(bench.rows()))


@contextmanager
def _running(spec: RobotSpec, folder: Path) -> Iterator[Bench]:
    """A loop in RUN, in an episode that does not end."""
    name = spec.task_name(None)
    task = msgspec.structs.replace(spec.tasks[name], episode_steps=100_000)
    safety = msgspec.structs.replace(spec.safety, operator_timeout_s=86_400.0)
    spec = msgspec.structs.replace(spec, tasks={name: task}, safety=safety)
    bench = Bench(spec, MeteredPort(spec, Clock()), folder)
    try:
        bench.boot()
        bench.load(lay_out(make_bundle(spec, 1), folder / "bundle"), 1)
        if not (done := bench.obey(Start())).ok:
            raise RuntimeError(f"the loop does not start: {done.detail}")
        bench.until(Mode.RUN)
        yield bench
    finally:
        bench.close()


def _tick_us(bench: Bench) -> list[float]:
    """Elapsed time of each tick, less the bus; the ring is emptied between ticks."""
    took_us = []
    for number in range(WARM_UP + TICKS):
        if number % READ_EVERY == 0:
            bench.reader.release(len(bench.rows()))
        wake, spent_ns = bench.schedule.wait(), bench.port.spent_ns
        began_ns = time.perf_counter_ns()
        bench.control.tick(wake)
        took_ns = time.perf_counter_ns() - began_ns
        took_us.append((took_ns - (bench.port.spent_ns - spent_ns)) * 1e-3)
    return took_us[WARM_UP:]
