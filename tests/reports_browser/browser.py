"""A headless Chromium, spoken to over its debugging pipe with nothing but the standard library."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COMMANDS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--remote-debugging-pipe",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip


class Page:
    """One tab: it remembers every request and everything said on the console."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._write, self._read = to_browser, from_browser
        self._buffer, self._count, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log", "Security"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Send a command and return its result, keeping the events that come before it."""
        self._count += 1
        message: dict[str, object] = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, (method, answer)
                return dict(answer["result"])

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._read, 1 << 16)
            assert part, "the browser has ended"
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def open(self, path: Path, width: int, height: int, *, dark: bool = False) -> None:
        """Open a file in a window of this size and wait until it has loaded."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = "dark" if dark else "light"
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media="screen", features=features)
        self.call("Page.navigate", url=path.as_uri())
        while "Page.loadEventFired" not in self.methods():
            self._receive()

    def methods(self) -> list[str]:
        """Return the names of all events since the page was opened."""
        return [event["method"] for event in self.events]

    def evaluate(self, expression: str) -> Any:  # noqa: ANN401 - whatever the script returns
        """Return the value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def requests(self) -> list[str]:
        """Return the address of everything the page asked for."""
        sent = [one for one in self.events if one["method"] == "Network.requestWillBeSent"]
        return [one["params"]["request"]["url"] for one in sent]

    def complaints(self) -> list[dict[str, Any]]:
        """Return exceptions, console messages and log entries."""
        names = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}
        return [event["params"] for event in self.events if event["method"] in names]

    def screenshot(self, path: Path, *, whole: bool = True) -> bytes:
        """Save what is seen, or the whole page, as PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole,
                           **({"clip": self._whole()} if whole else {}))  # fmt: skip
        content = base64.b64decode(answer["data"])
        path.write_bytes(content)
        return content

    def _whole(self) -> dict[str, float]:
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}

    def printed(self, path: Path) -> bytes:
        """Save the page as PDF, as the print style sheet lays it out."""
        answer = self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)
        content = base64.b64decode(answer["data"])
        path.write_bytes(content)
        return content


@contextmanager
def chromium() -> Iterator[Page]:
    """Start a browser with a profile of its own and no way to any host."""
    command = next(filter(None, map(shutil.which, COMMANDS)), None)
    assert command is not None, f"none of {', '.join(COMMANDS)} is installed"
    their_input, our_output = os.pipe()
    our_input, their_output = os.pipe()

    def connect() -> None:
        # Copies out of the way first: a pipe may itself be 3 or 4.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (their_input, their_output)]
        os.dup2(ends[0], 3)
        os.dup2(ends[1], 4)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [command, *SWITCHES, f"--user-data-dir={profile}"],
            preexec_fn=connect,  # noqa: PLW1509 - Chromium reads its pipe from 3 and 4
            close_fds=False,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_input)
        os.close(their_output)
        try:
            yield Page(our_output, our_input)
        finally:
            process.terminate()
            process.wait()
            os.close(our_output)
            os.close(our_input)
