"""The bodies of the locomotion benchmark: one table for each animal, every change with its source.

Sources: VGDF = NeurIPS 2023, appendix D.2, and Kavka1/VGDF ``env/assets/halfcheetah_morph.xml``;
ODRL = arXiv 2410.20750, ``envs/mujoco/assets``, whose file names the ``odrl_`` bodies carry;
LEARNING.md § 3 and § 4 for both, § 6 for the gaps that leave joint ranges alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim_harness.body_edits import (
    Edit,
    body_origins,
    capsules,
    geom_centres,
    half_lengths,
    heavier_body,
    in_turn,
    joint_ranges,
    scaled_friction,
    scaled_gears,
    unchanged,
)

ORIGIN = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class LocomotionBody:
    """How a body differs from gymnasium's.

    Attributes:
        edit: of the MJCF.
        forward_weight: of the forward velocity in the reward; -1 asks for running backward.
        action_sign: -1 crosses the wires of every motor.
    """

    edit: Edit = unchanged
    forward_weight: float = 1.0
    action_sign: float = 1.0


CHEETAH = {
    "nominal": LocomotionBody(),
    # LEARNING.md § 4: VGDF's fault on the front leg, [-1, 0.7] / 100.
    "broken_front_thigh": LocomotionBody(joint_ranges(fthigh=(-0.01, 0.007))),
    # VGDF: [-0.52, 1.05] / 100.
    "broken_back_thigh": LocomotionBody(joint_ranges(bthigh=(-0.0052, 0.0105))),
    # VGDF: thighs of 1e-4; the published file also redraws the shins and the back foot.
    "no_thighs": LocomotionBody(
        in_turn(
            capsules(
                bthigh=(ORIGIN, (-0.0001, 0.0, -0.0001)),
                bshin=(ORIGIN, (-0.13, 0.0, -0.15)),
                fthigh=(ORIGIN, (0.0001, 0.0, 0.0001)),
                fshin=(ORIGIN, (0.01, 0.0, -0.16)),
            ),
            half_lengths(bfoot=0.07),
            body_origins(
                bshin=(-0.0001, 0.0, -0.0001),
                bfoot=(-0.13, 0.0, -0.15),
                fshin=(0.0001, 0.0, 0.0001),
                ffoot=(0.01, 0.0, -0.16),
            ),
        )
    ),
    # ODRL: torso half-length 0.5 → 0.25; head and legs move with its ends.
    "odrl_morph_torso_medium": LocomotionBody(
        in_turn(
            capsules(torso=((-0.25, 0.0, 0.0), (0.25, 0.0, 0.0))),
            geom_centres(head=(0.35, 0.0, 0.1)),
            body_origins(bthigh=(-0.25, 0.0, 0.0), fthigh=(0.25, 0.0, 0.0)),
        )
    ),
    # ODRL: both thigh ranges × 0.5.
    "odrl_kinematic_thighjnt_medium": LocomotionBody(
        joint_ranges(bthigh=(-0.26, 0.525), fthigh=(-0.5, 0.35))
    ),
    # LEARNING.md § 6, verdict 4: gaps that leave the reachable joint angles alone.
    "weak_gear": LocomotionBody(scaled_gears(0.6)),
    "payload": LocomotionBody(heavier_body("torso", 0.5)),
    "low_friction": LocomotionBody(scaled_friction(0.4)),
    # The same machine, another reward; and a machine on which nothing learned is right.
    "backward": LocomotionBody(forward_weight=-1.0),
    "inverted": LocomotionBody(action_sign=-1.0),
}
"""Bodies of HalfCheetah-v5; angles in radian."""

ANT = {
    "nominal": LocomotionBody(),
    # VGDF: hips of legs 1 and 2, ±30° / 100.
    "broken_hips": LocomotionBody(joint_ranges(hip_1=(-0.3, 0.3), hip_2=(-0.3, 0.3))),
    # ODRL: the outer segment of every leg, 0.4 → 0.2.
    "odrl_morph_alllegs_medium": LocomotionBody(
        capsules(
            left_ankle_geom=(ORIGIN, (0.2, 0.2, 0.0)),
            right_ankle_geom=(ORIGIN, (-0.2, 0.2, 0.0)),
            third_ankle_geom=(ORIGIN, (-0.2, -0.2, 0.0)),
            fourth_ankle_geom=(ORIGIN, (0.2, -0.2, 0.0)),
        )
    ),
    # ODRL: every hip, ±30° → ±15°.
    "odrl_kinematic_hipjnt_medium": LocomotionBody(
        joint_ranges(
            hip_1=(-15.0, 15.0), hip_2=(-15.0, 15.0), hip_3=(-15.0, 15.0), hip_4=(-15.0, 15.0)
        )
    ),
}
"""Bodies of Ant-v5; angles in degree."""
