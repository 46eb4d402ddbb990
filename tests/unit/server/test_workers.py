"""Is work done once to its end wherever it is given, also if its worker dies?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from errands import die_at_first, my_process, refuse, square

from offboard.workers import Pool, gathered, workers
from protocol.errors import ConfigError, StoreError, WombetError


@pytest.fixture(scope="module")
def processes():
    with workers(processes=2) as pool:
        yield pool


def test_work_stays_in_this_process_unless_told_otherwise() -> None:
    with workers() as pool:
        assert gathered(pool, my_process, [(0,), (1,)]) == [os.getpid()] * 2


def test_results_come_in_the_order_of_what_was_asked(processes: Pool) -> None:
    asked = [(x,) for x in range(6)]
    with workers() as here:
        assert gathered(processes, square, asked) == gathered(here, square, asked)


def test_processes_are_others_and_stay(processes: Pool) -> None:
    pids = set(gathered(processes, my_process, [(x,) for x in range(8)]))
    assert os.getpid() not in pids
    assert len(pids) <= processes.slots


def test_an_error_of_the_work_is_its_own(processes: Pool) -> None:
    with workers() as here:
        for pool in (here, processes):
            with pytest.raises(StoreError, match="the disk is full"):
                pool.submit(refuse, "the disk is full").result()


def test_work_whose_worker_is_killed_is_done_by_another(processes: Pool, tmp_path: Path) -> None:
    neighbours = [processes.submit(square, x) for x in range(4)]
    done = processes.submit(die_at_first, tmp_path, 1, square, 7)
    assert done.result() == 49
    assert len(list(tmp_path.iterdir())) == 1
    assert [future.result() for future in neighbours] == [0, 1, 4, 9]


def test_work_that_kills_every_worker_is_given_up_by_name(
    processes: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offboard.workers.ATTEMPTS", 2)
    with pytest.raises(WombetError, match="worker of die_at_first died 2 times"):
        processes.submit(die_at_first, tmp_path, 2, square, 7).result()
    assert processes.submit(square, 3).result() == 9


def test_without_ray_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ConfigError, match=r"requirements/scale\.txt"), workers(ray="auto"):
        pass
