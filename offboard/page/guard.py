"""Nothing of the page is served to whoever has not shown the key: no file, no socket.

A plain ASGI wrapper, because middleware of web frameworks commonly sees HTTP only and would leave
the WebSocket open. The host name is checked, so that no foreign site's name can be pointed here
(DNS rebinding), and the origin, so that no foreign page can talk for the person who is logged in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from offboard.page.key import Sessions
from offboard.page.login import login_page

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOGIN, LOGOUT = "/login", "/logout"
OUR_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
FORM_MAX_BYTES = 4096
POLICY_VIOLATION = 1008
_HEADERS = (
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'",
    ),
)
"""The page needs nothing from elsewhere; its framework needs inline scripts."""


class Guard:
    """Wraps ``app``. ``port`` names the cookie: browsers share cookies between ports."""

    def __init__(self, app: App, sessions: Sessions, port: int) -> None:
        self.app = app
        self._sessions = sessions
        self._cookie = f"wombet_page_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, or refuse, one connection."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif not _at_home(scope):
            await _refuse(scope, send)
        elif scope["type"] == "http" and scope["path"] in (LOGIN, LOGOUT):
            await self._door(scope, receive, send)
        elif self._sessions.knows(self._shown(scope)):
            await self.app(scope, receive, _with_headers(send))
        elif scope["type"] == "http" and scope["method"] == "GET":
            await _answer(send, 303, location=LOGIN)
        else:
            await _refuse(scope, send)

    async def _door(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == LOGOUT:
            self._sessions.leave(self._shown(scope))
            await _answer(send, 303, location=LOGIN, cookie=self._cookie_line("", 0))
            return
        if scope["method"] != "POST":
            await _answer(send, 200, login_page())
            return
        session = self._sessions.enter(await _shown_key(receive))
        if session is None:
            await _answer(send, 403, login_page("That is not the key of this server's last start."))
            return
        await _answer(send, 303, location="/", cookie=self._cookie_line(session, 7 * 86_400))

    def _cookie_line(self, value: str, age_s: int) -> str:
        return f"{self._cookie}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age_s}"

    def _shown(self, scope: Scope) -> str:
        try:
            cookies = SimpleCookie(_header(scope, b"cookie"))
        except CookieError:
            return ""
        return cookies[self._cookie].value if self._cookie in cookies else ""


def _at_home(scope: Scope) -> bool:
    """Was it us who was asked for, and by a page of ours?"""
    host, origin = _header(scope, b"host"), _header(scope, b"origin")
    try:
        named = urlsplit(f"//{host}").hostname
        asker = urlsplit(origin).netloc
    except ValueError:
        return False
    return named in OUR_HOSTS and (not origin or asker == host)


def _header(scope: Scope, name: bytes) -> str:
    return next((value for key, value in scope["headers"] if key == name), b"").decode("latin-1")


async def _shown_key(receive: Receive) -> str:
    """The key in a form that was sent; empty if it is none."""
    body, more = b"", True
    while more and len(body) <= FORM_MAX_BYTES:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    try:
        return parse_qs(body[:FORM_MAX_BYTES].decode("ascii")).get("key", [""])[0]
    except ValueError:
        return ""


async def _refuse(scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})
    else:
        await _answer(send, 403, "log in first")


async def _answer(
    send: Send, status: int, text: str = "", location: str = "", cookie: str = ""
) -> None:
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"cache-control", b"no-store")]
    headers += [(b"location", location.encode())] if location else []
    headers += [(b"set-cookie", cookie.encode())] if cookie else []
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *_HEADERS]})
    await send({"type": "http.response.body", "body": text.encode()})


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *_HEADERS]
        await send(message)

    return sending
