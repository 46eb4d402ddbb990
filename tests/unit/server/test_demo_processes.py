"""Are children watched, told apart by name, and never left behind? Real processes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from offboard.demo import processes
from offboard.demo.processes import Family, ProcessError, ask, call, family

FOREVER = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, time, pathlib, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
)


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Family]:
    with family(tmp_path / "logs") as members:
        yield members


def until(condition) -> None:
    deadline = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def pid_of(children: Family, name: str) -> int:
    return children._children[name].pid


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_nobody_outlives_the_block(tmp_path: Path) -> None:
    def run() -> None:
        with family(tmp_path) as members:
            for name in ("a", "b"):
                members.start(name, "python", "-c", FOREVER)
            pids.extend(pid_of(members, name) for name in ("a", "b"))
            members.check()
            raise KeyboardInterrupt

    pids: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(pids) == 2
    assert all(is_gone(pid) for pid in pids)


def test_a_death_is_told_with_name_status_and_last_words(children: Family) -> None:
    children.start("robot", "python", "-c", "print('out of battery'); raise SystemExit(3)")
    with pytest.raises(ProcessError, match=r"robot died with status 3\n  out of battery"):
        children.wait_for("robot", lambda: False, timeout_s=20.0)


def test_waiting_ends_when_it_is_ready(children: Family) -> None:
    children.start("robot", "python", "-c", FOREVER)
    answers = iter([False, False, True])
    children.wait_for("readiness", lambda: next(answers), timeout_s=20.0)
    assert next(answers, None) is None


def test_waiting_for_too_long_is_told_by_what(children: Family) -> None:
    with pytest.raises(ProcessError, match="serial port: not within 0 s"):
        children.wait_for("serial port", lambda: False, timeout_s=0.0)


def test_stopping_is_polite_and_gives_the_status(children: Family) -> None:
    polite = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))"
    children.start("robot", "python", "-c", f"{polite}; print('up', flush=True); time.sleep(60)")
    log = children._logs / "robot.log"
    until(lambda: "up" in log.read_text())
    assert children.stop("robot") == 0
    children.check()  # it is not missed


def test_a_child_that_does_not_listen_is_killed(children, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(processes, "GRACE_S", 0.2)
    children.start("robot", "python", "-c", STUBBORN, str(tmp_path / "up"))
    until((tmp_path / "up").exists)
    assert children.stop("robot") == -9


def test_a_stage_that_fails_is_named() -> None:
    call("python", "-c", "pass")
    with pytest.raises(ProcessError, match="python -c ended with status 4"):
        call("python", "-c", "raise SystemExit(4)")


def test_an_answer_is_json_and_anything_else_is_none() -> None:
    assert ask("python", "-c", 'print(\'{"mode": "RUN"}\')') == {"mode": "RUN"}
    assert ask("python", "-c", "print('what?')") is None
    assert ask("python", "-c", "print('{}'); raise SystemExit(1)") is None
    assert ask("python", "-c", FOREVER, timeout_s=0.2) is None
