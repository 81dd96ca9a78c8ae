"""A headless Chromium, spoken to over a pipe in its own protocol (DevTools), so that the tests need no driver."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

# Seconds that any answer may take, on a machine where other tests run.
PATIENCE = 60


class Chromium:
    """A browser with one tab. What happened in the tab (requests, errors, dialogs) is kept in `events`."""

    def __init__(self, folder: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self._number = 0
        self._buffer = b""
        theirs_in, self._in = map(_beyond, os.pipe())
        self._out, theirs_out = map(_beyond, os.pipe())
        command = [
            *(
                "chromium",
                "--headless",
                "--remote-debugging-pipe",
                f"--user-data-dir={folder}",
                "--no-first-run",
            ),
            *(
                "--disable-gpu",
                "--hide-scrollbars",
                "--disable-background-networking",
                "--disable-component-update",
            ),
            *(("--no-sandbox",) if os.getuid() == 0 else ()),  # as root it refuses to start with its sandbox
        ]
        self._process = subprocess.Popen(
            # The protocol is on descriptors 3 and 4; dash moves none whose number has two digits.
            ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", *command],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._session = ""
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self(f"{domain}.enable")

    def __enter__(self) -> Chromium:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = ""
        self("Browser.close")
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
        os.close(self._in)
        os.close(self._out)

    def __call__(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask for something, and wait for the answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._in, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while True:
            answer = self._next(until)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._out], [], [], max(0, until - time.monotonic()))[0], "no answer"
            read = os.read(self._out, 1 << 20)
            assert read, "chromium has ended"
            self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def open(self, file: Path) -> None:
        """Load a file, with nothing left of what was before."""
        self.events.clear()
        self("Page.navigate", url=file.as_uri())
        until = time.monotonic() + PATIENCE
        while not self.happened("Page.loadEventFired"):
            self.events.append(self._next(until))

    def happened(self, method: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event.get("method") == method]

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        found = self("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait_for(self, expression: str) -> None:
        until = time.monotonic() + PATIENCE
        while not self.evaluate(expression):
            assert time.monotonic() < until, f"never true: {expression}"

    def press(self, key: str, text: str = "") -> None:
        codes = {"Tab": 9, "Enter": 13, "ArrowLeft": 37, "ArrowRight": 39}
        named: Mapping[str, Any] = {"key": key, "windowsVirtualKeyCode": codes.get(key, 0)}
        typed = {"text": text or {"Enter": "\r"}.get(key, "")}
        self("Input.dispatchKeyEvent", type="keyDown", **named, **({} if not typed["text"] else typed))
        self("Input.dispatchKeyEvent", type="keyUp", **named)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def media(self, **features: str) -> None:
        """What the reader prefers: `prefers_color_scheme="dark"`."""
        told = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self("Emulation.setEmulatedMedia", features=told)

    def window(self, width: int, height: int = 900, *, scale: float = 1) -> None:
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=False,
        )

    def printed(self) -> bytes:
        """The page as PDF, on the paper that it asks for."""
        pdf = self("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        return base64.b64decode(pdf["data"])


def _beyond(descriptor: int) -> int:
    """The same under a number that is not one of those that the browser reads and writes."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved


def is_there() -> bool:
    return shutil.which("chromium") is not None
