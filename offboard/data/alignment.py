"""A log's columns put in a robot's order, checked before anything learns from them.

A column that cannot be right is an error that names it: a model would fit it without complaint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from offboard.data.trajectory import FloatArray, Log, Trajectory, measured_hz
from protocol.errors import StoreError
from protocol.observation import Layout
from protocol.robot_spec import RobotSpec

RATE_TOLERANCE = 0.05
CIRCLE_TOLERANCE = 1e-3


def aligned(
    log: Log, spec: RobotSpec, columns: Sequence[str] = (), actions: Sequence[str] = ()
) -> Log:
    """The same log in the columns of ``spec``; those it does not know are dropped.

    Action history that the log lacks is derived from what was applied; before a trajectory's first
    tick that is nothing.

    Args:
        log: from any reader.
        spec: the robot that will learn from it.
        columns: names of the log's observation columns in their order, instead of its own.
        actions: names of its actions, likewise.

    Raises:
        StoreError: naming the column that is missing, not finite, out of range or not on the unit
            circle, or the rate that does not fit.
    """
    layout = Layout(spec)
    joints = [joint.name for joint in spec.actuated]
    order = _order(log, "action", actions or log.actions, joints)
    held = columns or log.columns
    history = {layout.labels[column] for column, _, _ in layout.history}
    known = [label for label in layout.labels if label in held or label not in history]
    places = dict(zip(known, _order(log, "observation", held, known), strict=True))
    parts = []
    for part in log.trajectories:
        applied = np.ascontiguousarray(part.applied[:, order])
        _check_actions(log, part, applied, joints)
        obs = _observation(part, applied, places, layout)
        _check_observation(log, part, obs, layout)
        parts.append(replace(part, obs=obs, applied=applied))
    _check_rate(log, spec.control_hz)
    return replace(
        log,
        columns=tuple(layout.labels),
        actions=tuple(joints),
        control_hz=spec.control_hz,
        trajectories=tuple(parts),
    )


def _order(log: Log, kind: str, held: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where each wanted column lies among those held."""
    width = _width(log, kind)
    if not held:
        option = "columns" if kind == "observation" else "actions"
        raise StoreError(
            f"{log.origin} does not name its {width} {kind} columns; name them in order with "
            f"--{option}, of {' '.join(wanted)}"
        )
    if len(held) != width:
        raise StoreError(f"{log.origin} has {width} {kind} columns, {len(held)} were named")
    if missing := [name for name in wanted if name not in held]:
        raise StoreError(f"{log.origin} lacks {kind} column {missing[0]!r}; it has {[*held]}")
    return [held.index(name) for name in wanted]


def _width(log: Log, kind: str) -> int:
    if not log.trajectories:
        raise StoreError(f"{log.origin} holds no two neighbouring steps to learn from")
    first = log.trajectories[0]
    values = first.obs if kind == "observation" else first.applied
    return int(values.shape[1])


def _observation(
    part: Trajectory, applied: FloatArray, places: dict[str, int], layout: Layout
) -> FloatArray:
    """(T+1, O): columns from their ``places``, the others from what was ``applied`` (T, A)."""
    obs = np.zeros((part.steps + 1, layout.size), dtype=np.float32)
    for label, place in places.items():
        obs[:, layout.column(label)] = part.obs[:, place]
    for column, action, age in layout.history:
        if layout.labels[column] not in places:
            past = applied[: part.steps + 1 - age, action]
            obs[age:, column] = past * layout.scales[column]
    return obs


def _check_actions(log: Log, part: Trajectory, applied: FloatArray, joints: Sequence[str]) -> None:
    for values, joint in zip(applied.T, joints, strict=True):
        _finite(log, part, values, f"action {joint!r}")
        if np.abs(values).max() > 1.0:
            raise StoreError(
                f"{log.origin}, episode {part.episode}: action {joint!r} reaches "
                f"{np.abs(values).max():g}; actions are shares of full effort, in [-1, 1]"
            )


def _check_observation(log: Log, part: Trajectory, obs: FloatArray, layout: Layout) -> None:
    for values, label in zip(obs.T, layout.labels, strict=True):
        _finite(log, part, values, f"observation column {label!r}")
    for label in layout.labels:
        kind, _, joint = label.partition(":")
        if kind == "cos" and f"sin:{joint}" in layout.labels:
            radius = np.hypot(layout.read(obs, label), layout.read(obs, f"sin:{joint}"))
            if np.abs(radius - 1.0).max() > CIRCLE_TOLERANCE:
                raise StoreError(
                    f"{log.origin}, episode {part.episode}: columns {label!r} and 'sin:{joint}' "
                    "do not lie on the unit circle; one of them is another quantity"
                )


def _finite(log: Log, part: Trajectory, values: FloatArray, name: str) -> None:
    if not np.isfinite(values).all():
        step = int(np.flatnonzero(~np.isfinite(values))[0])
        raise StoreError(
            f"{log.origin}, episode {part.episode}: {name} is not finite at step {step}"
        )


def _check_rate(log: Log, control_hz: float) -> None:
    measured = measured_hz(log.trajectories)
    rate = log.control_hz if np.isnan(measured) else measured
    if rate > 0.0 and abs(rate / control_hz - 1.0) > RATE_TOLERANCE:
        raise StoreError(
            f"{log.origin} was recorded at {rate:.4g} Hz and the robot runs at {control_hz:g} Hz; "
            "a model of one tick cannot learn from it"
        )
