"""The page as a program: what ``wombet-offboard page`` runs, and ``serve`` starts beside itself."""

from __future__ import annotations

import importlib
import os
import socket
import sys
from pathlib import Path

import tyro
from rich.console import Console
from rich.markup import escape

from offboard.data.extra import extra
from offboard.page.key import KEY_FILE, make_key, read_key
from protocol.errors import ConfigError, WombetError

DEFAULT_PORT = 5580
LOOPBACK = "127.0.0.1"


def run_page(run: Path, port: int = DEFAULT_PORT) -> None:
    """Show a run in the browser, on this machine only; also one that is over.

    Args:
        run: the --out of `serve`.
        port: on loopback.

    Raises:
        ConfigError: ``run`` is no run, NiceGUI is not installed, or the port is taken; the key of
            a page that holds it stays good.
        StoreError: the key cannot be written.
    """
    _check(run)
    with listening(port) as door:
        key = make_key(run)
        announce(run, port, key, Console(stderr=True))
        _serve(run, key, door)


def run_beside(run: Path, port: int, parent: int) -> None:
    """The same beside a server, which has made the key; ends with process ``parent``."""
    _check(run)
    with listening(port) as door:
        _serve(run, read_key(run), door, parent)


def listening(port: int) -> socket.socket:
    """A socket that nobody else can have: on loopback. Raises ConfigError if the port is taken."""
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise ConfigError(
            f"port {port} cannot be had ({reason}); end the other page or name another port"
        ) from error


def announce(run: Path, port: int, key: str, console: Console) -> None:
    """Where the page is. The key itself is for a person's eyes: a log gets the file's name."""
    shown = f"key {key}" if console.is_terminal else f"its key lies in {run / KEY_FILE}"
    line = f"live page: http://{LOOPBACK}:{port}; {shown}"
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _check(run: Path) -> None:
    if not (run / "config.json").exists():
        raise ConfigError(f"{run} holds no run; name the --out of `serve`")
    extra("nicegui", "page.txt")


def _serve(run: Path, key: str, door: socket.socket, parent: int = 0) -> None:
    """What needs NiceGUI is imported here: no other command waits for it."""
    site, frame = (importlib.import_module(f"offboard.page.{name}") for name in ("site", "frame"))
    site.serve_page(frame.Desk(run), key, door, parent)


def main() -> None:
    """Entry point of the process beside a server."""
    try:
        tyro.cli(run_beside)
    except WombetError as error:
        Console(stderr=True).print(f"page: {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
