"""A thousand swaps on a robot that moves at 200 Hz and streams, one right after the other.

They enter where the agent offers what it holds, the control socket; a second series then takes the
whole way, from the server's announcement on, at random moments of the agent's one-second round.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from made_bundle import Bundle

from onboard.budget import usage_of
from onboard.control_api import BUSY, GRAPH_FILE, MANIFEST_FILE, WEIGHTS_FILE
from protocol.bundle import encode_manifest
from protocol.step_record import Rows
from runtime.network import lay_out, make_bundle
from runtime.percentiles import Json, percentiles, window
from runtime.robot import Bed, Robot
from runtime.server import FIRST, Server, delays_s, serving

RATE_HZ = 200
VARIANTS = 8
"""Different weights that take turns."""
TENTHS = 10
"""Memory is looked at after each; the first one warms up."""
ANNOUNCED = 20
RETRY_S = 0.01
MB = 1e6


def measure(bed: Bed, mjcf: Path, count: int) -> Json:
    """The ``swap`` entry of ``runtime.json``."""
    robot, flips = Robot(bed), bed.folder / "flips.json"
    with serving(bed.folder / "server", robot.spec, robot.state) as server:
        server.publish(FIRST)
        robot.start(mjcf, server.endpoint, ("-m", "runtime.timed_control", flips))
        robot.drive()
        series = _series(robot, prepared(bed, count))
        announced_ns = _announced_ns(robot, server, first=count + FIRST + 1)
        robot.end()
        bed.crew.stop("agent")  # it sends what it still holds
        rows = server.rows()
    took_ns = json.loads(flips.read_text(encoding="utf-8"))
    return {
        **entry(series, rows, announced_ns, took_ns),
        "rate_hz": RATE_HZ,
        "robot_file_changes": bed.file.changes,
    }


class Series(NamedTuple):
    """Swaps one after the other.

    Attributes:
        counted: by the loop meanwhile.
        alone: by the loop over as many ticks without a swap, right afterwards.
        taken_ns: when each offer was made that was taken.
        resident_bytes: control's memory after each tenth of them.
    """

    counted: Json
    alone: Json
    taken_ns: dict[int, int]
    resident_bytes: list[int]


def entry(
    series: Series, rows: Rows, announced_ns: dict[int, int], flips_ns: Sequence[int]
) -> Json:
    """What the series showed; ``rows`` say when each version first drove."""
    counted, resident_mb = series.counted, [size / MB for size in series.resident_bytes]
    return {
        "count": counted["swaps"],
        "rejected": counted["rejected"],
        "ticks": counted["ticks"],
        "missed": counted["missed"],
        "missed_because_of_swap": counted["missed_near_swaps"],
        "missed_without_swaps": series.alone["missed"],
        "ticks_without_swaps": series.alone["ticks"],
        "rss_growth_mb": resident_mb[-1] - resident_mb[0],
        "rss_mb": resident_mb,
        "offer_to_active_s": percentiles(delays_s(rows, series.taken_ns), "p50", "p99"),
        "announced": len(announced_ns),
        "announce_to_active_s": percentiles(delays_s(rows, announced_ns), "p50", "p99"),
        "flip_us": percentiles(1e-3 * np.array(flips_ns), "p50", "p99", "max"),
    }


def prepared(bed: Bed, count: int) -> dict[int, Path]:
    """A directory per version after the first; graph and weights are hard links."""
    variants = [make_bundle(bed.file.spec, 1 + number) for number in range(VARIANTS)]
    parent = bed.folder / "bundles"
    stored = [lay_out(bundle, parent / f"variant-{i}") for i, bundle in enumerate(variants)]
    found = {}
    for version in range(FIRST + 1, FIRST + 1 + count):
        which = version % VARIANTS
        found[version] = parent / str(version)
        _link(variants[which], stored[which], version, found[version])
    return found


def _link(variant: Bundle, stored: Path, version: int, folder: Path) -> None:
    folder.mkdir()
    for name in (GRAPH_FILE, WEIGHTS_FILE):
        os.link(stored / name, folder / name)
    manifest = msgspec.structs.replace(variant.manifest, version=version)
    (folder / MANIFEST_FILE).write_bytes(encode_manifest(manifest))


def _series(robot: Robot, folders: dict[int, Path]) -> Series:
    """One offer after the other, each as soon as the last one drives."""
    before, taken_ns, resident_bytes = robot.moving(), {}, []
    for tenth in np.array_split(sorted(folders), TENTHS):
        for version in map(int, tenth):
            taken_ns[version] = _offer(robot, version, folders[version])
        resident_bytes.append(_resident_bytes(robot))
    last = max(folders)
    robot.until(lambda status: status.active_version == last, f"policy {last}")
    counted = window(before, robot.moving())
    return Series(counted, _alone(robot, counted["ticks"]), taken_ns, resident_bytes)


def _alone(robot: Robot, ticks: int) -> Json:
    """What the loop misses anyway on this machine, with the same load."""
    before = robot.moving()
    robot.until(lambda status: status.ticks >= before.ticks + ticks, f"{ticks} ticks")
    return window(before, robot.moving())


def _offer(robot: Robot, version: int, folder: Path) -> int:
    """Offer until it is taken; when that was asked for, in ns."""
    while True:
        asked_ns = time.monotonic_ns()
        done = robot.client.offer(version, folder)
        if done.ok:
            return asked_ns
        if not done.detail.startswith(BUSY):
            raise RuntimeError(f"offer {version} refused: {done.detail}")
        time.sleep(RETRY_S)


def _announced_ns(robot: Robot, server: Server, first: int) -> dict[int, int]:
    """Publish and wait until it drives, several times; when each was announced."""
    moments, versions = random.Random(0), range(first, first + ANNOUNCED)
    for version in versions:
        time.sleep(moments.random())
        server.publish(version)
        robot.until(lambda status, v=version: status.active_version == v, f"policy {version}")
    return {version: server.announced_ns[version] for version in versions}


def _resident_bytes(robot: Robot) -> int:
    usage = usage_of(robot.pid)
    if usage is None:
        raise RuntimeError("control's process cannot be seen from here")
    return usage.resident_bytes
