"""What is written beside the picture: mode, faults, torque. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.robot_spec import RobotSpec
from sim_harness.glance import Glance
from sim_harness.hil.console import Status

BAR_CELLS = 10


def panel(spec: RobotSpec, glance: Glance | None, status: Status | None, asked: bool) -> str:
    """Markdown.

    Args:
        spec: the robot.
        glance: what the rig shows; None before it does.
        status: what the runtime says of itself; None if it says nothing.
        asked: whether there is a runtime to ask.
    """
    lines = [f"**{spec.name}**", "", _mode(glance, status, asked), ""]
    if glance is None:
        return "\n".join([*lines, "The rig has not shown itself yet."])
    lines += [f"Faults: {_plain(glance.faults) or 'none'}", ""]
    lines += [f"{glance.time_s:.2f} s, supply {glance.supply_v:.2f} V", ""]
    limit_nm = spec.safety.effort_max_nm
    names = [joint.name for joint in spec.actuated]
    return "\n".join([*lines, *_torques(names, glance, limit_nm)])


def _mode(glance: Glance | None, status: Status | None, asked: bool) -> str:
    if status is not None:
        reason = f" — {_plain(status.reason)}" if status.reason else ""
        return f"Mode: **{_plain(status.mode)}**{reason}"
    if asked:
        return "Mode: the runtime does not answer"
    driven = glance is not None and bool(glance.asked.any())
    seen = "motors are asked for torque" if driven else "no motor is asked for anything"
    return f"Mode: not known without --runtime; on the bus, {seen}"


def _torques(names: Sequence[str], glance: Glance, limit_nm: float) -> list[str]:
    rows = ["| joint | torque, Nm | of the limit | asked |", "|---|---|---|---|"]
    for name, torque_nm, asked in zip(names, glance.torque_nm, glance.asked, strict=True):
        share = min(abs(float(torque_nm)) / limit_nm, 1.0)
        bar = "█" * round(BAR_CELLS * share)
        told = "yes" if asked else "no"
        rows.append(f"| {name} | {torque_nm:+.3f} | {bar or '·'} {share:.0%} | {told} |")
    return rows


def _plain(text: str) -> str:
    """Text of others as it stands: no line of theirs becomes markup."""
    return "".join(f"\\{each}" if each in "\\`*_{}[]()<>#+!|~&" else each for each in text)
