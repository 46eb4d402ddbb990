import gc
import os

import pytest

from sim_harness.realtime import become_realtime


@pytest.fixture(autouse=True)
def collector():
    yield
    gc.unfreeze()
    gc.enable()


def refuse(*_: object) -> int:
    raise PermissionError("not permitted")


def test_real_time_is_asked_for_below_the_control_process(monkeypatch):
    asked = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda *arguments: asked.append(arguments))
    assert become_realtime() == "fifo 60"
    ((process, policy, parameters),) = asked
    assert (process, policy, parameters.sched_priority) == (0, os.SCHED_FIFO, 60)
    assert not gc.isenabled()


def test_a_refusal_is_admitted(monkeypatch):
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "nice", lambda step: step)
    assert become_realtime() == "soft, nice -10"
    monkeypatch.setattr(os, "nice", refuse)
    assert become_realtime() == "soft"
