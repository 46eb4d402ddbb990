"""Does every part import where the parts it must not know do not exist?

A linter reads import statements; blocking the names also catches ``importlib``.
"""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FORBIDDEN = {
    "onboard": ("torch", "mujoco", "gymnasium", "offboard", "sim_harness"),
    "protocol": ("torch", "mujoco", "gymnasium", "offboard", "sim_harness", "onboard", "zmq"),
    "offboard": ("onboard", "sim_harness", "mujoco", "serial", "tensorrt", "dynamixel_sdk"),
    "sim_harness": ("onboard", "offboard", "torch", "zmq"),
}

PROBE = """
import importlib, pkgutil, sys
for name in {blocked!r}:
    sys.modules[name] = None
package = importlib.import_module({package!r})
for module in pkgutil.walk_packages(package.__path__, {package!r} + "."):
    importlib.import_module(module.name)
    print(module.name)
"""


NEEDS = {"offboard": "torch", "sim_harness": "mujoco"}


@pytest.mark.parametrize("package", FORBIDDEN)
def test_every_module_imports_with_the_others_blocked(package: str) -> None:
    if find_spec(NEEDS.get(package, "sys")) is None:
        pytest.skip(f"{package} is not installed on a robot")
    code = PROBE.format(package=package, blocked=FORBIDDEN[package])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    found = __import__(package)
    expected = [module.name for module in pkgutil.walk_packages(found.__path__, f"{package}.")]
    assert done.stdout.split() == expected


def test_the_import_rules_of_pyproject_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    if not linter.exists():
        pytest.skip("import-linter is a development tool")
    done = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_a_blocked_module_is_noticed(tmp_path: Path) -> None:
    """Otherwise the tests above could not fail."""
    package = tmp_path / "nosy"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "quiet.py").touch()
    (package / "peek.py").write_text("import importlib\nimportlib.import_module('offboard')\n")
    code = PROBE.format(package="nosy", blocked=("offboard",))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "offboard" in done.stderr
