"""What stands between crossnet and a cloud, and does something at one of its requests."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_KEPT = ("content-type", "x-auth-token", "if-match", "accept")


@dataclass
class Between:
    """Hands requests on; `before` and `after` are called at each that changes something, with its number from 1.

    What `before` says False of is never handed on, and its connection ends.
    """

    cloud: str
    before: Callable[[int], bool | None] = lambda number: None
    after: Callable[[int], None] = lambda number: None
    changes: list[str] = field(default_factory=list)  # each as `PUT /v2.0/ports/…`
    url: str = ""

    def handed_on(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, str, bytes]:
        number = 0
        if method != "GET":
            self.changes.append(f"{method} {path.partition('?')[0]}")
            number = len(self.changes)
            if self.before(number) is False:
                raise ConnectionError
        host = urlsplit(self.cloud)
        asked = http.client.HTTPConnection(host.hostname or "", host.port, timeout=30)
        try:
            asked.request(method, path, body or None, headers)
            said = asked.getresponse()
            answer = said.status, said.headers.get("content-type", ""), said.read()
        finally:
            asked.close()
        if number:
            self.after(number)
        return answer


@contextmanager
def between(cloud: str) -> Iterator[Between]:
    """At 127.0.0.1, until the block ends."""
    one = Between(cloud)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _hand_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {key: value for key, value in self.headers.items() if key.lower() in _KEPT}
            status, kind, data = one.handed_on(self.command, self.path, headers, body)
            self.send_response(status)
            if kind:
                self.send_header("Content-Type", kind)
            if status != 204:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = _hand_on  # noqa: N815

        def log_message(self, *said: object) -> None:
            return

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                return  # it was killed

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    one.url = f"http://127.0.0.1:{server.server_port}"
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield one
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
