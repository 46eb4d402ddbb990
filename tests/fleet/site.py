"""Everything around the units: keys, fleet file, server, plants, and the commands people type."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fleet.cable import Cable
from fleet.container import Container, until
from fleet.editions import edition
from fleet.server import ANNOUNCED

from offboard.fleet.publication import Publication
from offboard.fleet.workshop import SOURCE, build_wheel
from offboard.keys import OFFLINE_DIRECTORY, init_server

SERVER = "10.213.0.1"
ONBOARD = "/opt/wombet/current/bin/wombet-onboard"
ROBOT = "furuta"
HEALTH_S = float(os.environ.get("HEALTH_S", "5"))
"""How long a release has to run well; 60 s on a robot."""
CLI_S = 1800.0
SETTLE_S = 600.0
ANSWER_S = 60.0
DISK_BYTES = 2 << 30
TERMS = ("--health-s", f"{HEALTH_S:g}", "--wait-s", "60", "--clock", "as-set")
"""On which an installer works, whoever calls it."""
_SPARE = "/dev/wombet-spare"
_SCRAPE = """\
from urllib.request import urlopen
print(urlopen("http://127.0.0.1:9464/metrics", timeout=10).read().decode())
"""
_WHOLE = """\
import sys

sys.path.insert(0, "/opt/wombet/current/lib")
from pathlib import Path
from onboard.releases.archive import identity


def whole(path):
    try:
        return path.is_dir() and identity(path) == path.name
    except OSError:  # it is just being removed
        return False


print(*(path.name for path in Path("/opt/wombet/releases").iterdir() if not whole(path)))
"""
_PARTS = {"releases", "current", "previous", "golden", "boot"}
_SSH = """\
#!/bin/sh
exec {ssh} -F {config} "$@"
"""
_SSH_CONFIG = """\
Host 10.213.*
    IdentityFile {key}
    IdentitiesOnly yes
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
"""
_UNIT = """\
[units.{name}]
robot = "{robot}.toml"
address = "root@{address}"
channel = "{channel}"
module = "x86-64"
system = "debian12"
serial = "FIELD-{name}"
bus = "/dev/wombet-bus"
"""
_ENVIRONMENT = """\
# This machine's clock is right, but nothing tells the kernel so.
WOMBET_AGENT_OPTIONS=--clock as-set
WOMBET_RELEASE_OPTIONS=--clock as-set --health-s {health_s:g}
"""


class Site:
    """The yard: three units and whoever looks after them.

    Args:
        place: everything is kept below it.
        base: the units' root file system.
        wheels: folder of wheels by target, fetched before.
    """

    def __init__(self, place: Path, base: Path, wheels: Path) -> None:
        self.place, self._base = place, base
        self.keys, self.out, self.fleet = place / "keys", place / "out", place / "fleet.toml"
        self.repository = self.out / "repository"
        self.out.mkdir(parents=True)
        (self.out / "wheels").symlink_to(wheels)
        self._key = place / "ssh" / "operator"
        self._processes: list[subprocess.Popen[bytes]] = []
        self.units: dict[str, Container] = {}
        self._wheel = build_wheel()
        self._cable = Cable()

    def open(self, channels: dict[str, str]) -> None:
        """Make keys, plants and units (channel by name); boot the units, start the server."""
        init_server(self.keys)
        self._make_ssh()
        operator = self._key.with_suffix(".pub").read_text().strip()
        for suffix in ("toml", "xml"):
            shutil.copy(SOURCE / "hw_configs" / f"{ROBOT}.{suffix}", self.place)
        for number, name in enumerate(channels, start=1):
            devices = {"/dev/wombet-bus": self._plant(name), _SPARE: self._cable.there}
            size = DISK_BYTES if channels[name] == "canary" else 0
            place = self.place / "units"
            unit = Container(name, number, self._base, place, devices, operator, size)
            self.units[name] = unit
            unit.make()
            unit.boot()
        tables = [
            _UNIT.format(name=name, robot=ROBOT, address=unit.address, channel=channels[name])
            for name, unit in self.units.items()
        ]
        head = f'schema = 1\nserver = "tcp://{SERVER}:5571"\noperators = ["{operator}"]\n'
        self.fleet.write_text(head + "".join(tables))

    def close(self) -> None:
        """End everything that was started."""
        for unit in self.units.values():
            with contextlib.suppress(RuntimeError, OSError):
                unit.destroy()
        for process in self._processes:
            process.terminate()
            process.wait(30)
        self._cable.close()

    def wheel(self, name: str) -> Path:
        """The edition ``name`` of our wheel."""
        path = self.place / "wheels" / name / self._wheel[0]
        return path if path.exists() else edition(self._wheel, name, self.place / "wheels")

    def provision(self, name: str) -> None:
        """As ``make provision`` does; then what this yard needs of its own."""
        self.command("provision", name)
        unit = self.units[name]
        with (unit.root / "etc/wombet/robot.env").open("a") as file:
            file.write(_ENVIRONMENT.format(health_s=HEALTH_S))
        unit.enter("systemctl restart wombet-agent")

    def deploy(self, name: str) -> int:
        """``fleet deploy`` of an edition; its exit status."""
        return self.command(*self.deploying(name), check=False).returncode

    def deploying(self, name: str) -> list[str]:
        """The command line of :meth:`deploy`."""
        return ["deploy", "--wheel", str(self.wheel(name)), *self.terms()]

    def terms(self) -> list[str]:
        """Options of every command that makes units install."""
        return [*TERMS, "--share", "1"]

    def command(
        self, *arguments: str, check: bool = True, group: str = "fleet"
    ) -> subprocess.CompletedProcess[str]:
        """``wombet-offboard fleet …`` as an operator types it. Raises RuntimeError if it fails."""
        done = subprocess.run(
            self.argv(*arguments, group=group),
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=CLI_S,
            check=False,
        )
        with (self.place / "commands.txt").open("a") as log:
            log.write(f"$ {group} {' '.join(arguments)}\n{done.stdout}{done.stderr}\n")
        if check and done.returncode != 0:
            raise RuntimeError(f"{group} {arguments[0]}: {done.stderr.strip()[-800:]}")
        return done

    def argv(self, *arguments: str, group: str = "fleet") -> list[str]:
        """The command's argument vector, told where this yard is."""
        argv = [sys.executable, "-m", "offboard.main", group, *arguments]
        if group == "fleet":
            argv += ["--fleet", str(self.fleet), "--out", str(self.out)]
            argv += [] if arguments[0] in ("status",) else ["--keys", str(self.keys)]
        return argv

    def environment(self) -> dict[str, str]:
        """Ours, with an ssh that knows the operator's key."""
        path = f"{self.place / 'ssh' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def serve(self) -> None:
        """What robots reach of a server, on every unit's network."""
        argv = [sys.executable, "-m", "fleet.server", str(self.place), f"tcp://{SERVER}:5571"]
        with (self.place / "server.txt").open("ab") as log:
            process = subprocess.Popen(argv, env=self.environment(), stdout=log, stderr=log)
        self._processes.append(process)

    def status(self, name: str) -> dict[str, Any]:
        """``wombet-onboard release status --json`` on the unit; empty if it does not answer."""
        found = self.units[name].enter(
            "/opt/wombet/current/bin/wombet-onboard release status --json"
        )
        try:
            status: dict[str, Any] = json.loads(found.stdout)
        except ValueError:
            return {}
        return status

    def publication(self) -> Publication:
        """The site's repository, as a deploy changes it."""
        return Publication(self.keys, self.repository, [self.keys / OFFLINE_DIRECTORY])

    def slice(self, publication: Publication, release: str) -> Path:
        """What a deploy would carry to a unit that shall run ``release``."""
        place = self.place / "slice"
        publication.extract({release}, place)
        return place

    def copy_in(self, name: str, folder: Path, to: str) -> None:
        """Put ``folder`` on a unit's disk, at ``to``."""
        inside = self.units[name].root / to.lstrip("/")
        shutil.rmtree(inside, ignore_errors=True)
        shutil.copytree(folder, inside)

    def ballast(self, name: str, free_bytes: int) -> Path:
        """Fill the unit's disk for releases up to ``free_bytes``; remove the file to end it."""
        path = self.units[name].releases_disk / "ballast"
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, _free(path.parent) - free_bytes)
        return path

    def half_installed(self, name: str) -> list[str]:
        """What is on the unit's disk and neither a whole release nor nothing."""
        program = self.units[name].root / "opt/wombet"
        unknown = [path.name for path in program.iterdir() if path.name not in _PARTS]
        found = self.units[name].enter(f"printf %s {shlex.quote(_WHOLE)} | python3 -I -B -")
        if found.returncode != 0:
            raise RuntimeError(f"{name}: {found.stderr.strip()[-400:]}")
        return [*unknown, *found.stdout.split()]

    def hil(self, name: str, scenario: str) -> dict[str, Any]:
        """``wombet-sim hil`` of one scenario with the unit's runtime; its summary."""
        unit, out = self.units[name], self.place / "hil"
        unit.enter("systemctl stop wombet-control wombet-agent")
        argv = [sys.executable, "-m", "sim_harness.main", "hil", "--only", scenario]
        argv += ["--robot", str(self.place / f"{ROBOT}.toml"), "--out", str(out)]
        argv += ["--serial", str(self._cable.here), "--onboard", f"ssh://root@{unit.address}"]
        argv += ["--onboard-program", ONBOARD]
        argv += ["--onboard-port", _SPARE, "--onboard-place", "/tmp/wombet-hil"]
        argv += ["--onboard-robot", "/etc/wombet/robot.toml"]
        done = subprocess.run(
            argv, env=self.environment(), capture_output=True, text=True, check=False
        )
        unit.enter("systemctl start wombet-control wombet-agent")
        if done.returncode not in (0, 1):
            raise RuntimeError(f"hil: {done.stderr.strip()[-800:]}")
        summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
        return summary

    def release(self, name: str) -> str:
        """What its link says that it runs."""
        link = self.units[name].root / "opt/wombet/current"
        return link.readlink().name if link.is_symlink() else ""

    def settled(self, name: str) -> dict[str, Any]:
        """Its status as soon as nothing is on trial and the loop runs. Raises TimeoutError."""
        seen: dict[str, Any] = {}

        def well() -> bool:
            seen.clear()
            seen.update(self.status(name) if self._phase(name) == "settled" else {})
            return bool(seen.get("healthy"))

        until(well, SETTLE_S, f"settled release on {name}", every_s=2.0)
        return seen

    def loop_runs(self, name: str) -> bool:
        """Do its ticks go on? It has a minute to show it."""
        seen: list[float] = []

        def grew() -> bool:
            if (ticks := self.metric(name, "ticks_total")) is not None:
                seen.append(ticks)
            return len(seen) > 1 and seen[-1] > seen[-2]

        with contextlib.suppress(TimeoutError):
            until(grew, ANSWER_S, f"ticks of {name}", every_s=1.0)
            return True
        return False

    @contextlib.contextmanager
    def without_agent(self, name: str) -> Iterator[None]:
        """Keep a unit from fetching releases itself meanwhile."""
        self.units[name].enter("systemctl stop wombet-agent")
        try:
            yield
        finally:
            self.units[name].enter("systemctl start wombet-agent")

    def _phase(self, name: str) -> str:
        """What its journal says; a unit that never installed anything has none and is settled."""
        journal = self.units[name].root / "var/opt/wombet/journal.json"
        try:
            return str(json.loads(journal.read_text().partition(" ")[2])["phase"])
        except FileNotFoundError:
            return "settled"
        except ValueError:
            return ""

    def metric(self, name: str, metric: str) -> float | None:
        """One of the unit's metrics, which ask control; None if it does not answer."""
        found = self.units[name].enter(f"python3 -I -c {shlex.quote(_SCRAPE)}").stdout
        lines = [line for line in found.splitlines() if line.startswith(f"wombet_{metric} ")]
        return float(lines[0].split()[1]) if lines else None

    def announce(self, version: int) -> None:
        """Have the server tell its robots of a policy that is published."""
        part = self.place / f"{ANNOUNCED}.part"
        part.write_text(str(version), encoding="ascii")
        part.replace(self.place / ANNOUNCED)

    @contextlib.contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A command of the fleet's that runs beside; it is waited for in the end."""
        with subprocess.Popen(
            self.argv(*arguments),
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            yield process
            process.communicate(timeout=CLI_S)

    def _plant(self, name: str) -> Path:
        """The unit's robot behind a serial line; where its other end is."""
        bus = self.place / f"bus-{name}"
        argv = [sys.executable, "-m", "sim_harness.main", "plant", "--link", str(bus)]
        argv += ["--robot", str(self.place / f"{ROBOT}.toml")]
        with (self.place / f"plant-{name}.txt").open("ab") as log:
            process = subprocess.Popen(argv, env=self.environment(), stdout=log, stderr=log)
        self._processes.append(process)
        until(bus.exists, 60.0, f"plant of {name}")
        os.chmod(os.path.realpath(bus), 0o666)
        return bus

    def _make_ssh(self) -> None:
        (self._key.parent / "bin").mkdir(parents=True)
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "yard", "-f", str(self._key)]
        subprocess.run(argv, check=True)
        config = self._key.parent / "config"
        config.write_text(_SSH_CONFIG.format(key=self._key))
        program = self._key.parent / "bin" / "ssh"
        program.write_text(_SSH.format(ssh=shutil.which("ssh"), config=config))
        program.chmod(0o755)


def _free(path: Path) -> int:
    return shutil.disk_usage(path).free
