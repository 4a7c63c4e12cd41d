"""A headless Chromium that shows one page: how it looks, what it complains of, what it asks for.

It is told what to do through a pair of pipes, by the DevTools protocol
(https://chromedevtools.github.io/devtools-protocol/), so that no port is opened and nothing has to
be installed beside the browser.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from fcntl import F_DUPFD, fcntl
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FOUND = next(filter(None, map(shutil.which, NAMES)), "")
"""The browser of this machine; empty where there is none."""

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_PATIENCE = 120.0  # seconds until an answer; a busy machine takes its time
_OVERFLOW = """(() => {
  const width = document.documentElement.clientWidth;
  return document.documentElement.scrollWidth - width;
})()"""


class Browser:
    """One browser with one empty tab, closed at the end of a `with`.

    Attributes:
        messages: what the console of the page said since `show`.
        requests: addresses that the page asked for since `show`, its own left out.
    """

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.requests: list[str] = []
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._number = 0
        self._session = ""
        self._page = ""
        self._unread = b""

    def __enter__(self) -> Browser:
        (told, self._to), (self._from, telling) = os.pipe(), os.pipe()
        # Chromium reads what it is told from descriptor 3 and answers on 4: neither may be one of
        # the pipes' own when they are put there.
        ends = [fcntl(end, F_DUPFD, 10) for end in (told, telling)]
        command = [FOUND, *_FLAGS, f"--user-data-dir={self._folder.name}/profile", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", 'exec "$@" 3<&{} 4>&{}'.format(*ends), "bash", *command],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"HOME": self._folder.name},
        )
        for end in (told, telling, *ends):
            os.close(end)
        targets = self.ask("Target.getTargets")["targetInfos"]
        tab = next(target for target in targets if target["type"] == "page")
        attached = self.ask("Target.attachToTarget", targetId=tab["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        self._folder.cleanup()

    def show(self, file: Path, width: int, scheme: str = "light", medium: str = "screen") -> None:
        """Open a file as a window of that width would, and wait until it stands.

        Args:
            file: the page.
            width: of the window, in CSS pixels; below 600 it is a phone.
            scheme: the colours that its reader prefers, light or dark.
            medium: screen or print.
        """
        self._page = file.resolve().as_uri()
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", media=medium, features=features)
        self.messages, self.requests = [], []
        self.ask("Page.navigate", url=self._page)
        deadline = time.monotonic() + _PATIENCE
        while (
            self.evaluate("location.href + ' ' + document.readyState") != f"{self._page} complete"
        ):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{file} is not shown")
            time.sleep(0.05)

    def evaluate(self, expression: str) -> Any:
        """What a JavaScript expression comes to on the page, whatever the page forbids itself."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise ValueError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def overflow(self) -> int:
        """How many pixels the page is wider than its window."""
        return int(self.evaluate(_OVERFLOW))

    def picture(self, box: tuple[float, float, float, float] | None = None) -> bytes:
        """The whole page, or a box of it (left, top, width, height), as a PNG."""
        if box is None:
            size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
            box = 0, 0, size["width"], size["height"]
        clip = dict(zip(("x", "y", "width", "height"), box, strict=True)) | {"scale": 1}
        shot = self.ask(
            "Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True
        )
        return base64.b64decode(shot["data"])

    def printed(self) -> bytes:
        """The page as it would be printed, as a PDF."""
        self.ask("Emulation.setEmulatedMedia", media="print")
        return base64.b64decode(self.ask("Page.printToPDF")["data"])

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Tell the browser to do something, and wait for its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._heard()
            if answer.get("id") == self._number:
                break
            self._note(answer)
        if "error" in answer:
            raise ValueError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _heard(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            piece = os.read(self._from, 2**20)
            if not piece:
                raise ConnectionError(f"{FOUND} has ended")
            self._unread += piece
        line, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        what = event.get("params", {})
        if event.get("method") == "Log.entryAdded":
            self.messages.append(str(what["entry"]["text"]))
        elif event.get("method") == "Runtime.consoleAPICalled":
            self.messages.append(" ".join(str(one.get("value")) for one in what["args"]))
        elif event.get("method") == "Runtime.exceptionThrown":
            self.messages.append(str(what["exceptionDetails"]["text"]))
        elif event.get("method") == "Network.requestWillBeSent":
            address = str(what["request"]["url"])
            if address != self._page:
                self.requests.append(address)
