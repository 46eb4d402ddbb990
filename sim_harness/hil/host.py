"""The machine the runtime lives on, this one or another: commands and copies, nothing else."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from protocol.errors import ConfigError

COMMAND_S = 300.0


class Host:
    """Where commands run: here, or as ``target`` of ssh, at its ``port`` if that is not 0."""

    def __init__(self, target: str = "", port: int = 0) -> None:
        self._target = target
        at = ("-p", str(port)) if port else ()
        self._ssh = ("ssh", *at, "-o", "BatchMode=yes", "-o", "ServerAliveInterval=5")

    @property
    def local(self) -> bool:
        """Whether it is this machine."""
        return not self._target

    def argv(self, command: Sequence[str], *options: str) -> list[str]:
        """How ``command`` is run from here; ``options`` are ssh's."""
        if not self._target:
            return [*command]
        return [*self._ssh, *options, self._target, "--", shlex.join(command)]

    def call(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, in ``COMMAND_S``; its exit status is the caller's business.

        Raises:
            ConfigError: it cannot be run, or does not end.
        """
        try:
            return subprocess.run(
                self.argv(command), capture_output=True, text=True, timeout=COMMAND_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(
                f"{command[0]} on {self._target or 'this machine'}: {error}"
            ) from error

    def start(
        self, command: Sequence[str], log: IO[bytes], port: int = 0
    ) -> subprocess.Popen[bytes]:
        """Run a command in the background, its words in ``log``; it ends when this end of it does.

        To the command, ``port`` of its own loopback is that of this machine's.

        Raises:
            ConfigError: it cannot be started.
        """
        way = f"127.0.0.1:{port}:127.0.0.1:{port}"
        tunnel = ("-R", way, "-o", "ExitOnForwardFailure=yes") if port else ()
        argv = self.argv(command, "-tt", *tunnel)
        try:
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        except OSError as error:
            raise ConfigError(f"{command[0]} cannot be started ({error})") from error

    def put(self, source: Path, target: str) -> None:
        """Copy the contents of a directory into one that exists over there. Raises ConfigError."""
        pack = ["tar", "-C", str(source), "-cf", "-", "."]
        self._carried(pack, self.argv(["tar", "-C", target, "-xf", "-"]), f"{source} to {target}")

    def get(self, source: str, target: Path) -> None:
        """The other way: into a directory that exists here. Raises ConfigError."""
        pack = self.argv(["tar", "-C", source, "-cf", "-", "."])
        self._carried(pack, ["tar", "-C", str(target), "-xf", "-"], f"{source} to {target}")

    def _carried(self, pack: Sequence[str], unpack: Sequence[str], way: str) -> None:
        packed = subprocess.run(pack, capture_output=True, check=False)
        unpacked = subprocess.run(unpack, input=packed.stdout, capture_output=True, check=False)
        if packed.returncode or unpacked.returncode:
            detail = (packed.stderr + unpacked.stderr).decode(errors="replace").strip()
            raise ConfigError(f"{way} cannot be copied: {detail}")


def host_of(address: str) -> Host:
    """``local``, or ``ssh://USER@HOST[:PORT]``. Raises ConfigError for anything else."""
    if address == "local":
        return Host()
    parts = urlsplit(address)
    wanted = ConfigError(f"--onboard {address}: give ssh://USER@HOST[:PORT], or local")
    try:
        port = parts.port
    except ValueError as error:
        raise wanted from error
    odd = parts.path.strip("/") or parts.query or parts.password is not None or port == 0
    if parts.scheme != "ssh" or not parts.hostname or odd:
        raise wanted
    target = parts.netloc if port is None else parts.netloc.rpartition(":")[0]
    bare = target.removesuffix(":").replace("[", "").replace("]", "")  # ssh wants IPv6 so
    return Host(bare, port or 0)
