"""Reaching units over ssh by Ansible: one run of a playbook for a batch, all units side by side.

Ansible carries and calls; what is installed, judged and taken back is the unit's own decision.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import IO, Any, Protocol

import msgspec

from offboard.durable_file import write_durably
from offboard.fleet.answer import AWAY, Answer, Visit, judged
from offboard.fleet.fleet_file import Unit
from protocol.errors import ConfigError

PLAYBOOK = "install.yml"
SSH_OPTIONS = "-o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=15 -o ControlMaster=no"
_KEY_REFUSED = "Host key verification failed"
"""What ssh says of a key that it does not know, and of one that has changed."""
_CARRY_S = 1200
_PAUSE_S = 5
"""Before a busy unit is asked again, by the playbook."""


@dataclass(frozen=True)
class Terms:
    """On which terms units install.

    Attributes:
        health_s: how long a release has to run without trouble.
        wait_s: how long a unit waits until its motors have no torque.
        clock: what units think of their clocks, as ``wombet-onboard release`` takes it.
    """

    health_s: float = 60.0
    wait_s: float = 120.0
    clock: str = "synchronised"

    def options(self) -> list[str]:
        """For the unit's command line."""
        numbers = ["--wait-s", f"{self.wait_s:g}", "--health-s", f"{self.health_s:g}"]
        return [*numbers, "--clock", self.clock]

    def patience(self) -> int:
        """How often a busy unit is asked again: until what keeps it busy has had its time."""
        return math.ceil((self.wait_s + self.health_s + _CARRY_S / 4) / _PAUSE_S)


def key_hint(said: str, unit: Unit) -> str:
    """What to do if ssh said that it refused the unit's host key; empty if it did not."""
    if _KEY_REFUSED not in said:
        return ""
    host = unit.address.rpartition("@")[2]
    return (
        f"its ssh host key is not known here, or has changed. If it was flashed, once: ssh-keygen "
        f"-R {host}; ssh-keyscan {host} >> ~/.ssh/known_hosts. If not, it may be another machine"
    )


class Reach(Protocol):
    """Something that can make units install."""

    def install(
        self, units: Mapping[str, Unit], releases: Mapping[str, str], slice_: Path, terms: Terms
    ) -> dict[str, Answer]:
        """Have each of ``units`` take its release out of ``slice_``; an answer for each."""
        ...


class AnsibleReach:
    """Reaches units by ssh.

    Args:
        place: folder for inventory, answers and Ansible's own output; private.
        program: ``ansible-playbook``, and what goes before it.
        connection: Ansible's connection plugin.
        carry_s: how long carrying may take, beside what the terms allow.
    """

    def __init__(
        self,
        place: Path,
        program: Sequence[str] = (),
        connection: str = "ssh",
        carry_s: float = _CARRY_S,
    ) -> None:
        self._place = place
        self._program = program or [str(Path(sys.executable).with_name("ansible-playbook"))]
        self._connection = connection
        self._carry_s = carry_s

    def install(
        self, units: Mapping[str, Unit], releases: Mapping[str, str], slice_: Path, terms: Terms
    ) -> dict[str, Answer]:
        """As :class:`Reach` says; who could not be reached is ``away``.

        Raises:
            ConfigError: Ansible is not installed.
            StoreError: the place cannot be written.
        """
        answers = self._place / "answers"
        answers.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in units:
            (answers / f"{name}.json").unlink(missing_ok=True)
        inventory = self._place / "inventory.json"
        hosts = self.hosts(units, releases)
        write_durably(inventory, msgspec.json.encode({"all": {"hosts": hosts}}))
        given = {
            "slice": str(slice_.resolve()),
            "answers": str(answers.resolve()),
            "options": terms.options(),
            "patience": terms.patience(),
        }
        limit_s = self._carry_s + terms.wait_s + terms.health_s
        said = self._play(inventory, given, len(units), limit_s)
        return {
            name: self._answer(answers / f"{name}.json", releases[name], _hint(name, unit, said))
            for name, unit in units.items()
        }

    def hosts(self, units: Mapping[str, Unit], releases: Mapping[str, str]) -> dict[str, Any]:
        """Ansible's inventory of ``units``."""
        hosts = {}
        for name, unit in units.items():
            user, at, host = unit.address.rpartition("@")
            hosts[name] = {
                "ansible_host": host,
                "ansible_connection": self._connection,
                "ansible_python_interpreter": f"/usr/bin/python{unit.target.version}",
                "ansible_become": self._connection == "ssh" and user != "root",
                "ansible_become_flags": "-n -H",
                "release": releases[name],
                **({"ansible_user": user} if at else {}),
            }
        return hosts

    def _play(self, inventory: Path, given: Mapping[str, Any], forks: int, limit_s: float) -> str:
        """Run the playbook; what it printed, which is in the log too."""
        playbook = resources.files("offboard.fleet").joinpath("ansible", PLAYBOOK)
        extra = msgspec.json.encode(given).decode()
        environment = {
            **os.environ,
            "ANSIBLE_HOME": str((self._place / "home").resolve()),
            "ANSIBLE_SSH_ARGS": SSH_OPTIONS,
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_SSH_TRANSFER_METHOD": "piped",
            "ANSIBLE_RETRY_FILES_ENABLED": "0",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "LC_ALL": "C.UTF-8",
        }
        argv = [*self._program, "--inventory", str(inventory), "--extra-vars", extra]
        argv += ["--forks", str(forks)]
        with resources.as_file(playbook) as path, (self._place / "log").open("a+b") as log:
            begin = log.seek(0, os.SEEK_END)
            try:
                _run([*argv, str(path)], environment, log, limit_s)
            except FileNotFoundError as error:
                raise ConfigError(
                    f"{self._program[0]} is not there; pip install 'wombet[fleet]'"
                ) from error
            log.seek(begin)
            return log.read().decode(errors="replace")

    def _answer(self, path: Path, release: str, hint: str) -> Answer:
        try:
            return judged(msgspec.json.decode(path.read_bytes(), type=Visit), release)
        except FileNotFoundError:
            reason = f"not reached{hint and ': '}{hint}; see {self._place / 'log'}"
            return msgspec.structs.replace(AWAY, reason=reason)
        except msgspec.DecodeError:
            return msgspec.structs.replace(AWAY, reason=f"{path} cannot be read")


def _hint(name: str, unit: Unit, said: str) -> str:
    """The same, where Ansible speaks of many units: a line that ends one names it in brackets."""
    lines = (line for line in said.splitlines() if f"[{name}]" in line)
    return key_hint("\n".join(lines), unit)


def _run(
    argv: Sequence[str], environment: Mapping[str, str], log: IO[bytes], limit_s: float
) -> None:
    """Run ``argv`` to its end or for ``limit_s``; nothing that it started carries on after that."""
    with subprocess.Popen(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    ) as process:
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            pass  # who has not answered by now is away
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
