"""Policies change under a loop that keeps time, on the GPU: the two-slot CUDA-graph flip.

A loop at a fixed rate asks the policy that drives and flips at tick boundaries; the stager copies,
checks and warms up the next one in its own buffers meanwhile. What every tick commanded is compared
afterwards with what numpy computes from the weights of the version that was said to drive.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from runtime.network import answer, lay_out, make_bundle, make_weights
from runtime.percentiles import Json, percentiles
from runtime.turns import observations

from onboard.backends.port import Build
from onboard.control_api import Offer
from onboard.hotswap import HotSwap
from onboard.realtime import EARLY_NS, assist
from onboard.schedule import Schedule
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec

HEAD_GAIN = 0.01
"""Of the versions that :func:`runtime.network.make_bundle` makes."""


class Cell(NamedTuple):
    """One measurement; ``load`` is "quiet", or "loaded" by matrix products on the same GPU."""

    rate_hz: int
    load: str
    swap_every_s: float | None


CELLS = tuple(
    Cell(rate_hz, load, every)
    for rate_hz, every in ((50, 0.1), (200, 0.1), (500, 0.1), (200, None))
    for load in ("quiet", "loaded")
)


class Ticks(NamedTuple):
    """What happened at each tick (T,): its inference, its version, what it commanded (T, A)."""

    infer_ns: NDArray[np.int64]
    flip_ns: NDArray[np.int64]
    version: NDArray[np.int64]
    action: NDArray[np.float32]


def measure(cell: Cell, build: Build, spec: RobotSpec, folder: Path, seconds: float) -> Json:
    """One entry of ``swaps``; bundles lie in ``folder`` for as long as it takes."""
    count = 0 if cell.swap_every_s is None else round(seconds / cell.swap_every_s)
    for version in range(1, count + 2):
        lay_out(make_bundle(spec, version), folder / str(version))
    swap = HotSwap(spec, "swing_up", build=build)
    swap.stage(Offer(version=1, directory=str(folder / "1")))
    swap.flip()
    with _loaded(cell.load), _staged(swap, spec), _offered(swap, cell, count, folder):
        ticks, missed = run(swap, spec, cell.rate_hz, seconds)
    return {
        **cell._asdict(),
        "ticks": ticks.version.size,
        "missed": missed,
        "swaps": swap.counts["activated"] - 1,
        "rejected": swap.counts["rejected"],
        "infer_us": percentiles(ticks.infer_ns * 1e-3),
        "flip_us": percentiles(ticks.flip_ns[1:][np.diff(ticks.version) > 0] * 1e-3),
        "worst_action_error": worst_error(spec, ticks),
    }


def run(swap: HotSwap, spec: RobotSpec, rate_hz: int, seconds: float) -> tuple[Ticks, int]:
    """Tick for ``seconds``; what happened, and how many slots of the schedule were missed."""
    layout, count = Layout(spec), round(seconds * rate_hz)
    ticks = Ticks(
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.zeros((count, layout.action_size), np.float32),
    )
    rows, clock_ns, missed = [*observations(layout.size, seed=0)], time.perf_counter_ns, 0
    schedule = Schedule(round(1e9 / rate_hz), clock_ns, time.sleep, EARLY_NS)
    for tick in range(count):
        missed += schedule.wait().skipped
        began_ns = clock_ns()
        swap.flip()
        flipped_ns, slot = clock_ns(), swap.active
        assert slot is not None
        ticks.action[tick] = slot.infer(rows[tick % len(rows)])
        ticks.infer_ns[tick] = clock_ns() - flipped_ns
        ticks.flip_ns[tick], ticks.version[tick] = flipped_ns - began_ns, slot.version
    return ticks, missed


def worst_error(spec: RobotSpec, ticks: Ticks) -> float:
    """Largest difference of any action from numpy's with the weights of its tick's version."""
    layout, worst = Layout(spec), 0.0
    pool = observations(layout.size, seed=0)
    asked = pool[np.arange(ticks.version.size) % len(pool)]
    for version in np.unique(ticks.version):
        weights = make_weights(layout.size, layout.action_size, int(version), HEAD_GAIN)
        mine = ticks.version == version
        wanted = answer(weights, asked[mine], np.zeros_like(ticks.action[mine]))
        worst = max(worst, float(np.abs(ticks.action[mine] - wanted).max()))
    return worst


@contextmanager
def _staged(swap: HotSwap, spec: RobotSpec) -> Iterator[None]:
    def stage() -> None:
        assist(spec.timing)
        swap.stage_forever()

    with _beside(stage, swap.close):
        yield


@contextmanager
def _offered(swap: HotSwap, cell: Cell, count: int, folder: Path) -> Iterator[None]:
    over = threading.Event()

    def offer() -> None:
        for version in range(2, count + 2):
            over.wait(cell.swap_every_s)
            swap.offer(Offer(version=version, directory=str(folder / str(version))))

    with _beside(offer, over.set):
        yield


@contextmanager
def _beside(work: Callable[[], None], end: Callable[[], None]) -> Iterator[None]:
    """``work`` in a thread of its own, which ``end`` lets return."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        end()
        thread.join()


@contextmanager
def _loaded(load: str) -> Iterator[None]:
    if load == "quiet":
        yield
        return
    hog = subprocess.Popen([sys.executable, "-m", "gpu.hog"], stdout=subprocess.PIPE, text=True)
    try:
        assert hog.stdout is not None
        hog.stdout.readline()  # it has begun
        yield
    finally:
        hog.kill()
        hog.wait()
