"""What a site answers, asked from here; where this machine does not reach it, by its host's PHP."""

from __future__ import annotations

import base64
import json
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from biso_tasks.host.command import Result
from biso_tasks.host.protocol import HostError
from biso_tasks.instance.serving import Answer, ask


def nowhere() -> str:
    """An address at which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}/"


def app(out: bytes | Exception) -> Any:
    """An application whose PHP prints this."""

    def php(*words: str, stdin: bytes, timeout: float) -> Result:
        if isinstance(out, Exception):
            raise out
        return Result(0, out, b"")

    return SimpleNamespace(php=php)


def said(**document: Any) -> bytes:
    return b"Warning: something\n\n@biso-answer " + json.dumps(document).encode()


def test_where_this_machine_does_not_reach_it_its_host_asks() -> None:
    body = base64.b64encode(b"BISO").decode()
    assert ask(nowhere(), app(said(status=200, body=body))) == Answer(200, "HTTP 200", b"BISO")


@pytest.mark.parametrize(
    "out",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"Segmentation fault", id="no answer"),
        pytest.param(said(status=None, body=""), id="nobody answered there either"),
        pytest.param(said(status=200, body="Qk")[:-6], id="cut"),
        pytest.param(said(status=200), id="without a body"),
        pytest.param(said(status="lots", body=""), id="no number"),
        pytest.param(b"\n@biso-answer [1]", id="another document"),
        pytest.param(HostError("the link is down"), id="no link"),
    ],
)
def test_an_answer_of_the_host_that_is_none_counts_as_none(out: bytes | Exception) -> None:
    found = ask(nowhere(), app(out))
    assert found.status is None and "refused" in found.detail
    assert not found.good(maintenance=True)


@pytest.mark.parametrize(
    ("status", "good", "kept_out"),
    [(200, True, True), (302, True, True), (401, True, True), (403, True, True),
     (404, False, False), (500, False, False), (503, False, True)],
)  # fmt: skip
def test_what_counts_as_a_good_answer(status: int, good: bool, kept_out: bool) -> None:
    one = Answer(status, "")
    assert (one.good(maintenance=False), one.good(maintenance=True)) == (good, kept_out)
