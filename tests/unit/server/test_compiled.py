"""Is compilation attempted only where it can succeed?"""

from __future__ import annotations

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
