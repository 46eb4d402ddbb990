"""How long a motor drives a joint towards its own end stop. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocol.robot_spec import RobotSpec
from sim_harness.hil.truth import SAMPLE_NS, Truth

MARGIN_SHARE = 0.75
"""Of ``safety.position_margin_rad``: so close to its limit a joint is surely called back."""
LEAST_SHARE = 0.1
"""Of the largest effort; with less a joint is held, not pressed."""


def pressed_ms(truth: Truth, spec: RobotSpec) -> float:
    """The longest stretch in which a motor pushed a joint outwards that should be called back.

    An end stop takes any effort and hardly gives way, so the joint's place alone does not tell.
    """
    samples = max((_longest(column) for column in _pressing(truth, spec).T), default=0)
    return round(samples * SAMPLE_NS * 1e-6, 1)


def _pressing(truth: Truth, spec: RobotSpec) -> NDArray[np.bool_]:
    """(N, A) where a motor pushes outwards near an end."""
    joints, near_rad = spec.actuated, MARGIN_SHARE * spec.safety.position_margin_rad
    low_rad = np.array([joint.position_min_rad for joint in joints]) + near_rad
    high_rad = np.array([joint.position_max_rad for joint in joints]) - near_rad
    position_rad = truth.position_rad[:, [spec.joint_index(joint.name) for joint in joints]]
    least_nm = LEAST_SHARE * spec.safety.effort_max_nm
    up: NDArray[np.bool_] = (position_rad > high_rad) & (truth.torque_nm > least_nm)
    return up | ((position_rad < low_rad) & (truth.torque_nm < -least_nm))


def _longest(flags: NDArray[np.bool_]) -> int:
    """Of all stretches of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    return int(np.max(edges[1::2] - edges[::2], initial=0))
