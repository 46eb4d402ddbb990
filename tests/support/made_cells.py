"""Finished cells of a benchmark that was never run, with curves chosen by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

STEPS = (0, 1_000, 2_000, 3_000, 4_000)
RANDOM, EXPERT, THRESHOLD = 0.0, 100.0, 80.0


def write_cell(
    out: Path,
    pair: str,
    method: str,
    seed: int,
    returns: list[float],
    steps: tuple[int, ...] = STEPS,
    commit: str = "abc",
    **result: Any,
) -> Path:
    """One cell as the benchmark leaves it; ``result`` overrides what it says of itself."""
    cell = out / "cells" / pair / method / str(seed)
    cell.mkdir(parents=True)
    names = {"pair": pair, "method": method, "seed": seed}
    (cell / "config.json").write_text(json.dumps({"config": names, "commit": commit}))
    rows = [
        {**names, "step": step, "episode_return": value, "wall_s": 0.01 * step}
        for step, value in zip(steps, returns, strict=True)
    ]
    (cell / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    content = {
        **names,
        "budget_steps": steps[-1],
        "zero_shot": returns[0],
        "threshold": THRESHOLD,
        "expert_return": EXPERT,
        "random_return": RANDOM,
        "source_steps": 10_000,
        "wall_s": 40.0,
        "updates": 4 * steps[-1],
        "mismatch": None,
        "switch": None,
        "uncertainty": None,
        **result,
    }
    (cell / "result.json").write_text(json.dumps(content))
    return cell


def write_method(out: Path, pair: str, method: str, curve: list[float], **result: Any) -> None:
    """Five seeds of ``curve``, the seed's number added to every return but the first."""
    for seed in range(5):
        returns = [curve[0], *(value + seed for value in curve[1:])]
        write_cell(out, pair, method, seed, returns, **result)
