"""What happens to a fleet, one function each; every one ends in the same question.

A scenario gets the site and leaves it with every unit on a known release. It says which unit it was
about; :mod:`fleet.__main__` then asks that unit whether its loop runs, on which release, and
whether anything was left half installed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fleet.container import until
from fleet.power import Stopped, install_until
from fleet.server import run_of
from fleet.site import ONBOARD, ROBOT, SETTLE_S, TERMS, Site
from made_bundle import make_bundle

from offboard.fleet.assignments import Assignment
from offboard.fleet.fleet_event import REPORTED
from offboard.fleet.modules import TARGETS
from offboard.fleet.publication import Publication
from offboard.fleet.release_archive import release_path
from offboard.fleet.release_store import ReleaseStore
from offboard.fleet.workshop import Workshop, given_wheel
from offboard.keys import OFFLINE_DIRECTORY, init_server, load_server_keys
from offboard.publish import open_repository
from protocol.robot_spec import load_robot_spec

CANARY, STABLE, FAR = "duck-1", "duck-2", "duck-3"
CHANNELS = {CANARY: "canary", STABLE: "stable", FAR: "stable"}
HERE = TARGETS["debian12"]
_SLICE = "/var/opt/wombet-slice"
_PULL_S = 300.0
_LITTLE_BYTES = 24 << 20
_WORD = "# of the drill"

_BESIDE = ("fetched", "unpacked", "placed")
"""Steps that a release which lies on the disk already does not take: these get one of their own."""

Scenario = Callable[[Site], str]
"""Gives the unit it was about; raises AssertionError, TimeoutError or RuntimeError if it fails."""


def fresh_provision(site: Site) -> str:
    """Three units out of the box."""
    for name in CHANNELS:
        site.provision(name)
    for name in CHANNELS:
        assert site.settled(name)["golden"] == site.release(name)
    site.serve()
    return CANARY


def upgrade(site: Site) -> str:
    """A good release reaches everybody, and the log says so."""
    assert site.deploy("second") == 0
    assert len({site.release(name) for name in CHANNELS}) == 1
    assert site.status(CANARY)["previous"] == site.status(CANARY)["golden"]
    found = json.loads(site.command("status", "--json").stdout)
    assert found["rollout"]["stage"] == "done"
    well = ("installed", "already")  # by the push, or fetched before it came
    assert {it["unit"] for it in found["events"] if it["what"] in well} == {*CHANNELS}
    return CANARY


def rollback_of_the_fleet(site: Site) -> str:
    """Everybody goes back to what ran before, stays there if asked again, and goes forward."""
    assert site.deploy("second") == 0
    first = site.release(CANARY)
    assert site.deploy("ninth") == 0
    assert {site.release(name) for name in CHANNELS} == {_release(site, "ninth")}
    site.command("rollback", "--reason", "drill", *site.terms())
    assert {site.release(name) for name in CHANNELS} == {first}
    again = site.command("rollback", "--reason", "drill again", *site.terms(), check=False)
    assert again.returncode != 0
    assert "took everybody back" in again.stderr
    assert {site.release(name) for name in CHANNELS} == {first}
    assert site.deploy("ninth") == 0
    assert {site.release(name) for name in CHANNELS} == {_release(site, "ninth")}
    return STABLE


def crashes_on_start(site: Site) -> str:
    """It never comes up: the canary takes it back, nobody else gets it."""
    return _broken(site, "crashes")


def hangs(site: Site) -> str:
    """It comes up and stops ticking: the guard cuts the torque and latches the emergency stop.

    The release before is back at once; the stop is cleared by a person.
    """
    before = _deployed_in_vain(site, "hangs")
    options = "--robot /etc/wombet/robot.toml --state /var/lib/wombet --runtime /run/wombet"
    until(
        lambda: site.units[CANARY].enter(f"{ONBOARD} clear {options}").returncode == 0,
        SETTLE_S,
        "operator who may clear the stop",
        every_s=2.0,
    )
    assert site.settled(CANARY)["current"] == before
    return CANARY


def loses_the_bus(site: Site) -> str:
    """It stops hearing the motors, which the release before it still does."""
    return _broken(site, "deaf")


def two_deploys_at_once(site: Site) -> str:
    """The second is refused at once, the first goes on."""
    lock = site.out / ".deploy.lock"
    with site.running(*site.deploying("third")) as first:
        until(lambda: first.poll() is not None or _held(lock), SETTLE_S, "lock of the first deploy")
        second = site.command(*site.deploying("fourth"), check=False)
        assert second.returncode == 2
        assert "another deploy runs" in second.stderr
    assert first.returncode == 0
    return STABLE


def away_and_back(site: Site) -> str:
    """Off during a deploy; when it comes back it fetches the release itself, and the log knows."""
    unit = site.units[FAR]
    before = site.release(FAR)
    unit.cut()
    site.deploy("fourth")
    assert _rollout(site)["stage"] == "done"
    assert site.release(FAR) == before
    unit.boot()
    wanted = site.release(STABLE)
    until(lambda: site.release(FAR) == wanted, _PULL_S, f"{FAR} on release {wanted}")
    until(lambda: _told(site, FAR) == (wanted, f"{REPORTED}proven"), SETTLE_S, f"word of {FAR}")
    return FAR


def policy_comes(site: Site) -> str:
    """One that is published for the first time drives on units, no restart, and after one."""
    spec = load_robot_spec(site.place / f"{ROBOT}.toml")
    repository = open_repository(site.repository, load_server_keys(site.keys).trust)
    version = repository.publish(*make_bundle(repository.latest_version + 1, spec))
    before = _started(site, STABLE)
    site.announce(version)
    for unit in (CANARY, STABLE):
        until(lambda unit=unit: _active(site, unit) == version, SETTLE_S, f"policy on {unit}")
    assert _started(site, STABLE) == before
    site.units[STABLE].enter("systemctl restart wombet-control wombet-agent")
    until(lambda: _active(site, STABLE) == version, SETTLE_S, f"policy on {STABLE} again")
    return STABLE


def disk_full(site: Site) -> str:
    """No room for the release: refused, nothing changed; with room it is taken."""
    ballast = site.ballast(CANARY, _LITTLE_BYTES)
    before = site.release(CANARY)
    assert site.deploy("fifth") == 1
    assert site.release(CANARY) == before
    assert _log_says(site, CANARY, "refused")
    ballast.unlink()
    site.command("promote", *site.terms())
    site.deploy("sixth")
    assert site.release(CANARY) == site.release(STABLE) != before
    return CANARY


def robot_file(site: Site) -> str:
    """A changed robot file travels with the release, goes back with it, and is judged with it."""
    place = site.place / f"{ROBOT}.toml"
    kept, before = place.read_text(), site.release(STABLE)
    place.write_text(f"{kept}{_WORD}\n")
    try:
        assert site.deploy("second") == 0
        assert all(_WORD in _robot_file(site, name) for name in CHANNELS)
        site.command("rollback", "--reason", "drill", *site.terms())
    finally:
        place.write_text(kept)
    assert site.release(STABLE) == before
    assert not any(_WORD in _robot_file(site, name) for name in CHANNELS)
    return STABLE


def wrong_key(site: Site) -> str:
    """A repository that another server signed is refused, as root on the unit's own keyboard."""
    keys = site.place / "foreign"
    init_server(keys)
    foreign = Publication(keys, keys / "repository", [keys / OFFLINE_DIRECTORY])
    _assign(site, foreign, STABLE, "seventh")
    before = site.release(STABLE)
    site.copy_in(STABLE, site.slice(foreign, _release(site, "seventh")), _SLICE)
    with site.without_agent(STABLE):
        told = _install(site, STABLE)
    assert told["verdict"] == "refused", told
    assert "update refused" in told["reason"], told
    assert site.release(STABLE) == before
    return STABLE


def downgrade(site: Site) -> str:
    """Yesterday's lists, correctly signed, are refused today."""
    publication, before = site.publication(), site.release(STABLE)
    kept = site.place / "yesterday"
    with site.without_agent(STABLE):
        _assign(site, publication, STABLE, "second")
        publication.extract({_release(site, "second")}, kept)
        _assign(site, publication, STABLE, "third")
        site.copy_in(STABLE, site.slice(publication, _release(site, "third")), _SLICE)
        assert _install(site, STABLE)["verdict"] in ("already", "installed"), before
        site.copy_in(STABLE, kept, _SLICE)
        told = _install(site, STABLE)
    assert told["verdict"] == "refused", told
    assert site.release(STABLE) == _release(site, "third")
    return STABLE


def revoked(site: Site) -> str:
    """Whom the server shut out is assigned nothing, can fetch nothing, and runs on."""
    site.command("revoke", str(site.keys), FAR, group="keys")
    before = site.release(FAR)
    assert site.deploy("eighth") == 0
    assert site.release(STABLE) != before
    assert site.release(FAR) == before
    assert FAR not in _rollout(site)["members"]
    return FAR


def hil(site: Site) -> str:
    """``make hil`` against a unit over ssh: the same scenarios, the unit's own runtime."""
    summary = site.hil(STABLE, "silent_wire")
    (result,) = summary["scenarios"]
    assert result["verdict"] == "pass", result
    return STABLE


def _power_cut(step: str) -> Scenario:
    def scenario(site: Site) -> str:
        before, unit = site.release(STABLE), site.units[STABLE]
        other = "second" if before != _release(site, "second") else "third"
        other = step if step in _BESIDE else other
        publication, wanted = site.publication(), _release(site, other)
        unit.enter("systemctl stop wombet-agent")
        _assign(site, publication, STABLE, other)
        site.copy_in(STABLE, site.slice(publication, wanted), _SLICE)
        stopped = install_until(unit, _SLICE, step)
        assert stopped is Stopped.AT_STEP, f"{step} was never reached"
        unit.cut()
        unit.boot()
        until(lambda: site.release(STABLE) == wanted, _PULL_S, f"release {wanted}", every_s=1.0)
        assert site.settled(STABLE)["current"] == wanted
        return STABLE

    scenario.__doc__ = f"The power goes when an install has come to {step.upper()}."
    return scenario


POWER_CUTS = {
    f"power_cut_{step}": _power_cut(step)
    for step in (
        *("listed", "fetched", "unpacked", "placed", "stopped"),
        *("noted", "switched", "started", "judged", "settled"),
    )
}
SCENARIOS: dict[str, Scenario] = {
    "fresh_provision": fresh_provision,
    "upgrade": upgrade,
    "rollback_of_the_fleet": rollback_of_the_fleet,
    "crashes_on_start": crashes_on_start,
    "hangs": hangs,
    "loses_the_bus": loses_the_bus,
    "two_deploys_at_once": two_deploys_at_once,
    "away_and_back": away_and_back,
    "policy_comes": policy_comes,
    "disk_full": disk_full,
    "robot_file": robot_file,
    **POWER_CUTS,
    "downgrade": downgrade,
    "wrong_key": wrong_key,
    "hil": hil,
    "revoked": revoked,
}
FIRST = ("fresh_provision",)
"""What every other scenario needs."""


def _broken(site: Site, name: str) -> str:
    _deployed_in_vain(site, name)
    return CANARY


def _deployed_in_vain(site: Site, name: str) -> str:
    """Deploy an edition that the canary takes back; what that unit runs, before and after."""
    before = {unit: site.release(unit) for unit in CHANNELS}
    assert site.deploy(name) == 1
    assert {unit: site.release(unit) for unit in CHANNELS} == before
    found = _rollout(site)
    assert found["stage"] == "halted", found
    assert found["members"][CANARY]["verdict"] == "rolled_back", found
    assert found["members"][STABLE]["standing"] == "queued", found
    return before[CANARY]


def _rollout(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.command("status", "--json").stdout)["rollout"]
    return found


def _install(site: Site, name: str) -> dict[str, Any]:
    command = f"{ONBOARD} release install {_SLICE}"
    done = site.units[name].enter(f"{command} {' '.join(TERMS)}", SETTLE_S)
    told: dict[str, Any] = json.loads(done.stdout.strip().rpartition("\n")[2])
    return told


def _robot_file(site: Site, name: str) -> str:
    return site.units[name].enter("cat /etc/wombet/robot.toml").stdout


def _assign(site: Site, publication: Publication, name: str, edition: str) -> None:
    """Have unit ``name`` assigned to an edition, past any rollout."""
    release = _release(site, edition)
    order = Assignment(release=release, target=HERE.name)
    archives = {}
    if not publication.has(release, HERE):
        store = ReleaseStore(site.out / "releases")
        archives[release_path(release, HERE)] = store.archive(release, HERE)
    publication.publish(archives, {name: order}, set(CHANNELS), {release})


def _release(site: Site, edition: str) -> str:
    """The id of an edition, made and stored if need be."""
    known = site.place / "wheels" / edition / "id"
    if not known.exists():
        wheel = given_wheel(site.wheel(edition))
        made = Workshop(site.fleet, site.keys, site.out, wheel=wheel).release(HERE)
        ReleaseStore(site.out / "releases").keep(made, HERE)
        known.write_text(made.id)
    return known.read_text()


def _told(site: Site, name: str) -> tuple[str, str]:
    """The release that a unit last spoke of, and what it said of it."""
    found = json.loads(site.command("status", "--json", "--run", str(run_of(site.place))).stdout)
    said = found["said"].get(name, {"release": "", "what": ""})
    return said["release"], said["what"]


def _active(site: Site, name: str) -> float | None:
    return site.metric(name, "policy_version")


def _started(site: Site, name: str) -> str:
    """When its control was started, as systemd says."""
    show = "systemctl show -p ExecMainStartTimestampMonotonic wombet-control"
    return site.units[name].enter(show).stdout


def _log_says(site: Site, name: str, what: str, last: int = 40) -> bool:
    found = json.loads(site.command("status", "--json", "--events", str(last)).stdout)
    return any(it["unit"] == name and it["what"] == what for it in found["events"])


def _held(lock: Path) -> bool:
    """Does somebody hold the lock?"""
    flock = shutil.which("flock")
    if not lock.exists() or flock is None:
        return False
    return subprocess.run([flock, "-n", str(lock), "true"], check=False).returncode != 0
