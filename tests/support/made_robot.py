"""Robots as `wombet-sim new-robot` writes them, in a directory of their own, with slips in them."""

from __future__ import annotations

from pathlib import Path

from sim_harness.new_robot.command import NewRobotCommand, write_robot


def make_robot(directory: Path, *slips: tuple[str, str], joints: int = 2) -> Path:
    """The robot file of a new ``rig``; in it or its MJCF the first ``old`` of each slip is new."""
    files = write_robot(NewRobotCommand("rig", 1 if joints == 1 else 2, directory))
    for old, new in slips:
        path = next(path for path in files if old in path.read_text(encoding="utf-8"))
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return files[0]
