"""``wombet-offboard fleet deploy`` and what belongs to it: releases to provisioned units."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import tyro
from rich.console import Console

from offboard.fleet.ansible_reach import AnsibleReach, Terms
from offboard.fleet.deploy import Deployment
from offboard.fleet.fleet_event import REPORTED, Event, last_said, reported
from offboard.fleet.fleet_log import FleetLog
from offboard.fleet.modules import Target
from offboard.fleet.publication import Publication
from offboard.fleet.release_store import ReleaseStore
from offboard.fleet.rollout import Member, Rollout, Stage
from offboard.fleet.workshop import Workshop, given_wheel
from offboard.keys import OFFLINE_DIRECTORY
from offboard.release_record import lines_of
from protocol.errors import ConfigError

FLEET_FILE = Path("hw_configs/fleet.toml")
KEYS = Path("runs/keys")
OUT = Path("runs/fleet")
NOT_EVERYBODY = 1
"""Exit status where a rollout was halted."""
_flat = tyro.conf.arg(name="")
_console = Console(stderr=True)


@dataclass(frozen=True)
class FleetPlaces:
    """Where everything is.

    Attributes:
        fleet: the fleet file.
        keys: the server's keys.
        out: folder for wheels, releases and the log.
        repository: what the server serves to units; the one given to ``serve``. By default
            OUT/repository.
        media: directories with offline keys, that of ``targets`` among them. By default
            KEYS/offline.
    """

    fleet: Path = FLEET_FILE
    keys: Path = KEYS
    out: Path = OUT
    repository: Path | None = None
    media: tuple[Path, ...] = ()


@dataclass(frozen=True)
class HowTo:
    """On which terms units install.

    Attributes:
        health_s: how long a release has to run without trouble.
        wait_s: how long a unit waits until its motors have no torque.
        share: of the stable units that are assigned at a time.
        clock: units go on only while their clock is synchronised, or go by it as it is set.
    """

    health_s: float = 60.0
    wait_s: float = 120.0
    share: float = 0.25
    clock: Literal["synchronised", "as-set"] = "synchronised"


_Places = Annotated[FleetPlaces, _flat]
_How = Annotated[HowTo, _flat]


def deploy(places: _Places, how: _How, wheel: Path | None = None) -> None:
    """Bring every unit to a new release: canaries, their verdict, then the rest in batches.

    Args:
        places: where everything is.
        how: on which terms.
        wheel: our own wheel; by default it is built from this source tree.
    """
    workshop = _workshop(places, wheel)
    deployment = _deployment(places, how)
    deployment.check_alone()
    targets = dict.fromkeys(unit.target for unit in workshop.fleet().units.values())
    made = {target: workshop.release(target) for target in targets}
    releases: dict[Target, str] = {}
    for target, release in made.items():
        deployment.store.keep(release, target)
        releases[target] = release.id
        _say(f"release {release.id} for {target.name}")
    _end(deployment.deploy(releases))


def promote(places: _Places, how: _How) -> None:
    """Take the last rollout on to all units, whatever its canaries said.

    Args:
        places: where everything is.
        how: on which terms.
    """
    _end(_deployment(places, how).promote())


def halt(places: _Places, reason: str = "an operator's wish") -> None:
    """Have no other unit assigned; a deploy that runs stops after the batch it is at.

    Args:
        places: where everything is.
        reason: kept in the log.
    """
    rollout = _deployment(places, HowTo()).halt(reason)
    _say(f"rollout {rollout.number} is halted; fleet rollback takes back what was assigned")


def rollback(places: _Places, how: _How, reason: str = "an operator's wish") -> None:
    """Assign everybody to what they ran before the last rollout.

    Args:
        places: where everything is.
        how: on which terms.
        reason: kept in the log.
    """
    _end(_deployment(places, how).roll_back(reason))


def status(
    places: _Places,
    unit: str = "",
    events: int = 10,
    json: bool = False,
    run: tuple[Path, ...] = (),
) -> None:
    """Where the last rollout is, what each unit said, and who got what when.

    Args:
        places: where everything is.
        unit: only what happened to this one.
        events: so many, the newest.
        json: one JSON object instead of text.
        run: runs of serve, --out of each; what units told them is entered into the log first.
    """
    log = _log(places)
    if heard := [line for path in run for line in lines_of(path)]:
        log.enter(reported(heard))
    rollout, happened = log.latest(), log.events(events, unit)
    said = {name: it for name, it in last_said(log.reported()).items() if unit in ("", name)}
    if json:
        print(_status_json(rollout, happened, said))
        return
    for line in status_text(rollout, happened, said):
        print(line)


COMMANDS: dict[str, Callable[..., Any]] = {
    "deploy": deploy,
    "status": status,
    "promote": promote,
    "halt": halt,
    "rollback": rollback,
}


def assignment_text(places: FleetPlaces, unit: str, release: str) -> str:
    """What becomes of ``unit``, provisioned with ``release``, if it is assigned another; or ""."""
    ordered = _log(places).ordered(unit)
    if ordered in ("", release):
        return ""
    return (
        f"{unit} has release {release}, but is assigned {ordered} and goes back to that within a "
        "minute or so: make deploy assigns what this source tree makes"
    )


def status_text(
    rollout: Rollout | None, events: list[Event], said: Mapping[str, Event] | None = None
) -> list[str]:
    """What ``fleet status`` prints; ``said`` is what units last said of themselves."""
    lines = _rollout_text(rollout)
    if said:
        lines += ["", "by their own journals:", *(_said_text(event) for event in said.values())]
    if events:
        lines += ["", *(_event_text(event) for event in events)]
    return lines


def _status_json(rollout: Rollout | None, events: list[Event], said: Mapping[str, Event]) -> str:
    found = {
        "rollout": rollout,
        "events": [event._asdict() for event in events],
        "said": {name: event._asdict() for name, event in said.items()},
    }
    return msgspec.json.encode(found).decode()


def _rollout_text(rollout: Rollout | None) -> list[str]:
    if rollout is None:
        return ["nothing was ever deployed to this fleet from here"]
    head = f"rollout {rollout.number}: {rollout.stage.value}"
    lines = [f"{head}, {rollout.reason}" if rollout.reason else head]
    return lines + [_member_text(name, it) for name, it in sorted(rollout.members.items())]


def _member_text(name: str, member: Member) -> str:
    channel = "canary" if member.canary else "stable"
    said = f"{member.verdict.replace('_', ' ')} {member.reason}".strip()
    line = f"  {name:16} {channel}  {member.order.release}  {member.standing.value:8}  {said}"
    return line.rstrip()


def _said_text(event: Event) -> str:
    what = event.what.removeprefix(REPORTED)
    return f"  {event.unit:16} {event.release}  {what:12}  {_at(event)}  {event.reason}".rstrip()


def _at(event: Event) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at_s))


def _event_text(event: Event) -> str:
    who = f"{event.unit} {event.release}".strip() or f"rollout {event.rollout}"
    return f"{_at(event)}  {event.operator}  {who}  {event.what}  {event.reason}".rstrip()


def _end(rollout: Rollout) -> None:
    """Exit 1 if not everybody is to get it."""
    for line in status_text(rollout, []):
        _say(line)
    if rollout.stage is not Stage.DONE:
        raise SystemExit(NOT_EVERYBODY)


def _workshop(places: FleetPlaces, wheel: Path | None) -> Workshop:
    if wheel is None:
        return Workshop(places.fleet, places.keys, places.out)
    return Workshop(places.fleet, places.keys, places.out, wheel=given_wheel(wheel))


def _deployment(places: FleetPlaces, how: HowTo) -> Deployment:
    if not 0.0 < how.share <= 1.0:
        raise ConfigError(f"--share {how.share:g} is not in (0, 1]")
    repository = places.repository or places.out / "repository"
    media = places.media or (places.keys / OFFLINE_DIRECTORY,)
    return Deployment(
        fleet=Workshop(places.fleet, places.keys, places.out).fleet(),
        keys=places.keys,
        out=places.out,
        store=ReleaseStore(places.out / "releases"),
        publication=Publication(places.keys, repository, media),
        log=_log(places),
        reach=AnsibleReach(places.out / "ansible"),
        terms=Terms(how.health_s, how.wait_s, how.clock),
        share=how.share,
        say=_say,
        now_s=time.time,
    )


def _log(places: FleetPlaces) -> FleetLog:
    return FleetLog(places.out / "fleet.sqlite", getpass.getuser(), time.time)


def _say(line: str) -> None:
    _console.print(line, highlight=False, soft_wrap=True, markup=False)
