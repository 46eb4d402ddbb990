"""Contenders that take turns, so that what else the machine does meets all of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.network import FloatArray

POOL = 64
Turn = Callable[[int], NDArray[np.int64]]
"""Makes that many calls and says how many nanoseconds each took."""


def observations(O: int, seed: int) -> FloatArray:
    """(N, O) that contenders are asked about, one after the other."""
    return np.random.default_rng(seed).standard_normal((POOL, O), dtype=np.float32)


def timed_ns(infer: Callable[[FloatArray], Any], pool: FloatArray, calls: int) -> NDArray[np.int64]:
    """(calls,) elapsed time of each call, the garbage collector off as in the loop."""
    took_ns = np.empty(calls, np.int64)
    rows, clock_ns = [*pool], time.perf_counter_ns
    gc.disable()
    try:
        for call in range(calls):
            obs = rows[call % len(rows)]
            began_ns = clock_ns()
            infer(obs)
            took_ns[call] = clock_ns() - began_ns
    finally:
        gc.enable()
    return took_ns


def alternate(
    turns: Mapping[str, Turn], rounds: int, calls: int, warm_up: int
) -> dict[str, NDArray[np.int64]]:
    """(rounds, calls) nanoseconds of each contender, after an uncounted turn of ``warm_up``."""
    for turn in turns.values():
        turn(warm_up)
    took: dict[str, list[NDArray[np.int64]]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            took[name].append(turn(calls))
    return {name: np.stack(each) for name, each in took.items()}
