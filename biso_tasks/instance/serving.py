"""Asking the site, as a user's browser would: does it answer, and not with an error?"""

from __future__ import annotations

import base64
import http.client
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from biso_tasks.host.protocol import CommandFailed, HostError
from biso_tasks.instance.app import App

__all__ = ["Answer", "ask", "wait_until_good"]

_ASK = rb"""<?php
$context = stream_context_create(['http' => ['timeout' => 10, 'ignore_errors' => true]]);
$body = @file_get_contents($argv[1], false, $context, 0, 1 << 16);
$status = null;
foreach ($http_response_header ?? [] as $line) {
    if (preg_match('~^HTTP/\S+ (\d+)~', $line, $found)) { $status = (int) $found[1]; }
}
echo "\n@biso-answer ", json_encode(['status' => $status, 'body' => base64_encode((string) $body)]);
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` is None where nothing answered; `detail` then says why."""

    status: int | None
    detail: str
    body: bytes = b""

    def good(self, *, maintenance: bool) -> bool:
        """A page, a redirect or a login; while in maintenance its page (often 503) as well."""
        if self.status is None:
            return False
        return (
            self.status < 400 or self.status in {401, 403} or (maintenance and self.status == 503)
        )


def ask(url: str, app: App) -> Answer:
    """Ask from here; where this machine cannot reach it, from the instance's host, by its PHP."""
    here = _ask_here(url)
    if here.status is not None:
        return here
    try:
        out = app.php("--", url, stdin=_ASK, timeout=30).out
    except (CommandFailed, HostError):
        return here
    tail = out.rpartition(b"\n@biso-answer ")[2]
    try:
        there: dict[str, Any] = json.loads(tail)
        status, body = int(there["status"]), base64.b64decode(there["body"])
    except (ValueError, TypeError, KeyError):  # nothing answered there either
        return here
    return Answer(status, f"HTTP {status}", body)


def wait_until_good(url: str, app: App, *, maintenance: bool, seconds: float = 20) -> Answer:
    """Ask until the answer is good or `seconds` are over: a web server needs a moment to start.
    Returns the last answer, good or not."""
    end = time.monotonic() + seconds
    while True:
        answer = ask(url, app)
        if answer.good(maintenance=maintenance) or time.monotonic() >= end:
            return answer
        # An application that answers with an error is up: only a server that is still starting
        # gets the whole time.
        if answer.status not in {None, 502, 503, 504}:
            end = min(end, time.monotonic() + 2)
        time.sleep(0.2)


def _ask_here(url: str) -> Answer:
    request = urllib.request.Request(url, headers={"User-Agent": "biso-tasks"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return Answer(response.status, f"HTTP {response.status}", response.read(1 << 16))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, f"HTTP {error.code}")
    except urllib.error.URLError as error:
        return Answer(None, str(error.reason))
    except (TimeoutError, OSError, http.client.HTTPException) as error:
        return Answer(None, str(error) or type(error).__name__)
