"""Makes our simulated worlds known to gymnasium.

Gymnasium 1.0 dropped its plug-in loading; a consumer that must not import this package says
``gymnasium.make("sim_harness.registration:wombet/Rig-v0", ...)`` (ADR 3).
"""

from __future__ import annotations

import gymnasium

ENV_ID = "wombet/Rig-v0"
ENTRY_POINTS = {
    ENV_ID: "sim_harness.env:RigEnv",
    "wombet/Quadruped-v0": "sim_harness.quadruped:QuadrupedEnv",
    "wombet/Cheetah-v0": "sim_harness.locomotion:make_cheetah",
    "wombet/Ant-v0": "sim_harness.locomotion:make_ant",
}
HORIZONS = {"wombet/Cheetah-v0": 1000, "wombet/Ant-v0": 1000}
"""Steps of those episodes that do not end themselves. Source: gymnasium's own v5 tasks."""


def register() -> None:
    """Register every world; harmless if done twice."""
    for env_id, entry_point in ENTRY_POINTS.items():
        if env_id not in gymnasium.registry:
            gymnasium.register(
                id=env_id,
                entry_point=entry_point,
                max_episode_steps=HORIZONS.get(env_id),
                order_enforce=False,
            )


register()
