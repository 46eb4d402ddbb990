"""A run as a server and the stages before it leave it, for the page: small, and always the same."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors.numpy
from made_records import SPEC, make_records

from offboard.mcap_archive import write_rows
from offboard.page.run_files import Evidence, Robot, Status
from protocol.messages import PolicyEvent, Report
from protocol.modes import Mode
from protocol.step_record import End, Rows

UNIT = "furuta-01"
NOW_S = 1_700_000_000.0
EPISODES = 12
REPORT = Report(
    epoch="a" * 32,
    mode=int(Mode.RUN),
    active_version=6,
    ticks=12_345,
    missed_ticks=2,
    produced=9_000,
    spooled=9_000,
    dropped=0,
    waiting=1,
    interventions=41,
    events=[
        PolicyEvent(number=1, version=5, outcome="committed", reason="after 2 episodes"),
        PolicyEvent(number=2, version=6, outcome="activated"),
    ],
)
STATUS = Status(
    phase="adapt",
    endpoint="tcp://127.0.0.1:5571",
    version=6,
    published=6,
    committed=9_000,
    evidence=Evidence(
        online=3_000, nmse=0.03, offline_fraction=0.41, relabelled=8_200, updates=11_000,
        course="relabel",
    ),
    unit=UNIT,
    robots=[Robot(name=UNIT, heard_s=NOW_S - 1.0, report=REPORT)],
)  # fmt: skip


def robot(name: str, heard_s: float = NOW_S, stopped: str = "", **report: Any) -> Robot:
    """A robot whose report differs from the usual one in ``report``."""
    told = msgspec.structs.replace(REPORT, **report)
    return Robot(name=name, heard_s=heard_s, report=told, stopped=stopped)


def make_run(place: Path, status: Status | None = STATUS) -> Path:
    """``place``/serve and what it began with; its path."""
    run = place / "serve"
    for folder in (run, place / "source", place / "generate"):
        folder.mkdir(parents=True)
    config = {
        "unit": UNIT, "source": str(place / "source"), "generated": str(place / "generate"),
        "session": {"episodes": 2 * EPISODES},
    }  # fmt: skip
    write_json(run / "config.json", {"config": config, "commit": "abc"})
    if status is not None:
        (run / "status.json").write_bytes(msgspec.json.encode(status))
    write_lines(run / "metrics.jsonl", events())
    _source(place / "source")
    _generate(place / "generate")
    folder = run / "archive" / UNIT
    folder.mkdir(parents=True)
    write_rows(folder / "g001-e000003.mcap", swinging(250, End.TRUNCATED), SPEC, UNIT)
    return run


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def events() -> list[dict[str, Any]]:
    """Two episodes to a policy; returns rise from 80 towards 210."""
    found: list[dict[str, Any]] = []
    for number in range(1, EPISODES + 1):
        version, steps = (number + 1) // 2, 250 * number
        if number % 2:
            found.append(
                {"event": "published", "version": version, "exploration": float(version > 1),
                 "online_steps": float(steps - 250),
                 **({"imagined_return": 80.0 + 25.0 * version} if version > 1 else {})}
            )  # fmt: skip
        total = 210.0 - 130.0 * math.exp(-0.35 * (number - 1)) - 12.0 * (number % 3 == 0)
        found.append(
            {"event": "episode", "number": number, "steps": 250, "length": 250, "total": total,
             "end": 2, "explored": version > 1, "versions": {str(version): 250}, "online": steps,
             "nmse": None if number == 1 else 0.4 / number,
             "offline_fraction": 0.0 if number == 1 else 0.5 * (1 - 0.02 * number),
             "relabelled": 8_200, "updates": 900 * number}
        )  # fmt: skip
    return found


def swinging(count: int, end: End = End.RUNNING) -> Rows:
    """Records of a pendulum that is swung up, numbered from 0."""
    rows = make_records(0, count)
    time_s = np.arange(count) * 0.02
    angle = np.minimum(0.9 * time_s, np.pi) * np.cos(5.0 * time_s)
    columns = {
        "position:arm": 0.6 * np.sin(3 * time_s),
        "cos:pendulum": np.cos(angle + np.pi),
        "sin:pendulum": np.sin(angle + np.pi),
        "velocity:arm": 0.18 * np.cos(3 * time_s),
        "velocity:pendulum": 0.4 * np.sin(5 * time_s),
    }
    rows["obs"] = 0.0
    for number, term in enumerate(SPEC.observation):
        rows["obs"][:, number] = columns.get(f"{term.kind}:{term.joint}", 0.0)
    rows["requested"][:, 0] = 1.2 * np.sin(4.0 * time_s)
    rows["applied"] = np.clip(rows["requested"], -1.0, 1.0)
    rows["episode"], rows["step"], rows["policy_version"] = 3, np.arange(count), 6
    rows["period_error_us"] = 60.0 + 40.0 * np.sin(time_s) ** 2
    rows["work_us"] = 900.0 + 80.0 * np.cos(7 * time_s)
    rows["end"][-1] = end
    return rows


def _source(place: Path) -> None:
    write_json(place / "result.json", {"env_steps": 10_000, "expert_return": 208.7})
    curve = [(1000 * n, 216.0 - 216.0 * math.exp(-0.4 * (n - 1))) for n in range(1, 11)]
    write_lines(
        place / "metrics.jsonl",
        [{"stage": "source", "step": step, "episode_return": total} for step, total in curve],
    )
    rng = np.random.default_rng(0)
    uncertainty = rng.lognormal(-4.0, 1.0, 1_500).astype(np.float32)
    error = (uncertainty * rng.lognormal(0.0, 0.8, 1_500)).astype(np.float32)
    _save(place / "uncertainty.safetensors", uncertainty=uncertainty, error=error)


def _generate(place: Path) -> None:
    rng = np.random.default_rng(1)
    uncertainty = rng.uniform(0.01, 0.035, 64).astype(np.float32)
    returns = (230.0 - 1_500.0 * uncertainty + rng.normal(0.0, 4.0, 64)).astype(np.float32)
    kept = ((uncertainty < 0.024) & (returns > 195.0)).astype(np.uint8)
    _save(place / "plane.safetensors", uncertainty=uncertainty, returns=returns, kept=kept)
    write_json(
        place / "result.json",
        {"trajectories": 64, "kept": int(kept.sum()), "steps_kept": 5_300, "coverage": 0.93,
         "return_mean_all": float(returns.mean()),
         "uncertainty_mean_all": float(uncertainty.mean()),
         "return_mean_kept": float(returns[kept > 0].mean()),
         "uncertainty_mean_kept": float(uncertainty[kept > 0].mean()),
         "bound": {"horizon": 12, "stated": 0.9, "penalty": 1.7, "coverage": 0.92, "reason": ""}},
    )  # fmt: skip


def _save(path: Path, **columns: Any) -> None:
    path.write_bytes(safetensors.numpy.save(columns))
