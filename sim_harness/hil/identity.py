"""What a robot needs before it can run: keys of its own, and policies. Made once per suite."""

from __future__ import annotations

import sys
from pathlib import Path

from protocol.errors import ConfigError
from protocol.robot_spec import RobotSpec
from sim_harness.hil.bench import Outfit
from sim_harness.hil.host import Host
from sim_harness.hil.plain_policy import write_policy
from sim_harness.hil.scenario import VERSIONS

KEYS = (sys.executable, "-m", "offboard.main", "keys")
UNIT = "hil"


def make_outfit(folder: Path, spec: RobotSpec, task: str) -> Outfit:
    """An identity nobody else has, and both plain policies.

    Raises:
        ConfigError: keys cannot be made; ``wombet-offboard`` is needed for that.
    """
    state, here = folder / "state", Host()
    for words in (("init", str(folder / "keys")), ("add", str(folder / "keys"), UNIT, str(state))):
        done = here.call(*KEYS, *words)
        if done.returncode != 0:
            raise ConfigError(f"wombet-offboard keys {words[0]}: {done.stderr.strip()}")
    for temper in VERSIONS:
        write_policy(folder / "policies", spec, task, temper)
    return Outfit(state, folder / "policies")
