"""Is compilation attempted only where it can succeed?"""

from __future__ import annotations

import os
import shutil
import sysconfig

import pytest

from offboard.compiled import can_compile, compiled


@pytest.fixture
def toolchain(monkeypatch, tmp_path):
    """Compiler and headers both there; returns the folder of the headers."""
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    return tmp_path


def test_a_compiler_and_pythons_headers_suffice(toolchain) -> None:
    assert can_compile()


def test_without_a_compiler_functions_stay_as_they_are(toolchain, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert compiled(len) is len


def test_without_pythons_headers_functions_stay_as_they_are(toolchain) -> None:
    (toolchain / "Python.h").unlink()
    assert compiled(len) is len


def test_graphs_are_kept_between_runs(toolchain, monkeypatch, tmp_path) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compiled(lambda: None)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "cache" / "wombet" / "compiled")


def test_a_place_that_the_user_chose_is_left(toolchain, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "mine"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compiled(lambda: None)
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "mine")


def test_a_home_that_cannot_be_written_to_costs_nothing_but_the_cache(
    toolchain, monkeypatch
) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(toolchain / "Python.h"))
    assert compiled(lambda: 3) is not None
    assert "Python.h" not in os.environ.get("TORCHINDUCTOR_CACHE_DIR", "")


def test_a_user_without_a_home_costs_nothing_but_the_cache(toolchain, monkeypatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def homeless(path):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr("pathlib.Path.expanduser", homeless)
    assert compiled(lambda: 3) is not None
