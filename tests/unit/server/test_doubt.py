"""Is what a source's model is worth at home measured once, for every pair of its family?"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from offboard.bench import doubt as doubts
from offboard.bench.pairs import pair_named

NOTHING: Any = SimpleNamespace()


def test_pairs_of_a_family_share_the_sources_part_and_each_has_its_targets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, int]] = []

    def at_home(pair: Any, _problem: Any, _prior: Any, seed: int) -> dict[str, float]:
        made.append((pair.name, seed))
        return {"spearman_source": 0.1 * seed}

    monkeypatch.setattr(doubts, "_at_home", at_home)
    monkeypatch.setattr(doubts, "_away", lambda pair, *_: {"spearman_target": len(pair.name)})
    found = [
        doubts.doubt(pair_named(name), NOTHING, NOTHING, NOTHING, seed, tmp_path)
        for name, seed in (("furuta", 1), ("furuta_gap_2", 1), ("furuta", 2))
    ]
    assert made == [("furuta", 1), ("furuta", 2)]
    assert found[0]["spearman_source"] == found[1]["spearman_source"] == 0.1
    assert found[0]["spearman_target"] != found[1]["spearman_target"]
