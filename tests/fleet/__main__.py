"""``python -m fleet --out DIR``: field units as containers, and what may happen to them.

Three units boot with their own systemd, sshd, journald and network; each has a simulated robot at
its serial line, so that a real control loop runs. ``DIR/fleet.json`` says what came of each
scenario; the exit status is 1 unless all passed. Where containers cannot run it says why, and is 0.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from fleet.base import missing, prepared_base
from fleet.container import until
from fleet.scenarios import CHANNELS, FIRST, SCENARIOS, Scenario
from fleet.site import SERVER, Site

SWEPT_S = 30.0
NAMESPACE = "WOMBET_FLEET_NAMESPACE"


def main() -> None:
    """The command line."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    if why := missing():
        print(f"skipped: {why}")
        _write(options.out, {"skipped": why, "units": 0, "scenarios": []})
        return
    base, wheels = prepared_base(options.cache), (options.cache / "wheels").resolve()
    if not os.environ.get(NAMESPACE):
        os.environ[NAMESPACE] = "1"
        argv = ["unshare", "--mount", "--net", "--propagation", "private", sys.executable]
        os.execvp(argv[0], [*argv, "-m", "fleet", *sys.argv[1:]])
    _enter()
    chosen = options.only or [*SCENARIOS]
    results = run(options.out, base, wheels, [*FIRST, *(it for it in chosen if it not in FIRST)])
    found = {"units": len(CHANNELS), "scenarios": results}
    _write(options.out, found)
    sys.exit(any(result["verdict"] != "pass" for result in results))


def run(out: Path, base: Path, wheels: Path, names: list[str]) -> list[dict[str, Any]]:
    """The scenarios, one after the other on the same units; stops where a unit is beyond help."""
    place = (out / "site").resolve()
    shutil.rmtree(place, ignore_errors=True)
    site = Site(place, base, wheels)
    results: list[dict[str, Any]] = []
    try:
        site.open(CHANNELS)
        for name in names:
            results.append(_result(site, name, SCENARIOS[name]))
            print(json.dumps(results[-1]), flush=True)
            _write(out, {"units": len(CHANNELS), "scenarios": results})
            if name in FIRST and results[-1]["verdict"] != "pass":
                break
    finally:
        for unit in site.units.values():
            with suppress(RuntimeError, OSError, subprocess.SubprocessError):
                journal = unit.enter("journalctl --no-pager --output=short-monotonic").stdout
                (out / f"{unit.name}.journal").write_text(journal)
        site.close()
    shutil.rmtree(place / "units", ignore_errors=True)
    return results


def _result(site: Site, name: str, scenario: Scenario) -> dict[str, Any]:
    began_s = time.monotonic()
    before = {unit: site.release(unit) for unit in site.units}
    unit, reason, runs = next(iter(CHANNELS)), "", False
    try:
        unit = scenario(site)
        for each in site.units:
            site.settled(each)
            _swept(site, each)
        runs = all(site.loop_runs(each) for each in site.units)
    except Exception as error:  # whatever a scenario dies of is its verdict
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
    return {
        "name": name,
        "verdict": "pass" if runs and not reason else "fail",
        "unit": unit,
        "release_before": before.get(unit, ""),
        "release_after": site.release(unit),
        "loop_running": runs,
        "seconds": round(time.monotonic() - began_s, 1),
        **({"reason": reason} if reason else {}),
    }


def _swept(site: Site, name: str) -> None:
    """What is just being removed is gone in a moment; half an installation stays."""
    left: list[str] = []

    def nothing() -> bool:
        left[:] = site.half_installed(name)
        return not left

    try:
        until(nothing, SWEPT_S, f"nothing half installed on {name}", every_s=2.0)
    except TimeoutError as error:
        raise AssertionError(f"{name} has {left} half installed") from error


def _enter() -> None:
    """What units need of this machine, in namespaces that end with us. Source: FLEET.md § 9."""
    for command in (
        "mount -t tmpfs tmpfs /run/systemd",
        "ip link set lo up",
        f"ip address add {SERVER}/32 dev lo",
    ):
        subprocess.run(command.split(), check=True)


def _write(out: Path, found: dict[str, Any]) -> None:
    (out / "fleet.json").write_text(json.dumps(found, indent=2) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fleet", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/fleet-units"))
    parser.add_argument("--only", nargs="*", choices=[*SCENARIOS], default=[])
    return parser.parse_args()


if __name__ == "__main__":
    main()
