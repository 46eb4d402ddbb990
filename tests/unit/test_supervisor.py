"""Are children restarted with growing pauses, and does everything end when it should?"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from onboard.install_check import check_install
from onboard.supervisor import FIRST_PAUSE_S, LONGEST_PAUSE_S, STEADY_S, Child, Supervisor
from protocol.errors import ConfigError


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_a_child_that_dies_comes_back_and_both_end_together(tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    dying = python(f"open({str(lives)!r}, 'a').write('x')")
    supervisor = Supervisor(
        {"dying": dying, "steady": python("import time; time.sleep(60)")}, log=lambda line: None
    )
    result: list[int] = []
    thread = threading.Thread(target=lambda: result.append(supervisor.run()))
    thread.start()
    until(lambda: lives.exists() and len(lives.read_text()) >= 2)
    supervisor.end()
    thread.join(10)
    assert result == [0]


def test_a_wrong_configuration_ends_everything() -> None:
    lines: list[str] = []
    steady = python("import time; time.sleep(60)")
    supervisor = Supervisor({"a": steady, "b": python("raise SystemExit(2)")}, lines.append)
    assert supervisor.run() == 2
    assert lines == ["b ended with status 2"]


def test_children_find_the_code_that_only_a_launcher_knows_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a release, which is unpacked and not installed; and not what lies where they start."""
    if sys.version_info >= (3, 11):
        (tmp_path / "onboard.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    code = "import sys, onboard.exit_status; sys.exit(2)"
    child = Child("x", [sys.executable, "-S", "-c", code])
    child.start_if_due(0.0)
    assert child._process is not None
    assert child._process.wait() == 2


def test_pauses_double_up_to_a_limit_and_start_over_after_a_steady_life() -> None:
    child, now_s, pauses = Child("x", python("")), 0.0, []
    for life_s in [0.0] * 8 + [STEADY_S + 1.0]:
        child.start_if_due(now_s)
        assert child._process is not None
        child._process.wait()
        now_s += life_s
        assert child.ended(now_s) == 0
        pauses.append(child._due_s - now_s)
        now_s = child._due_s
    assert pauses[:3] == pytest.approx([FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S])
    assert max(pauses) == pytest.approx(LONGEST_PAUSE_S)
    assert pauses[8] == pytest.approx(FIRST_PAUSE_S)


def test_a_foreign_package_of_our_name_is_refused() -> None:
    check_install({"protocol": ["wombet"], "onboard": ["wombet"]})
    check_install()
    with pytest.raises(ConfigError, match="'protocol' is also installed by protocol"):
        check_install({"protocol": ["wombet", "protocol"]})
