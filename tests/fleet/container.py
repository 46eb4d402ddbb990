"""A field unit on this machine: Debian with systemd, sshd and journald, booted by systemd-nspawn.

Its disk is a folder over a base that all share, so a unit's power can be cut (the container is
killed) and given back. Source: FLEET.md § 9.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

BOOT_S = 120.0
_ENTER_S = 120.0
_NETWORK = """\
[Match]
Name=host0
[Network]
Address={address}/30
Gateway={host}
LinkLocalAddressing=no
"""
_MASKED = ("systemd-firstboot", "systemd-resolved", "systemd-timesyncd", "apt-daily.timer")


class Container:
    """One unit; ``number`` makes its network, 10.213.NUMBER.0/30.

    Args:
        name: of the unit.
        number: 1 … 250.
        base: the root file system that is shared, never written.
        place: keeps what this unit wrote.
        devices: devices of this machine by what they are called on the unit.
        operator: the ssh public key that may log in as root before it is provisioned.
        releases_bytes: size of a disk of its own for releases; 0 for none.
    """

    def __init__(
        self,
        name: str,
        number: int,
        base: Path,
        place: Path,
        devices: Mapping[str, Path],
        operator: str,
        releases_bytes: int = 0,
    ) -> None:
        self.name, self.address = name, f"10.213.{number}.2"
        self.host = f"10.213.{number}.1"
        self.root = place / name / "root"
        self._link = f"ve-{name}"
        self.releases_disk = self.root / "opt/wombet"
        self._base, self._place, self._operator = base, place / name, operator
        self._devices, self._releases_bytes = devices, releases_bytes
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Mount its disk, and write what makes it this unit's."""
        upper, work = self._place / "upper", self._place / "work"
        for folder in (upper, work, self.root):
            folder.mkdir(parents=True)
        options = f"lowerdir={self._base},upperdir={upper},workdir={work}"
        _run("mount", "-t", "overlay", "overlay", "-o", options, str(self.root))
        if self._releases_bytes:
            self.releases_disk.mkdir(parents=True)
            size = f"size={self._releases_bytes},mode=755"
            _run("mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self.releases_disk))
        (self.root / "etc/machine-id").unlink(missing_ok=True)
        (self.root / "etc/hostname").write_text(f"{self.name}\n")
        network = self.root / "etc/systemd/network/10-host0.network"
        network.write_text(_NETWORK.format(address=self.address, host=self.host))
        for unit in _MASKED:
            name = unit if "." in unit else f"{unit}.service"
            (self.root / "etc/systemd/system" / name).symlink_to("/dev/null")
        keys = self.root / "root/.ssh/authorized_keys"
        keys.parent.mkdir(mode=0o700, exist_ok=True)
        keys.write_text(f"{self._operator}\n")
        keys.chmod(0o600)

    def boot(self) -> None:
        """Power on; returns when somebody could log in."""
        if self._process is not None:
            raise RuntimeError(f"{self.name} is on")
        argv = ["systemd-nspawn", "--quiet", f"--directory={self.root}", f"--machine={self.name}"]
        argv += ["--register=no", "--keep-unit", "--boot", "--network-veth", "--console=pipe"]
        argv += ["--rlimit=RLIMIT_RTPRIO=98", "--rlimit=RLIMIT_MEMLOCK=infinity"]
        argv += ["--capability=CAP_SYS_NICE,CAP_IPC_LOCK", "--system-call-filter=@resources"]
        argv += [f"--bind={os.path.realpath(path)}:{it}" for it, path in self._devices.items()]
        environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        with (self._place / "console").open("ab") as console:
            self._process = subprocess.Popen(
                argv, env=environment, stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        until(self._linked, BOOT_S, f"{self.name}'s network")
        _run("ip", "address", "add", f"{self.host}/30", "dev", self._link)
        _run("ip", "link", "set", self._link, "up")
        until(
            lambda: self.enter("systemctl is-active ssh").returncode == 0,
            BOOT_S,
            f"{self.name}'s sshd",
        )

    def cut(self) -> None:
        """Take the power away: nothing in it gets to know."""
        if self._process is not None:
            leader = self._leader()
            for pid in (self._process.pid, leader):
                if pid:
                    _kill(pid)
            self._process.wait(30)
            self._process = None
            until(lambda: not leader or not Path(f"/proc/{leader}").exists(), 30.0, "the end")
            until(lambda: not self._linked(), 30.0, "end of its link")

    def enter(self, command: str, timeout_s: float = _ENTER_S) -> subprocess.CompletedProcess[str]:
        """A shell command inside, past ssh, as somebody before its keyboard would."""
        leader = self._leader()
        if not leader:
            return subprocess.CompletedProcess([], 255, "", f"{self.name} is off")
        argv = ["nsenter", "-t", str(leader), "-m", "-u", "-i", "-n", "-p", "sh", "-c", command]
        return subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, check=False)

    def destroy(self) -> None:
        """Power off and forget what it wrote."""
        self.cut()
        _run("umount", "--lazy", "--recursive", str(self.root))
        shutil.rmtree(self._place)

    def _linked(self) -> bool:
        argv = ["ip", "link", "show", self._link]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def _leader(self) -> int:
        """Its first process, as this machine numbers it; 0 if there is none yet."""
        if self._process is None:
            return 0
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        try:
            found = [int(pid) for pid in children.read_text().split()]
        except OSError:
            return 0
        return next((pid for pid in found if _runs(pid, "systemd")), 0)


def until(holds: Callable[[], bool], within_s: float, what: str, every_s: float = 0.2) -> None:
    """Wait for something that has to happen. Raises TimeoutError naming ``what``."""
    end_s = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > end_s:
            raise TimeoutError(f"no {what} within {within_s:g} s")
        time.sleep(every_s)


def _runs(pid: int, name: str) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == name
    except OSError:
        return False


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(argv)}: {done.stderr.strip()}")
