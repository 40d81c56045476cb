"""A small HTTP server that behaves as the sources of the corpora do, well or badly."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Request:
    """What was asked for, and how many bytes of content were sent."""

    path: str
    ranges: str | None
    agent: str
    sent: int = 0


@dataclass
class FileServer:
    """Serves ``files`` by path.

    ``ranges``: whether it knows that header; ``shift``: how far the range that it sends is from the one asked for.
    ``lengths``: whether it says how much is to come; without, it sends chunks, as GitHub does. ``cut``: after how many
    bytes it hangs up. ``busy``: how many requests it refuses, asking for an hour's patience. ``before``: what it does on
    each request.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    shift: int = 0
    lengths: bool = True
    cut: int | None = None
    busy: int = 0
    before: Callable[[], None] = lambda: None
    requests: list[Request] = field(default_factory=list)


@contextmanager
def running() -> Iterator[FileServer]:
    """A server without files, in a thread, on a free port of this machine."""
    served = FileServer()
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(served))
    served.address = f"http://127.0.0.1:{http.server_port}"
    thread = Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def _handler(server: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.before()
            request = Request(self.path.partition("?")[0], self.headers["Range"], self.headers["User-Agent"])
            server.requests.append(request)
            if server.busy:
                server.busy -= 1
                self._head(503, {"Retry-After": "3600", "Content-Length": "0"})
                return
            content = server.files.get(request.path)
            if content is None:
                self.send_error(404)
                return
            begin = 0
            if request.ranges and server.ranges:
                begin = int(request.ranges.removeprefix("bytes=").removesuffix("-"))
            if begin and begin >= len(content):
                self._head(416, {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"})
                return
            begin, status = (begin + server.shift, 206) if begin else (0, 200)
            body = content[begin:]
            fields = {"Content-Length": str(len(body))} if server.lengths else {"Transfer-Encoding": "chunked"}
            if status == 206:
                fields["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
            self._head(status, fields)
            sent = body[: server.cut]
            request.sent = len(sent)
            self.wfile.write(sent if server.lengths else f"{len(sent):x}\r\n".encode() + sent + b"\r\n")
            if len(sent) < len(body):
                self.close_connection = True
            elif not server.lengths:
                self.wfile.write(b"0\r\n\r\n")

        def _head(self, status: int, fields: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in fields.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Standard error is for the command's own lines."""

    return Handler
