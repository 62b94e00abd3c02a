"""Chromium for tests and for the pictures in docs/."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

__all__ = ["Browser"]


class Browser:
    """Chromium, driven over WebDriver as the specification has it."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._at = f"http://127.0.0.1:{port}"
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "HOME": str(folder)},
        )
        flags = ("headless=new", "no-sandbox", "disable-gpu", "no-first-run", "disable-sync",
                 "disable-background-networking", "disable-component-update", "disable-quic",
                 "disable-dev-shm-usage", f"user-data-dir={folder}/profile")  # fmt: skip
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {
                "binary": shutil.which("chromium"),
                "args": [f"--{flag}" for flag in flags],
            },
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        end = time.monotonic() + 60
        while True:
            try:
                made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
                break
            except (ConnectionError, urllib.error.URLError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
        self._session = f"/session/{made['sessionId']}"

    def close(self) -> None:
        try:
            self._ask("DELETE", self._session)
        finally:
            os.killpg(self._driver.pid, signal.SIGKILL)
            self._driver.wait()

    def show(self, page: Path, width: int, scheme: str) -> None:
        """Open it; what was said and asked for before is forgotten."""
        self._devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1,
            mobile=width < 600,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._devtools("Emulation.setEmulatedMedia", features=features)
        self.said(), self.requests()
        self._ask("POST", f"{self._session}/url", {"url": page.as_uri()})

    def run(self, script: str) -> Any:
        body = {"script": script, "args": []}
        return self._ask("POST", f"{self._session}/execute/sync", body)

    def said(self) -> list[str]:
        """What the console says."""
        return [one["message"] for one in self._log("browser")]

    def requests(self) -> list[str]:
        events = [json.loads(one["message"])["message"] for one in self._log("performance")]
        return [
            one["params"]["request"]["url"]
            for one in events
            if one["method"] == "Network.requestWillBeSent"
        ]

    def too_wide(self) -> int:
        """Pixels beyond the screen's edge."""
        return int(self.run("return document.documentElement.scrollWidth - innerWidth"))

    def picture(self, selector: str, height: int) -> bytes:
        """The first element that `selector` names as PNG, cut off below so many pixels."""
        box = self.run(f"return document.querySelector({selector!r}).getBoundingClientRect()")
        margin = 8
        x, y = max(box["x"] - margin, 0), max(box["y"] - margin, 0)
        clip = {"x": x, "y": y, "width": box["width"] + 2 * margin, "scale": 1,
                "height": min(box["height"] + 2 * margin, height)}  # fmt: skip
        taken = self._devtools("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(taken["data"])

    def _log(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask("POST", f"{self._session}/se/log", {"type": kind})
        return found

    def _devtools(self, command: str, **given: Any) -> Any:
        body = {"cmd": command, "params": given}
        return self._ask("POST", f"{self._session}/goog/cdp/execute", body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        asked = urllib.request.Request(self._at + path, data, method=method)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.load(answer)["value"]
