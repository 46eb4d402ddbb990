"""Is nothing of the page told to whoever has not shown the key?"""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest

from offboard.page.guard import Guard
from offboard.page.key import KEY_FILE, MAX_SESSIONS, Sessions, make_key, read_key
from protocol.errors import StoreError

KEY, PORT = "right-key", 5580
HOST = f"127.0.0.1:{PORT}"
SECRET = b"what only the page may say"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The page behind the guard."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": SECRET})


class Caller:
    """Speaks ASGI to one guard; keeps its cookie as a browser does."""

    def __init__(self) -> None:
        self.guard = Guard(app, Sessions(KEY), PORT)
        self.cookie = ""

    def __call__(
        self, path: str, method: str = "GET", kind: str = "http", body: bytes = b"", **headers: str
    ) -> list[dict[str, Any]]:
        told = {"host": HOST, **headers} | ({"cookie": self.cookie} if self.cookie else {})
        scope = {
            "type": kind, "path": path, "method": method,
            "headers": [(name.encode(), value.encode()) for name, value in told.items()],
        }  # fmt: skip
        sent: list[dict[str, Any]] = []
        halves = [body[:5], body[5:]]

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": halves.pop(0), "more_body": bool(halves)}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self.guard(scope, receive, send))
        return sent

    def status(self, path: str, **given: Any) -> int:
        status: int = self(path, **given)[0]["status"]
        return status

    def log_in(self, key: str = KEY) -> int:
        start, _ = self("/login", method="POST", body=f"key={key}".encode())
        for name, value in start["headers"]:
            if name == b"set-cookie":
                self.cookie = value.decode().partition(";")[0]
        status: int = start["status"]
        return status


def header(start: dict[str, Any], name: str) -> str:
    return next(value.decode() for key, value in start["headers"] if key == name.encode())


@pytest.mark.parametrize("path", ["/", "/policies", "/_nicegui/x.js", "/_nicegui_ws/socket.io/"])
def test_a_stranger_is_sent_to_the_form(path: str) -> None:
    start, body = Caller()(path)
    assert (start["status"], header(start, "location")) == (303, "/login")
    assert SECRET not in body["body"]


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD"])
def test_a_stranger_can_do_nothing(method: str) -> None:
    assert Caller().status("/", method=method) == 403


def test_a_strangers_web_socket_is_closed_before_it_opens() -> None:
    (message,) = Caller()("/_nicegui_ws/socket.io/", kind="websocket")
    assert message == {"type": "websocket.close", "code": 1008}


def test_the_key_opens_the_page_and_its_socket() -> None:
    caller = Caller()
    assert caller.log_in() == 303
    _, body = caller("/")
    assert body["body"] == SECRET
    assert caller("/_nicegui_ws/", kind="websocket") == [{"type": "websocket.accept"}]


@pytest.mark.parametrize("key", ["", "wrong", "RIGHT-KEY", "%FF%FE", "x" * 9_000])
def test_another_key_opens_nothing(key: str) -> None:
    caller = Caller()
    assert caller.log_in(key) == 403
    assert caller.cookie == ""


def test_bytes_that_are_no_form_open_nothing() -> None:
    assert Caller().status("/login", method="POST", body=b"\xff\xfe\x00key") == 403


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites() -> None:
    start, _ = Caller()("/login", method="POST", body=f"key={KEY}".encode())
    cookie = header(start, "set-cookie")
    assert cookie.startswith(f"wombet_page_{PORT}=")
    assert KEY not in cookie
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))


def test_who_logs_out_is_out_everywhere() -> None:
    caller = Caller()
    caller.log_in()
    caller("/logout")
    assert caller.status("/") == 303


def test_a_made_up_cookie_opens_nothing() -> None:
    caller = Caller()
    caller.cookie = f"wombet_page_{PORT}=guess"
    assert caller.status("/") == 303


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1"])
def test_a_foreign_name_for_this_machine_is_refused(host: str) -> None:
    """DNS rebinding: a foreign site whose name suddenly means 127.0.0.1."""
    caller = Caller()
    caller.log_in()
    assert caller.status("/", host=host) == 403
    assert caller.status("/login", host=host) == 403


@pytest.mark.parametrize("host", ["localhost:9999", "[::1]:5580"])
def test_a_tunnel_may_have_another_port(host: str) -> None:
    assert Caller().status("/login", host=host) == 200


def test_a_foreign_page_cannot_talk_for_who_is_logged_in() -> None:
    caller = Caller()
    caller.log_in()
    (message,) = caller("/_nicegui_ws/", kind="websocket", origin="http://evil.example")
    assert message["type"] == "websocket.close"
    assert caller.status("/", method="POST", origin="null") == 403
    assert caller.status("/", method="POST", origin=f"http://{HOST}") == 200


def test_every_answer_forbids_frames_and_foreign_content() -> None:
    caller = Caller()
    caller.log_in()
    for path in ("/", "/login"):
        start = caller(path)[0]
        assert header(start, "x-frame-options") == "DENY"
        assert header(start, "content-security-policy").startswith("default-src 'self'")


# the key


def test_the_key_is_new_at_every_start_and_its_owners_alone(tmp_path: Path) -> None:
    first = make_key(tmp_path)
    second = make_key(tmp_path)
    assert read_key(tmp_path) == second != first
    assert len(second) >= 32
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff"], ids=repr)
def test_no_key_is_not_an_empty_key(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / KEY_FILE).write_bytes(content)
    with pytest.raises(StoreError, match=KEY_FILE):
        read_key(tmp_path)


def test_sessions_are_bounded_and_the_oldest_goes() -> None:
    sessions = Sessions(KEY)
    opened = [sessions.enter(KEY) for _ in range(MAX_SESSIONS + 1)]
    assert None not in opened
    assert not sessions.knows(str(opened[0]))
    assert sessions.knows(str(opened[1]))
    assert not sessions.knows("")
