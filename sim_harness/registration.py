"""Makes the rig known to gymnasium.

Gymnasium 1.0 dropped its plugin loading, so a consumer that must not import this package has two
ways: ``gymnasium.make("sim_harness.registration:wombet/Rig-v0", ...)``, or to call what the
entry-point group ``gymnasium.envs`` lists and then make ``wombet/Rig-v0``.
"""

from __future__ import annotations

import gymnasium

ENV_ID = "wombet/Rig-v0"


def register() -> None:
    """Register :class:`sim_harness.env.RigEnv` as ``wombet/Rig-v0``; harmless if done twice."""
    if ENV_ID not in gymnasium.registry:
        gymnasium.register(id=ENV_ID, entry_point="sim_harness.env:RigEnv", order_enforce=False)


register()
