"""A web server for one instance: PHP's own, on a free port, serving the webroot as it is."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from dataclasses import asdict
from pathlib import Path

from biso_tasks.demo.postgres import free_port
from biso_tasks.demo.process import DemoError, Running, daemon, descendants, end, is_alive

__all__ = ["serve", "stop"]

# a swap exchanges folders under a running server: it must not remember where they were
_FRESH = ("-d", "realpath_cache_size=0", "-d", "opcache.enable_cli=0", "-d", "display_errors=0")


def serve(php: Path, webroot: Path, record: Path) -> str:
    """The URL of a server for `webroot`, started where none runs yet; `record` is the JSON file
    that remembers it, its log lies beside it. Raises DemoError."""
    known = _load(record)
    if known is not None and is_alive(known[0]):
        return _url(known[1])
    log = record.with_suffix(".log")
    for port in [*([known[1]] if known else []), *(free_port() for _ in range(5))]:
        process = daemon(
            [php, *_FRESH, "-S", f"127.0.0.1:{port}", "-t", webroot],
            log=log,
            env={**os.environ, "PHP_CLI_SERVER_WORKERS": "4"},
        )
        if _listens(port, process):
            record.write_text(json.dumps({"process": asdict(process), "port": port}), "utf-8")
            return _url(port)
        _end(process)
    raise DemoError("the web server found no free port on 127.0.0.1", hint=f"see {log}")


def stop(record: Path) -> None:
    """End the server that `record` remembers, and its workers."""
    known = _load(record)
    if known is not None:
        _end(known[0])


def _load(record: Path) -> tuple[Running, int] | None:
    try:
        text = json.loads(record.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return Running(**text["process"]), text["port"]


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/"


def _listens(port: int, process: Running, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and is_alive(process):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            # where the port was another's, PHP ends at once; give it the moment to do so
            time.sleep(0.05)
            return is_alive(process)
        time.sleep(0.01)
    return False


def _end(process: Running) -> None:
    workers = descendants(process)
    end(process)
    for worker in workers:
        end(worker, ladder=((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)))
