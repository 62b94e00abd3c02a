"""Mail, webhook and ping really received, of what the program itself did: a run that ended well,
one that failed, a lock that somebody else holds, a config that is wrong."""

from __future__ import annotations

import json
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from biso_tasks.cli import commands

ROOT = Path(__file__).parents[2]
TARGETS = """
[[plugins.notify.mail]]
to = ["it@example.invalid"]
sender = "biso@example.invalid"
host = "127.0.0.1"
port = {mail}
security = "none"
on = ["success", "failure"]
[[plugins.notify.webhook]]
url = "{http}/hook"
on = ["success", "failure"]
[[plugins.notify.healthchecks]]
url = "{http}/ping"
"""
HELD = """
from biso_tasks.api import BisoError, hookimpl

class Held(BisoError):
    kind, exit_code = "locked", 5

@hookimpl
def biso_steps(recipe):
    raise Held("test is held by anna@laptop", hint="wait for it")
"""

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    ("recipe", "code", "more", "plugin", "says", "pings"),
    [
        ("good", 0, "", "", "biso good: done", ["/ping/start", "/ping"]),
        ("bad", 1, "", "", "biso bad: FAILED (exit 1)", ["/ping/start", "/ping/fail"]),
        ("good", 5, "", HELD, "biso good: FAILED (exit 5)", ["/ping/fail"]),
        ("good", 2, "[ssh]\nzzz = 1\n", "", "biso good: FAILED (exit 2)", ["/ping/fail"]),
    ],
    ids=["success", "failure", "lock", "bad config"],
)
def test_whoever_is_to_be_told_is_told(
    two_recipes: Path,
    http_sink: Any,
    mail_sink: Any,
    recipe: str,
    code: int,
    more: str,
    plugin: str,
    says: str,
    pings: list[str],
) -> None:
    with (two_recipes / "biso.toml").open("a") as file:
        file.write(TARGETS.format(mail=mail_sink.port, http=http_sink.url) + more)
    plugins = two_recipes / "plugins"
    (plugins / "notify.py").symlink_to(ROOT / "plugins/notify.py")
    (plugins / "held.py").write_text(plugin)
    assert commands.run("recipe", {"recipe": recipe, "yes": True}) == code
    hooks = [json.loads(one.body) for one in http_sink.asked if one.path == "/hook"]
    assert [(one["text"], one["exit_code"]) for one in hooks] == [(says, code)]
    assert [one.path for one in http_sink.asked if one.path != "/hook"] == pings
    (mail,) = mail_sink.mails
    assert message_from_bytes(mail, policy=policy.default)["Subject"] == says
