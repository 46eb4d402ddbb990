"""Is averaging part of the compiled update too? Compiling takes longer than a unit test may."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from crew_of_two import CONFIG, DISCOUNT, A, O, learn, run_crew

from offboard.compiled import can_compile
from offboard.sac import Sac


@pytest.mark.timeout(900)
@pytest.mark.skipif(not can_compile(), reason="needs a C++ compiler and Python's headers")
def test_a_compiled_crew_learns_what_one_process_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower = run_crew(tmp_path, limit_s=880.0)
    monkeypatch.setattr("offboard.compiled.can_compile", lambda: False)
    alone = learn(Sac(O, A, DISCOUNT, CONFIG))
    for mine, theirs, whole in zip(leader, follower, alone, strict=True):
        assert torch.equal(mine, theirs)
        torch.testing.assert_close(mine, whole, rtol=1e-4, atol=1e-5)
