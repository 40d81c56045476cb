"""What stands between the demo's page and the network: only its own requests, only its own files, only so much.

Gradio serves far more than this page asks for, and checks that a file was uploaded only for an app that it launched itself, not
for one that is mounted. So a request must come from the page (Host, Origin), ask for what the page asks for, name no file but
an uploaded one, and end in time.
"""

import asyncio
import ipaddress
import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:"  # gr.HTML evaluates its template

UPLOAD_BYTES = 100_000_000
"""Of one upload."""

FOLDER_BYTES = 1_000_000_000
"""Of all uploads together."""

_BODY_BYTES = 100_000
"""Of any other request: the page sends names."""

_PATIENCE = 30
"""Seconds to wait for the next piece of a request."""

_GET = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/pwa_icon(/\d+)?|/(svelte|static|assets)/.*"
    r"|/gradio_api/(info|theme\.css|startup-events|queue/data|upload_progress|app_id|heartbeat/\w+|file=.*)/?"
)
_POST = re.compile(r"/gradio_api/(upload|queue/join|cancel|reset)/?")


class Refusal(Exception):
    """A request that is not answered: its HTTP status and why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Guard:
    """ASGI middleware around the whole page.

    Args:
        app: what answers the requests that pass.
        folder: where uploads lie.
        host: the address that is listened on.
    """

    def __init__(self, app: Any, folder: Path, host: str) -> None:
        self.app = app
        self.folder = os.path.realpath(folder)
        self.host = host

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers a request, or says why not."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        begun = False

        async def answer(message: Any) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                kept = [(k, v) for k, v in message["headers"] if not k.lower().startswith(b"access-control-")]
                message = {**message, "headers": [*kept, (b"content-security-policy", POLICY.encode())]}
            await send(message)

        try:
            await self.app(scope, await self._checked(scope, receive), answer)
        except Refusal as refusal:
            if not begun:
                headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
                await answer({"type": "http.response.start", "status": refusal.status, "headers": headers})
                await answer({"type": "http.response.body", "body": f"{refusal}\n".encode()})

    async def _checked(self, scope: Any, receive: Any) -> Any:
        """The request's body for the app, counted as it comes.

        Raises:
            Refusal: a request that the page does not make.
        """
        headers = {key.lower(): value.decode("latin-1") for key, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        if not self._is_own(host):
            raise Refusal(403, "the page is not served under this name")
        if origin is not None and urlsplit(origin).netloc != host:
            raise Refusal(403, "the request comes from another page")
        method, path = scope["method"], scope["path"]
        if not (_POST if method == "POST" else _GET).fullmatch(path) or method not in ("GET", "HEAD", "POST"):
            raise Refusal(404, "the page does not ask for this")
        if "/file=" in path and not self._is_uploaded(unquote(path.partition("/file=")[2])):
            raise Refusal(403, "only uploads")
        upload = path.startswith("/gradio_api/upload") and method == "POST"
        limit = UPLOAD_BYTES if upload else _BODY_BYTES
        length = headers.get(b"content-length", "0")
        if not length.isdecimal() or int(length) > limit:
            raise Refusal(413, f"at most {limit:,} bytes")
        if upload and self._used() + int(length) > FOLDER_BYTES:
            raise Refusal(413, "the uploads take too much room; start the demo again")
        counted = _counted(receive, limit)
        if method != "POST" or upload:
            return counted
        body = await _whole(counted)
        for path in _paths(_parsed(body)):
            if not self._is_uploaded(path):
                raise Refusal(403, "only uploads")
        return _replayed(body, receive)

    def _is_own(self, host: str) -> bool:
        """Whether a Host header names this server; a name that another site could point here is none."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in ("localhost", self.host.lower()):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return self.host in ("0.0.0.0", "::") and name == socket.gethostname().lower()
        return address.is_loopback or self.host in ("0.0.0.0", "::")

    def _is_uploaded(self, path: Any) -> bool:
        if not isinstance(path, str) or "\0" in path:
            return False
        real = os.path.realpath(path)
        return real.startswith(self.folder + os.sep) and os.path.isfile(real)

    def _used(self) -> int:
        return sum(path.stat().st_size for path in Path(self.folder).rglob("*") if path.is_file())


def _counted(receive: Any, limit: int) -> Any:
    """The messages of a request, refused beyond ``limit`` bytes or where a piece of the body does not come in time."""
    seen, more = 0, True

    async def next_message() -> Any:
        nonlocal seen, more
        try:
            # Once the body is there, what comes next is the end of the connection, and that may take its time.
            message = await (asyncio.wait_for(receive(), _PATIENCE) if more else receive())
        except asyncio.TimeoutError:
            raise Refusal(408, f"nothing came for {_PATIENCE} seconds") from None
        seen += len(message.get("body", b""))
        more = more and bool(message.get("more_body"))
        if seen > limit:
            raise Refusal(413, f"at most {limit:,} bytes")
        return message

    return next_message


async def _whole(receive: Any) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _replayed(body: bytes, receive: Any) -> Any:
    """A body that was read already, and then whatever follows it."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Any:
        return messages.pop() if messages else await receive()

    return next_message


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Refusal(400, "expected JSON") from None


def _paths(value: Any) -> Iterator[Any]:
    """Every path in a request, at any depth: the values of ``path``."""
    rest = [value]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            yield from (inner for key, inner in value.items() if key == "path")
            rest += value.values()
        elif isinstance(value, list):
            rest += value
