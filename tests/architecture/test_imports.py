"""Does the robot's side import where learning and simulation do not exist?

A linter reads import statements; this also catches ``importlib``.
"""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

FORBIDDEN = {
    "onboard": ("torch", "mujoco", "gymnasium", "offboard", "sim_harness"),
    "protocol": ("torch", "mujoco", "gymnasium", "offboard", "sim_harness", "onboard", "zmq"),
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


@pytest.mark.parametrize("package", FORBIDDEN)
def test_every_module_imports_with_the_others_blocked(package: str) -> None:
    code = PROBE.format(package=package, blocked=FORBIDDEN[package])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    found = __import__(package)
    expected = [module.name for module in pkgutil.walk_packages(found.__path__, f"{package}.")]
    assert done.stdout.split() == expected
