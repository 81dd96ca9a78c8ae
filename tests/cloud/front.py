"""What stands before a cloud's service: it lets requests through to the real one, and says something else when told."""

from __future__ import annotations

import http.client
import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_HOP = {"transfer-encoding", "connection", "content-length", "host"}


@dataclass(frozen=True)
class Says:
    """An answer in place of the service's; `after` it has done what was asked."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    after: bool = False


class Hangs:
    """No answer."""


class Breaks:
    """The connection ends instead of an answer, when the service has done what was asked."""


@dataclass
class Front:
    """`says` is what becomes of the next requests, one each; the rest gets through. `asked` is all of them.

    With `page` no answer has more entries of a collection than this.
    """

    service: str
    url: str = ""
    says: deque[Says | Hangs | Breaks] = field(default_factory=deque)
    asked: list[tuple[str, str]] = field(default_factory=list)
    page: int = 0
    over: threading.Event = field(default_factory=threading.Event)


@contextmanager
def front_of(service: str) -> Iterator[Front]:
    front = Front(service)

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.close_connection = True
            self.raw_requestline = self.rfile.readline(65537)
            if self.raw_requestline and self.parse_request():
                _answer(front, self)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    front.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield front
    finally:
        front.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(front: Front, handler: BaseHTTPRequestHandler) -> None:
    body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    front.asked.append((handler.command, handler.path))
    says = front.says.popleft() if front.says else None
    if isinstance(says, Hangs):
        front.over.wait(60)
        return
    if isinstance(says, Says) and not says.after:
        _send(handler, says)
        return
    passed = _passed(front, handler, body)
    if not isinstance(says, Breaks):
        _send(handler, says or passed)


def _passed(front: Front, handler: BaseHTTPRequestHandler, body: bytes) -> Says:
    path = handler.path
    if front.page and handler.command == "GET":
        path += f"{'&' if '?' in path else '?'}limit={front.page}"
    service = http.client.HTTPConnection(urlsplit(front.service).netloc, timeout=60)
    headers = {key: value for key, value in handler.headers.items() if key.lower() not in _HOP}
    service.request(handler.command, path, body or None, headers)
    said = service.getresponse()
    kept = tuple((key, value) for key, value in said.getheaders() if key.lower() not in _HOP)
    answer = Says(said.status, said.read(), kept)
    service.close()
    return answer


def _send(handler: BaseHTTPRequestHandler, says: Says) -> None:
    handler.send_response(says.status)
    for key, value in says.headers:
        handler.send_header(key, value)
    if says.status != 204:
        handler.send_header("Content-Length", str(len(says.body)))
    handler.end_headers()
    handler.wfile.write(says.body)


def clouds(**entries: Any) -> str:
    """The text of a clouds.yaml."""
    return json.dumps({"clouds": entries})  # JSON is YAML
