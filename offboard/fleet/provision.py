"""Put the runtime on a Jetson that runs already: the overlay of flashing, over ssh.

It keeps the system, its partitions and its users. Once per unit; releases come by deploying.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence

from offboard.fleet.ansible_reach import key_hint
from offboard.fleet.fleet_file import Unit
from offboard.fleet.overlay import Overlay
from offboard.fleet.unit_overlay import system_file
from protocol.errors import ConfigError

SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
_PROVISION_S = 900


def remote_command(unit: Unit, root: str = "/") -> str:
    """What the unit's shell is given; the overlay follows on standard input."""
    script = system_file("provision.sh").decode()
    interpreter = f"python{unit.target.version}"
    command = shlex.join(["sh", "-c", script, "provision", root, interpreter])
    return command if unit.address.startswith("root@") else f"sudo -n {command}"


def provision(
    name: str, unit: Unit, overlay: Overlay, ssh: Sequence[str] = SSH, root: str = "/"
) -> None:
    """Install ``overlay`` on unit ``name`` and start the runtime.

    Args:
        name: the unit's.
        unit: its entry in the fleet file.
        overlay: made without a data partition.
        ssh: the program that reaches it, with its options.
        root: directory on the unit that is its root.

    Raises:
        ConfigError: it cannot be reached, or refused; it says "not provisioned" and why.
    """
    if unit.pulls:
        raise ConfigError(f"{name} pulls, so nobody can reach it; give it an address for this")
    argv = [*ssh, unit.address, remote_command(unit, root)]
    try:
        done = subprocess.run(
            argv, input=overlay.tar(), capture_output=True, timeout=_PROVISION_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{name} not provisioned: {error}") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        reason = key_hint(said, unit) or said[-400:] or done.returncode
        raise ConfigError(f"{name} ({unit.address}) not provisioned: {reason}")
