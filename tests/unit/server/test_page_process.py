"""Does a server go on whatever becomes of its page?"""

from __future__ import annotations

import io
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from offboard import page_process
from offboard.page.key import KEY_FILE, make_key, read_key
from offboard.page.main import announce, listening, run_beside, run_page
from offboard.page_process import LOG_FILE, page_beside
from protocol.errors import ConfigError


@pytest.fixture
def said() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def port() -> int:
    """One that is free."""
    with listening(0) as door:
        return int(door.getsockname()[1])


def test_without_a_port_there_is_no_page(tmp_path: Path, said: io.StringIO) -> None:
    with page_beside(tmp_path, 0, Console(file=said)):
        assert [*tmp_path.iterdir()] == []
    assert said.getvalue() == ""


def test_without_nicegui_the_server_says_so_and_serves(
    tmp_path: Path, said: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_process, "find_spec", lambda name: None)
    with page_beside(tmp_path, 5580, Console(file=said, width=200)):
        pass
    assert "pip install -r requirements/page.txt" in said.getvalue()


def test_a_page_that_cannot_be_started_is_no_failure(
    tmp_path: Path, said: io.StringIO, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_process, "find_spec", lambda name: name)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    with page_beside(tmp_path, port, Console(file=said, width=400)):
        pass
    assert "no live page: " in said.getvalue()


def test_a_page_that_dies_is_no_failure(
    tmp_path: Path, said: io.StringIO, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This folder holds no run, which the page notices itself, as it would a port that is taken."""
    monkeypatch.setattr(page_process, "find_spec", lambda name: name)
    children = []
    monkeypatch.setattr(page_process, "_end", children.append)
    with page_beside(tmp_path, port, Console(file=said, width=400)):
        pass
    assert children[0].wait(60) == 2
    assert "holds no run" in (tmp_path / LOG_FILE).read_text()


def test_a_log_gets_the_keys_place_and_a_person_the_key(tmp_path: Path) -> None:
    for terminal, shown in ((True, "key s3cret"), (False, f"lies in {tmp_path / KEY_FILE}")):
        said = io.StringIO()
        announce(tmp_path, 5580, "s3cret", Console(file=said, force_terminal=terminal, width=400))
        assert shown in said.getvalue()
        assert "http://127.0.0.1:5580" in said.getvalue()
        assert ("s3cret" in said.getvalue()) is terminal


def test_a_server_that_was_started_again_has_another_key(
    tmp_path: Path, said: io.StringIO, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_process, "find_spec", lambda name: name)
    monkeypatch.setattr(page_process, "_spawned", lambda run, port: None)
    keys = set()
    for _ in range(2):
        with page_beside(tmp_path, port, Console(file=said)):
            keys.add(read_key(tmp_path))
    assert len(keys) == 2


@pytest.fixture
def held(tmp_path: Path) -> Iterator[socket.socket]:
    """A run's page that is open already, with its key."""
    (tmp_path / "config.json").write_text("{}")
    make_key(tmp_path)
    with listening(0) as door:
        yield door


def test_a_port_that_is_taken_leaves_the_open_pages_key_good(
    tmp_path: Path, held: socket.socket
) -> None:
    key, port = read_key(tmp_path), held.getsockname()[1]
    with pytest.raises(ConfigError, match=f"port {port} cannot be had"):
        run_page(tmp_path, port)
    with pytest.raises(ConfigError, match=f"port {port} cannot be had"):
        run_beside(tmp_path, port, parent=1)
    assert read_key(tmp_path) == key


def test_a_server_leaves_the_key_of_a_page_that_is_open(
    tmp_path: Path, said: io.StringIO, held: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_process, "find_spec", lambda name: name)
    key, port = read_key(tmp_path), held.getsockname()[1]
    with page_beside(tmp_path, port, Console(file=said, width=400)):
        assert read_key(tmp_path) == key
    assert f"no live page: port {port} cannot be had" in said.getvalue()


def test_a_page_of_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name the --out of `serve`"):
        run_page(tmp_path)
