"""Makes the rig known to gymnasium.

Gymnasium 1.0 dropped its plug-in loading; a consumer that must not import this package says
``gymnasium.make("sim_harness.registration:wombet/Rig-v0", ...)`` (ADR 3).
"""

from __future__ import annotations

import gymnasium

ENV_ID = "wombet/Rig-v0"


def register() -> None:
    """Register :class:`sim_harness.env.RigEnv` as ``wombet/Rig-v0``; harmless if done twice."""
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(id=ENV_ID, entry_point="sim_harness.env:RigEnv", order_enforce=False)


register()
