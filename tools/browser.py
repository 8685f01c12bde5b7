"""A real browser without a window: Chromium, driven by its DevTools protocol over a pair of pipes.

    with Browser() as browser:
        page = browser.open(Path("report.html"), width=390, is_dark=True)
        page.evaluate("document.title"), page.picture(390, 800), page.problems

The protocol (chromedevtools.github.io/devtools-protocol) is JSON, each message ended by a NUL byte.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_TIMEOUT = 60.0  # seconds for an answer
_ERRORS = ("Runtime.exceptionThrown", "Log.entryAdded", "Network.requestWillBeSent", "Runtime.consoleAPICalled")

# The shell moves the pipes to the descriptors 3 and 4, which the browser reads from and writes to.
_START = 'exec "$0" "$@" 3<&"$CAS_READ" 4>&"$CAS_WRITE"'


class BrowserError(Exception):
    """The browser did not do what it was asked to."""


def installed() -> str | None:
    """Return the path of a browser that can be driven; None where there is none."""
    return next((found for name in _PROGRAMS if (found := shutil.which(name))), None)


class Browser:
    """One process of the browser, with a profile of its own, for a `with` block."""

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._number = 0
        self._rest = b""

    def __enter__(self) -> Browser:
        program = installed()
        if program is None:
            raise BrowserError(f"there is no {' or '.join(_PROGRAMS)} here")
        self._profile = tempfile.TemporaryDirectory(prefix="cas-browser-", ignore_cleanup_errors=True)
        read, self._write = os.pipe()
        self._read, write = os.pipe()
        options = (
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-extensions", "--disable-background-networking", "--hide-scrollbars", "--remote-debugging-pipe",
            "--force-color-profile=srgb", f"--user-data-dir={self._profile.name}", "about:blank",
        )  # fmt: skip
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", _START, program, *options],
            pass_fds=(read, write),
            env={**os.environ, "CAS_READ": str(read), "CAS_WRITE": str(write), "HOME": self._profile.name},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read)
        os.close(write)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._write)  # the browser ends when its pipe does
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        self._profile.cleanup()

    def open(self, file: Path, *, width: int = 1400, height: int = 900, is_dark: bool = False) -> Page:
        """Load a file of this machine, and wait until it is loaded.

        Args:
            file: the page.
            width: of the window, in pixels.
            height: of the window, in pixels.
            is_dark: whether the reader prefers dark colours.
        """
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        page.call("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        page.call("Emulation.setEmulatedMedia", {"features": [scheme]})
        page.call("Page.navigate", {"url": file.resolve().as_uri()})
        self.wait_for(session, "Page.loadEventFired")
        return page

    def call(self, method: str, parameters: dict[str, Any] | None = None, session: str | None = None) -> dict[str, Any]:
        """Call a method of the protocol, and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters or {}}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._messages.append(answer)

    def wait_for(self, session: str, event: str) -> None:
        """Wait until a page has reported an event."""
        while not any(one.get("sessionId") == session and one["method"] == event for one in self._messages):
            self._messages.append(self._receive())

    def events(self, session: str) -> list[dict[str, Any]]:
        """Return what a page has reported so far."""
        return [message for message in self._messages if message.get("sessionId") == session]

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + _TIMEOUT
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            data = os.read(self._read, 1 << 20) if ready else b""
            if not data:
                raise BrowserError("the browser has ended" if ready else f"the browser said nothing for {_TIMEOUT:g} s")
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        document: dict[str, Any] = json.loads(message)
        return document


class Page:
    """One page that the browser has loaded."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    def call(self, method: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        """Call a method of the protocol for this page, and return its result."""
        return self._browser.call(method, parameters, self._session)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript in the page, as JSON carries it."""
        found = self.call("Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True})
        if "exceptionDetails" in found:
            raise BrowserError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    @property
    def problems(self) -> list[str]:
        """What went wrong in the page so far: exceptions, messages in its console, and requests beside its own file."""
        found = [message for message in self._browser.events(self._session) if message["method"] in _ERRORS]
        return [json.dumps(message["params"]) for message in found if message["params"].get("type") != "Document"]

    def picture(self, width: int, height: int) -> bytes:
        """Return a PNG of the upper part of the page, this many pixels wide and high."""
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        found = self.call("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True, "clip": clip})
        return base64.b64decode(found["data"])

    def printed(self) -> bytes:
        """Return the page as it is printed, a PDF."""
        return base64.b64decode(self.call("Page.printToPDF", {"printBackground": True})["data"])
