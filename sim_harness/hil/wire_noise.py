"""What a bad wire does to bytes. Pure, given its random numbers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sim_harness.hil.faults import Babble, Delay, Drop, Duplicate, Flip, Half, WireFault
from sim_harness.wire_end import Reply


def damaged(data: bytes, faults: Iterable[WireFault], rng: np.random.Generator) -> bytes:
    """What arrives of ``data``, whichever way it goes."""
    for fault in faults:
        data = _damaged(data, fault, rng)
    return data


def damaged_reply(reply: Reply, faults: Iterable[WireFault], rng: np.random.Generator) -> Reply:
    """An answer as it arrives: damaged as :func:`damaged`, cut, preceded by noise, late."""
    delay_ns, data = reply
    for fault in faults:
        data = _damaged(data, fault, rng)
        if isinstance(fault, Half) and rng.random() < fault.share:
            data = data[: len(data) // 2]
        elif isinstance(fault, Babble):
            data = rng.bytes(fault.length) + data
        elif isinstance(fault, Delay):
            delay_ns += round(1e9 * (fault.delay_s + fault.jitter_s * rng.random()))
    return Reply(delay_ns, data)


def _damaged(data: bytes, fault: WireFault, rng: np.random.Generator) -> bytes:
    if not isinstance(fault, (Drop, Flip, Duplicate)):
        return data
    held = np.frombuffer(data, np.uint8)
    hit = rng.random(held.size) < fault.share
    if isinstance(fault, Drop):
        return held[~hit].tobytes()
    if isinstance(fault, Duplicate):
        return np.repeat(held, 1 + hit).tobytes()
    bits = np.left_shift(1, rng.integers(0, 8, held.size)).astype(np.uint8)
    return np.where(hit, held ^ bits, held).tobytes()
