"""Pictures of a run: the rig where something began, ended or was over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from protocol.errors import ConfigError, StoreError
from protocol.robot_spec import RobotSpec
from sim_harness.camera import Camera
from sim_harness.hil.faults import kind_of
from sim_harness.hil.tape import OVER, ZERO, Turned
from sim_harness.hil.truth import Array, Truth
from sim_harness.model import compile_model
from sim_harness.png import png

MOST = 4
WIDTH, HEIGHT = 320, 240


class Picture(NamedTuple):
    """One moment as a PNG file."""

    caption: str
    data: bytes


class Album(NamedTuple):
    """The pictures of a run, or why there are none."""

    pictures: list[Picture]
    missing: str = ""


def album_of(spec: RobotSpec, directory: Path, body: str, truth: Truth, folder: Path) -> Album:
    """Take them, and leave them in ``folder`` too. ``directory`` is where the MJCF lies.

    Raises:
        StoreError: ``folder`` cannot be written.
    """
    model = compile_model(spec, spec.body(body), directory)
    try:
        with Camera(model, WIDTH, HEIGHT) as camera:
            taken = [Picture(told, png(camera.take(qpos))) for told, qpos in _moments(truth)]
    except ConfigError as error:
        return Album([], str(error))
    try:
        for index, picture in enumerate(taken):
            (folder / f"picture_{index}.png").write_bytes(picture.data)
    except OSError as error:
        raise StoreError(f"{folder}: cannot write the pictures ({error})") from error
    return Album(taken)


def _moments(truth: Truth) -> Iterator[tuple[str, Array]]:
    """The start, the first changes after it, and the end."""
    from_s = truth.mark_s(ZERO) or 0.0
    told = [
        (_caption(turn, from_s), qpos)
        for turn, qpos in zip(truth.turns, truth.poses, strict=True)
        if turn.fault is not None or turn.mark in (ZERO, OVER)
    ]
    yield from told[: MOST - 1]
    yield from told[max(MOST - 1, len(told) - 1) :]


def _caption(turn: Turned, from_s: float) -> str:
    at_s = turn.at_ns * 1e-9 - from_s
    if turn.fault is None:
        return f"{at_s:.2f} s"
    return f"{at_s:.2f} s: {kind_of(turn.fault)} {'begins' if turn.begins else 'ends'}"
