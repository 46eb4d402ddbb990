"""The page's addresses, and the web server around them."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from functools import partial

import uvicorn
from fastapi import FastAPI
from nicegui import app as nicegui_app
from nicegui import ui

from offboard.page import (
    alarms_view,
    fleet_view,
    learning_view,
    policies_view,
    prior_view,
    robot_view,
)
from offboard.page.frame import Desk
from offboard.page.guard import Guard
from offboard.page.key import Sessions

PARENT_EVERY_S = 1.0
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<rect width="32" height="32" rx="8" fill="#0f4c81"/>'
    '<path d="M6 10l5 13 5-10 5 10 5-13" fill="none" stroke="#fff" stroke-width="3"'
    ' stroke-linecap="round" stroke-linejoin="round"/></svg>'
)


def serve_page(desk: Desk, key: str, door: socket.socket, parent: int = 0) -> None:
    """Serve who comes to ``door``, until SIGTERM, SIGINT, or the end of process ``parent``."""
    _register(desk)
    app = FastAPI(openapi_url=None)
    ui.run_with(app, title="wombet", favicon=ICON, show_welcome_message=False, tailwind=False)
    guarded = Guard(app, Sessions(key), door.getsockname()[1])
    config = uvicorn.Config(
        guarded, log_level=logging.WARNING, server_header=False, access_log=False
    )
    server = uvicorn.Server(config)
    if parent:
        nicegui_app.on_startup(partial(_end_with, parent, server))
    server.run(sockets=[door])


def _register(desk: Desk) -> None:
    """Every address; each viewer gets a page of their own."""
    for address, build in {
        "/": fleet_view.build,
        "/learning": learning_view.build,
        "/prior": prior_view.build,
        "/policies": policies_view.build,
        "/alarms": alarms_view.build,
    }.items():
        ui.page(address)(partial(build, desk))

    @ui.page("/robot/{name}")
    def _robot(name: str) -> None:
        robot_view.build(desk, name)


async def _end_with(parent: int, server: uvicorn.Server) -> None:
    """A server that was killed leaves no page behind that shows a dead run."""
    while os.getppid() == parent:
        await asyncio.sleep(PARENT_EVERY_S)
    server.should_exit = True
