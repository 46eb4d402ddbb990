"""``wombet-onboard backends``: what can run a policy here, and why the others cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from onboard.exit_status import Exit
from onboard.runtime_directory import STATE

Backend = Literal["auto", "tensorrt", "onnx", "numpy"]


def backends(state: Path = STATE) -> int:
    """Try every inference backend on a tiny policy; the first that works is what `auto` takes.

    Args:
        state: durable directory of this robot; built engines are kept there.
    """
    from onboard.backends.probe import Machine, findings  # noqa: PLC0415 - slow to import

    for found in findings(Machine(engines_of(state))):
        print(f"{found.name:<10}{'works' if found.build else 'no':<7}{found.detail}")
    return Exit.DONE


def engines_of(state: Path) -> Path:
    """Where TensorRT's plans are kept."""
    return state / "engines"
